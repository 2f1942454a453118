"""How early the model flags: after how much of a narrative, and at which incident of a case history.

Input: labelled incidents and a model. Output: plain JSON figures. Prefixes are cut at word boundaries. A history is
two or more incidents of one `case_id`, each with its own `occurred_at`, of which at least one is labelled stalking;
texts that are variants of each other (`pair_id`) are no history.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from evaluation.behaviour import Screener
from evaluation.case_ranking import case_ranking
from evaluation.columns import Json
from stalkscreen.metrics import rate
from stalkscreen.schema import Case, LabelledIncident, happened

SAMPLE = 300
"""Stalking narratives whose prefixes are read at most: a share of 50% then has an interval of about 6 points a side."""

HISTORIES = 60
"""Case histories read at most."""

LONGEST = 12
"""Incidents of one history read at most, the earliest: reading together costs the square of their number."""

TENTHS = tuple(step / 10 for step in range(1, 11))


def earliness(
    records: Sequence[LabelledIncident],
    model: Screener,
    *,
    seen_in_training: bool,
    sample: int = SAMPLE,
    histories: int = HISTORIES,
    seed: int = 0,
) -> Json:
    """How early, and how well cases are told apart; null where there is nothing to measure it on.

    Args:
        records: Labelled incidents.
        model: Assesses prefixes, incidents and histories.
        seen_in_training: Whether the model was trained on them; said in the answer.
        sample: Largest number of stalking narratives whose prefixes are read.
        histories: Largest number of case histories read.
        seed: Same seed and records, same samples.
    """
    rng = np.random.default_rng(seed)
    stalking = [row for row, record in enumerate(records) if record.stalking]
    chosen = [stalking[i] for i in sorted(rng.permutation(len(stalking))[:sample])]
    found = _prefixes([records[row] for row in chosen], model)
    if found is not None:
        found |= {"seed": seed, "seen_in_training": seen_in_training}
    cases = case_histories(records)
    cases = [cases[i] for i in sorted(rng.permutation(len(cases))[:histories])]
    return {
        "case_ranking": case_ranking(records, model, seed=seed),
        "prefixes": found,
        "histories": _histories(cases, model) if cases else None,
        "histories_note": ""
        if cases
        else "Not measured: no case in this set has two or more dated incidents of which one is stalking.",
    }


def prefix(text: str, share: float) -> str:
    """The first `share` (0..1) of the words of a text, at least one, as they stand."""
    words = list(re.finditer(r"\S+", text))
    return text[: words[max(1, round(share * len(words))) - 1].end()]


def _flags(model: Screener, cases: Sequence[Case]) -> list[bool]:
    return [answer.stalking.flag for answer in model.assess(cases)]


def _prefixes(records: Sequence[LabelledIncident], model: Screener) -> Json | None:
    """Of the sampled stalking narratives that are flagged whole: how many are flagged after each tenth."""
    if not records:
        return None
    whole = _flags(model, [Case.of_one(record) for record in records])
    flagged = [record for record, flag in zip(records, whole, strict=True) if flag]
    cases = [
        Case.of_one(record.model_copy(update={"narrative": prefix(record.narrative, share), "evidence": None}))
        for record in flagged
        for share in TENTHS[:-1]
    ]
    grid = np.ones((len(flagged), len(TENTHS)), dtype=bool)
    if cases:
        grid[:, :-1] = np.array(_flags(model, cases)).reshape(len(flagged), len(TENTHS) - 1)
    first = np.argmax(grid, axis=1)
    lost = ~np.all(grid[np.arange(len(flagged)), :] | (np.arange(len(TENTHS)) < first[:, None]), axis=1)
    return {
        "sample": len(records),
        "flagged_whole": len(flagged),
        "shares": [
            {"share": share, "flagged": rate(int(grid[:, step].sum()), len(flagged)).to_json_dict()}
            for step, share in enumerate(TENTHS)
        ],
        "median_share": float(np.median([TENTHS[step] for step in first])) if len(flagged) else None,
        "flag_lost_later": rate(int(lost.sum()), len(flagged)).to_json_dict(),
    }


def case_histories(records: Sequence[LabelledIncident]) -> list[list[LabelledIncident]]:
    """Histories in the order of their first record, each in order of time and cut at `LONGEST`."""
    by_case: dict[str, list[LabelledIncident]] = defaultdict(list)
    for record in records:
        if record.case_id is not None:
            by_case[record.case_id].append(record)
    found = []
    for members in by_case.values():
        pairs = [record.pair_id for record in members if record.pair_id is not None]
        if len(members) < 2 or len(set(pairs)) < len(pairs) or not any(record.stalking for record in members):
            continue
        if all(record.occurred_at is not None for record in members):
            found.append(sorted(members, key=happened)[:LONGEST])
    return found


def _histories(cases: Sequence[Sequence[LabelledIncident]], model: Screener) -> Json:
    """At which incident (1 is the first) a history is first flagged: read alone, and read together so far."""
    alone, together = [], []
    for members in cases:
        alone.append(_first(_flags(model, [Case.of_one(record) for record in members])))
        together.append(_first(_flags(model, [Case(members[: n + 1]) for n in range(len(members))])))
    last = float("inf")
    pairs = [(a or last, t or last) for a, t in zip(alone, together, strict=True)]
    return {
        "cases": len(cases),
        "incidents": sum(len(members) for members in cases),
        "alone": _when(alone),
        "together": _when(together),
        "earlier_together": sum(t < a for a, t in pairs),
        "earlier_alone": sum(a < t for a, t in pairs),
        "same": sum(a == t for a, t in pairs),
    }


def _first(flags: Sequence[bool]) -> int | None:
    return next((number for number, flag in enumerate(flags, start=1) if flag), None)


def _when(first: Sequence[int | None]) -> Json:
    reached = [number for number in first if number is not None]
    return {
        "flagged": rate(len(reached), len(first)).to_json_dict(),
        "median_incident": float(np.median(reached)) if reached else None,
        "at": [{"incident": number, "cases": count} for number, count in sorted(Counter(reached).items())],
        "never": len(first) - len(reached),
    }
