"""Screen a whole file: stream incidents in, assessments out, in bounded memory and all or nothing.

The output's suffix chooses its form. `.jsonl` holds one assessment a line as in the contract; `.csv` and `.parquet`
hold one row an incident with the headline answers and the whole assessment as JSON. Columns that are not ours ride
along (`extra` in JSONL) and are never used; one that is named like a column of the output is written as `input_<name>`.
In CSV what a spreadsheet would run gets an apostrophe in front, and the last column, `guarded_cells`, names these cells.
The file is read twice: once to check all of it and to learn its extra columns, once to assess.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from stalkscreen.dataset import Columns, Problem, stream_incidents, write_rejects
from stalkscreen.dataset.fields import GUARD_COLUMN
from stalkscreen.dataset.problems import data_error
from stalkscreen.dataset.writing import REJECT_SUFFIXES, inert, make_output_folder
from stalkscreen.errors import ConfigError, DataError
from stalkscreen.model import ScreeningModel
from stalkscreen.progress import counted
from stalkscreen.schema import Assessment, Case, Incident

SUFFIXES = (".jsonl", ".csv", ".parquet")
COLUMNS = (
    "incident_id",
    "flag",
    "band",
    "probability",
    "probability_at_live",
    "history_check",
    "offence_family",
    "tier_hint",
    "indicators",
    "recorded_offence",
    "possible_misidentification",
    "model_version",
    "assessment",
)
"""Columns of a CSV or Parquet output in their order, the keys of `flat_row`; the file's extra columns follow."""
MAX_EXTRA_COLUMNS = 16_000
"""Most extra columns of a CSV or Parquet output: an Excel sheet has 16,384 columns. Beyond it the names in JSON Lines are data."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run over a file did.

    Attributes:
        read: Incidents in the file, good and bad.
        rejected: Bad rows, not screened.
        flagged: Flagged for review.
        misidentified: Flagged and recorded as something other than stalking.
        seconds: Wall-clock time.
    """

    read: int
    rejected: int
    flagged: int
    misidentified: int
    seconds: float

    def __str__(self) -> str:
        """One line for people."""
        rejected = f", {self.rejected:,} rejected" if self.rejected else ""
        return (
            f"{self.read:,} read{rejected}, {self.flagged:,} flagged for review, {self.misidentified:,} possible "
            f"misidentifications, {self.seconds:.1f} s. No flag means nothing."
        )


def flat_row(assessment: Assessment) -> dict[str, Any]:
    """The headline answers of an assessment as one table row, and the whole of it as JSON."""
    return {
        "incident_id": assessment.incident_id,
        "flag": assessment.stalking.flag,
        "band": assessment.stalking.band,
        "probability": assessment.stalking.probability,
        "probability_at_live": assessment.stalking.probability_at_live,
        "history_check": assessment.stalking.history_check,
        "offence_family": assessment.offence_family.top,
        "tier_hint": assessment.tier.hint,
        "indicators": "|".join(i.name for i in assessment.indicators if i.present),
        "recorded_offence": assessment.recorded_offence,
        "possible_misidentification": assessment.possible_misidentification,
        "model_version": assessment.model.version,
        "assessment": json.dumps(assessment.to_json_dict(), ensure_ascii=False),
    }


class _Sink(Protocol):
    def write(self, incidents: Sequence[Incident], assessments: Sequence[Assessment]) -> None: ...
    def close(self) -> None: ...


class _Jsonl:
    def __init__(self, path: Path, names: Mapping[str, str]) -> None:
        self.stream = path.open("w", encoding="utf-8", newline="\n")

    def write(self, incidents: Sequence[Incident], assessments: Sequence[Assessment]) -> None:
        for incident, assessment in zip(incidents, assessments, strict=True):
            row = assessment.to_json_dict()
            if incident.model_extra:
                row["extra"] = _finite(incident.model_extra)
            self.stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False, default=str) + "\n")

    def close(self) -> None:
        self.stream.close()


def _finite(value: Any) -> Any:
    """A value of a file with null for what JSON has no number for: NaN and the infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


def _extra_names(extras: Iterable[str]) -> dict[str, str]:
    """Each extra column of the file to its name in a CSV or Parquet output, where `COLUMNS` keep theirs."""
    taken = {*COLUMNS, *extras}
    names = {}
    for name in extras:
        written = name
        if name in COLUMNS:
            while written in taken:
                written = f"input_{written}"
            taken.add(written)
        names[name] = written
    return names


def _extra_cells(incident: Incident, names: Mapping[str, str]) -> dict[str, Any]:
    return {names[name]: value for name, value in (incident.model_extra or {}).items()}


class _Csv:
    def __init__(self, path: Path, names: Mapping[str, str]) -> None:
        self.names = names
        self.stream = path.open("w", encoding="utf-8-sig", newline="")
        columns = [*COLUMNS, *names.values(), GUARD_COLUMN]
        self.writer = csv.DictWriter(self.stream, columns)
        self.writer.writerow({name: inert(name) for name in columns})

    def write(self, incidents: Sequence[Incident], assessments: Sequence[Assessment]) -> None:
        for incident, assessment in zip(incidents, assessments, strict=True):
            row = flat_row(assessment) | _extra_cells(incident, self.names)
            safe = {name: inert(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
            guarded = "|".join(inert(name) for name, cell in row.items() if safe[name] is not cell)
            self.writer.writerow(safe | {GUARD_COLUMN: guarded})

    def close(self) -> None:
        self.stream.close()


class _Parquet:
    def __init__(self, path: Path, names: Mapping[str, str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.names = names
        kinds = dict.fromkeys(("flag", "history_check", "possible_misidentification"), pa.bool_())
        kinds |= dict.fromkeys(("probability", "probability_at_live"), pa.float64())
        self.schema = pa.schema([(name, kinds.get(name, pa.string())) for name in (*COLUMNS, *names.values())])
        self.writer = pq.ParquetWriter(path, self.schema)

    def write(self, incidents: Sequence[Incident], assessments: Sequence[Assessment]) -> None:
        import pyarrow as pa

        rows = []
        for incident, assessment in zip(incidents, assessments, strict=True):
            extra = _extra_cells(incident, self.names)
            rows.append(flat_row(assessment) | {k: v if v is None else str(v) for k, v in extra.items()})
        self.writer.write_table(pa.Table.from_pylist(rows, schema=self.schema))

    def close(self) -> None:
        self.writer.close()


_SINKS: dict[str, type[_Jsonl] | type[_Csv] | type[_Parquet]] = {".jsonl": _Jsonl, ".csv": _Csv, ".parquet": _Parquet}


@contextlib.contextmanager
def _sink(out: Path, extras: Iterable[str]) -> Iterator[_Sink]:
    """Write beside `out` and put it in place only when everything was written."""
    building = out.with_name(f".{out.name}.{uuid.uuid4().hex}.tmp")
    try:
        sink = _SINKS[out.suffix.lower()](building, _extra_names(extras))
        try:
            yield sink
        finally:
            sink.close()
        building.replace(out)
    finally:
        building.unlink(missing_ok=True)


def screen_file(
    path: Path,
    out: Path,
    model: ScreeningModel,
    *,
    columns: Columns | None = None,
    rejects: Path | None = None,
    chunk_rows: int = 500,
) -> Summary:
    """Assess every incident of a file, each by itself.

    Args:
        path: `.jsonl`, `.csv` or `.parquet`.
        out: Where the assessments go; its folder is made, and it is replaced only when all is done.
        model: Any model.
        columns: A force's own column names.
        rejects: Where bad rows go with their reasons (`.csv` or `.jsonl`; its folder is made). Without it one bad row
            stops the run, after the whole file was checked and every problem listed, with nothing written.
        chunk_rows: Incidents assessed at a time.

    Raises:
        DataError: The file cannot be read, changes meanwhile, has more extra columns than a table may have, or has bad
            rows and `rejects` is not given.
        ConfigError: `out` or `rejects` has another suffix, is a folder, is the file that is read or the other of the
            two, or its folder cannot be made or written to. Nothing was assessed then.
    """
    began = time.monotonic()
    _check_target("--out", out, SUFFIXES, {"the input": path})
    if rejects is not None:
        _check_target("--rejects", rejects, REJECT_SUFFIXES, {"the input": path, "--out": out})
    is_table = out.suffix.lower() != ".jsonl"
    extras, sha256 = _first_pass(path, columns, chunk_rows, refuse=rejects is None, is_table=is_table)
    make_output_folder("--out", out, out.parent)
    if rejects is not None:
        make_output_folder("--rejects", rejects, rejects.parent)
    read = flagged = misidentified = 0
    bad: list[Problem] = []
    with _sink(out, extras) as sink:
        stream = stream_incidents(path, columns, chunk_rows)
        if stream.sha256 != sha256:
            raise DataError(
                f"{path} changed while it was read; nothing was written. Run again when nobody writes to it.",
                file=str(path),
            )
        chunks = counted(stream, "screening", "incidents", lambda chunk: len(chunk.incidents))
        for chunk in chunks:
            bad += chunk.rejects
            read += chunk.rows
            if chunk.incidents:
                assessments = model.assess([Case.of_one(i) for i in chunk.incidents])
                sink.write(chunk.incidents, assessments)
                flagged += sum(a.stalking.flag for a in assessments)
                misidentified += sum(a.possible_misidentification is True for a in assessments)
        if rejects is not None:
            write_rejects(rejects, bad)
    for note in stream.notes:
        sys.stderr.write(f"Note: {note}\n")
    rejected = len({r.row for r in bad})
    return Summary(read, rejected, flagged, misidentified, time.monotonic() - began)


def _check_target(option: str, target: Path, suffixes: Sequence[str], others: Mapping[str, Path]) -> None:
    """Refuse an output before anything is read.

    Args:
        option: `--out` or `--rejects`.
        target: The file it names.
        suffixes: Those allowed.
        others: Files of this run that it must not replace, by what they are.

    Raises:
        ConfigError: It is one of the others, also by way of a link, has another suffix or is a folder.
    """
    allowed, field = ", ".join(suffixes), option.removeprefix("--")
    for what, other in others.items():
        if _is_same_file(target, other):
            raise ConfigError(
                f"{option} {target} is the same file as {what}; give a file of its own that ends in one of {allowed}.",
                field=field,
            )
    if target.suffix.lower() not in suffixes:
        raise ConfigError(f"{option} {target}: the suffix must be one of {allowed}.", field=field)
    if target.is_dir():
        raise ConfigError(f"{option} {target} is a folder; give a file name.", field=field)


def _is_same_file(one: Path, two: Path) -> bool:
    """Also by way of a link, whether or not it is there yet."""
    same = os.path.realpath(one) == os.path.realpath(two)
    return same or (one.exists() and two.exists() and one.samefile(two))


def _first_pass(
    path: Path, columns: Columns | None, chunk_rows: int, *, refuse: bool, is_table: bool
) -> tuple[list[str], str]:
    """Read the whole file once before anything is assessed.

    Args:
        path: The file.
        columns: A force's own column names.
        chunk_rows: Incidents read at a time; no more are kept.
        refuse: Whether a bad row is an error.
        is_table: Whether the output has a column for each extra.

    Returns:
        For a table, the names of the extra columns that any good row fills, in the order they come; and the file's sha256.

    Raises:
        DataError: The file cannot be read, has bad rows and they are to be refused, or has too many extra columns.
    """
    extras: dict[str, None] = {}
    problems: list[Problem] = []
    stream = stream_incidents(path, columns, chunk_rows)
    for chunk in stream:
        if is_table:
            extras |= dict.fromkeys(name for incident in chunk.incidents for name in incident.model_extra or ())
        if len(extras) > MAX_EXTRA_COLUMNS:
            raise DataError(
                f"{path} has more than {MAX_EXTRA_COLUMNS:,} extra columns, too many for a table; give an --out that ends "
                "in .jsonl.",
                file=str(path),
            )
        if refuse:
            problems += chunk.rejects
    if problems:
        error = data_error(problems)
        raise DataError(
            f"{error.message}\nGive --rejects FILE to screen the rest and have these rows written there.",
            **error.context,
        )
    return list(extras), stream.sha256
