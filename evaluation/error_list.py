"""Errors by id: the worst for the report, all of them for `errors.csv`.

Input: labelled incidents and their assessments. Output: plain JSON and CSV text. Never a word of a narrative.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from evaluation.columns import Columns, Json, read_columns, title_of
from stalkscreen.schema import Assessment, LabelledIncident
from stalkscreen.taxonomy import load_taxonomy

WORST_ERRORS = 20
"""Errors of each sort listed by id in the report; `errors.csv` has all."""


def worst_errors(records: Sequence[LabelledIncident], columns: Columns) -> Json:
    """How many errors of each sort, and the worst of them by id."""
    missed, false = _errors(columns)
    return {
        name: {
            "count": len(rows),
            "worst": [
                {"incident_id": records[row].incident_id, "probability": float(columns.probability[row])}
                for row in rows[:WORST_ERRORS]
            ],
        }
        for name, rows in (("missed", missed), ("falsely_flagged", false))
    }


def _errors(columns: Columns) -> tuple[list[int], list[int]]:
    """Rows missed, least likely first, and rows falsely flagged, likeliest first."""
    missed = np.flatnonzero(columns.positive & ~columns.flag)
    false = np.flatnonzero(~columns.positive & columns.flag)
    missed = missed[np.argsort(columns.probability[missed], kind="stable")]
    false = false[np.argsort(-columns.probability[false], kind="stable")]
    return missed.tolist(), false.tolist()


ERROR_COLUMNS = (
    "incident_id",
    "error",
    "probability",
    "threshold",
    "family_truth",
    "family_top",
    "recorded_offence",
    "source_type",
    "relationship",
)
"""Columns of `errors.csv`. Never the narrative."""


def inert(value: str | None) -> str:
    """A cell that no spreadsheet runs as a formula: one that starts like one gets an apostrophe before it."""
    text = value or ""
    return f"'{text}" if text.lstrip()[:1] in {"=", "+", "-", "@"} or text[:1] in {"\t", "\r", "\n"} else text


def errors_csv(records: Sequence[LabelledIncident], assessments: Sequence[Assessment], review_threshold: float) -> str:
    """Every missed and falsely flagged record as CSV, worst first, without any text of the record."""
    columns = read_columns(records, assessments, load_taxonomy())
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(ERROR_COLUMNS)
    for error, rows in zip(("missed", "falsely_flagged"), _errors(columns), strict=True):
        for row in rows:
            record, assessment = records[row], assessments[row]
            writer.writerow(
                [
                    inert(record.incident_id),
                    error,
                    f"{assessment.stalking.probability:.4f}",
                    f"{review_threshold:.4f}",
                    inert(record.offence_family),
                    assessment.offence_family.top,
                    inert(title_of(record.recorded_offence)),
                    inert(record.source_type),
                    inert(record.relationship),
                ]
            )
    return buffer.getvalue()
