"""The flow diagram: true family, as recorded, as screened, as one inline SVG.

Input: one entry of `misidentification.flows`. Output: SVG text, or None when there is nothing to draw. Ribbons are as
wide as they hold records. True stalking that is flagged is plain blue, true stalking that is not is red and hatched,
all else is grey; every block is labelled with its name and number, and the table in the page holds every count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape

from evaluation.charts import BLUE, INK, RED
from evaluation.columns import Json

WIDTH, HEIGHT, TOP, BAR = 960, 470, 34, 14
PLACES = (265, 590, 810)
"""Left edges of the three columns of blocks; the names stand beside them."""
GAP = 12
OTHER = "#c8ccce"
SCREENED = {"flagged": "Flagged", "not_flagged": "Not flagged"}
KINDS = ("found", "lost", "other")


def _kind(cell: Json) -> str:
    return "other" if not cell["stalking"] else "found" if cell["screened"] == "flagged" else "lost"


class _Column:
    """Blocks of one column, top down, each with room for its ribbons on either side."""

    def __init__(self, names: Sequence[str], totals: Mapping[str, int], scale: float) -> None:
        self.names = [name for name in names if totals[name]]
        self.totals = totals
        self.top: dict[str, float] = {}
        y = float(TOP)
        for name in self.names:
            self.top[name] = y
            y += max(totals[name] * scale, 15) + GAP
        self.bottom = y - GAP
        self.used: dict[tuple[str, str], float] = defaultdict(float)

    def take(self, name: str, side: str, height: float) -> float:
        """The next free place on one side of a block."""
        y = self.top[name] + self.used[name, side]
        self.used[name, side] += height
        return y


def flow_chart(flow: Json, groups: Mapping[str, str], name: str, title: str, description: str) -> str | None:
    """Draw one flow.

    Args:
        flow: Its `cells` give true family, recorded group, screened and number.
        groups: Titles of the recorded groups by name, in the order to draw.
        name: Prefix of every id in the SVG; unique in the page.
        title: Read out by screen readers.
        description: One sentence on what it shows.
    """
    cells = flow["cells"]
    if not cells:
        return None
    titles = {f"{cell['family']}/{cell['stalking']}": cell["title"] for cell in cells}
    size = {f"{key}": sum(c["n"] for c in cells if f"{c['family']}/{c['stalking']}" == key) for key in titles}
    # A family may hold records labelled stalking and others; they are separate blocks, and stalking comes first.
    families = sorted(titles, key=lambda key: (not key.endswith("True"), -size[key]))
    many = [{key: size[key] for key in families}, defaultdict(int), defaultdict(int)]
    for cell in cells:
        many[1][cell["recorded"]] += cell["n"]
        many[2][cell["screened"]] += cell["n"]
    orders = (families, list(groups), list(SCREENED))
    blocks = max(sum(1 for key in order if totals[key]) for order, totals in zip(orders, many, strict=True))
    scale = (HEIGHT - TOP - GAP * blocks) / sum(size.values()) * 0.9
    columns = [_Column(order, totals, scale) for order, totals in zip(orders, many, strict=True)]
    height = max(column.bottom for column in columns) + 10
    ribbons = [
        *_ribbons(cells, columns[0], columns[1], scale, lambda c: f"{c['family']}/{c['stalking']}", "recorded", 0),
        *_ribbons(cells, columns[1], columns[2], scale, lambda c: c["recorded"], "screened", 1),
    ]
    fills = {"found": BLUE, "lost": f"url(#{name}-hatch)", "other": OTHER}
    paths = "".join(f'<path d="{d}" fill="{fills[kind]}" fill-opacity="0.75"/>' for kind, d in ribbons)
    labels = (titles, groups, SCREENED)
    marks = "".join(_blocks(column, labels[at], at, scale) for at, column in enumerate(columns))
    heads = "".join(
        f'<text x="{x}" y="18" text-anchor="{anchor}" font-weight="700">{text}</text>'
        for x, anchor, text in (
            (PLACES[0] + BAR, "end", "True family"),
            (PLACES[1] + BAR, "end", "As recorded"),
            (PLACES[2], "start", "As screened"),
        )
    )
    hatch = (
        f'<pattern id="{name}-hatch" width="8" height="8" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><rect width="8" height="8" fill="{RED}"/>'
        '<rect width="2.5" height="8" fill="#fff"/></pattern>'
    )
    legend = "".join(
        f'<rect x="{x}" y="{height + 8:.0f}" width="22" height="14" fill="{fills[kind]}"/>'
        f'<text x="{x + 28}" y="{height + 20:.0f}">{text}</text>'
        for x, kind, text in (
            (10, "found", "True stalking, flagged"),
            (270, "lost", "True stalking, not flagged (hatched)"),
            (640, "other", "Not stalking"),
        )
    )
    return (
        f'<svg role="img" aria-labelledby="{name}-title {name}-desc" focusable="false" style="max-width:100%;height:auto" '
        f'xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height + 34:.0f}" '
        f'viewBox="0 0 {WIDTH} {height + 34:.0f}" font-family="Arial, sans-serif" font-size="15" fill="{INK}">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
        f"<defs>{hatch}</defs>{paths}{marks}{heads}{legend}</svg>"
    )


def _ribbons(
    cells: Sequence[Json], left: _Column, right: _Column, scale: float, from_: object, to: str, at: int
) -> list[tuple[str, str]]:
    assert callable(from_)
    totals: dict[tuple[str, str, str], int] = defaultdict(int)
    for cell in cells:
        totals[from_(cell), cell[to], _kind(cell)] += cell["n"]
    ways = [(a, b, kind) for kind in KINDS for a in left.names for b in right.names if totals[a, b, kind]]
    left_y = {way: left.take(way[0], "out", totals[way] * scale) for way in ways}
    right_y = {
        way: right.take(way[1], "in", totals[way] * scale) for way in sorted(ways, key=lambda w: KINDS.index(w[2]))
    }
    x0, x1 = PLACES[at] + BAR, PLACES[at + 1]
    middle = (x0 + x1) / 2
    drawn = []
    for way in ways:
        h, y0, y1 = max(totals[way] * scale, 0.6), left_y[way], right_y[way]
        drawn.append(
            (
                way[2],
                f"M{x0},{y0:.1f}C{middle},{y0:.1f} {middle},{y1:.1f} {x1},{y1:.1f}V{y1 + h:.1f}"
                f"C{middle},{y1 + h:.1f} {middle},{y0 + h:.1f} {x0},{y0 + h:.1f}Z",
            )
        )
    # Grey below, so that a thin ribbon of stalking is seen.
    return sorted(drawn, key=lambda ribbon: -KINDS.index(ribbon[0]))


def _blocks(column: _Column, titles: Mapping[str, str], at: int, scale: float) -> str:
    out = []
    for name in column.names:
        y, n = column.top[name], column.totals[name]
        height = max(n * scale, 1.5)
        x = PLACES[at]
        anchor, text_x = ("start", x + BAR + 6) if at == 2 else ("end", x - 6)
        out.append(
            f'<rect x="{x}" y="{y:.1f}" width="{BAR}" height="{height:.1f}" fill="{INK}"/>'
            f'<text x="{text_x}" y="{y + max(height / 2, 7) + 5:.1f}" text-anchor="{anchor}" '
            f'stroke="#fff" stroke-width="3" paint-order="stroke">{escape(_short(titles[name]))} {n:,}</text>'
        )
    return "".join(out)


def _short(title: str, most: int = 34) -> str:
    return title if len(title) <= most else f"{title[: most - 1]}…"
