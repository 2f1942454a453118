"""How well stalking cases are told from other cases of several incidents when these are read together.

Input: labelled incidents with `case_id` and `case_stalking`, and a model. Output: plain JSON figures, also for the cases
in which no single incident is stalking by itself: there the pattern is all there is (labelling guide, section 8).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.behaviour import Screener
from evaluation.columns import Json
from stalkscreen.resampling import ranking
from stalkscreen.schema import Case, LabelledIncident, happened

CASES = 600
"""Cases read at most; with half of them stalking an AUC of 0.9 then has an interval of about 0.025 a side."""


def case_ranking(
    records: Sequence[LabelledIncident], model: Screener, *, most: int = CASES, seed: int = 0
) -> Json | None:
    """Rank cases by the score of all their incidents together and by the highest score of any read alone.

    Args:
        records: Labelled incidents; cases of one incident or without `case_stalking` are left out.
        model: Assesses cases.
        most: Largest number of cases read.
        seed: Same seed and records, same sample.

    Returns:
        None where there is no stalking case or no other one.
    """
    by_case: dict[str, list[LabelledIncident]] = defaultdict(list)
    for record in records:
        if record.case_id is not None and record.case_stalking is not None and record.pair_id is None:
            by_case[record.case_id].append(record)
    cases = [sorted(members, key=happened) for members in by_case.values() if len(members) > 1]
    rng = np.random.default_rng(seed)
    cases = [cases[i] for i in sorted(rng.permutation(len(cases))[:most])]
    truth = np.array([any(r.case_stalking for r in members) for members in cases])
    if not len(truth) or truth.all() or not truth.any():
        return None
    together = np.array([a.stalking.probability for a in model.assess([Case(tuple(members)) for members in cases])])
    alone = [a.stalking.probability for a in model.assess([Case.of_one(r) for members in cases for r in members])]
    highest = np.maximum.reduceat(alone, np.cumsum([0, *(len(members) for members in cases[:-1])]))
    silent = ~truth | np.array([not any(r.stalking for r in members) for members in cases])

    def figures(rows: NDArray[np.bool_]) -> Json:
        found: Json = {"cases": int(rows.sum()), "stalking": int(truth[rows].sum())}
        for name, scores in (("together", together), ("highest_alone", highest)):
            found[name] = ranking(truth[rows].astype(float), scores[rows])["auc"].to_json_dict()
        return found

    return {
        "all": figures(np.ones(len(truth), dtype=bool)),
        "no_incident_stalking_by_itself": figures(silent),
        "incidents": sum(map(len, cases)),
    }
