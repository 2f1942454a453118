"""Section 6 of the report: the model against what was recorded, a word list and another model, on the same records.

Input: `Columns` and the baselines' flags and scores. Output: plain JSON figures with paired differences (bootstrap by
case), exact McNemar tests and who is newly missed, by id. Where the force recorded nothing it is not compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.answers import Answers
from evaluation.columns import Columns, Json
from stalkscreen.metrics import Bools, Floats, mcnemar, precision_at, rates, recall_at_false_flag, share
from stalkscreen.resampling import Estimate, paired_differences, ranking

TITLES = {"keyword": "Keyword baseline", "released": "Released model", "recorded": "As recorded"}
"""Titles of baselines by name; any other baseline is shown by its own name."""

TITLES_SIMULATED = TITLES | {"recorded": "As recorded (simulated)"}
"""The same where the set is synthetic: a model of recording drew what is recorded, not a force."""

MAX_IDS = 500
"""Newly missed and newly found records listed by id; `errors.csv` has all."""


@dataclass(frozen=True, eq=False)
class Other:
    """Another judge of the same records.

    Attributes:
        name: `recorded`, `keyword`, `released` or a reference.
        flags: `(n,)` what it calls stalking.
        scores: `(n,)` or None when it has none.
        rows: `(n,)` records it judges.
    """

    name: str
    flags: Bools
    scores: Floats | None
    rows: Bools


def others_of(columns: Columns, baselines: Mapping[str, Answers]) -> list[Other]:
    """What was recorded, where anything was, and each baseline."""
    out = []
    if columns.has_recorded.any():
        out.append(Other("recorded", columns.recorded_stalking, None, columns.has_recorded))
    everything = np.ones(len(columns.flag), dtype=bool)
    return out + [Other(name, a.flag, a.probability, everything) for name, a in baselines.items()]


def newly(columns: Columns, other: Other) -> dict[str, Bools]:
    """`(n,)` masks: true stalking `missed` by the model alone and `found` by it alone; the rest likewise."""
    model, theirs = columns.flag & other.rows, other.flags & other.rows
    yes, no = columns.positive & other.rows, ~columns.positive & other.rows
    return {
        "newly_missed": yes & ~model & theirs,
        "newly_found": yes & model & ~theirs,
        "newly_flagged": no & model & ~theirs,
        "no_longer_flagged": no & ~model & theirs,
    }


def comparison(
    ids: Sequence[str], columns: Columns, others: Sequence[Other], live_prevalence: float, *, synthetic: bool = False
) -> list[Json]:
    """One entry for each other judge, on the records it judges; in a `synthetic` set recording is called simulated."""
    titles = TITLES_SIMULATED if synthetic else TITLES
    return [_against(ids, columns, other, titles.get(other.name, other.name), live_prevalence) for other in others]


def _judge(columns: Columns, flags: Bools, rows: Bools, live_prevalence: float) -> Json:
    yes, no = columns.positive & rows, ~columns.positive & rows
    found = rates(
        int((flags & yes).sum()), int((flags & no).sum()), int((~flags & no).sum()), int((~flags & yes).sum())
    )
    recall, false_flag = found["recall"].value, found["false_flag"].value
    known = recall is not None and false_flag is not None
    return {
        **{key: value.to_json_dict() for key, value in found.items()},
        "precision_at_live": precision_at(recall or 0.0, false_flag or 0.0, live_prevalence) if known else None,
    }


def _tests(columns: Columns, other: Other) -> Json:
    among = {
        "all": other.rows,
        "stalking": other.rows & columns.positive,
        "not_stalking": other.rows & ~columns.positive,
    }
    tests: Json = {}
    for key, rows in among.items():
        model_wrong = (columns.flag != columns.positive)[rows]
        other_wrong = (other.flags != columns.positive)[rows]
        test = mcnemar(model_wrong, other_wrong)
        tests[key] = {
            "rows": int(rows.sum()),
            "only_model_wrong": test.only_first_wrong,
            "only_baseline_wrong": test.only_second_wrong,
            "p_value": test.p_value,
        }
    return tests


def _paired(columns: Columns, other: Other) -> Json:
    rows = other.rows
    found = paired_differences(
        columns.stalking[rows],
        (columns.flag[rows], other.flags[rows]),
        None if other.scores is None else (columns.probability[rows], other.scores[rows]),
        columns.group[rows],
        max_false_flag=0.05,
    )
    return {
        "rows": found.rows,
        "clusters": found.groups,
        "recall": found.recall.to_json_dict(),
        "false_flag": found.false_flag.to_json_dict(),
        "average_precision": found.average_precision.to_json_dict(),
        "recall_at_5_percent": found.recall_at_false_flag.to_json_dict(),
    }


def _ranked(columns: Columns, scores: Floats) -> tuple[dict[str, Estimate], Json | None]:
    """How the other ranks, and its recall with no more false flags than the model; None where it cannot flag so few."""
    estimates = ranking(columns.stalking, scores, columns.group)
    allowed = share(columns.flag, ~columns.positive).value
    if allowed is None:
        return estimates, None
    cut, recall = recall_at_false_flag(columns.stalking, scores, allowed)
    return estimates, recall.to_json_dict() if math.isfinite(cut) else None


def _against(ids: Sequence[str], columns: Columns, other: Other, title: str, live_prevalence: float) -> Json:
    estimates, recall = (None, None) if other.scores is None else _ranked(columns, other.scores)
    changed = newly(columns, other)
    listed: Json = {}
    for name, rows in changed.items():
        listed[name] = {"count": int(rows.sum())}
        if name in ("newly_missed", "newly_found"):
            # The surest of the model's answers first: least likely missed, likeliest found.
            order = np.argsort(columns.probability[rows] * (1 if name == "newly_missed" else -1), kind="stable")
            listed[name]["ids"] = [ids[row] for row in np.flatnonzero(rows)[order][:MAX_IDS]]
    return {
        "baseline": other.name,
        "title": title,
        "rows": int(other.rows.sum()),
        "model": _judge(columns, columns.flag, other.rows, live_prevalence),
        "other": _judge(columns, other.flags, other.rows, live_prevalence),
        "mcnemar": _tests(columns, other),
        "paired": _paired(columns, other),
        **listed,
        "ranking": None if estimates is None else {key: value.to_json_dict() for key, value in estimates.items()},
        "recall_at_the_models_false_flag": recall,
    }
