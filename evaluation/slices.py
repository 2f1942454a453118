"""Section 4 of the report: the same rates for parts of the set, with gaps marked.

Input: labelled incidents and `Columns`. Output: plain JSON figures.

To add a slice: write one entry in `SLICES`. Its `value` reads a record and answers with the part it belongs
to, or None when that is unknown; the figures, the report and its chart pick it up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from evaluation.columns import Columns, Json, title_of
from stalkscreen.metrics import Bools, Rate, difference_interval, share
from stalkscreen.schema import LabelledIncident

FEW = 30
"""Fewer records than this behind a rate: too few to compare. The labelling guide, section 10, asks for 30
positives before it judges an indicator; with 30 a 95% interval is still about 30 points wide."""

MAX_VALUES = 15
"""Parts of a slice shown by name; rarer ones are added up under `OTHER`."""

OTHER = "other values"

PRESUMPTION = date(2020, 4, 1)
PRINCIPAL_CRIME = date(2023, 5, 1)
"""Changes of the recording rules (domain facts, section 2): the ex-partner presumption of April 2020 and the
principal crime rule of May 2023. Recorded offences on either side of them are not comparable."""

ERAS = ("before April 2020", "April 2020 to April 2023", "May 2023 onwards")
WORD_BANDS = ((50, "up to 50 words"), (120, "51 to 120 words"), (250, "121 to 250 words"))
LONGEST_BAND = "over 250 words"


@dataclass(frozen=True, slots=True)
class Slice:
    """One way to divide a labelled set.

    Attributes:
        name: Stable name in `metrics.json`.
        title: Heading in the report.
        value: The part a record belongs to, or None when unknown.
        order: Parts in the order shown; those not named follow by size.
    """

    name: str
    title: str
    value: Callable[[LabelledIncident], str | None]
    order: tuple[str, ...] = ()


def _yes_no(value: bool | None, yes: str, no: str) -> str | None:
    return None if value is None else yes if value else no


def _words(name: str | None) -> str | None:
    return None if name is None else name.replace("_", " ")


def _recorded_on(record: LabelledIncident) -> date | None:
    """Recording rules follow the day of the report; the day of the event stands in for it."""
    moment = record.reported_at or record.occurred_at
    return None if moment is None else moment.date()


def _year(record: LabelledIncident) -> str | None:
    day = _recorded_on(record)
    return None if day is None else str(day.year)


def era(record: LabelledIncident) -> str | None:
    """Which recording rules applied, by `PRESUMPTION` and `PRINCIPAL_CRIME`; None without a date."""
    day = _recorded_on(record)
    if day is None:
        return None
    return ERAS[(day >= PRESUMPTION) + (day >= PRINCIPAL_CRIME)]


def _length_band(record: LabelledIncident) -> str:
    words = len(record.narrative.split())
    return next((name for most, name in WORD_BANDS if words <= most), LONGEST_BAND)


SLICES: tuple[Slice, ...] = (
    Slice("domestic", "Domestic or not", lambda r: _yes_no(r.domestic, "domestic", "non-domestic")),
    Slice("relationship", "Relationship of suspect to victim", lambda r: _words(r.relationship)),
    Slice("cyber", "Cyber-enabled or not", lambda r: _yes_no(r.cyber, "cyber-enabled", "not cyber-enabled")),
    Slice("source_type", "Source of the narrative", lambda r: _words(r.source_type)),
    Slice(
        "narrative_length",
        "Length of the narrative",
        _length_band,
        (*(name for _, name in WORD_BANDS), LONGEST_BAND),
    ),
    Slice("recorded_offence", "Recorded offence", lambda r: title_of(r.recorded_offence)),
    Slice("year", "Year reported", _year),
    Slice("era", "Recording rules at the time", era, ERAS),
    Slice(
        "basis",
        "Stalking by behaviour or by the ex-partner presumption only",
        lambda r: _words(r.stalking_basis) if r.stalking else None,
    ),
    Slice("stratum", "Kind of record sampled", lambda r: _words(r.stratum)),
    Slice("writer", "Writer of the narrative", lambda r: r.writer),
)
"""Every slice, in the order of the report."""


def _gap(part: Rate, rest: Rate, *, worse_is_lower: bool) -> str:
    """`gap`, `none`, `few` or `not_measured`: whether the part is worse than the rest beyond chance."""
    interval = difference_interval(part, rest)
    if interval is None:
        return "not_measured"
    if part.of < FEW or rest.of < FEW:
        return "few"
    low, high = interval
    return "gap" if (high < 0 if worse_is_lower else low > 0) else "none"


def _part(value: str, inside: Bools, known: Bools, columns: Columns) -> Json:
    rest = known & ~inside
    yes, no = columns.positive, ~columns.positive
    recall, rest_recall = share(columns.flag, inside & yes), share(columns.flag, rest & yes)
    false, rest_false = share(columns.flag, inside & no), share(columns.flag, rest & no)
    has = columns.has_recorded
    return {
        "value": value,
        "rows": int(inside.sum()),
        "stalking": int((inside & yes).sum()),
        "recall": recall.to_json_dict(),
        "false_flag": false.to_json_dict(),
        "precision": share(yes, inside & columns.flag).to_json_dict(),
        "missed_as_recorded": share(~columns.recorded_stalking, inside & yes & has).to_json_dict(),
        "recall_gap": _gap(recall, rest_recall, worse_is_lower=True),
        "false_flag_gap": _gap(false, rest_false, worse_is_lower=False),
    }


def _one(division: Slice, records: Sequence[LabelledIncident], columns: Columns) -> Json:
    values = [division.value(record) for record in records]
    counts = Counter(value for value in values if value is not None)
    places = {value: place for place, value in enumerate(division.order)}
    ordered = sorted(counts, key=lambda value: (places.get(value, len(places)), -counts[value], value))
    named = ordered if len(ordered) <= MAX_VALUES else sorted(ordered, key=lambda v: -counts[v])[:MAX_VALUES]
    shown = [value for value in ordered if value in set(named)]
    place_of = {value: place for place, value in enumerate(shown)}
    codes = np.array([-1 if value is None else place_of.get(value, len(shown)) for value in values], dtype=int)
    known = codes >= 0
    parts = [_part(value, codes == place, known, columns) for place, value in enumerate(shown)]
    if len(shown) < len(ordered):
        parts.append(_part(OTHER, codes == len(shown), known, columns))
    return {
        "slice": division.name,
        "title": division.title,
        "unknown": int((~known).sum()),
        "values": len(counts),
        "parts": parts,
    }


def slices(records: Sequence[LabelledIncident], columns: Columns, divisions: Sequence[Slice] = SLICES) -> list[Json]:
    """Recall, false-flag rate and precision for every part of every slice.

    A part's gap compares it with all other parts of its slice: it is marked when the 95% interval of the
    difference leaves out zero on the worse side and both have at least `FEW` records. With this many
    comparisons some gaps appear by chance.
    """
    return [_one(division, records, columns) for division in divisions]


def presumption(records: Sequence[LabelledIncident], columns: Columns) -> Json:
    """Missed and precision with every record, and without those that are stalking by presumption only.

    Forces dispute the rule, so both are given (labelling guide, section 2).
    """
    only = np.array([r.stalking and r.stalking_basis == "presumption_only" for r in records], dtype=bool)
    out: Json = {"presumption_only": int(only.sum())}
    for name, rows in (("with", np.ones(len(only), dtype=bool)), ("without", ~only)):
        has = columns.has_recorded & rows
        out[name] = {
            "missed": share(~columns.flag, rows & columns.positive).to_json_dict(),
            "missed_as_recorded": share(~columns.recorded_stalking, has & columns.positive).to_json_dict(),
            "precision": share(columns.positive, rows & columns.flag).to_json_dict(),
        }
    return out
