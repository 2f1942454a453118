"""A file of incidents of any size, a chunk at a time, with the rows that are wrong set aside.

For `screen --rejects FILE`: one blank row must not stop a million (contract, section 1). A file that is wrong as a whole is
still refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stalkscreen.dataset.checks import SeenIds, check
from stalkscreen.dataset.columns import Columns
from stalkscreen.dataset.fields import INCIDENT_FIELDS
from stalkscreen.dataset.problems import Problem, RefusedFileError, data_error
from stalkscreen.dataset.reading import build
from stalkscreen.dataset.sources import inspect
from stalkscreen.dataset.tables import Parser
from stalkscreen.schema import Incident

STREAM_ROWS = 2000
"""Rows a chunk: some 2 MB of narratives at a time."""


@dataclass(frozen=True, slots=True)
class IncidentChunk:
    """Some rows of the file.

    Attributes:
        incidents: The good ones, in file order.
        rejects: Every problem of the others, in row order; a row may have several.
        rows: Rows read. `rows - len(incidents)` were rejected.
    """

    incidents: list[Incident]
    rejects: list[Problem]
    rows: int


class IncidentStream(Iterator[IncidentChunk]):
    """The chunks of one file. Memory is bounded by the chunk, apart from a hash for each id.

    Attributes:
        name: File name without its folder.
        sha256: Of the file's bytes.
        notes: As of `IncidentFile`; complete when the stream has ended.
    """

    def __init__(self, path: Path, columns: Columns, chunk_rows: int) -> None:
        try:
            source = inspect(path)
        except RefusedFileError as refused:
            raise data_error([refused.problem]) from None
        self.name = path.name
        self.sha256 = source.sha256
        self._source_notes = source.notes
        self._parser = Parser(source, columns, INCIDENT_FIELDS, chunk_rows)
        self._seen = SeenIds()
        self._seen.start_file(str(path))
        self._tables = self._parser.tables()
        self._next = self._read()

    @property
    def notes(self) -> list[str]:
        """Notes so far."""
        return [*self._source_notes, *self._parser.notes]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> IncidentChunk:
        chunk = self._next
        if chunk is None:
            raise StopIteration
        self._next = self._read()
        return chunk

    def _read(self) -> IncidentChunk | None:
        """One chunk ahead, so that a file that is refused as a whole is refused before its first chunk is used."""
        try:
            table = next(self._tables, None)
        except RefusedFileError as refused:
            raise data_error([refused.problem]) from None
        if table is None:
            return None
        rejects = check(table, INCIDENT_FIELDS, self._seen, with_pandera=False)
        bad = {problem.row for problem in rejects}
        good = [position for position, row in enumerate(table.rows) if row not in bad]
        return IncidentChunk(build(table, Incident, good), rejects, table.read)


def stream_incidents(path: str | Path, columns: Columns | None = None, chunk_rows: int = STREAM_ROWS) -> IncidentStream:
    """Read incidents chunk by chunk.

    Args:
        path: One `.jsonl`, `.csv` or `.parquet` file.
        columns: The force's own column names.
        chunk_rows: Rows a chunk, at least 1.

    Returns:
        An iterator of `IncidentChunk`.

    Raises:
        DataError: The file as a whole cannot be used. Raised at the call; only damage further in, or a mapped column that no
            JSON line has, is found while reading.
        ValueError: `chunk_rows` is below 1.
    """
    if chunk_rows < 1:
        raise ValueError(f"chunk_rows must be at least 1, not {chunk_rows}")
    return IncidentStream(Path(path), columns or Columns(), chunk_rows)
