"""What stands around the BentoML application: one shape for errors, limits on bodies, nothing of theirs in a log.

`OneErrorShape` is outermost, outside BentoML's own access log and metrics; `Gate` is innermost, inside its limits on
time and concurrency, so that reading and checking a body counts against both.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import anyio.to_thread

from serving.errors import error_body, is_error_body, refusal
from serving.loading import LoadedModel
from serving.parsing import check_batch, check_incident, ignore_body
from stalkscreen.errors import RequestError

log = logging.getLogger("bentoml.stalkscreen")

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MIB = 1024 * 1024
DRAIN = 64 * MIB
"""A body over its limit is still read to its end, and thrown away, up to this: a client that is cut off while sending
sees a broken connection instead of the 413."""


class Route(NamedTuple):
    """How one address of ours is called."""

    methods: tuple[str, ...]
    limit: int
    check: Callable[[bytes], bytes]
    takes_json: bool = True


ROUTES = {
    "/v1/screen": Route(("POST",), 1 * MIB, check_incident),
    "/v1/screen_batch": Route(("POST",), 10 * MIB, check_batch),
    "/v1/model": Route(("GET", "POST"), 1 * MIB, ignore_body, takes_json=False),
}
PATHS = frozenset(ROUTES) | {"/", "/livez", "/readyz", "/healthz", "/metrics", "/docs.json", "/schema.json"}
"""Every address that exists. BentoML's page at `/` loads a tracker in the reader's browser: `/` leads to `/docs.json`."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

arrived: ContextVar[float] = ContextVar("arrived")
"""When the call that is being answered came in, in seconds of `time.monotonic`; its time runs from then."""


def log_failure(error: BaseException, where: str) -> None:
    """Log what failed and at which lines, without the exception's own text: that could quote a narrative."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in reversed(frames[-6:]))
    log.error("%s failed: %s at %s", where, type(error).__name__, places)


async def answer(send: Send, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    """Send a whole JSON answer."""
    fields = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


class OneErrorShape:
    """Turns every error of whatever is inside into the one shape, and keeps free text out of logs and metrics.

    BentoML writes the path, method and address of a call into its access log and its metrics' labels. A caller who puts
    words there must not put them into our log: what is not one of `PATHS` or `METHODS` goes on as `/unknown` or `OTHER`,
    and what is no IP address as none.

    Args:
        app: The BentoML application.
        loaded: Says why there is no model when a 503 passes.
    """

    def __init__(self, app: App, loaded: LoadedModel) -> None:
        self.app = app
        self.loaded = loaded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["path"] not in PATHS:
            scope = {**scope, "path": "/unknown", "raw_path": b"/unknown"}
        scope = {**scope, "query_string": b"", "client": _address(scope.get("client"))}
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if scope["method"] not in METHODS:
            scope = {**scope, "method": "OTHER"}
        started: Message | None = None
        body = b""

        async def shaped(message: Message) -> None:
            nonlocal started, body
            if message["type"] == "http.response.start":
                started = message
            if started is None or started["status"] < 400:
                return await send(message)
            if message["type"] == "http.response.body":
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await self._send_error(send, started, body)

        try:
            await self.app(scope, receive, shaped)
        except Exception as error:
            log_failure(error, "A call")
            if started is None:
                await answer(send, 500, error_body(500))

    async def _send_error(self, send: Send, started: Message, body: bytes) -> None:
        status = started["status"]
        if not is_error_body(body):
            problem = self.loaded.problem() if status == 503 else None
            body = error_body(status) if problem is None else error_body(503, problem.code, problem.message)
        given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in started["headers"]}
        headers = {name: given[name] for name in ("allow", "x-bentoml-request-id") if name in given}
        if status in (429, 503):
            headers["retry-after"] = "1" if status == 429 else "5"
        await answer(send, status, body, headers)


def _address(client: tuple[str, int] | None) -> tuple[str, int] | None:
    """The caller's address without an IPv6 zone, or None.

    From a proxy on this machine the server below us takes it out of the header X-Forwarded-For, which may hold any words.
    """
    if client is None:
        return None
    host, port = client
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return str(address), port if port in range(65_536) else 0


class Gate:
    """Checks a call of `ROUTES` before BentoML reads it, so that BentoML never sees (or logs) a bad one.

    Args:
        app: The rest of the BentoML application.
        loaded: Holds the model.
    """

    def __init__(self, app: App, loaded: LoadedModel) -> None:
        self.app = app
        self.loaded = loaded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call, or hand it on with a checked body."""
        arrived.set(time.monotonic())
        if scope["type"] == "http" and scope["path"] == "/":
            body = b'{"docs": "/docs.json"}'
            return await answer(send, 307, body, {"location": "docs.json"})
        route = ROUTES.get(scope["path"]) if scope["type"] == "http" else None
        try:
            if route is None:
                return await self.app(scope, receive, send)
            body = await self._checked(scope, receive, route)
            await self.app(_with_body(scope, body), _replay(body, receive), send)
        except RequestError as error:
            allow = {"allow": ", ".join(route.methods)} if route is not None and error.status == 405 else None
            text = error_body(error.status, error.code, error.message, error.context.get("field"))
            await answer(send, error.status, text, allow)
        except ConnectionAbortedError:
            pass
        except Exception as error:  # BentoML's timer would hold the caller for 30 s on an exception
            log_failure(error, "A call")
            await answer(send, 500, error_body(500))

    async def _checked(self, scope: Scope, receive: Receive, route: Route) -> bytes:
        body = await _read(receive, route.limit)
        if scope["method"] not in route.methods:
            raise refusal(405)
        if route.takes_json and not _is_json(scope):
            raise refusal(415)
        if body is None:
            raise refusal(413)
        self.loaded.get()
        return await anyio.to_thread.run_sync(functools.partial(route.check, body))


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The body, or None when it is over `limit` bytes, whatever its Content-Length says or does not say.

    Raises:
        ConnectionAbortedError: The caller went away.
    """
    chunks: list[bytes] = []
    size = 0
    more = True
    while more and size <= DRAIN:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        else:
            chunks.clear()
        more = message.get("more_body", False)
    return b"".join(chunks) if size <= limit else None


def _is_json(scope: Scope) -> bool:
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    kind, *parameters = headers.get(b"content-type", "").lower().split(";")
    named = [parameter.partition("=") for parameter in parameters]
    charsets = {value.strip(' "') for name, _, value in named if name.strip() == "charset"}
    encoding = headers.get(b"content-encoding", "identity").strip().lower()
    return kind.strip() == "application/json" and charsets <= {"utf-8", "utf8"} and encoding == "identity"


def _with_body(scope: Scope, body: bytes) -> Scope:
    dropped = (b"content-type", b"content-length", b"transfer-encoding")
    kept = [(name, value) for name, value in scope["headers"] if name.lower() not in dropped]
    described = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    return {**scope, "method": "POST", "headers": kept + described}


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting = [body]

    async def replayed() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replayed
