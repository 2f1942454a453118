"""Whole files in: checked to the last row before anything is used.

In: paths of `.jsonl`, `.csv` or `.parquet` files. Out: records with the hashes of their files, or one `DataError` with every
problem of every file. Nothing is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from stalkscreen.dataset.assembly import assemble, collection_paused, defaults
from stalkscreen.dataset.checks import SeenIds, check
from stalkscreen.dataset.columns import Columns
from stalkscreen.dataset.fields import FLAT_FIELDS, INCIDENT_FIELDS, PEOPLE
from stalkscreen.dataset.problems import Problem, RefusedFileError, data_error
from stalkscreen.dataset.sources import inspect
from stalkscreen.dataset.tables import Parser, Table
from stalkscreen.errors import DataError
from stalkscreen.schema import PERSON_FIELDS, Incident, LabelledIncident, Person

Paths = str | Path | Iterable[str | Path]
Record = TypeVar("Record", bound=Incident)

CHUNK_ROWS = 25_000
"""Rows checked at a time; the cells of a chunk are let go when its records are built."""


@dataclass(frozen=True, slots=True)
class IncidentFile:
    """Incidents as read.

    Attributes:
        records: In the order of the files and their rows; ids are unique.
        files: `{"name", "sha256", "rows"}` of each file, in the order given.
        data_hash: sha256 over the files' hexadecimal sha256 in that order: the same files, the same hash.
        notes: What a person should know, such as an encoding that was guessed. Without any text of the records.
    """

    records: list[Incident]
    files: list[dict[str, Any]]
    data_hash: str
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Labelled incidents as read; attributes as of `IncidentFile`."""

    records: list[LabelledIncident]
    files: list[dict[str, Any]]
    data_hash: str
    notes: list[str] = field(default_factory=list)


def read_incidents(paths: Paths, columns: Columns | None = None) -> IncidentFile:
    """Read incidents; label columns, if any, are passed through unread like every other extra.

    Args:
        paths: One path or several. Ids are unique over all of them.
        columns: The force's own column names; the same for all files.

    Raises:
        DataError: Any file or row is wrong. Its message shows the first 50 problems and their number; its context has
            all of them under `problems` (`Problem.to_dict`), `total` and `files`.
    """
    with collection_paused():
        return IncidentFile(*_read(paths, columns or Columns(), Incident, INCIDENT_FIELDS))


def read_labelled(paths: Paths, columns: Columns | None = None) -> LabelledSet:
    """Read a labelled set. Needs the `train` extra (pandera).

    An absent label stays None: unknown, not negative.

    Args:
        paths: One path or several. Ids are unique over all of them.
        columns: The force's own column names; the same for all files.

    Raises:
        DataError: As for `read_incidents`.
    """
    with collection_paused():
        return LabelledSet(*_read(paths, columns or Columns(), LabelledIncident, FLAT_FIELDS))


def as_paths(paths: Paths) -> list[Path]:
    """One path or several as a list.

    Raises:
        DataError: There is none.
    """
    listed = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not listed:
        raise DataError("no file was named; at least one is needed")
    return listed


def _read(
    paths: Paths, columns: Columns, model: type[Record], fields: tuple[str, ...]
) -> tuple[list[Record], list[dict[str, Any]], str, list[str]]:
    records: list[Record] = []
    files: list[dict[str, Any]] = []
    notes: list[str] = []
    problems: list[Problem] = []
    seen = SeenIds()
    read: set[Path] = set()
    for path in as_paths(paths):
        try:
            source = inspect(path)
            if path.resolve() in read:
                raise RefusedFileError(path, "the file is named twice", "each file once")
            read.add(path.resolve())
            seen.start_file(str(path))
            parser = Parser(source, columns, fields, CHUNK_ROWS)
            rows = 0
            for table in parser.tables():
                rows += table.read
                problems += check(table, fields, seen, with_pandera=model is LabelledIncident)
                if not problems:
                    records += build(table, model, range(len(table.rows)))
        except RefusedFileError as refused:
            problems.append(refused.problem)
            continue
        files.append({"name": path.name, "sha256": source.sha256, "rows": rows})
        notes += [*source.notes, *parser.notes]
    if problems:
        raise data_error(problems)
    data_hash = hashlib.sha256("".join(file["sha256"] for file in files).encode()).hexdigest()
    return records, files, data_hash, notes


def build(table: Table, model: type[Record], positions: Sequence[int]) -> list[Record]:
    """Records of checked rows.

    They equal what `model.model_validate` makes of the same values (a test holds that), without checking all of it a
    second time.

    Args:
        table: Read and checked.
        model: `Incident` or `LabelledIncident`.
        positions: Rows of the table to build, in order.
    """
    names = [name for name in table.cells if name in model.model_fields]
    columns = [table.cells[name] for name in names]
    people = _people(table)
    absent = defaults(model)
    # Most rows state the same fields: records that do share one set of their names, which is a fifth of their memory.
    shared: dict[frozenset[str], set[str]] = {}
    records = []
    for position in positions:
        values = dict(absent)
        given = set()
        for name, column in zip(names, columns, strict=True):
            if (cell := column[position]) is not None:
                values[name] = cell
                given.add(name)
        for who, persons in people.items():
            if (person := persons[position]) is not None:
                values[who] = person
                given.add(who)
        extra = table.extras[position]
        given |= extra.keys()
        records.append(assemble(model, values, shared.setdefault(frozenset(given), given), extra))
    return records


def _people(table: Table) -> dict[str, list[Person | None]]:
    """The victim and the suspect of each row; a person of whom nothing is said is None."""
    people: dict[str, list[Person | None]] = {}
    absent = defaults(Person)
    for who in PEOPLE:
        parts = [part for part in PERSON_FIELDS if f"{who}_{part}" in table.cells]
        if not parts:
            continue
        people[who] = []
        for cells in zip(*(table.cells[f"{who}_{part}"] for part in parts), strict=True):
            given = {part: cell for part, cell in zip(parts, cells, strict=True) if cell is not None}
            person = assemble(Person, absent | given, set(given), None) if given else None
            people[who].append(person)
    return people
