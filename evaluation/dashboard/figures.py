"""Figures of one evaluation at a threshold, and of two side by side with the difference and how sure it is.

Every figure is one of `metrics.json` or worked out from the counts in it. Where both evaluations kept the scores of the
same records, differences are paired; else they are taken as of separate samples, and the page says which.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from evaluation.columns import Json
from evaluation.dashboard.sources import Evaluation
from evaluation.dashboard.state import State, place_of
from evaluation.explorer import Explorer
from evaluation.gates import common_ids
from stalkscreen.resampling import PairedDifferences, paired_differences
from stalkscreen.run_figures import FALSE_FLAGS, read_scores

FIGURES = (
    ("recall_at", "Recall at 5% false flags", "rate", "more is better"),
    ("recall", "Recall at the threshold", "rate", "more is better"),
    ("falsely_flagged", "False flags at the threshold", "rate", "less is better"),
    ("precision", "Precision in the set", "rate", "more is better, at the same prevalence"),
    ("average_precision", "Average precision", "estimate", "more is better"),
    ("auc", "Area under the ROC curve", "estimate", "more is better"),
    ("calibration", "Calibration error", "estimate", "less is better"),
    ("live_precision", "Precision in the live stream", "share", "more is better"),
    ("alerts_a_day", "Alerts a day in the live stream", "a_day", "less to read"),
    ("missed_a_day", "Stalking missed a day in the live stream", "a_day", "less is better"),
    ("hours", "Reviewer hours a day", "a_day", "less to read"),
)
"""Key, title, kind and direction of every row, the one to compare models by first.

A `rate` has counts, an `estimate` none, a `share` follows from assumptions, and `a_day` is no share.
"""

LEAST_PAIRED = 30
"""Fewer records scored by both than this, of either class: not compared record by record (as `FEW` elsewhere)."""

PAIRED = "the same {:,} records, drawn again one by one"
SEPARATE = "taken as two separate samples"


def explorer_of(evaluation: Evaluation) -> Explorer | None:
    """Its counts by score; None where it was written before they were kept."""
    return Explorer(evaluation.metrics) if "score_bins" in evaluation.metrics else None


def side(evaluation: Evaluation, threshold: float | None, state: State) -> dict[str, Json]:
    """Every figure of `FIGURES` for one evaluation, each `{value, low, high}` and, for a rate, `n` and `of`.

    `threshold` None is the model's own; where no counts by score were kept it is always that.
    """
    metrics, explorer = evaluation.metrics, explorer_of(evaluation)
    at = metrics["at_threshold"]
    found: dict[str, Json] = {
        "recall_at": evaluation.recall_at.to_json_dict(),
        "average_precision": metrics["ranking"]["average_precision"],
        "auc": metrics["ranking"]["auc"],
        "calibration": _bare(metrics["calibration"]["ece"]),
    }
    if explorer is None:
        nothing = _bare(None)
        live = at["live"][0]
        return {
            **found,
            **{key: at[key] for key in ("recall", "precision")},
            "falsely_flagged": at["false_flag"],
            "live_precision": live["precision"],
            "alerts_a_day": live["alerts_a_day"],
            "missed_a_day": nothing,
            "hours": nothing,
        }
    now = explorer.at(place_of(explorer, threshold), state.stream(explorer))
    kept = ("recall", "precision", "falsely_flagged", "live_precision", "alerts_a_day", "hours")
    return {**found, **{key: now[key] for key in kept}, "missed_a_day": _bare(now["missed_a_day"])}


def threshold_of(evaluation: Evaluation, threshold: float | None) -> float:
    """The threshold that the figures of `side` are at."""
    explorer = explorer_of(evaluation)
    if explorer is None:
        return float(evaluation.metrics["model"]["threshold"]["review"])
    return explorer.edges[place_of(explorer, threshold)]


def compared(first: Evaluation, second: Evaluation, state: State) -> list[Json]:
    """`FIGURES` of both at the thresholds of `state`, first minus second, and how the interval was had.

    Returns:
        Rows `{key, title, kind, better, first, second, difference, how}`; `difference` is `{value, low, high}`.
    """
    one, two = side(first, state.t, state), side(second, state.u, state)
    paired = paired_of(first, second, threshold_of(first, state.t), threshold_of(second, state.u))
    at: dict[str, Json] = {}
    if paired is not None:
        found = paired.differences
        if one["recall_at"]["value"] is not None and two["recall_at"]["value"] is not None:
            at["recall_at"] = found.recall_at_false_flag.to_json_dict()
        at["average_precision"] = found.average_precision.to_json_dict()
        # Scores are kept to six decimals, and one may lie so near to a threshold that it changes sides.
        if paired.flagged == tuple((found_["recall"]["n"], found_["falsely_flagged"]["n"]) for found_ in (one, two)):
            at["recall"], at["falsely_flagged"] = found.recall.to_json_dict(), found.false_flag.to_json_dict()
    rows = []
    for key, title, kind, better in FIGURES:
        separate = difference(one[key], two[key], with_interval=kind in ("rate", "estimate"))
        rows.append(
            {
                "key": key,
                "title": title,
                "kind": kind,
                "better": better,
                "first": one[key],
                "second": two[key],
                "difference": at.get(key, separate),
                "how": PAIRED.format(paired.differences.rows)
                if paired and key in at and at[key]["low"] is not None
                else SEPARATE
                if separate["low"] is not None
                else "",
            }
        )
    return rows


def compared_parts(first: Evaluation, second: Evaluation | None, name: str) -> list[Json]:
    """The parts of one slice, each with the figures of both at each model's own threshold; None where one lacks it."""
    one = {part["value"]: part for part in _parts(first, name)}
    two = {part["value"]: part for part in _parts(second, name)} if second else {}
    rows = []
    for value in dict.fromkeys((*one, *two)):
        a, b = one.get(value), two.get(value)
        row: Json = {"value": value, "first": a, "second": b}
        for figure in ("recall", "false_flag"):
            row[f"{figure}_difference"] = difference(a[figure], b[figure]) if a and b else _bare(None)
        rows.append(row)
    return rows


def divisions(first: Evaluation, second: Evaluation | None = None) -> dict[str, str]:
    """Name and title of every slice with parts, in the order of the report."""
    return {
        division["slice"]: division["title"]
        for evaluation in (first, second)
        if evaluation
        for division in evaluation.metrics["slices"]
        if division["parts"]
    }


def same_records(first: Evaluation, second: Evaluation) -> bool:
    """Whether both were made from the same files."""
    return sorted(first.metrics["dataset"]["sha256"]) == sorted(second.metrics["dataset"]["sha256"])


def difference(first: Json, second: Json, *, with_interval: bool = True) -> Json:
    """First minus second, with a 95% interval where both have one of their own.

    The interval takes them as independent: the square-and-add method (Newcombe 1998, method 10, for rates; Zou and
    Donner 2008 for any estimates). Where both are of the same records it is wider than it need be.
    """
    a, b = first["value"], second["value"]
    if a is None or b is None:
        return _bare(None)
    ends = (first.get("low"), first.get("high"), second.get("low"), second.get("high"))
    if not with_interval or any(end is None for end in ends):
        return _bare(a - b)
    a_low, a_high, b_low, b_high = ends
    return {
        "value": a - b,
        "low": a - b - math.hypot(a - a_low, b_high - b),
        "high": a - b + math.hypot(a_high - a, b - b_low),
    }


@dataclass(frozen=True, slots=True)
class Paired:
    """Two evaluations on the records that both scored.

    Attributes:
        differences: First minus second.
        flagged: Of each, how many records of stalking and of the rest its scores put at or above its threshold.
    """

    differences: PairedDifferences
    flagged: tuple[tuple[int, int], tuple[int, int]]


def paired_of(first: Evaluation, second: Evaluation, t: float, u: float) -> Paired | None:
    """Both on the records that both scored; None where there are too few, or they disagree on the truth."""
    if first.scores is None or second.scores is None:
        return None
    stamp = (first.scores.stat().st_mtime, second.scores.stat().st_mtime)
    return _paired(first.scores, second.scores, t, u, stamp)


@lru_cache(maxsize=32)
def _paired(first: Path, second: Path, t: float, u: float, stamp: tuple[float, float]) -> Paired | None:
    one, two = read_scores(first), read_scores(second)
    ids = common_ids(one, two)
    if ids is None:
        return None
    y = np.array([one[name][0] for name in ids], dtype=float)
    if min((y == 1).sum(), (y == 0).sum()) < LEAST_PAIRED:
        return None
    scores = (np.array([one[name][1] for name in ids]), np.array([two[name][1] for name in ids]))
    found = paired_differences(
        y, (scores[0] >= t, scores[1] >= u), scores, np.arange(len(y)), max_false_flag=FALSE_FLAGS
    )
    return Paired(found, (_flagged(one, t), _flagged(two, u)))


def _flagged(scores: Mapping[str, tuple[int, float]], threshold: float) -> tuple[int, int]:
    above = [truth for truth, score in scores.values() if score >= threshold]
    return sum(above), len(above) - sum(above)


def _parts(evaluation: Evaluation, name: str) -> list[Json]:
    found = next((division for division in evaluation.metrics["slices"] if division["slice"] == name), None)
    return found["parts"] if found else []


def _bare(value: float | None) -> Json:
    return {"value": value, "low": None, "high": None}
