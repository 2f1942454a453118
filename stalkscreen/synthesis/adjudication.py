"""What was decided where the blind second labelling differs from the first: put back, checked and counted.

The corpus carries the decisions. Agreement is between the labels as they stood before: `first_labels` puts the first
values back. The two texts of an invariance pair have the same labels, so a decision on one was given to its mate too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from stalkscreen.schema import LabelledIncident
from stalkscreen.synthesis.checking import Check, tokens
from stalkscreen.synthesis.second_labels import (
    INDICATOR,
    MANY_VALUED,
    Adjudication,
    SecondLabels,
    Value,
    all_labels,
    differences,
    value_of,
    word,
)

GROUP = "Second labels and adjudication"
MAX_QUOTED_WORDS = 5
"""Longest run of words that a reason may share with its narrative: a mention, not a copy."""
MOVES_LISTED = 15
UNDECIDED = "unclear rule"
"""How a reason begins where the guide did not decide."""

Key = tuple[str, str]
"""Incident id and label."""


def first_labels(
    corpus: Sequence[LabelledIncident], adjudications: Sequence[Adjudication]
) -> dict[str, LabelledIncident]:
    """The corpus as it was labelled first, by incident id.

    A text without a decision of its own takes the first value of its mate of an invariance pair. Evidence is left as
    it is, so these records are for comparing labels alone.
    """
    own = {(row.incident_id, row.label): row.corpus for row in adjudications}
    mates = _mates(corpus)
    before: dict[str, dict[str, Value]] = {}
    for (ident, label), value in own.items():
        before.setdefault(ident, {})[label] = value
        mate = mates.get(ident)
        if mate and (mate, label) not in own:
            before.setdefault(mate, {})[label] = value
    return {record.incident_id: _with(record, before.get(record.incident_id, {})) for record in corpus}


def _mates(corpus: Sequence[LabelledIncident]) -> dict[str, str]:
    """Each text of an invariance pair with the id of the other one."""
    pairs: dict[str, list[str]] = {}
    for record in corpus:
        if record.pair_id and record.pair_kind == "invariance":
            pairs.setdefault(record.pair_id, []).append(record.incident_id)
    return {a: b for pair in pairs.values() if len(pair) == 2 for a, b in (pair, pair[::-1])}


def _with(record: LabelledIncident, values: Mapping[str, Value]) -> LabelledIncident:
    if not values:
        return record
    changes: dict[str, object] = {k: v for k, v in values.items() if not k.startswith(INDICATOR)}
    names = {k.removeprefix(INDICATOR): v for k, v in values.items() if k.startswith(INDICATOR)}
    if names:
        kept = [name for name in record.indicators or () if names.get(name, True)]
        changes["indicators"] = (*kept, *(name for name, there in names.items() if there and name not in kept))
    return record.model_copy(update=changes)


def adjudication_checks(
    corpus: Sequence[LabelledIncident], second: Sequence[SecondLabels], adjudications: Sequence[Adjudication]
) -> list[Check]:
    """Whether every difference is decided once, with a reason in words of its own, and the corpus carries the decision.

    Nothing is checked while there is no second labelling.
    """
    if not second and not adjudications:
        return []
    records = {record.incident_id: record for record in corpus}
    decided = {(row.incident_id, row.label): row for row in adjudications}
    mates = _mates(corpus)
    found = {(i, label): pair for i, label, *pair in differences(first_labels(corpus, adjudications), second)}
    stale = [key for key, row in decided.items() if found.get(key) != [row.corpus, row.second]]
    moved = []
    for (ident, label), row in decided.items():
        mate = decided.get((mates.get(ident, ""), label))
        if value_of(records[ident], label) not in {row.decision, mate.decision if mate else row.decision}:
            moved.append((ident, label))
    quoted = [key for key, row in decided.items() if _quotes(row.reason, records[key[0]].narrative)]
    rows = [
        ("differences without an adjudication", [k for k in found if k not in decided], "each is decided"),
        ("adjudications of what is no difference", stale, "both values are those that were compared"),
        ("decisions that the corpus does not carry", moved, "mates of an invariance pair may carry the mate's"),
        (f"reasons with over {MAX_QUOTED_WORDS} words running of their text", quoted, "a reason is a rule, not a copy"),
    ]
    return [Check(GROUP, name, len(keys), None, 0, why, True, tuple(map(" ".join, keys))) for name, keys, why in rows]


def _quotes(reason: str, narrative: str) -> bool:
    """Whether a run of more than `MAX_QUOTED_WORDS` words of the reason is in the narrative."""
    size = MAX_QUOTED_WORDS + 1
    words = tokens(reason)
    text = f" {' '.join(tokens(narrative))} "
    return any(f" {' '.join(words[i : i + size])} " in text for i in range(len(words) - size + 1))


def adjudication_report(
    corpus: Sequence[LabelledIncident], second: Sequence[SecondLabels], adjudications: Sequence[Adjudication]
) -> str:
    """How the differences were decided, and how far the decisions reach: tables for the datasheet."""
    first = first_labels(corpus, adjudications)
    sample = {row.incident_id for row in second}
    twice = [r for r in corpus if r.incident_id in sample]
    others = [r for r in corpus if r.incident_id not in sample]
    before = [first[r.incident_id] for r in twice]
    by_label: dict[str, list[Adjudication]] = {}
    for row in adjudications:
        by_label.setdefault(row.label, []).append(row)
    lines = [
        f"**How the {len(adjudications):,} differences were decided.** Every one with both values, the decision and its "
        f"reason is in `adjudications.jsonl`. The three columns of shares say how often the label is yes: in the "
        f"{len(sample):,} texts labelled twice as labelled first and as decided, and in the other "
        f"{len(corpus) - len(sample):,}, which keep their first labels (pair mates apart).",
        "",
        "| label | differences | for the first | for the second | a third value | yes, first | yes, decided | yes, others |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for label in (label for label in all_labels() if label in by_label):
        rows = by_label[label]
        sides = Counter(0 if row.decision == row.corpus else 1 if row.decision == row.second else 2 for row in rows)
        shares = ["", "", ""]
        if label not in MANY_VALUED:
            shares = [_share(group, label) for group in (before, twice, others)]
        lines.append(f"| {label} | {len(rows)} | {sides[0]} | {sides[1]} | {sides[2]} | {' | '.join(shares)} |")
    return "\n".join([*lines, "", *_moves(adjudications), "", _grounds(adjudications)])


def _share(records: Sequence[LabelledIncident], label: str) -> str:
    values = [value for value in (value_of(r, label) for r in records) if value is not None]
    return f"{sum(map(bool, values)) / len(values):.1%}" if values else "–"


def _moves(adjudications: Sequence[Adjudication]) -> list[str]:
    moves = Counter(
        (row.label, *(word(row.label, v) for v in (row.corpus, row.decision)))
        for row in adjudications
        if row.decision != row.corpus
    )
    lines = ["| most common changes | from | to | n |", "|---|---|---|---|"]
    ranked = sorted(moves.items(), key=lambda item: (-item[1], item[0]))
    return lines + [f"| {label} | {a} | {b} | {n} |" for (label, a, b), n in ranked[:MOVES_LISTED]]


def _grounds(adjudications: Sequence[Adjudication]) -> str:
    """The sections of the guide that reasons name in brackets, and how many say that the guide did not decide."""
    sections: Counter[str] = Counter()
    for row in adjudications:
        named = " ".join(re.findall(r"\(([^)]*)\)", row.reason))
        sections.update(set(re.findall(r"(?<![\w.])(1[01]|[1-9])\b", named)))
    listed = ", ".join(f"section {number} in {n}" for number, n in sections.most_common(6))
    unclear = sum(row.reason.startswith(UNDECIDED) for row in adjudications)
    return (
        f"Parts of the guide that the reasons name most: {listed}. In {unclear} the guide did not decide and the reason "
        f'says so ("{UNDECIDED}").'
    )
