"""The flat fields of a file and how one cell of each kind is read.

The fields and their kinds come from `stalkscreen.schema`, so that a field is declared once. A cell that cannot be read
is left as it is: the rules (`stalkscreen.dataset.rules`) find and report it. A blank cell is always None.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from stalkscreen.dataset.assembly import assemble, defaults
from stalkscreen.schema import LONDON, PERSON_FIELDS, Evidence, EvidenceStatus, Incident, LabelledIncident, Person

Kind = Literal["id", "narrative", "text", "time", "choice", "flag", "whole", "names", "evidence", "object", "person"]

PEOPLE = ("victim", "suspect")
EXTRA_COLUMN = "extra_json"
"""Column of a CSV or Parquet file for extra values that are not text: a JSON object."""
GUARD_COLUMN = "guarded_cells"
"""Column of a CSV file naming the cells of its row that start with an added apostrophe, separated by `|`."""
RESERVED = (EXTRA_COLUMN, GUARD_COLUMN)

NONE_PRESENT = "none"
"""In a CSV cell of names: looked for, none present (contract, section 1)."""

_FLAGS = {
    **dict.fromkeys(("true", "1", "1.0", "yes"), True),
    **dict.fromkeys(("false", "0", "0.0", "no"), False),
}
_WHOLE = re.compile(r"[+-]?\d{1,9}(\.0+)?", re.ASCII)
_HUGE = 10**40
"""Numbers beyond this are nobody's id, and Python refuses to write out much longer ones."""
_EVIDENCE = TypeAdapter(tuple[Evidence, ...])
_SPAN = defaults(Evidence)
_STATUSES = get_args(EvidenceStatus)
_IDS = ("incident_id", "case_id", "pair_id")


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One flat field.

    Attributes:
        name: As in a CSV header.
        kind: How its cells are read.
        choices: Allowed values of a choice, in schema order.
        is_label: Whether a labelled set adds it. Only labels may be quoted in a message.
        is_person: Whether it belongs to the victim or the suspect.
    """

    name: str
    kind: Kind
    choices: tuple[str, ...] = ()
    is_label: bool = False
    is_person: bool = False

    @property
    def reader(self) -> Callable[[Any], Any]:
        """Function from a raw cell to its value, None when blank, or the cell itself when it cannot be read."""
        if self.kind == "choice":
            return _choice_reader(self.choices)
        if self.kind == "text":
            return _person_text if self.is_person else _text
        return _READERS[self.kind]


def _core(annotation: Any) -> Any:
    """The type without `Annotated` and without `| None`."""
    if get_origin(annotation) is Annotated:
        return _core(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return _core(next(part for part in get_args(annotation) if part is not type(None)))
    return annotation


def _spec(name: str, annotation: Any, is_label: bool) -> FieldSpec:
    core = _core(annotation)
    kind: Kind = "text"
    choices: tuple[str, ...] = ()
    if name == "narrative":
        kind = "narrative"
    elif name in _IDS:
        kind = "id"
    elif get_origin(core) is Literal:
        kind, choices = "choice", get_args(core)
    elif get_origin(core) is tuple:
        kind = "evidence" if get_args(core)[0] is Evidence else "names"
    elif get_origin(core) is dict:
        kind = "object"
    else:
        plain: dict[Any, Kind] = {bool: "flag", int: "whole", datetime: "time", Person: "person"}
        kind = plain.get(core, "text")
    return FieldSpec(name, kind, choices, is_label)


def _flat() -> dict[str, FieldSpec]:
    flat: dict[str, FieldSpec] = {}
    for name, info in LabelledIncident.model_fields.items():
        spec = _spec(name, info.annotation, name not in Incident.model_fields)
        if spec.kind == "person":
            for part in PERSON_FIELDS:
                flat[f"{name}_{part}"] = FieldSpec(f"{name}_{part}", "text", is_person=True)
        else:
            flat[name] = spec
    return flat


FIELDS: dict[str, FieldSpec] = _flat()
"""Every flat field of a labelled set, in schema order."""
FLAT_FIELDS: tuple[str, ...] = tuple(FIELDS)
INCIDENT_FIELDS: tuple[str, ...] = tuple(name for name, spec in FIELDS.items() if not spec.is_label)


def is_blank(cell: Any) -> bool:
    """Whether a cell says nothing: None, NaN, or text of spaces only."""
    return cell is None or (isinstance(cell, str) and not cell.strip()) or (isinstance(cell, float) and cell != cell)


def read_cells(spec: FieldSpec, cells: list[Any]) -> list[Any]:
    """All cells of one column, read by the field's kind. Equal texts are read once."""
    if spec.kind == "narrative":
        return [None if is_blank(cell) else cell for cell in cells]
    texts = _Remembered(spec.reader)
    return [
        cell
        if cell is None or cell.__class__ is bool
        else texts[cell]
        if cell.__class__ is str
        else None
        if cell != cell
        else texts.read(cell)
        for cell in cells
    ]


class _Remembered(dict[str, Any]):
    """Text cells already read. Text only: as keys, 1, 1.0 and True would be one."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        super().__init__()
        self.read = read

    def __missing__(self, cell: str) -> Any:
        value = None if is_blank(cell) else self.read(cell)
        self[cell] = value
        return value


def _flag(cell: Any) -> Any:
    if isinstance(cell, bool):
        return cell
    if isinstance(cell, str):
        return _FLAGS.get(cell.strip().lower(), cell)
    if isinstance(cell, int | float) and cell in (0, 1):
        return bool(cell)
    return cell


def _choice_reader(choices: tuple[str, ...]) -> Callable[[Any], Any]:
    known = {choice.lower(): choice for choice in choices}

    def read(cell: Any) -> Any:
        return known.get(cell.strip().lower(), cell) if isinstance(cell, str) else cell

    return read


def _id(cell: Any) -> Any:
    return str(cell) if isinstance(cell, int) and abs(cell) < _HUGE else cell


def _text(cell: Any) -> Any:
    if isinstance(cell, int | float) and abs(cell) < _HUGE:
        return str(cell)
    return cell.isoformat() if isinstance(cell, date) else cell


def _person_text(cell: Any) -> Any:
    """As `_text`, but 447700900123.0 is a telephone number that a spreadsheet took for a decimal."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return _text(cell)


def _time(cell: Any) -> Any:
    """ISO 8601. Digits alone are never taken for seconds since 1970. Without an offset: Europe/London."""
    value: Any = cell
    if isinstance(cell, str):
        try:
            value = datetime.fromisoformat(cell.strip())
        except ValueError:
            return cell
    elif isinstance(cell, date) and not isinstance(cell, datetime):
        value = datetime(cell.year, cell.month, cell.day)
    elif hasattr(cell, "to_pydatetime"):
        value = cell.to_pydatetime(warn=False)
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=LONDON)
    return value


def _whole(cell: Any) -> Any:
    if isinstance(cell, str) and _WHOLE.fullmatch(cell.strip()):
        return int(float(cell))
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return cell


def _names(cell: Any) -> Any:
    parts = cell.split("|") if isinstance(cell, str) else cell
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        return cell
    names = tuple(name for part in parts if (name := part.strip().lower()))
    return () if names == (NONE_PRESENT,) else names


def _evidence(cell: Any) -> Any:
    spans = _json(cell)
    if not isinstance(spans, list | tuple):
        return cell
    if all(map(_is_plain_span, spans)):
        return tuple(assemble(Evidence, {**_SPAN, **span}, set(span), None) for span in spans)
    given = [{k: v for k, v in span.items() if v is not None} if isinstance(span, dict) else span for span in spans]
    try:
        return _EVIDENCE.validate_python(given)
    except ValidationError:
        return cell


def _is_plain_span(span: Any) -> bool:
    """Whether a span is as `Evidence` wants it down to the types, so that there is nothing left to validate."""
    if not isinstance(span, dict) or not _SPAN.keys() >= span.keys() or len(span) < 3:
        return False
    start, end = span.get("start"), span.get("end")
    return (
        type(start) is int
        and type(end) is int
        and 0 <= start < end
        and type(span.get("indicator")) is str
        and span.get("status", "present") in _STATUSES
    )


def _object(cell: Any) -> Any:
    value = _json(cell)
    return value if isinstance(value, dict) else cell


def _json(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    try:
        return from_json(cell)
    except ValueError:
        return cell


_READERS: dict[Kind, Callable[[Any], Any]] = {
    "id": _id,
    "time": _time,
    "flag": _flag,
    "whole": _whole,
    "names": _names,
    "evidence": _evidence,
    "object": _object,
}


def json_object(text: str) -> dict[str, Any] | str:
    """The JSON object that a line or cell holds, or what is wrong with it, without any of its text.

    NaN is read, because pandas writes it for a missing value; of a name that occurs twice the last counts.
    """
    try:
        value = from_json(text)
    except ValueError as error:
        place = re.search(r"column (\d+)$", str(error))
        return "is not valid JSON" + (f" (character {int(place[1]):,})" if place else "")
    return value if isinstance(value, dict) else "is not a JSON object"
