"""Every chart of one part of the report, each with the sentence that says what it shows.

Input: one `metrics.json` dictionary. Output: inline SVG by the name that the templates use.
"""

from __future__ import annotations

from markupsafe import Markup

from evaluation import charts, sentences
from evaluation.columns import Json
from evaluation.flow_chart import flow_chart


def drawings(metrics: Json, prefix: str) -> dict[str, Markup]:
    """The charts of one part by name; a chart without anything to draw is missing.

    Args:
        metrics: One `evaluate` answer.
        prefix: Of every id in the charts; unique in the page.
    """
    ways = metrics["misidentification"]["same_rows"] or metrics["misidentification"]["all_rows"]
    review = metrics["model"]["threshold"]["review"]
    drawn: dict[str, str | None] = {
        "missed": charts.dots(
            [(w["title"], w["missed"]) for w in ways],
            f"{prefix}-missed",
            "True stalking missed",
            "Share of true stalking missed",
            sentences.misidentification(metrics),
            charts.RED,
        ),
        "thresholds": charts.thresholds(
            metrics["thresholds"],
            review,
            f"{prefix}-thresholds",
            "Rates by threshold",
            sentences.thresholds(metrics),
        ),
        "calibration": charts.calibration(
            metrics["calibration"]["bins"],
            f"{prefix}-calibration",
            "Calibration curve",
            sentences.calibration(metrics),
        ),
        "indicators": charts.dots(
            [(i["title"], i["recall"]) for i in metrics["indicators"]["each"]],
            f"{prefix}-indicators",
            "Recall of each indicator",
            "Recall",
            sentences.indicators(metrics),
        ),
        "behaviour": charts.dots(
            [(row["title"], row["failures"]) for row in metrics["behaviour"]["perturbations"] or ()],
            f"{prefix}-behaviour",
            "Flags that change when the text does",
            "Share of flags that changed",
            sentences.behaviour_chart(metrics),
            charts.RED,
        ),
    }
    early = (metrics.get("earliness") or {}).get("prefixes")
    if early:
        drawn["earliness"] = charts.dots(
            [(f"{row['share']:.0%} of the words", row["flagged"]) for row in early["shares"]],
            f"{prefix}-earliness",
            "Flagged after a share of the narrative",
            "Already flagged",
            sentences.earliness(metrics),
        )
    for division in metrics["slices"]:
        if sum(part["recall"]["value"] is not None for part in division["parts"]) > 1:
            drawn[f"slice-{division['slice']}"] = charts.dots(
                [(part["value"], part["recall"]) for part in division["parts"]],
                f"{prefix}-slice-{division['slice']}",
                f"Recall by: {division['title']}",
                "Recall",
                sentences.division(division),
            )
    groups = recorded_groups(metrics)
    for place, flow in enumerate(metrics["misidentification"].get("flows") or (), start=1):
        if flow["part"] != "relationship":
            name = "flow" if place == 1 else f"flow{place}"
            title = f"True family, as recorded, as screened: {flow['title']}"
            drawn[name] = flow_chart(flow, groups, f"{prefix}-{name}", title, sentences.flow(flow))
    # The SVG comes from Vega and from `flow_chart`, which escape every text in it; beside the page's own script nothing
    # else is marked as safe.
    return {name: Markup(svg) for name, svg in drawn.items() if svg is not None}


def recorded_groups(metrics: Json) -> dict[str, str]:
    """Titles of the groups of recorded offences by name, in the order to draw."""
    return {row["group"]: row["title"] for row in metrics["misidentification"].get("recorded_groups") or ()}
