"""The plot of the report: ranking of every row with its interval, recall against speed, and the two growth curves.

Drawn with Altair and turned into SVG without a browser. No series is told apart by colour alone.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

Json = dict[str, Any]
WIDTH = 420


def draw(report: Json, path: Path) -> bool:
    """Write the SVG; False when the libraries for it are not installed or nothing was measured."""
    if find_spec("altair") is None or find_spec("vl_convert") is None:
        return False
    import altair as alt
    import vl_convert

    rows = ranking_points(report)
    if not rows:
        return False
    order = [row["row"] for row in rows]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("row:N", sort=order, title=None, axis=alt.Axis(labelLimit=400))
    )
    axis = alt.X("value:Q", title="average precision on unseen writers, 95% interval", scale=alt.Scale(zero=False))
    ranking = base.mark_point(filled=True, size=70).encode(
        x=axis, shape=alt.Shape("whose:N", title=None), color=alt.Color("whose:N", title=None)
    )
    spans = base.mark_rule().encode(x=alt.X("low:Q"), x2="high:Q")
    costs = [row for row in rows if row["speed"] is not None]
    dots = alt.Chart(alt.Data(values=costs)).encode(
        x=alt.X("speed:Q", scale=alt.Scale(type="log"), axis=alt.Axis(tickCount=5), title="narratives a second (log)"),
        y=alt.Y("recall:Q", scale=alt.Scale(zero=False), title="recall at 5% false flags"),
    )
    speed = dots.mark_point(filled=True, size=70).encode(
        shape=alt.Shape("whose:N", title=None), color=alt.Color("whose:N", title=None)
    ) + dots.mark_text(align="left", dx=7, fontSize=11).encode(text="name:N")
    charts = [(spans + ranking).properties(width=WIDTH), speed.properties(width=WIDTH, height=260)]
    for axis_name, title in (("length", "characters of one text"), ("rows", "rows of a file")):
        points = growth_points(report, axis_name)
        if points:
            line = alt.Chart(alt.Data(values=points)).mark_line(point=True)
            charts.append(
                line.encode(
                    x=alt.X("size:Q", title=title),
                    y=alt.Y("seconds:Q", title="seconds"),
                    strokeDash=alt.StrokeDash("row:N", title=None),
                    shape=alt.Shape("row:N", title=None),
                ).properties(width=WIDTH, height=200)
            )
    whole = alt.vconcat(*charts).resolve_scale(shape="independent", color="independent", strokeDash="independent")
    svg = vl_convert.vegalite_to_svg(whole.properties(background="white").to_dict())
    building = path.with_suffix(".part")
    building.write_text(str(svg) + "\n", encoding="utf-8")
    building.replace(path)
    return True


def ranking_points(report: Json) -> list[Json]:
    """One point a row that has out-of-fold figures."""
    found = []
    for row in report["rows"]:
        if row["unseen"] is None:
            continue
        ap = row["unseen"]["average_precision"]
        found.append(
            {
                "row": row["title"],
                "name": row["name"],
                "whose": "ours" if "ours" in row["title"] else "others",
                "value": ap["value"],
                "low": ap["value"] if ap["low"] is None else ap["low"],
                "high": ap["value"] if ap["high"] is None else ap["high"],
                "recall": row["unseen"]["recall_at_0.05"]["value"],
                "speed": row["costs"].get("narratives_a_second"),
            }
        )
    return found


def growth_points(report: Json, axis: str) -> list[Json]:
    """Seconds against size, for every row that was measured."""
    return [
        {"row": name.split("/")[1], "size": size, "seconds": seconds}
        for name, part in report["sections"].items()
        if name.startswith("growth/") and axis in part
        for size, seconds in part[axis]["points"]
    ]
