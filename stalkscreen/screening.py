"""Screen a whole file: stream incidents in, assessments out, in bounded memory and all or nothing.

The output's suffix chooses its form. `.jsonl` holds one assessment a line as in the contract; `.csv` and `.parquet`
hold one row an incident with the headline answers and the whole assessment as JSON. Columns that are not ours ride
along (`extra` in JSONL) and are never used.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from stalkscreen.dataset import Columns, Problem, stream_incidents, write_rejects
from stalkscreen.dataset.problems import data_error
from stalkscreen.errors import ConfigError, DataError
from stalkscreen.model import ScreeningModel
from stalkscreen.progress import counted
from stalkscreen.schema import Assessment, Case, Incident

SUFFIXES = (".jsonl", ".csv", ".parquet")


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
    def __init__(self, path: Path) -> None:
        self.stream = path.open("w", encoding="utf-8", newline="\n")

    def write(self, incidents: Sequence[Incident], assessments: Sequence[Assessment]) -> None:
        for incident, assessment in zip(incidents, assessments, strict=True):
            row = assessment.to_json_dict()
            if incident.model_extra:
                row["extra"] = incident.model_extra
            self.stream.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")

    def close(self) -> None:
        self.stream.close()


def _with_extra(incident: Incident, assessment: Assessment) -> dict[str, Any]:
    row = flat_row(assessment)
    return {**row, **{k: v for k, v in (incident.model_extra or {}).items() if k not in row}}


class _Csv:
    def __init__(self, path: Path) -> None:
        self.stream = path.open("w", encoding="utf-8", newline="")
        self.writer: csv.DictWriter[str] | None = None

    def write(self, incidents: Sequence[Incident], assessments: Sequence[Assessment]) -> None:
        for incident, assessment in zip(incidents, assessments, strict=True):
            row = _with_extra(incident, assessment)
            if self.writer is None:
                self.writer = csv.DictWriter(self.stream, list(row), extrasaction="ignore")
                self.writer.writeheader()
            self.writer.writerow({k: _guarded(v) for k, v in row.items()})

    def close(self) -> None:
        if self.writer is None:
            self.stream.write("incident_id\n")
        self.stream.close()


def _guarded(value: Any) -> Any:
    """A cell that a spreadsheet would run as a formula gets a leading apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


class _Parquet:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer: Any = None
        self.schema: Any = None

    def write(self, incidents: Sequence[Incident], assessments: Sequence[Assessment]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = [_with_extra(i, a) for i, a in zip(incidents, assessments, strict=True)]
        own = flat_row(assessments[0])
        rows = [{k: v if k in own or v is None else str(v) for k, v in row.items()} for row in rows]
        if self.writer is None:
            kinds = {"flag": pa.bool_(), "history_check": pa.bool_(), "possible_misidentification": pa.bool_()}
            kinds |= {"probability": pa.float64(), "probability_at_live": pa.float64()}
            self.schema = pa.schema([(name, kinds.get(name, pa.string())) for name in rows[0]])
            self.writer = pq.ParquetWriter(self.path, self.schema)
        self.writer.write_table(pa.Table.from_pylist(rows, schema=self.schema))

    def close(self) -> None:
        if self.writer is None:
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.table({"incident_id": pa.array([], pa.string())}), self.path)
        else:
            self.writer.close()


_SINKS: dict[str, type[_Jsonl] | type[_Csv] | type[_Parquet]] = {".jsonl": _Jsonl, ".csv": _Csv, ".parquet": _Parquet}


@contextlib.contextmanager
def _sink(out: Path) -> Iterator[_Sink]:
    """Write beside `out` and put it in place only when everything was written."""
    if out.suffix.lower() not in _SINKS:
        raise ConfigError(f"--out {out}: the suffix must be one of {', '.join(SUFFIXES)}.", field="out")
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder; give a file name.", field="out")
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{out.name}-", dir=out.parent)
    os.close(handle)
    building = Path(name)
    try:
        sink = _SINKS[out.suffix.lower()](building)
        try:
            yield sink
        finally:
            sink.close()
        building.chmod(0o644)
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
        out: Where the assessments go; replaced only when all is done.
        model: Any model.
        columns: A force's own column names.
        rejects: Where bad rows go with their reasons. Without it one bad row stops the run, after the whole file was
            checked and every problem listed, with nothing written.
        chunk_rows: Incidents assessed at a time.

    Raises:
        DataError: The file cannot be read, or has bad rows and `rejects` is not given.
        ConfigError: `out` has another suffix or is a folder.
    """
    began = time.monotonic()
    if rejects is None:
        _refuse_bad_rows(path, columns, chunk_rows)
    read = flagged = misidentified = 0
    bad: list[Problem] = []
    with _sink(out) as sink:
        stream = stream_incidents(path, columns, chunk_rows)
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


def _refuse_bad_rows(path: Path, columns: Columns | None, chunk_rows: int) -> None:
    """Read the whole file once before anything is assessed."""
    problems = [p for chunk in stream_incidents(path, columns, chunk_rows) for p in chunk.rejects]
    if problems:
        error = data_error(problems)
        raise DataError(
            f"{error.message}\nGive --rejects FILE to screen the rest and have these rows written there.",
            **error.context,
        )
