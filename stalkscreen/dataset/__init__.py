"""Read, check and write labelled sets and incident files (`docs/reference/records.md`).

In: one or several `.jsonl`, `.csv` or `.parquet` files, with a mapping from a force's own column names. Out: lists of
`Incident` or `LabelledIncident` with the hashes of the files they came from, or a `DataError` that lists every problem.
No message, note or error holds narrative text or a person's details.

    labelled = read_labelled(["2023.csv", "2024.csv"], Columns.parse("narrative=FREE_TEXT,incident_id=URN"))
    labelled.records, labelled.data_hash, labelled.notes

A field added to `stalkscreen.schema` is read, written and checked by its type without a change here; a rule that
compares fields is one entry in `cross_rules.cross_rules`.
"""

from stalkscreen.dataset.columns import Columns
from stalkscreen.dataset.manifest import check_manifest, write_manifest
from stalkscreen.dataset.problems import Problem
from stalkscreen.dataset.reading import (
    IncidentFile,
    LabelledSet,
    read_incidents,
    read_labelled,
)
from stalkscreen.dataset.rows import flatten, unflatten
from stalkscreen.dataset.streaming import IncidentChunk, IncidentStream, stream_incidents
from stalkscreen.dataset.writing import write_labelled, write_rejects

__all__ = [
    "Columns",
    "IncidentChunk",
    "IncidentFile",
    "IncidentStream",
    "LabelledSet",
    "Problem",
    "check_manifest",
    "flatten",
    "read_incidents",
    "read_labelled",
    "stream_incidents",
    "unflatten",
    "write_labelled",
    "write_manifest",
    "write_rejects",
]
