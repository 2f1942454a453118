"""Between a record and its flat row, the shape of one CSV or Parquet row."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from stalkscreen.dataset.fields import EXTRA_COLUMN, FIELDS, FLAT_FIELDS, PEOPLE, RESERVED, is_blank
from stalkscreen.errors import DataError
from stalkscreen.schema import LONDON, PERSON_FIELDS, Evidence, Incident, Person

_COLUMN_NAME = re.compile(r"[A-Za-z]\w*([ .-]\w+)*", re.ASCII)
_PERSON_FIELDS = frozenset(name for name, spec in FIELDS.items() if spec.is_person)


def flatten(record: Incident) -> dict[str, Any]:
    """The flat row of a record, absent fields left out.

    Args:
        record: An `Incident` or `LabelledIncident`.

    Returns:
        Flat field name to value, in schema order: people as `victim_surname`, times as ISO 8601 text (without an offset
        when they are Europe/London), names as a list, evidence as a list of objects. Extra values that are text and
        whose name can head a column follow under that name; all others are in one object under `extra_json`.

    Raises:
        DataError: An extra has a name that files keep for something else, such as `victim_surname`.
    """
    row: dict[str, Any] = {}
    for name in type(record).model_fields:
        value = getattr(record, name)
        if isinstance(value, Person):
            for part in PERSON_FIELDS:
                if (text := getattr(value, part)) is not None:
                    row[f"{name}_{part}"] = text
        elif value is not None:
            row[name] = _plain(value)
    rest: dict[str, Any] = {}
    for name, value in (record.model_extra or {}).items():
        if name in RESERVED or name in _PERSON_FIELDS:
            raise DataError(
                f"the extra value {name!r} has a name that files use for something else; rename it",
                incident_id=record.incident_id,
                field=name,
            )
        if _is_column(name, value):
            row[name] = value
        else:
            rest[name] = value
    if rest:
        row[EXTRA_COLUMN] = rest
    return row


def unflatten(row: Mapping[str, Any]) -> dict[str, Any]:
    """The nested record of a flat row: what JSON Lines hold and `model_validate` takes.

    Args:
        row: As from `flatten`; `extra_json` may be an object or its JSON text. Blank cells of our fields are dropped.

    Returns:
        The fields with `victim` and `suspect` as objects, then the extras.
    """
    record: dict[str, Any] = {}
    extras: dict[str, Any] = {}
    for name, value in row.items():
        if name == EXTRA_COLUMN:
            extras.update(json.loads(value) if isinstance(value, str) else value or {})
        elif name in _PERSON_FIELDS:
            if not is_blank(value):
                who, _, part = name.partition("_")
                record.setdefault(who, {})[part] = value
        elif name not in FLAT_FIELDS:
            extras[name] = value
        elif not is_blank(value):
            record[name] = value
    return record | extras


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, tuple):
        return [span.model_dump() if isinstance(span, Evidence) else span for span in value]
    return value


def time_text(value: datetime) -> str:
    """ISO 8601; Europe/London without an offset, which is read back as the same time (contract, section 1).

    The second of the two hours when the clocks go back keeps its offset, without which it would be read as the first.
    """
    if value.tzinfo is LONDON and not value.fold:
        return value.replace(tzinfo=None).isoformat()
    return value.isoformat()


def _is_column(name: str, value: Any) -> bool:
    """Whether an extra can be a text column of its own and come back the same."""
    if not isinstance(value, str) or not value or not _COLUMN_NAME.fullmatch(name):
        return False
    if name in FLAT_FIELDS or name in PEOPLE:
        return False
    return not any("\ud800" <= char <= "\udfff" or char == "\0" for char in value)
