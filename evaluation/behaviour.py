"""Section 5 of the report: does the model behave as it should when a narrative is changed in a known way?

Input: labelled incidents with `pair_id` and `pair_kind`, their assessments, and (for perturbations) a model.
Output: plain JSON figures, each with its number of cases. The changes are in `evaluation.perturbations`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Protocol

import numpy as np

from evaluation.columns import Columns, Json
from evaluation.perturbations import PERTURBATIONS, Perturbation, wordings
from stalkscreen.metrics import rate, share
from stalkscreen.schema import MAX_NARRATIVE_CHARS, Assessment, Case, LabelledIncident

SAMPLE = 200
"""Texts a change is made to at most: a flip rate of 5% then has a 95% interval of about 3% to 9%."""

MAX_SCANNED = 20_000
"""Records looked through at most for texts that a change applies to."""

EXAMPLES = 5
"""Failures listed by id for each change."""

WORST = 10
"""Pairs listed by id as the worst of their kind."""


class Screener(Protocol):
    """What perturbation tests need of a model: the one decision path."""

    def assess(self, cases: Sequence[Case]) -> list[Assessment]:
        """Assess cases in the order given."""
        ...


def _couples(records: Sequence[LabelledIncident], kind: str) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for row, record in enumerate(records):
        if record.pair_kind == kind and record.pair_id is not None:
            members.setdefault(record.pair_id, []).append(row)
    return members


def contrast_pairs(records: Sequence[LabelledIncident], columns: Columns) -> Json:
    """Pairs that differ in what makes it stalking: that one should score higher, and it alone be flagged.

    A `pair_id` with several of either side counts each couple of one stalking and one other record.
    """
    better = both = total = 0
    worst: list[tuple[float, Json]] = []
    for pair, rows in _couples(records, "contrast").items():
        for yes in (r for r in rows if columns.positive[r]):
            for no in (r for r in rows if not columns.positive[r]):
                margin = float(columns.probability[yes] - columns.probability[no])
                total += 1
                better += margin > 0
                both += bool(columns.flag[yes] and not columns.flag[no])
                if margin <= 0:
                    ids = {"stalking": records[yes].incident_id, "other": records[no].incident_id}
                    worst.append((margin, {"pair_id": pair, **ids, "margin": margin}))
    return {
        "ranked_right": rate(better, total).to_json_dict(),
        "both_flags_right": rate(both, total).to_json_dict(),
        "worst": [entry for _, entry in sorted(worst, key=lambda item: item[0])[:WORST]],
    }


def invariance_pairs(records: Sequence[LabelledIncident], columns: Columns) -> Json:
    """Texts that say the same with other names, pronouns or details: the flag must be the same."""
    flips = total = 0
    spreads: list[tuple[float, str]] = []
    for pair, rows in _couples(records, "invariance").items():
        if len(rows) < 2:
            continue
        total += 1
        flips += len({bool(columns.flag[r]) for r in rows}) > 1
        scores = columns.probability[rows]
        spreads.append((float(scores.max() - scores.min()), pair))
    spreads.sort(reverse=True)
    return {
        "flips": rate(flips, total).to_json_dict(),
        "median_difference": float(np.median([s for s, _ in spreads])) if spreads else None,
        "largest_difference": spreads[0][0] if spreads else None,
        "worst": [{"pair_id": pair, "difference": spread} for spread, pair in spreads[:WORST]],
    }


def behaviour_tests(
    records: Sequence[LabelledIncident],
    model: Screener,
    *,
    seen_in_training: bool,
    sample: int = SAMPLE,
    seed: int = 0,
    perturbations: Sequence[Perturbation] = PERTURBATIONS,
) -> Json:
    """Change texts, assess them again and count the flags that changed.

    Each change is made to at most `sample` texts that it applies to, drawn in one seeded order, half of them
    stalking where there are enough.

    Args:
        records: Labelled incidents.
        model: Assesses the texts as they are and as changed.
        seen_in_training: Whether the model was trained on them; said in the answer.
        sample: Largest number of texts a change is made to.
        seed: Same seed and records, same texts.
        perturbations: The ways to change a text.

    Returns:
        `{"perturbations": [one entry each], "by_kind": failures of the changes of one kind that keep the meaning,
        "sample": {records, seed, seen_in_training}}`.
    """
    order = _order(records, np.random.default_rng(seed))
    before: dict[int, Assessment] = {}
    rows = [
        _run(model, records, order, before, perturbation, sample, np.random.default_rng([seed, number]))
        for number, perturbation in enumerate(perturbations)
    ]
    kinds: dict[str, list[int]] = {}
    for row in rows:
        if row["keeps_meaning"]:
            total = kinds.setdefault(row["kind"], [0, 0])
            total[0] += row["failures"]["n"]
            total[1] += row["failures"]["of"]
    return {
        "perturbations": rows,
        "by_kind": {kind: rate(n, of).to_json_dict() for kind, (n, of) in kinds.items()},
        "sample": {"records": len(before), "seed": seed, "seen_in_training": seen_in_training},
    }


def _order(records: Sequence[LabelledIncident], rng: np.random.Generator) -> list[int]:
    """Rows in a random order, stalking and other records in turn while both last; `MAX_SCANNED` at most."""
    kinds = [[row for row, r in enumerate(records) if r.stalking is wanted] for wanted in (True, False)]
    shuffled = [[rows[i] for i in rng.permutation(len(rows))[: MAX_SCANNED // 2]] for rows in kinds]
    return [row for couple in zip_longest(*shuffled) for row in couple if row is not None]


def _changed(
    records: Sequence[LabelledIncident],
    order: Sequence[int],
    perturbation: Perturbation,
    sample: int,
    rng: np.random.Generator,
) -> dict[int, str]:
    """Changed texts by row, of the first `sample` records in the order whose text the change applies to."""
    texts: dict[int, str] = {}
    left = {True: (sample + 1) // 2, False: sample // 2}
    spare: dict[int, str] = {}
    for row in order:
        narrative = records[row].narrative
        text = perturbation.change(narrative, rng)
        if text == narrative or not 0 < len(text.strip()) <= MAX_NARRATIVE_CHARS:
            continue
        kind = records[row].stalking
        (texts if left[kind] else spare)[row] = text
        left[kind] -= left[kind] > 0
        if len(texts) == sample:
            return texts
    return texts | dict(list(spare.items())[: sample - len(texts)])


def _run(
    model: Screener,
    records: Sequence[LabelledIncident],
    order: Sequence[int],
    before: dict[int, Assessment],
    perturbation: Perturbation,
    sample: int,
    rng: np.random.Generator,
) -> Json:
    texts = _changed(records, order, perturbation, sample, rng)
    new = [row for row in texts if row not in before]
    before.update(zip(new, model.assess([Case.of_one(records[row]) for row in new]), strict=True))
    # The labels are left behind: evidence offsets need not fit the changed text.
    cases = [
        Case.of_one(records[row].model_copy(update={"narrative": text, "evidence": None}))
        for row, text in texts.items()
    ]
    after = model.assess(cases)
    was = np.array([before[row].stalking.flag for row in texts], dtype=bool)
    now = np.array([answer.stalking.flag for answer in after], dtype=bool)
    moved = np.array(
        [
            abs(answer.stalking.probability - before[row].stalking.probability)
            for row, answer in zip(texts, after, strict=True)
        ],
        dtype=float,
    )
    flipped = np.flatnonzero(was != now)
    rows = list(texts)
    flips = rate(len(flipped), len(rows)).to_json_dict()
    return {
        "perturbation": perturbation.name,
        "kind": perturbation.kind,
        "title": perturbation.title,
        "keeps_meaning": perturbation.keeps_meaning,
        "n": len(rows),
        "failures": flips,
        "flips": flips,
        "flags_lost": share(~now, was).to_json_dict(),
        "flags_gained": share(now, ~was).to_json_dict(),
        "mean_change": float(moved.mean()) if len(moved) else None,
        "median_change": float(np.median(moved)) if len(moved) else None,
        "examples": [
            records[rows[i]].incident_id for i in flipped[np.argsort(-moved[flipped], kind="stable")][:EXAMPLES]
        ],
        "quoted": _quoted(perturbation, list(texts.values()), after),
    }


def _quoted(perturbation: Perturbation, texts: Sequence[str], after: Sequence[Assessment]) -> Json | None:
    """Of the texts that got sentences added: those where one is quoted as evidence of a present indicator."""
    if perturbation.adds is None:
        return None
    sentences = wordings()["sentences"][perturbation.adds]
    hits = 0
    for text, answer in zip(texts, after, strict=True):
        added = [(at, at + len(sentence)) for sentence in sentences if (at := text.find(sentence)) >= 0]
        spans = [span for indicator in answer.indicators if indicator.present for span in indicator.evidence]
        hits += any(span.start < end and start < span.end for span in spans for start, end in added)
    return rate(hits, len(texts)).to_json_dict()
