"""Charts of the report as inline SVG, drawn with Altair and turned into SVG without a browser or a network.

Input: figures of `metrics.json`. Output: SVG text with a title and a description for screen readers, or None
when there is nothing to draw. No chart says anything by colour alone: series differ in shape or dash and are
labelled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape

import altair as alt
import vl_convert

from evaluation.columns import Json

INK = "#0b0c0c"
BLUE = "#1d70b8"
RED = "#942514"
GREEN = "#005a30"
GREY = "#505a5f"
"""Colours of the page: each at least 4.5:1 on white."""

WIDTH = 620
ROW = 26
_CONFIG: Json = {
    "font": "Arial, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 14,
        "titleFontSize": 14,
        "labelColor": INK,
        "titleColor": INK,
        "titleFontWeight": "normal",
        "gridColor": "#d8dbdc",
        "domainColor": GREY,
        "tickColor": GREY,
        "labelLimit": 330,
    },
    "header": {"labelFontSize": 14, "titleFontSize": 14, "labelColor": INK},
}
_PERCENT = alt.Axis(format="%", tickCount=6)
_UNIT = alt.Scale(domain=[0, 1])


def _svg(chart: alt.Chart | alt.LayerChart, name: str, title: str, description: str) -> str:
    """The chart as SVG with ids of its own, so that several can stand in one page."""
    spec = chart.properties(background="white").configure(**_CONFIG).to_dict()
    svg = _converted(json.dumps(spec))
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    # The page's own title and description stand in for Vega's labels of single marks, of which there are hundreds.
    svg = re.sub(r' (?:aria-[a-z]+|role)="[^"]*"', "", svg)
    head = (
        f'<svg role="img" aria-labelledby="{name}-title {name}-desc" focusable="false" '
        f'style="max-width:100%;height:auto" '
    )
    labels = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    opening, rest = svg.split(">", 1)
    return f"{opening.replace('<svg ', head, 1)}>{labels}{rest}"


@lru_cache(maxsize=64)
def _converted(spec: str) -> str:
    """SVG of a Vega-Lite spec. Kept, since it is the slow step and training and the demo draw the same figures twice."""
    svg = str(vl_convert.vegalite_to_svg(spec))
    return svg[svg.index("<svg") :]


def dots(
    rows: Sequence[tuple[str, Json]], name: str, title: str, axis: str, description: str, colour: str = BLUE
) -> str | None:
    """One dot a row with its 95% interval, in the order given.

    Args:
        rows: Label and rate (`{n, of, value, low, high}`); a rate without a value is left out.
        name: Prefix of every id in the SVG; unique in the page.
        title: Read out by screen readers.
        axis: Title of the horizontal axis, which runs from 0% to 100%.
        description: One sentence on what it shows.
        colour: Of the dots and intervals.
    """
    values = [
        {"label": label, "value": r["value"], "low": r["low"], "high": r["high"]}
        for label, r in rows
        if r["value"] is not None
    ]
    if not values:
        return None
    base = alt.Chart(alt.Data(values=values))
    y = alt.Y("label:N", title=None, sort=[v["label"] for v in values], axis=alt.Axis(labelPadding=8))
    interval = base.mark_rule(color=colour, strokeWidth=3).encode(
        y=y,
        x=alt.X("low:Q", title=axis, scale=_UNIT, axis=_PERCENT),
        x2="high:Q",
    )
    dot = base.mark_point(
        color=colour, fill="white", filled=True, opacity=1, size=80, stroke=colour, strokeWidth=2
    ).encode(y=y, x=alt.X("value:Q", scale=_UNIT))
    chart = alt.layer(interval, dot).properties(width=WIDTH - 200, height=ROW * len(values) + 10)
    return _svg(chart, name, title, description)


_LINES = (
    ("recall", "Recall", BLUE, [1, 0]),
    ("specificity", "Specificity", GREEN, [8, 4]),
    ("precision", "Precision at live prevalence", RED, [2, 3]),
)

MIN_FALSE_FLAGS = 5
"""With fewer false flags than this, precision at live prevalence rests on next to nothing and its line
ends."""


def thresholds(rows: Sequence[Json], review: float, name: str, title: str, description: str) -> str | None:
    """Recall, specificity and live precision over thresholds, with the review threshold marked."""
    values: list[Json] = []
    for row in rows:
        for key, label, _, _ in _LINES:
            value = row[key]["value"]
            if key == "precision":
                enough = row["false_flag"]["n"] >= MIN_FALSE_FLAGS
                value = row["live"]["precision"]["value"] if enough else None
            if value is not None:
                values.append({"threshold": row["threshold"], "series": label, "value": value})
    if not values:
        return None
    labels = [label for _, label, _, _ in _LINES]
    lines = (
        alt.Chart(alt.Data(values=values))
        .mark_line(strokeWidth=2.5)
        .encode(
            x=alt.X("threshold:Q", title="Threshold on the probability", scale=_UNIT),
            y=alt.Y("value:Q", title=None, scale=_UNIT, axis=_PERCENT),
            color=alt.Color("series:N", scale=alt.Scale(domain=labels, range=[line[2] for line in _LINES]), title=None),
            strokeDash=alt.StrokeDash(
                "series:N",
                scale=alt.Scale(domain=labels, range=[line[3] for line in _LINES]),
                title=None,
                legend=alt.Legend(
                    orient="top", labelFontSize=14, symbolSize=900, symbolStrokeWidth=2.5, labelLimit=300
                ),
            ),
        )
    )
    mark = alt.Chart(alt.Data(values=[{"threshold": review, "label": f"review {review:.2f}"}]))
    rule = mark.mark_rule(color=INK, strokeWidth=1.5).encode(x="threshold:Q")
    text = mark.mark_text(
        align="right" if review > 0.8 else "left", dx=-6 if review > 0.8 else 6, fontSize=14, color=INK
    ).encode(x="threshold:Q", y=alt.value(292), text="label:N")
    chart = alt.layer(lines, rule, text).properties(width=WIDTH - 60, height=300)
    return _svg(chart, name, title, description)


def calibration(bins: Sequence[Json], name: str, title: str, description: str) -> str | None:
    """Observed share of stalking against mean probability by bin, beside the line of perfect calibration."""
    values = [{"mean": b["mean"], **b["observed"]} for b in bins if b["observed"]["value"] is not None]
    if not values:
        return None
    base = alt.Chart(alt.Data(values=values))
    x = alt.X("mean:Q", title="Mean probability given by the model", scale=_UNIT, axis=_PERCENT)
    perfect = (
        alt.Chart(alt.Data(values=[{"mean": 0, "value": 0}, {"mean": 1, "value": 1}]))
        .mark_line(color=GREY, strokeDash=[6, 4])
        .encode(x=x, y="value:Q")
    )
    interval = base.mark_rule(color=BLUE, strokeWidth=2.5).encode(
        x=x, y=alt.Y("low:Q", title="Truly stalking", scale=_UNIT, axis=_PERCENT), y2="high:Q"
    )
    dot = base.mark_point(color=BLUE, fill="white", filled=True, opacity=1, size=80, stroke=BLUE, strokeWidth=2).encode(
        x=x, y="value:Q"
    )
    return _svg(alt.layer(perfect, interval, dot).properties(width=380, height=380), name, title, description)
