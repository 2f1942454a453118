"""What a run keeps of an evaluation beside its files: figures for lists and comparisons, and each chart on its own.

Input: a `metrics.json` and a `report.html`.
Output: flat figures and SVG text. Nothing here knows MLflow, and no narrative is read or answered with.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stalkscreen.metrics import Rate, rate
from stalkscreen.resampling import recalls

FALSE_FLAGS = 0.05
"""Share of what is not stalking that may be flagged where recall is read off: the loosest specificity, 95%, that the
domain facts, section 6, plan for. The same share as in the report's paired comparison."""

RECALL_AT = "recall_at_5pct"
"""Name of that recall in lists and runs."""

SCORES = "cv_scores.csv"
"""Out-of-fold scores beside `metrics.json`: `incident_id`, `stalking` (0 or 1), `probability`, and `without_cascade`,
the probability with the cascade switched off, where the model has one. No text."""

LEFT_OUT = ("recorded_offence", "writer")
"""Slices that give no names to figures: their values are a force's own words, or people."""

_CHART = re.compile(r'<div class="chart" id="([\w-]+)-chart"[^>]*>\s*(<svg.*?</svg>)\s*</div>', re.DOTALL)


def read_scores(path: Path, column: str = "probability") -> dict[str, tuple[int, float]]:
    """Read a file of `SCORES`: incident id to label and probability.

    Args:
        path: The file.
        column: Which probability.

    Raises:
        KeyError: The file has no such column.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        return {r["incident_id"]: (int(r["stalking"]), float(r[column])) for r in csv.DictReader(stream)}


def recall_at_few_false_flags(metrics: Mapping[str, Any], scores: Path | None = None) -> Rate:
    """Highest recall with at most `FALSE_FLAGS` of what is not stalking flagged.

    Args:
        metrics: A `metrics.json`.
        scores: `SCORES` of the same records, for figures written before this one was kept.

    Returns:
        Records found of all that is stalking; unmeasured where a class is missing or nothing is kept to measure it on.
    """
    kept = metrics.get("ranking", {}).get("recall_at")
    if kept is None and scores is not None and scores.is_file():
        rows = read_scores(scores).values()
        kept = recalls([label for label, _ in rows], [probability for _, probability in rows])
    for row in kept or ():
        if row["false_flag"] == FALSE_FLAGS:
            return Rate(**row["recall"])
    return rate(0, 0)


def evaluation_figures(metrics: Mapping[str, Any], scores: Path | None = None) -> dict[str, float]:
    """Figures of one evaluation by name, those not measured left out.

    `recall_at_5pct`, and for each part of each slice `slice.<slice>.<part>.recall`, `.false_flag`, and `.stalking`, the
    records that recall is of. Names of parts hold lower-case letters, digits and underscores only.
    """
    found: dict[str, float | None] = {RECALL_AT: recall_at_few_false_flags(metrics, scores).value}
    for division in metrics["slices"]:
        if division["slice"] in LEFT_OUT:
            continue
        for part in division["parts"]:
            name = f"slice.{division['slice']}.{_plain(part['value'])}"
            found[f"{name}.recall"] = part["recall"]["value"]
            found[f"{name}.false_flag"] = part["false_flag"]["value"]
            found[f"{name}.stalking"] = part["recall"]["of"]
    return {name: float(value) for name, value in found.items() if value is not None}


def charts(report: str) -> list[tuple[str, str]]:
    """Every chart of a `report.html`: its name, such as `part1-thresholds`, and its SVG, which stands on its own."""
    return _CHART.findall(report)


def _plain(value: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_")
