"""Parse CSV, JSON Lines and Parquet into tables of cells, a chunk at a time.

A table holds the cells of our flat fields as they stand in the file, and beside them what the file has besides. A row
that cannot be parsed is a problem and not in the table; memory is bounded by the chunk for all three formats.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from stalkscreen.dataset.columns import Columns
from stalkscreen.dataset.fields import EXTRA_COLUMN, FIELDS, GUARD_COLUMN, PEOPLE, RESERVED, is_blank, json_object
from stalkscreen.dataset.problems import Problem, RefusedFileError
from stalkscreen.dataset.sources import Source
from stalkscreen.schema import PERSON_FIELDS

DELIMITERS = (",", ";", "\t")
MAX_CELL = 131_072
"""Longest CSV cell the parser takes, in characters (Python's `csv`). Beyond it a quote was surely left open."""


@dataclass(slots=True)
class Table:
    """Some rows of one file, all columns of the same length.

    Attributes:
        file: The path as given.
        rows: Row number of each row, see `Problem.row`.
        cells: Our flat field to its cells, for the fields the file has.
        extras: What else each row has, by the file's own names.
        problems: What was wrong already in parsing.
        read: Rows seen, with those that could not be parsed.
    """

    file: str
    rows: list[int]
    cells: dict[str, list[Any]]
    extras: list[dict[str, Any]]
    problems: list[Problem] = field(default_factory=list)
    read: int = 0


@dataclass(slots=True)
class Parser:
    """Reads one file as tables.

    Attributes:
        source: The file.
        columns: The mapping of its column names.
        fields: Flat fields to be read; every other column is an extra.
        chunk_rows: Rows a table, at least 1.
        notes: Filled while reading, see `Source.notes`.
    """

    source: Source
    columns: Columns
    fields: tuple[str, ...]
    chunk_rows: int
    notes: list[str] = field(default_factory=list)

    def tables(self) -> Iterator[Table]:
        """All tables in file order.

        Raises:
            RefusedFileError: The file as a whole cannot be used: a column is missing, it has no rows, it is damaged.
        """
        read = {".csv": self._csv, ".jsonl": self._jsonl, ".parquet": self._parquet}[self.source.suffix]
        rows = 0
        for table in read():
            rows += table.read
            yield table
        if rows == 0:
            raise RefusedFileError(self.source.path, "the file has no rows", "at least one record")

    def _problem(self, row: int, name: str | None, wrong: str, allowed: str) -> Problem:
        return Problem(str(self.source.path), row, name, wrong, allowed)

    def _csv(self) -> Iterator[Table]:
        source = self.source
        with source.path.open(encoding=source.encoding, newline="") as stream:
            reader = csv.reader(stream, delimiter=self._delimiter(), strict=True)
            header = [name.strip() for name in _first_record(reader)]
            found = self.columns.find(source.path, header, self.fields)
            if nameless := [str(number) for number, name in enumerate(header, 1) if not name]:
                self._note(f"column {', '.join(nameless)} has no name and is left out")
            rows: list[int] = []
            records: list[list[str]] = []
            problems: list[Problem] = []
            row = read = 0
            while True:
                row += 1
                line = reader.line_num + 1
                try:
                    record = next(reader)
                except StopIteration:
                    break
                except csv.Error:
                    wrong = (
                        f"lines {line:,} to {reader.line_num:,} of the file cannot be read: a quote is left open or not "
                        "doubled"
                    )
                    allowed = (
                        f'quotes inside a quoted cell written twice (""), and at most {MAX_CELL:,} characters a cell'
                    )
                    problems.append(self._problem(row, None, wrong, allowed))
                    read += 1
                    continue
                if not record:
                    continue
                read += 1
                if len(record) != len(header):
                    wrong = f"the row has {len(record)} cells"
                    allowed = f"{len(header)}, as many as there are column names; quote cells that hold the delimiter"
                    problems.append(self._problem(row, None, wrong, allowed))
                else:
                    rows.append(row)
                    records.append(record)
                if read >= self.chunk_rows:
                    yield self._csv_table(header, rows, records, found, problems, read)
                    rows, records, problems, read = [], [], [], 0
            if read:
                yield self._csv_table(header, rows, records, found, problems, read)

    def _delimiter(self) -> str:
        """The delimiter by which the first line has most of the columns we need, then most columns."""
        needed = {self.columns.column(ours) for ours in self.columns.needed(self.fields)}
        scores: list[tuple[int, int]] = []
        for delimiter in DELIMITERS:
            with self.source.path.open(encoding=self.source.encoding, newline="") as stream:
                try:
                    names = _first_record(csv.reader(stream, delimiter=delimiter, strict=True))
                except csv.Error:
                    names = []
            scores.append((len(needed.intersection(name.strip() for name in names)), len(names)))
        best = max(range(len(DELIMITERS)), key=lambda i: scores[i])
        if scores[best][1] == 0:
            raise RefusedFileError(
                self.source.path,
                "the line of column names cannot be read",
                f"column names separated by one of {', '.join(map(repr, DELIMITERS))}, every quote closed",
            )
        return DELIMITERS[best]

    def _csv_table(
        self,
        header: list[str],
        rows: list[int],
        records: list[list[str]],
        found: dict[str, str],
        problems: list[Problem],
        read: int,
    ) -> Table:
        columns: list[Any] = list(zip(*records, strict=True)) or [() for _ in header]
        data = {name: list(cells) for name, cells in zip(header, columns, strict=True) if name}
        for position, guarded in enumerate(data.get(GUARD_COLUMN, ())):
            for name in filter(None, guarded.split("|")):
                if name in data:
                    data[name][position] = data[name][position].removeprefix("'")
        return self._from_columns(rows, data, found, problems, read, blank_text_is_absent=True)

    def _parquet(self) -> Iterator[Table]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.source.path
        try:
            with pq.ParquetFile(path) as file:
                names = list(file.schema_arrow.names)
                found = self.columns.find(path, names, self.fields)
                row = 0
                for batch in file.iter_batches(batch_size=self.chunk_rows):
                    count = batch.num_rows
                    if count == 0:
                        continue
                    data = {name: batch.column(i).to_pylist() for i, name in enumerate(names)}
                    rows = list(range(row + 1, row + count + 1))
                    row += count
                    yield self._from_columns(rows, data, found, [], count, blank_text_is_absent=False)
        except (pa.ArrowException, OSError, ValueError, OverflowError):
            raise RefusedFileError(
                path, "it is damaged or holds values that cannot be read", "a Parquet file; write it again"
            ) from None

    def _from_columns(
        self,
        rows: list[int],
        data: dict[str, list[Any]],
        found: dict[str, str],
        problems: list[Problem],
        read: int,
        *,
        blank_text_is_absent: bool,
    ) -> Table:
        used = self._used(found, data)
        extras: list[dict[str, Any]] = [{} for _ in rows]
        for theirs in [name for name in data if name not in used]:
            name = self.columns.extra_name(theirs, data)
            for extra, cell in zip(extras, data[theirs], strict=True):
                if cell is None or cell != cell or (blank_text_is_absent and cell == ""):
                    continue
                extra[name] = _plain(cell)
        cells = {ours: data[theirs] for ours, theirs in found.items()}
        table = Table(str(self.source.path), rows, cells, extras, problems, read)
        people = {who: data[who] for who in self._people(found) if who in data}
        self._expand(table, people, data.get(EXTRA_COLUMN, []))
        return table

    def _jsonl(self) -> Iterator[Table]:
        seen: set[str] = set()
        first = True
        rows: list[int] = []
        records: list[dict[str, Any]] = []
        problems: list[Problem] = []
        with self.source.path.open(encoding=self.source.encoding, newline="\n") as stream:
            for number, line in enumerate(stream, 1):
                if not line.strip():
                    continue
                record = json_object(line)
                if isinstance(record, str):
                    problems.append(self._problem(number, None, f"the line {record}", "one JSON object on each line"))
                else:
                    rows.append(number)
                    records.append(record)
                if len(rows) + len(problems) >= self.chunk_rows:
                    yield self._jsonl_table(rows, records, problems, seen, first)
                    rows, records, problems, first = [], [], [], False
        if rows or problems:
            yield self._jsonl_table(rows, records, problems, seen, first)
        for ours in self.columns.theirs:
            if seen and self.columns.column(ours) not in seen:
                raise RefusedFileError(self.source.path, *self.columns.absent(ours, sorted(seen)), field=ours)

    def _jsonl_table(
        self,
        rows: list[int],
        records: list[dict[str, Any]],
        problems: list[Problem],
        seen: set[str],
        first: bool,
    ) -> Table:
        seen.update(*records)
        required = [ours for ours in self.columns.needed(self.fields) if ours in self.fields]
        if first and records:
            for ours in required:
                if ours not in self.columns.theirs and ours not in seen:
                    raise RefusedFileError(self.source.path, *self.columns.absent(ours, sorted(seen)), field=ours)
        wanted = self.columns.wanted(self.fields)
        found = {ours: theirs for ours in wanted if (theirs := self.columns.column(ours)) in seen}
        found |= {ours: self.columns.column(ours) for ours in required}
        used = self._used(found, seen)
        by_row = [map(record.get, found.values()) for record in records]
        by_field = map(list, zip(*by_row, strict=True)) if records else ([] for _ in found)
        cells = dict(zip(found, by_field, strict=True))
        names = {name: self.columns.extra_name(name, seen) for name in seen - used}
        extras = [
            {names[name]: cell for name, cell in record.items() if name in names and cell == cell}
            if not record.keys() <= used
            else {}
            for record in records
        ]
        table = Table(str(self.source.path), rows, cells, extras, problems, len(rows) + len(problems))
        people = {who: [record.get(who) for record in records] for who in self._people(found) if who in seen}
        self._expand(table, people, [r.get(EXTRA_COLUMN) for r in records] if EXTRA_COLUMN in seen else [])
        return table

    def _used(self, found: dict[str, str], available: Any) -> set[str]:
        """Names that are not extras. A column with our name loses to the one it was mapped to, with a note."""
        columns = set(found.values())
        for ours, theirs in found.items():
            if ours != theirs and ours in available and ours not in columns:
                self._note(f"{ours} is read from the mapped column; the file's own column {ours!r} is left out")
                columns.add(ours)
        return columns | set(self._people(found)) | set(RESERVED)

    def _people(self, found: dict[str, str]) -> list[str]:
        """The victim and the suspect, but for a name that is a column of something else."""
        return [who for who in self.columns.wanted(PEOPLE) if who not in found.values()]

    def _note(self, text: str) -> None:
        note = f"{self.source.path}: {text}"
        if note not in self.notes:
            self.notes.append(note)

    def _expand(self, table: Table, people: dict[str, list[Any]], extra_cells: list[Any]) -> None:
        """Nested people into flat cells, and the extra column into the extras."""
        for who, values in people.items():
            for position, value in enumerate(values):
                if not is_blank(value):
                    wrong = _flatten_person(table, who, position, value)
                    if wrong is not None:
                        allowed = f"{', '.join(PERSON_FIELDS)} in one object; in CSV, columns {who}_forename and so on"
                        table.problems.append(self._problem(table.rows[position], who, wrong, allowed))
        ours = {*self.fields, *PEOPLE, *RESERVED, *(name for name in FIELDS if FIELDS[name].is_person)}
        for position, cell in enumerate(extra_cells):
            if is_blank(cell):
                continue
            extra = json_object(cell) if isinstance(cell, str) else cell
            if not isinstance(extra, dict) or ours.intersection(extra):
                problem = self._problem(
                    table.rows[position],
                    EXTRA_COLUMN,
                    "is not a JSON object of extra values",
                    "a JSON object without our field names, or blank",
                )
                table.problems.append(problem)
            else:
                table.extras[position].update({name: cell for name, cell in extra.items() if cell == cell})


def _first_record(reader: Any) -> list[str]:
    return next((record for record in reader if record), [])


def _flatten_person(table: Table, who: str, position: int, value: Any) -> str | None:
    """Put one person's parts into flat cells; what is wrong, if anything."""
    if not isinstance(value, dict):
        return "is not an object"
    for part, cell in value.items():
        if part not in PERSON_FIELDS:
            return "has a name that is not one of a person's fields"
        if is_blank(cell):
            continue
        column = table.cells.get(f"{who}_{part}")
        if column is None:
            column = table.cells[f"{who}_{part}"] = [None] * len(table.rows)
        if not is_blank(column[position]):
            return f"gives {part}, which the row gives again as {who}_{part}"
        column[position] = cell
    return None


def _plain(cell: Any) -> Any:
    """An extra cell as a JSON type: dates in ISO 8601, decimals as text, bytes in hexadecimal."""
    if isinstance(cell, str | bool | int | float | list | dict):
        return cell
    if hasattr(cell, "isoformat"):
        return cell.isoformat()
    return cell.hex() if isinstance(cell, bytes) else str(cell)
