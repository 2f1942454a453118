"""Write labelled sets and rejected rows. Every file appears whole or not at all.

CSV is UTF-8 with a byte order mark, because Excel otherwise misreads pound signs. A cell that a spreadsheet would take for a
formula gets an apostrophe in front (`inert`), and the row's `guarded_cells` names it, so that reading takes exactly that
apostrophe away and never one that a force's own file has.
"""

from __future__ import annotations

import csv
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stalkscreen.dataset.fields import EXTRA_COLUMN, FIELDS, FLAT_FIELDS, GUARD_COLUMN, NONE_PRESENT
from stalkscreen.dataset.problems import Problem
from stalkscreen.dataset.rows import flatten, unflatten
from stalkscreen.dataset.sources import SUFFIXES
from stalkscreen.errors import ConfigError, DataError
from stalkscreen.schema import Incident

REJECT_COLUMNS = ("incident_id", "row", "field", "reason")
REJECT_SUFFIXES = (".csv", ".jsonl")

_FORMULA_SIGNS = tuple("=+-@＝＋－＠")
_CELL_BREAKS = ("\t", "\r", "\n")
_BATCH_ROWS = 25_000


def inert(cell: str | None) -> str:
    """A CSV cell that no spreadsheet runs as a formula: one that could be taken for one gets an apostrophe in front.

    That is a cell that starts with `=`, `+`, `-`, `@` or their full-width forms, with or without spaces before it, or with
    a tab or a line break. Source of the rule: OWASP, "CSV Injection". None becomes an empty cell.
    """
    if cell is None:
        return ""
    return f"'{cell}" if cell.startswith(_CELL_BREAKS) or cell.lstrip().startswith(_FORMULA_SIGNS) else cell


def write_labelled(records: Sequence[Incident], path: str | Path) -> Path:
    """Write records so that reading them back gives equal ones, in any of the three formats.

    What does not come back: a text field of spaces only and a person with nothing in it, both of which mean absent.

    Args:
        records: `LabelledIncident`s (or `Incident`s), ids unique.
        path: `.jsonl`, `.csv` or `.parquet`. Its folder exists; a file already there is replaced.

    Raises:
        DataError: The suffix or folder is wrong, there are no records, an id occurs twice, or a value cannot be written.
    """
    path = _target(path, SUFFIXES)
    if not records:
        raise DataError(f"{path}: there are no records to write", file=str(path))
    if len({record.incident_id for record in records}) < len(records):
        raise DataError(f"{path}: an incident_id occurs twice; each id may be written once", file=str(path))
    write = {".jsonl": _write_jsonl, ".csv": _write_csv, ".parquet": _write_parquet}[path.suffix.lower()]
    try:
        with _replacing(path) as temporary:
            write(records, temporary)
    except (UnicodeEncodeError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: a value cannot be written ({type(error).__name__}); allowed are JSON values without NaN, and text "
            "of whole characters",
            file=str(path),
        ) from None
    return path


def write_rejects(path: str | Path, rows: Iterable[Problem]) -> int:
    """Write the problems of rejected rows: `incident_id`, `row`, `field`, `reason`, and nothing of the narrative.

    Args:
        path: `.csv` or `.jsonl`. Its folder exists; a file already there is replaced.
        rows: From `IncidentChunk.rejects`; one line a problem. May be an iterator, may be empty.

    Returns:
        How many lines were written.

    Raises:
        DataError: The suffix or folder is wrong.
    """
    path = _target(path, REJECT_SUFFIXES)
    count = 0
    with _replacing(path) as temporary:
        is_csv = path.suffix.lower() == ".csv"
        with temporary.open("w", encoding="utf-8-sig" if is_csv else "utf-8", newline="") as stream:
            writer = csv.writer(stream)
            if is_csv:
                writer.writerow(REJECT_COLUMNS)
            for problem in rows:
                cells = (problem.incident_id, problem.row, problem.field, problem.reason)
                if is_csv:
                    writer.writerow(["" if cell is None else inert(str(cell)) for cell in cells])
                else:
                    stream.write(_json(dict(zip(REJECT_COLUMNS, cells, strict=True))) + "\n")
                count += 1
    return count


def _target(path: str | Path, suffixes: tuple[str, ...]) -> Path:
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise DataError(f"{path}: the suffix is {path.suffix!r}; allowed: {', '.join(suffixes)}", file=str(path))
    if path.is_dir():
        raise DataError(f"{path}: it is a directory; name a file", file=str(path))
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}; make it first or choose another", file=str(path))
    return path


def make_output_folder(option: str, given: Path, folder: Path) -> None:
    """Make the folder that an output goes into: called before long work, so that one that cannot be is said at once.

    Args:
        option: The option that names the output, such as `--out`.
        given: What the caller gave for it.
        folder: The folder; one that is there stays as it is.

    Raises:
        ConfigError: It is a file, or cannot be made or written to.
    """
    why = "it may not be written to"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"it cannot be made: {error.strerror}"
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(
            f"{option} {given}: nothing can be put into the folder {folder} ({why}); name another.",
            field=option.removeprefix("--"),
        )


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that takes the place of `path` when all went well."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105 - the documented atomic call
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})", file=str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small UTF-8 file whole or not at all.

    Raises:
        DataError: The folder cannot be written to.
    """
    with _replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _json(value: Any) -> str:
    """JSON on one line; with escapes only if it holds what UTF-8 cannot."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False)
    return text


def _write_jsonl(records: Sequence[Incident], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.writelines(_json(unflatten(flatten(record))) + "\n" for record in records)


def _header(records: Sequence[Incident]) -> list[str]:
    """Our fields that any record has in schema order, then extras as they come, the JSON of the others last."""
    present = dict.fromkeys(name for record in records for name in flatten(record))
    ours = [name for name in FLAT_FIELDS if name in present]
    extras = [name for name in present if name not in FIELDS and name != EXTRA_COLUMN]
    return ours + extras + ([EXTRA_COLUMN] if EXTRA_COLUMN in present else [])


def _write_csv(records: Sequence[Incident], path: Path) -> None:
    header = _header(records)
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*header, GUARD_COLUMN])
        for record in records:
            row = flatten(record)
            cells = [_csv_cell(name, row.get(name)) for name in header]
            safe = [inert(cell) for cell in cells]
            changed = (name for name, cell, kept in zip(header, safe, cells, strict=True) if cell != kept)
            writer.writerow([*safe, "|".join(changed)])


def _csv_cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if name in FIELDS and FIELDS[name].kind == "names":
        return "|".join(value) or NONE_PRESENT
    return _json(value) if isinstance(value, list | dict) else str(value)


def _write_parquet(records: Sequence[Incident], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    span = pa.struct([("indicator", pa.string()), ("start", pa.int64()), ("end", pa.int64()), ("status", pa.string())])
    types = {"flag": pa.bool_(), "whole": pa.int64(), "names": pa.list_(pa.string()), "evidence": pa.list_(span)}
    header = _header(records)
    schema = pa.schema(
        [(name, types.get(FIELDS[name].kind, pa.string()) if name in FIELDS else pa.string()) for name in header]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(records), _BATCH_ROWS):
            rows = [flatten(record) for record in records[start : start + _BATCH_ROWS]]
            for row in rows:
                for name, value in row.items():
                    if isinstance(value, dict):
                        row[name] = _json(value)
            writer.write_table(pa.Table.from_pylist(rows, schema))
