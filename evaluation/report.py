"""The report: one HTML file that opens from a file share with no network and no script.

Input: `metrics.json` dictionaries, one a data set, and gate results. Output: HTML text. The page asks for
nothing from outside (its content security policy forbids it), every chart is followed by its table, and text
from data is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evaluation import charts
from evaluation.columns import Json

TEMPLATES = Path(__file__).parent / "templates"

FORCE_SIZES = (500, 9000)
"""Daily narratives shown beside the set's own volume: a small force, and the largest (domain facts, section
6: 8,000 to 10,000 for the Metropolitan Police)."""

SHOWN_EVERY = 5
"""The page shows the thresholds that are a multiple of this many hundredths; the rest are in a part that
opens."""

MODEL_ROWS = (
    ("name", "Name"),
    ("version", "Version"),
    ("versions", "Version"),
    ("kind", "Kind"),
    ("kinds", "Kind"),
    ("label_version", "Labelling guide"),
    ("label_versions", "Labelling guide"),
    ("data_hash", "Training data"),
    ("data_hashes", "Training data"),
)
"""What is said of the model, in this order, as far as it is given."""

GATE_WORDS = {"pass": "Passed", "fail": "Failed", "not_applicable": "Not applicable"}

GAP_WORDS = {
    ("recall", "gap"): "Gap: finds less here than elsewhere",
    ("false_flag", "gap"): "Gap: more false flags here than elsewhere",
    ("recall", "few"): "Too few to compare recall",
    ("false_flag", "few"): "Too few to compare false flags",
}


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage; `not measured` for None."""
    return "not measured" if value is None else f"{100 * value:.{digits}f}%"


def counted(rate: Json) -> str:
    """A rate in a sentence: percentage, numerator, denominator, interval."""
    if rate["value"] is None:
        return "not measured (0 of 0)"
    return (
        f"{percent(rate['value'])} ({rate['n']:,} of {rate['of']:,}; "
        f"95% interval {percent(rate['low'])} to {percent(rate['high'])})"
    )


def number(value: float | None, digits: int = 2) -> str:
    """A number with thousands separated; `not measured` for None."""
    return "not measured" if value is None else f"{value:,.{digits}f}"


def ranged(estimate: Json, digits: int = 2) -> str:
    """An estimate with its interval, where it has one."""
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if value is None or low is None or high is None:
        return number(value, digits)
    return f"{value:,.{digits}f} (95% interval {low:,.{digits}f} to {high:,.{digits}f})"


def chance(p_value: float | None) -> str:
    """A p value in words a table can hold."""
    if p_value is None:
        return "no difference"
    return "below 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, counted=counted, number=number, ranged=ranged, chance=chance)
    environment.globals.update(gap_words=GAP_WORDS, gate_words=GATE_WORDS)
    return environment


def _way(metrics: Json, way: str) -> Json | None:
    rows = metrics["misidentification"]["same_rows"] or metrics["misidentification"]["all_rows"]
    return next((row for row in rows if row["way"] == way), None)


def _misidentification_sentence(metrics: Json) -> str:
    figures = metrics["misidentification"]
    model = _way(metrics, "model")
    if model is None or model["missed"]["value"] is None:
        return "The set holds no true stalking on which a share missed could be measured."
    missed = model["missed"]
    keyword = _way(metrics, "keyword")
    by_keyword = "" if keyword is None else f"; the keyword baseline missed {keyword['missed']['n']:,}"
    if not figures["same_rows"]:
        return (
            f"Not recorded: no record says what the force recorded, so the force's own share is unknown. Of "
            f"{missed['of']:,} records of true stalking the model missed {missed['n']:,}{by_keyword}."
        )
    recorded, after = _way(metrics, "as_recorded"), _way(metrics, "after_review")
    assert recorded is not None
    assert after is not None
    return (
        f"Of {missed['of']:,} records of true stalking with a recorded offence, {recorded['missed']['n']:,} were "
        f"recorded as something else and the model missed {missed['n']:,}{by_keyword}; "
        f"{after['missed']['n']:,} would still be missed if every flagged record were reviewed and decided rightly."
    )


def _threshold_sentence(metrics: Json) -> str:
    row = next(r for r in metrics["thresholds"] if r["use"] == "review")
    alerts, precision = row["live"]["alerts_a_day"], row["live"]["precision"]
    if alerts["value"] is None:
        return "The set lacks one of the two classes, so alerts a day cannot be worked out."
    return (
        f"At the review threshold of {row['threshold']:.2f} the model finds {percent(row['recall']['value'], 0)} of "
        f"stalking; in a stream of {metrics['live']['daily_volume']:,} records a day, of which "
        f"{percent(metrics['live']['prevalence'])} are stalking, that is about {number(alerts['value'], 0)} "
        f"alerts a day, {percent(precision['value'], 0)} of them right."
    )


def _calibration_sentence(metrics: Json) -> str:
    figures = metrics["calibration"]
    if figures["ece"] is None:
        return "There are no records to measure calibration on."
    return (
        f"On average the probability differs from the share that is truly stalking by "
        f"{100 * figures['ece']:.1f} percentage points (expected calibration error, bins of equal size)."
    )


def _indicator_sentence(metrics: Json) -> str:
    measured = [i for i in metrics["indicators"]["each"] if i["recall"]["value"] is not None]
    if not measured:
        return "No indicator has a labelled example in this set."
    lowest = min(measured, key=lambda i: i["recall"]["value"])
    return (
        f"Indicators with labelled examples: {len(measured)}. Recall is lowest for "
        f"“{lowest['title']}”: {counted(lowest['recall'])}."
    )


def _slice_sentence(division: Json) -> str:
    parts = division["parts"]
    if len(parts) < 2:
        return "All records that say belong to one part, so there is nothing to compare."
    gaps = [p["value"] for p in parts if p["recall_gap"] == "gap"]
    if gaps:
        return f"Recall is lower than in the rest of the set for: {', '.join(gaps)}."
    if all(p["recall_gap"] in ("few", "not_measured") for p in parts):
        return "No part has enough records of stalking to compare recall."
    return "No part with enough records has a lower recall than the rest beyond what chance would do."


def _drawings(metrics: Json, prefix: str) -> dict[str, Markup]:
    """The charts of one part by name; a chart without anything to draw is missing."""
    ways = metrics["misidentification"]["same_rows"] or metrics["misidentification"]["all_rows"]
    review = metrics["model"]["threshold"]["review"]
    drawn: dict[str, str | None] = {
        "missed": charts.dots(
            [(w["title"], w["missed"]) for w in ways],
            f"{prefix}-missed",
            "True stalking missed",
            "Share of true stalking missed",
            _misidentification_sentence(metrics),
            charts.RED,
        ),
        "thresholds": charts.thresholds(
            metrics["thresholds"], review, f"{prefix}-thresholds", "Rates by threshold", _threshold_sentence(metrics)
        ),
        "calibration": charts.calibration(
            metrics["calibration"]["bins"],
            f"{prefix}-calibration",
            "Calibration curve",
            _calibration_sentence(metrics),
        ),
        "indicators": charts.dots(
            [(i["title"], i["recall"]) for i in metrics["indicators"]["each"]],
            f"{prefix}-indicators",
            "Recall of each indicator",
            "Recall",
            _indicator_sentence(metrics),
        ),
    }
    for division in metrics["slices"]:
        if sum(part["recall"]["value"] is not None for part in division["parts"]) > 1:
            drawn[f"slice-{division['slice']}"] = charts.dots(
                [(part["value"], part["recall"]) for part in division["parts"]],
                f"{prefix}-slice-{division['slice']}",
                f"Recall by: {division['title']}",
                "Recall",
                _slice_sentence(division),
            )
    # The SVG comes from Vega, which escapes every text in it; nothing else in the page is marked as safe.
    return {name: Markup(svg) for name, svg in drawn.items() if svg is not None}


def _part(metrics: Json, place: int) -> Json:
    prefix = f"part{place}"
    volume = metrics["live"]["daily_volume"]
    rows = metrics["thresholds"]
    return {
        "id": prefix,
        "m": metrics,
        "charts": _drawings(metrics, prefix),
        "sizes": sorted({volume, *FORCE_SIZES}),
        "shown": [r for r in rows if r["use"] or round(100 * r["threshold"]) % SHOWN_EVERY == 0],
        "hidden": [r for r in rows if not r["use"] and round(100 * r["threshold"]) % SHOWN_EVERY != 0],
        "ways": metrics["misidentification"]["same_rows"] or metrics["misidentification"]["all_rows"],
        "says": {
            "missed": _misidentification_sentence(metrics),
            "thresholds": _threshold_sentence(metrics),
            "calibration": _calibration_sentence(metrics),
            "indicators": _indicator_sentence(metrics),
            "slices": {division["slice"]: _slice_sentence(division) for division in metrics["slices"]},
        },
    }


def _model_rows(model: Json) -> list[tuple[str, str]]:
    rows = []
    for key, label in MODEL_ROWS:
        value = model.get(key)
        if value:
            rows.append((label, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)))
    return rows


def render_report(parts: Sequence[Json], model: Json, gates: Sequence[Json] | None = None) -> str:
    """The whole page.

    Args:
        parts: One `evaluate` answer a data set, each shown under a heading of its own, in this order.
        model: What to say of the model: any of the keys of `MODEL_ROWS`.
        gates: Release gates, each `{"name", "status": "pass" | "fail" | "not_applicable", "sentence"}`; None
            when none were run.

    Returns:
        HTML text, one file with everything in it.

    Raises:
        ValueError: There is no part, or a gate has another status.
    """
    if not parts:
        raise ValueError("a report needs the figures of at least one data set")
    for gate in gates or ():
        if gate["status"] not in GATE_WORDS:
            raise ValueError(f"gate {gate['name']}: status must be one of {', '.join(GATE_WORDS)}")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            parts=[_part(metrics, place) for place, metrics in enumerate(parts, start=1)],
            model=_model_rows(model),
            gates=gates,
        )
    )
