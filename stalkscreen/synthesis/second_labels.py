"""The blind second labelling and the decisions on where it differs, as files: rows, readers, and one way to compare.

`second_labels.jsonl`: one JSON object a line with `incident_id` and any of `stalking`, `offence_family`, `tier`,
`domestic`, `cyber`, `relationship`, `four_fixated`, `four_obsessive`, `four_unwanted`, `four_repeated` and
`indicators` (names present). A label that a row does not have is left out, except that `tier` null on a row judged
stalking means unclear.

`adjudications.jsonl`: one JSON object a line for every difference, with `incident_id`, `label` (an indicator as
`indicator:name`), `corpus` (the first label), `second`, `decision` and `reason`. Neither file has any `narrative`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from stalkscreen.errors import DataError
from stalkscreen.schema import Family, LabelledIncident, Relationship
from stalkscreen.taxonomy import load_taxonomy

SECOND_FILE = "second_labels.jsonl"
ADJUDICATIONS_FILE = "adjudications.jsonl"
INDICATOR = "indicator:"
PLAIN = (
    "stalking",
    "offence_family",
    "tier",
    "domestic",
    "cyber",
    "relationship",
    "four_fixated",
    "four_obsessive",
    "four_unwanted",
    "four_repeated",
)
"""Labels with one value a text, in the order of the guide."""
MANY_VALUED = frozenset({"offence_family", "tier", "relationship"})
TIERS = ("s2A", "s4A")

Value = bool | str | None


class SecondLabels(BaseModel):
    """One row of `second_labels.jsonl`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    incident_id: str
    stalking: bool | None = None
    offence_family: Family | None = None
    tier: str | None = None
    domestic: bool | None = None
    cyber: bool | None = None
    relationship: Relationship | None = None
    four_fixated: bool | None = None
    four_obsessive: bool | None = None
    four_unwanted: bool | None = None
    four_repeated: bool | None = None
    indicators: tuple[str, ...] | None = None

    @field_validator("tier")
    @classmethod
    def _known_tier(cls, value: str | None) -> str | None:
        if value not in (None, *TIERS, "unclear", "not_applicable"):
            raise ValueError("must be s2A, s4A, unclear, not_applicable or null")
        return value if value in TIERS else None

    @field_validator("indicators")
    @classmethod
    def _known_indicators(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        unknown = sorted(set(value or ()) - set(load_taxonomy().indicator_names))
        if unknown:
            raise ValueError(f"unknown indicators: {', '.join(unknown)}")
        return value


class Adjudication(BaseModel):
    """One row of `adjudications.jsonl`: what was decided where the two labellers differ, and on what ground."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    incident_id: str
    label: str
    corpus: Value
    second: Value
    decision: Value
    reason: str = Field(min_length=1)

    @field_validator("label")
    @classmethod
    def _known_label(cls, value: str) -> str:
        if value not in all_labels():
            raise ValueError(f"must be one of {', '.join(PLAIN)} or {INDICATOR} and the name of an indicator")
        return value


def all_labels() -> tuple[str, ...]:
    """Every label that is compared, in the order of the guide."""
    return (*PLAIN, *(INDICATOR + name for name in load_taxonomy().indicator_names))


def value_of(row: LabelledIncident | SecondLabels, label: str) -> Value:
    """The value of a label in a row; None when it is absent (a tier: unclear)."""
    if label.startswith(INDICATOR):
        return None if row.indicators is None else label.removeprefix(INDICATOR) in row.indicators
    value: Value = getattr(row, label)
    return value


def word(label: str, value: Value) -> str:
    """A value as the tables say it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unclear" if label == "tier" and value is None else str(value)


def comparable(label: str, first: LabelledIncident, second: SecondLabels) -> bool:
    """Whether both have the label; a tier is compared where both say stalking."""
    if label == "tier":
        return bool(first.stalking and second.stalking)
    return value_of(first, label) is not None and value_of(second, label) is not None


def differences(
    first: Mapping[str, LabelledIncident], second: Iterable[SecondLabels]
) -> Iterator[tuple[str, str, Value, Value]]:
    """Each difference as incident id, label, first value and second value."""
    for row in second:
        record = first[row.incident_id]
        for label in all_labels():
            one, other = value_of(record, label), value_of(row, label)
            if one != other and comparable(label, record, row):
                yield row.incident_id, label, one, other


Row = TypeVar("Row", SecondLabels, Adjudication)


def read_second(path: Path, corpus: Sequence[LabelledIncident]) -> list[SecondLabels]:
    """Read the second labelling.

    Raises:
        DataError: Every row that cannot be used, by line: not JSON, an unknown field, value or id, an id twice.
    """
    return _read(path, corpus, SecondLabels)


def read_adjudications(path: Path, corpus: Sequence[LabelledIncident]) -> list[Adjudication]:
    """Read the decisions on the differences.

    Raises:
        DataError: As `read_second`; here a label of an id may be there once.
    """
    return _read(path, corpus, Adjudication)


def _read(path: Path, corpus: Sequence[LabelledIncident], form: type[Row]) -> list[Row]:
    known = {record.incident_id for record in corpus}
    seen: set[str] = set()
    rows: list[Row] = []
    problems: list[str] = []
    for line, text in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not text.strip():
            continue
        try:
            row = form.model_validate(json.loads(text))
        except ValidationError as error:
            fields = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            problems.append(f"line {line}: {fields}")
            continue
        except ValueError:
            problems.append(f"line {line}: not JSON")
            continue
        if row.incident_id not in known:
            problems.append(f"line {line}: incident_id {row.incident_id} is not in the corpus")
        key = f"{row.incident_id} {row.label}" if isinstance(row, Adjudication) else f"incident_id {row.incident_id}"
        if key in seen:
            problems.append(f"line {line}: {key} is there twice")
        seen.add(key)
        rows.append(row)
    if problems:
        raise DataError(f"{path}:\n" + "\n".join(f"  {p}" for p in problems), problems=problems, file=str(path))
    return rows
