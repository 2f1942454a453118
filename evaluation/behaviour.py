"""Section 5 of the report: does the model behave as it should when a narrative is changed in a known way?

Input: labelled incidents with `pair_id` and `pair_kind`, their assessments, and (for perturbations) a model.
Output: plain JSON figures, each with its number of cases.

To add a perturbation: write a function from a text and a random generator to a text, and one entry in
`PERTURBATIONS`. A text that comes back unchanged is left out of that test's figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evaluation.columns import Columns, Json
from stalkscreen.metrics import rate, share
from stalkscreen.schema import MAX_NARRATIVE_CHARS, Assessment, Case, LabelledIncident

SAMPLE = 300
"""Records that are perturbed at most: a flip rate of 5% then has a 95% interval of about 3% to 8%."""

TYPO_SHARE = 0.08
"""Share of words of five letters or more that get a typing slip; hurried call logs look about like this."""

KEPT_SHARE = 0.7
"""Share of the words left when a text is cut off; call logs often stop before the story ends (guide, section
7)."""

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


Perturb = Callable[[str, np.random.Generator], str]


@dataclass(frozen=True, slots=True)
class Perturbation:
    """One way to change a text.

    Attributes:
        name: Stable name in `metrics.json`.
        title: What is done, as the report says it.
        keeps_meaning: True when nothing was lost, so that every changed flag is a failure; False when a
            changed flag may be right (a cut text may have lost what mattered).
        change: The function that does it.
    """

    name: str
    title: str
    keeps_meaning: bool
    change: Perturb


SHORTHAND = (
    ("ex-partner", "X-PTNR"),
    ("ex partner", "X-PTNR"),
    ("non-molestation order", "NMO"),
    ("restraining order", "RO"),
    ("informant", "INFT"),
    ("victim", "VIC"),
    ("suspect", "SUSP"),
    ("vehicle", "VEH"),
    ("approximately", "APPROX"),
    ("officers", "OFFRS"),
    ("police", "POL"),
    ("address", "ADD"),
    ("telephone", "TEL"),
    ("domestic abuse", "DA"),
)
"""Words and the shorthand call logs use for them (labelling guide, section 7); the first form is the one
restored."""

ADMINISTRATIVE = (
    "Log created and passed to the resolution desk for allocation.",
    "Reference number given and victim contact contract agreed.",
    "Details checked and confirmed as correct at the time of the call.",
    "Officer to update the log on return to the station.",
    "Record transferred to the investigation queue in line with policy.",
    "Body worn video exhibited and stored.",
    "Supervisor has read this entry.",
)
"""Invented sentences that say nothing about what happened."""


def _upper(text: str, rng: np.random.Generator) -> str:
    return text.upper()


def _lower(text: str, rng: np.random.Generator) -> str:
    return text.lower()


def _typos(text: str, rng: np.random.Generator) -> str:
    def slip(match: re.Match[str]) -> str:
        word = match.group()
        if rng.random() >= TYPO_SHARE:
            return word
        at = int(rng.integers(1, len(word) - 2))
        kind = int(rng.integers(3))
        if kind == 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return word[:at] + word[at + 1 :] if kind == 1 else word[:at] + word[at] + word[at:]

    return re.sub(r"[A-Za-z]{5,}", slip, text)


def _shorthand_on(text: str, rng: np.random.Generator) -> str:
    for words, short in SHORTHAND:
        text = re.sub(rf"\b{re.escape(words)}\b", short, text, flags=re.IGNORECASE)
    return text


def _shorthand_off(text: str, rng: np.random.Generator) -> str:
    seen: set[str] = set()
    for words, short in SHORTHAND:
        if short not in seen:
            text = re.sub(rf"(?<!\w){re.escape(short)}(?!\w)", words, text)
            seen.add(short)
    return text


def _padded(text: str, rng: np.random.Generator) -> str:
    first, second, third = (ADMINISTRATIVE[i] for i in rng.permutation(len(ADMINISTRATIVE))[:3])
    return f"{first} {text.strip()} {second} {third}"


def _cut_off(text: str, rng: np.random.Generator) -> str:
    words = list(re.finditer(r"\S+", text))
    keep = max(1, round(len(words) * KEPT_SHARE))
    return text[: words[keep - 1].end()]


PERTURBATIONS: tuple[Perturbation, ...] = (
    Perturbation("capitals", "All in capitals, as some call logs are", True, _upper),
    Perturbation("lower_case", "All in lower case", True, _lower),
    Perturbation("typos", "Typing slips in some longer words", True, _typos),
    Perturbation("shorthand_on", "Words replaced by police shorthand", True, _shorthand_on),
    Perturbation("shorthand_off", "Police shorthand spelled out", True, _shorthand_off),
    Perturbation("padding", "Administrative sentences put before and after", True, _padded),
    Perturbation("cut_off", "Cut off after seven tenths of the words", False, _cut_off),
)
"""Every perturbation, in the order of the report."""


def perturbation_tests(
    records: Sequence[LabelledIncident],
    model: Screener,
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    perturbations: Sequence[Perturbation] = PERTURBATIONS,
) -> list[Json]:
    """Change texts, assess them again and count the flags that changed.

    Args:
        records: Labelled incidents; at most `sample` of them are drawn, half of them stalking where there are
        enough.
        model: Assesses the texts as they are and as changed.
        sample: Largest number of records perturbed.
        seed: Same seed and records, same texts.
        perturbations: The ways to change a text.

    Returns:
        One entry a perturbation: `flips` of all changed texts, `flags_lost` of those flagged before,
        `flags_gained` of those not, and the median absolute change of probability.
    """
    chosen = _draw(records, sample, np.random.default_rng(seed))
    before = model.assess([Case.of_one(record) for record in chosen])
    return [
        _run(model, chosen, before, perturbation, np.random.default_rng([seed, number]))
        for number, perturbation in enumerate(perturbations)
    ]


def _draw(records: Sequence[LabelledIncident], sample: int, rng: np.random.Generator) -> list[LabelledIncident]:
    yes = [row for row, record in enumerate(records) if record.stalking]
    no = [row for row, record in enumerate(records) if not record.stalking]
    take_yes = min(len(yes), max(sample // 2, sample - len(no)))
    take_no = min(len(no), sample - take_yes)
    rows = [*rng.choice(yes, take_yes, replace=False)] if take_yes else []
    rows += [*rng.choice(no, take_no, replace=False)] if take_no else []
    return [records[row] for row in sorted(rows)]


def _run(
    model: Screener,
    records: Sequence[LabelledIncident],
    before: Sequence[Assessment],
    perturbation: Perturbation,
    rng: np.random.Generator,
) -> Json:
    cases: list[Case] = []
    kept: list[int] = []
    for row, record in enumerate(records):
        text = perturbation.change(record.narrative, rng)
        if text != record.narrative and 0 < len(text.strip()) <= MAX_NARRATIVE_CHARS:
            # The labels are left behind: evidence offsets need not fit the changed text.
            cases.append(Case.of_one(record.model_copy(update={"narrative": text, "evidence": None})))
            kept.append(row)
    after = model.assess(cases) if cases else []
    was = np.array([before[row].stalking.flag for row in kept], dtype=bool)
    now = np.array([answer.stalking.flag for answer in after], dtype=bool)
    moved = [
        abs(answer.stalking.probability - before[row].stalking.probability)
        for row, answer in zip(kept, after, strict=True)
    ]
    return {
        "perturbation": perturbation.name,
        "title": perturbation.title,
        "keeps_meaning": perturbation.keeps_meaning,
        "flips": rate(int((was != now).sum()), len(kept)).to_json_dict(),
        "flags_lost": share(~now, was).to_json_dict(),
        "flags_gained": share(now, ~was).to_json_dict(),
        "median_change": float(np.median(moved)) if moved else None,
    }
