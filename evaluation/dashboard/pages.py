"""The pages and charts, from the same partial templates, style and script as the report.

Input: evaluations and a `State`. Output: HTML and SVG text. Text from data is escaped.
"""

from __future__ import annotations

from functools import cache

from jinja2 import Environment
from markupsafe import Markup

from evaluation import charts, sentences
from evaluation.columns import FEW, Json
from evaluation.dashboard.figures import (
    compared,
    compared_parts,
    divisions,
    explorer_of,
    same_records,
    side,
    threshold_of,
)
from evaluation.dashboard.sources import Catalogue, Evaluation
from evaluation.dashboard.state import State
from evaluation.explorer_words import words
from evaluation.report import TEMPLATES, content_policy, page_environment

SHARES = ("recall_at", "recall", "falsely_flagged", "precision")
"""Figures drawn side by side: those that are shares of records of the set."""


def signed(value: float, digits: int) -> str:
    """A difference with its sign."""
    return f"{value:+,.{digits}f}".replace("-", "−")


@cache
def _scripts() -> tuple[Markup, ...]:
    return tuple(
        Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in ("report.js", "dashboard/dashboard.js")
    )


@cache
def policy() -> str:
    """The content security policy: that of the report, for two scripts and with a form of its own."""
    return f"{content_policy(*_scripts())}; form-action 'self'; frame-ancestors 'none'"


@cache
def _environment() -> Environment:
    environment = page_environment()
    environment.filters["signed"] = signed
    return environment


def _render(name: str, **shown: object) -> str:
    return _environment().get_template(f"dashboard/{name}.html.j2").render(scripts=_scripts(), **shown)


def list_page(catalogue: Catalogue, state: State) -> str:
    """Every evaluation there is, best on unseen writers first, and what could not be read."""
    return _render("list", found=catalogue.all(), problems=catalogue.problems, state=state)


def refusal_page(title: str, sentence: str) -> str:
    """A page that says what is wrong and leads back to the list."""
    return _render("refusal", title=title, sentence=sentence)


def view_page(catalogue: Catalogue, first: Evaluation, second: Evaluation | None, state: State) -> str:
    """One evaluation, or two side by side, at the state asked for."""
    named = divisions(first, second)
    part = part_of(first, second, state)
    return _render(
        "view",
        catalogue=catalogue,
        known=catalogue.known(),
        first=first,
        second=second,
        state=state,
        m=first.metrics,
        id="part1",
        figures=side(first, state.t, state),
        rows=compared(first, second, state) if second else None,
        same=second is not None and same_records(first, second),
        thresholds=[None if e is None else threshold_of(e, t) for e, t in ((first, state.t), (second, state.u))],
        divisions=named,
        division=part,
        parts=compared_parts(first, second, part) if part else [],
        says_parts=_says_parts(first, part),
        few=FEW,
        part=_explorer_part(first),
        charts={name: Markup(svg) for name in CHARTS if (svg := chart(name, first, second, state)) is not None},
    )


def _explorer_part(first: Evaluation) -> Json | None:
    """What `sections/explorer.html.j2` shows: the model's own threshold, from which its script goes to the state."""
    explorer = explorer_of(first)
    if explorer is None:
        return None
    now = explorer.at(explorer.review)
    return {
        "explorer": {"now": now, "start": explorer.start, "queue": explorer.queue(explorer.review)},
        "payload": explorer.payload(),
        "can_mix": explorer.can_mix,
        "says": words(explorer, now),
    }


def part_of(first: Evaluation, second: Evaluation | None, state: State) -> str:
    """The slice shown: the one asked for where it is there, else the first with several parts; empty for none."""
    named = divisions(first, second)
    if state.part in named:
        return state.part
    return next((name for name in named if len(compared_parts(first, second, name)) > 1), next(iter(named), ""))


def _says_parts(first: Evaluation, part: str) -> str:
    found = next((d for d in first.metrics["slices"] if d["slice"] == part), None)
    return sentences.division(found) if found and found["parts"] else "Not measured: no record says."


CHARTS = ("figures", "parts", "thresholds")
"""Names of the charts, in the order of the page."""


def chart(name: str, first: Evaluation, second: Evaluation | None, state: State) -> str | None:
    """One chart as SVG; None when there is nothing to draw.

    Raises:
        KeyError: `name` is not one of `CHARTS`.
    """
    return {"figures": _figures_chart, "parts": _parts_chart, "thresholds": _thresholds_chart}[name](
        first, second, state
    )


def _figures_chart(first: Evaluation, second: Evaluation | None, state: State) -> str | None:
    if second is None:
        return None
    rows = [row for row in compared(first, second, state) if row["key"] in SHARES]
    return charts.dots(
        [(f"{row['title']}: {which}", row[which]) for row in rows for which in ("first", "second")],
        "part1-figures",
        "The two evaluations side by side",
        "Share of records",
        "Recall, false flags and precision of the first and of the second, each with its 95% interval; the figures are "
        "in the table.",
    )


def _parts_chart(first: Evaluation, second: Evaluation | None, state: State) -> str | None:
    name = part_of(first, second, state)
    rows = compared_parts(first, second, name) if name else []
    drawn = [
        (f"{row['value']}: {which}" if second else row["value"], row[which]["recall"])
        for row in rows
        for which in ("first", "second")
        if row[which] is not None
    ]
    title = f"Recall by: {divisions(first, second).get(name, '')}"
    return charts.dots(drawn, "part1-parts", title, "Recall", _says_parts(first, name))


def _thresholds_chart(first: Evaluation, second: Evaluation | None, state: State) -> str | None:
    metrics = first.metrics
    return charts.thresholds(
        metrics["thresholds"],
        metrics["model"]["threshold"]["review"],
        "part1-thresholds",
        "Rates by threshold",
        sentences.thresholds(metrics),
    )
