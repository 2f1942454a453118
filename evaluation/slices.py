"""Section 4 of the report: the same rates for parts of the set, with gaps marked.

Input: labelled incidents and `Columns`. Output: plain JSON figures.

To add a slice: write one entry in `SLICES`. Its `value` reads a record and answers with the part it belongs
to, or None when that is unknown; the figures, the report and its chart pick it up.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from evaluation.columns import FEW, Columns, Json, title_of
from stalkscreen.metrics import Bools, Rate, difference_interval, precision_at, share
from stalkscreen.schema import LabelledIncident
from stalkscreen.taxonomy import OVERT_INDICATORS

MAX_VALUES = 15
"""Parts of a slice shown by name; rarer ones are added up under `OTHER`."""

OTHER = "other values"

SEXES = ("female", "male", "non-binary")
"""Values of `people.*.sex` that are shown, those of the committed corpus; any other text counts as unknown."""

_SHORT_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")

PRESUMPTION = date(2020, 4, 1)
PRINCIPAL_CRIME = date(2023, 5, 1)
"""Changes of the recording rules (domain facts, section 2): the ex-partner presumption of April 2020 and the
principal crime rule of May 2023. Recorded offences on either side of them are not comparable."""

ERAS = ("before April 2020", "April 2020 to April 2023", "May 2023 onwards")
ERA_NOTE = (
    "Recording rules changed: from April 2020 conduct of a former partner is presumed to be stalking, and from May 2023 "
    "one principal crime stands for several reported together, which can hide stalking. What was recorded must not be "
    "compared across these dates (docs/reference/domain-facts.md, section 2)."
)
ORIGIN_NOTE = (
    "Texts retold from public accounts of real events are the nearest this set has to real life: read their row before "
    "any figure over all. Edited ones are mates of pairs, changed so that a label flips or stays (docs/decisions/0009)."
)
PEOPLE_NOTE = "Known for synthetic records only, from the sheet the text was written to. Never an input of the model."
WRITER_NOTE = "An id of up to 40 letters, digits, - and _ is shown; of any other name only a part of its hash."
OVERT_NOTE = (
    "A threat, violence, weapon, sexual act, entry, damage or tracker. Where fewer of these are found the screen has "
    "taken grave acts for a sign of something else (docs/decisions/0009)."
)

VERDICTS = ("gap", "none", "few")
"""Verdicts on a gap in the order listed: beyond chance, could be chance, too few records to compare."""

AGE_BANDS = ((17, "under 18"), (24, "18 to 24"), (44, "25 to 44"), (64, "45 to 64"))
OLDEST_BAND = "65 and over"
AGES = (*(name for _, name in AGE_BANDS), OLDEST_BAND)

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
        note: What must be known to read it; empty otherwise.
        compared: False where parts differ by what they are (a kind of record, a recorded title), so that a
            difference between them is no unequal service, or where a force's stream has no such parts (writers).
    """

    name: str
    title: str
    value: Callable[[LabelledIncident], str | None]
    order: tuple[str, ...] = ()
    note: str = ""
    compared: bool = True


def _yes_no(value: bool | None, yes: str, no: str) -> str | None:
    return None if value is None else yes if value else no


def _words(name: str | None) -> str | None:
    return None if name is None else name.replace("_", " ")


def _about(record: LabelledIncident, person: str, what: str) -> object:
    about = (record.people or {}).get(person)
    return about.get(what) if isinstance(about, dict) else None


def _sex(record: LabelledIncident, person: str) -> str | None:
    value = _about(record, person, "sex")
    named = value.strip().lower() if isinstance(value, str) else None
    return named if named in SEXES else None


def _age_band(record: LabelledIncident, person: str) -> str | None:
    """By whole years from 0 to 120; anything else counts as unknown."""
    age = _about(record, person, "age")
    if isinstance(age, bool) or not isinstance(age, int) or not 0 <= age <= 120:
        return None
    return next((name for most, name in AGE_BANDS if age <= most), OLDEST_BAND)


def _writer(record: LabelledIncident) -> str | None:
    """A short id as it is; of a name or any other text a hash, since it goes into the report."""
    if record.writer is None or _SHORT_ID.fullmatch(record.writer):
        return record.writer
    return f"writer {hashlib.sha256(record.writer.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


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


def _overt(record: LabelledIncident) -> str | None:
    return _yes_no(
        None if record.indicators is None else not OVERT_INDICATORS.isdisjoint(record.indicators),
        "an overtly criminal act",
        "no overtly criminal act",
    )


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
    Slice("overt_act", "An overtly criminal act told or not", _overt, note=OVERT_NOTE),
    Slice("victim_sex", "Sex of the victim", lambda r: _sex(r, "victim"), note=PEOPLE_NOTE),
    Slice("suspect_sex", "Sex of the suspect", lambda r: _sex(r, "suspect"), note=PEOPLE_NOTE),
    Slice("victim_age", "Age of the victim", lambda r: _age_band(r, "victim"), AGES, PEOPLE_NOTE),
    Slice("suspect_age", "Age of the suspect", lambda r: _age_band(r, "suspect"), AGES, PEOPLE_NOTE),
    Slice("recorded_offence", "Recorded offence", lambda r: title_of(r.recorded_offence), compared=False),
    Slice("year", "Year reported", _year),
    Slice("era", "Recording rules at the time", era, ERAS, ERA_NOTE),
    Slice(
        "basis",
        "Stalking by behaviour or by the ex-partner presumption only",
        lambda r: _words(r.stalking_basis) if r.stalking else None,
        compared=False,
    ),
    Slice("origin", "Origin of the narrative", lambda r: r.origin, note=ORIGIN_NOTE, compared=False),
    Slice("stratum", "Kind of record sampled", lambda r: _words(r.stratum), compared=False),
    Slice("writer", "Writer of the narrative", _writer, note=WRITER_NOTE, compared=False),
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


def _difference(part: Rate, rest: Rate) -> Json:
    interval = difference_interval(part, rest)
    if interval is None or part.value is None or rest.value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": part.value - rest.value, "low": interval[0], "high": interval[1]}


def _equalised(recall: Rate, false: Rate, prevalence: float) -> Json:
    """Precision if the part had the whole set's prevalence; the ends take both intervals at once."""
    if recall.value is None or false.value is None:
        return {"value": None, "low": None, "high": None}
    return {
        "value": precision_at(recall.value, false.value, prevalence),
        "low": precision_at(recall.low or 0.0, false.high or 0.0, prevalence),
        "high": precision_at(recall.high or 0.0, false.low or 0.0, prevalence),
    }


def _part(value: str, inside: Bools, known: Bools, columns: Columns) -> Json:
    rest = known & ~inside
    yes, no, has = columns.positive, ~columns.positive, columns.has_recorded
    recall, rest_recall = share(columns.flag, inside & yes), share(columns.flag, rest & yes)
    false, rest_false = share(columns.flag, inside & no), share(columns.flag, rest & no)
    return {
        "value": value,
        "rows": int(inside.sum()),
        "stalking": int((inside & yes).sum()),
        "few": min(recall.of, false.of) < FEW,
        "recall": recall.to_json_dict(),
        "false_flag": false.to_json_dict(),
        "precision": share(yes, inside & columns.flag).to_json_dict(),
        "precision_equalised": _equalised(recall, false, float(columns.stalking.mean())),
        "missed_as_recorded": share(~columns.recorded_stalking, inside & yes & has).to_json_dict(),
        "rest_recall": rest_recall.to_json_dict(),
        "rest_false_flag": rest_false.to_json_dict(),
        "recall_difference": _difference(recall, rest_recall),
        "false_flag_difference": _difference(false, rest_false),
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
        "note": division.note,
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


def slice_gaps(found: Sequence[Json], divisions: Sequence[Slice] = SLICES) -> list[Json]:
    """Parts worse than the rest of their slice: those beyond chance first, largest disadvantage first among each verdict.

    Only slices that are `compared` take part; a part's own gap says whether it is beyond chance.
    """
    compared = {division.name for division in divisions if division.compared}
    gaps = []
    for division in found:
        if division["slice"] not in compared or len(division["parts"]) < 2:
            continue
        for part in division["parts"]:
            for figure, sign in (("recall", -1), ("false_flag", 1)):
                difference, verdict = part[f"{figure}_difference"], part[f"{figure}_gap"]
                if part["value"] == OTHER or difference["value"] is None or sign * difference["value"] <= 0:
                    continue
                gaps.append(
                    {
                        "slice": division["slice"],
                        "title": division["title"],
                        "value": part["value"],
                        "figure": figure,
                        "part": part[figure],
                        "rest": part[f"rest_{figure}"],
                        "difference": difference,
                        "verdict": verdict,
                    }
                )
    gaps.sort(key=lambda gap: (VERDICTS.index(gap["verdict"]), -abs(gap["difference"]["value"])))
    return gaps


def gaps_now(metrics: Mapping[str, Any]) -> list[Json] | None:
    """The gaps as they are listed today, for figures that may have been written earlier; None where they hold none."""
    return slice_gaps(metrics["slices"]) if "slice_gaps" in metrics else None


def worst_slice(found: Sequence[Json], divisions: Sequence[Slice] = SLICES) -> Json:
    """For the gates: the part that is worst served beyond chance, for recall and for false flags.

    `size` is how much worse it is than the rest of its slice, 0..1; 0 where no part with enough records is worse
    beyond chance. Null where no part has enough records.
    """
    counted = {division.name for division in divisions if division.compared}
    out: Json = {}
    for figure in ("recall", "false_flag"):
        rows = [(division, part) for division in found if division["slice"] in counted for part in division["parts"]]
        verdicts = {part[f"{figure}_gap"] for _, part in rows}
        gaps = [(abs(p[f"{figure}_difference"]["value"]), d, p) for d, p in rows if p[f"{figure}_gap"] == "gap"]
        if gaps:
            size, division, part = max(gaps, key=lambda gap: gap[0])
            named = {"slice": division["slice"], "title": division["title"], "value": part["value"]}
            out[figure] = {**named, "size": size, "rate": part[figure]["value"]}
        elif "none" in verdicts:
            out[figure] = {"slice": None, "title": None, "value": None, "size": 0.0, "rate": None}
        else:
            out[figure] = None
    return out


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
            "recall": share(columns.flag, rows & columns.positive).to_json_dict(),
            "false_flag": share(columns.flag, rows & ~columns.positive).to_json_dict(),
            "missed_as_recorded": share(~columns.recorded_stalking, has & columns.positive).to_json_dict(),
            "precision": share(columns.positive, rows & columns.flag).to_json_dict(),
        }
    return out
