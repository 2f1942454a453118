"""Addresses, downloads and headers of the page.

Only GET, no cookie, nothing stored; an evaluation is looked up by key among those found, so that no address reaches
another file. Answers to any other host name than this machine's are refused, which keeps web pages of others out.
"""

from __future__ import annotations

import csv
import io
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evaluation.dashboard import pages
from evaluation.dashboard.figures import FIGURES, SEPARATE, compared, compared_parts, side, threshold_of
from evaluation.dashboard.sources import Catalogue, Evaluation
from evaluation.dashboard.state import State
from evaluation.report import render_report
from stalkscreen.dataset.writing import inert

HOSTS = ("127.0.0.1", "localhost")

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""On every answer, beside the content security policy of `pages.policy`."""

PNG_SCALE = 2

CSV_COLUMNS = (
    "evaluation", "set", "synthetic", "threshold", "figure", "part", "n", "of", "value", "low", "high",
    "compared_with", "other_threshold", "other_n", "other_of", "other_value", "other_low", "other_high",
    "difference", "difference_low", "difference_high", "interval",
)  # fmt: skip


class _Headers:
    """Sets `HEADERS` and the policy on every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = pages.policy()
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, sent)


def dashboard(catalogue: Catalogue) -> ASGIApp:
    """The page over the evaluations of a catalogue."""

    def chosen(request: Request) -> tuple[Evaluation, Evaluation | None, State]:
        state = State.read(request.query_params)
        first = catalogue.get(state.e)
        second = catalogue.get(state.w) if state.w else None
        if first is None or (state.w and second is None):
            raise HTTPException(404, "That evaluation is not here, or not here any more. Choose one from the list.")
        return first, second, state

    def listed(request: Request) -> Response:
        return HTMLResponse(pages.list_page(catalogue, State.read(request.query_params)))

    def view(request: Request) -> Response:
        first, second, state = chosen(request)
        return HTMLResponse(pages.view_page(catalogue, first, second, state))

    def report(request: Request) -> Response:
        first, _, _ = chosen(request)
        return HTMLResponse(render_report([first.metrics], first.metrics["model"]))

    def figures(request: Request) -> Response:
        text = figures_csv(*chosen(request))
        return _download(text.encode("utf-8-sig"), "text/csv; charset=utf-8", "stalkscreen-figures.csv")

    def chart(request: Request) -> Response:
        import vl_convert

        name = request.query_params.get("chart", "")
        svg = pages.chart(name, *chosen(request)) if name in pages.CHARTS else None
        if svg is None:
            raise HTTPException(404, f"There is no such chart here; there are {', '.join(pages.CHARTS)}.")
        return _download(vl_convert.svg_to_png(svg, scale=PNG_SCALE), "image/png", f"stalkscreen-{name}.png")

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        title = HTTPStatus(error.status_code).phrase
        said = "There is nothing at this address." if error.detail == title else error.detail
        return HTMLResponse(pages.refusal_page(title, said), error.status_code, error.headers)

    async def failed(_: Request, __: Exception) -> Response:
        said = "These figures could not be shown. They may be of another version: evaluate again."
        return HTMLResponse(pages.refusal_page("Something is wrong", said), 500)

    routes = (("/", listed), ("/view", view), ("/report", report), ("/figures.csv", figures), ("/chart.png", chart))
    app = Starlette(
        routes=[Route(path, answer, methods=["GET"]) for path, answer in routes],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False)],
        exception_handlers={HTTPException: refused, Exception: failed},
    )
    return _Headers(app)


def _download(content: bytes, kind: str, name: str) -> Response:
    return Response(content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def figures_csv(first: Evaluation, second: Evaluation | None, state: State) -> str:
    """The figures of a view as CSV: one row a figure, then one a part of the slice shown and figure.

    Shares are numbers from 0 to 1. `interval` says how the interval of the difference was had.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)

    def row(
        figure: str,
        part: str,
        one: object,
        two: object,
        gap: object = None,
        how: str = "",
        at: tuple[str, str] = ("", ""),
    ) -> None:
        writer.writerow(
            [
                inert(first.place),
                inert(first.dataset),
                first.metrics["dataset"].get("synthetic", ""),
                at[0],
                figure,
                inert(part),
                *_cells(one),
                inert(second.place) if second else "",
                at[1] if second else "",
                *_cells(two),
                *_cells(gap)[2:],
                how,
            ]
        )

    at = (f"{threshold_of(first, state.t):.6f}", f"{threshold_of(second, state.u):.6f}" if second else "")
    if second is None:
        found = side(first, state.t, state)
        for key, _, _, _ in FIGURES:
            row(key, "", found[key], None, at=at)
    else:
        for figure in compared(first, second, state):
            row(figure["key"], "", figure["first"], figure["second"], figure["difference"], figure["how"], at)
    name = pages.part_of(first, second, state)
    own = f"{threshold_of(first, None):.6f}", f"{threshold_of(second, None):.6f}" if second else ""
    for part in compared_parts(first, second, name) if name else ():
        for key in ("recall", "false_flag"):
            one, two = ((part[which] or {}).get(key) for which in ("first", "second"))
            row(f"{name}.{key}", part["value"], one, two, part[f"{key}_difference"], SEPARATE if second else "", own)
    return out.getvalue()


def _cells(figure: object) -> list[object]:
    """`n`, `of`, `value`, `low` and `high`; empty where not known."""
    given = figure if isinstance(figure, dict) else {}
    return ["" if given.get(key) is None else given[key] for key in ("n", "of", "value", "low", "high")]
