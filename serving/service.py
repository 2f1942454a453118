"""The BentoML service: `bentoml serve` in the checkout, or of a built Bento, on 127.0.0.1:3000.

Input: a released model folder (`models/RELEASED`, or `STALKSCREEN_MODEL`) and incidents over HTTP. Output: the
assessments of `ScreeningModel.assess`, unchanged. Nothing is written and nothing that is sent is kept.
Errors, limits and what is logged: `serving/README.md`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from serving.privacy import stay_offline

stay_offline()

import bentoml  # noqa: E402
from starlette.responses import JSONResponse, Response  # noqa: E402

from serving.errors import error_body  # noqa: E402
from serving.loading import LoadedModel  # noqa: E402
from serving.middleware import App, Gate, OneErrorShape, arrived, log_failure  # noqa: E402
from serving.openapi import ModelAnswer, ScreenBatchAnswer, describe, model_answer  # noqa: E402
from serving.parsing import ScreenBatch  # noqa: E402
from stalkscreen.schema import Assessment, Case, Incident  # noqa: E402

TIMEOUT_SECONDS = 30
"""After it a call is answered 504; a batch that is still being assessed stops at its next chunk."""

GRACE_SECONDS = 1
"""How much later an assessment gives up than BentoML, so that the two do not answer the same call."""

CHUNK = 16
CHUNK_CHARS = 20_000
"""Most incidents, and most characters unless one incident has more, assessed between two looks at the clock."""

AT_ONCE = 4
"""Calls answered at a time, and assessments under way."""

loaded = LoadedModel()
places = threading.BoundedSemaphore(AT_ONCE)
"""BentoML forgets a call that it has answered 504; its assessment keeps its place here until it stops."""


class ScreeningService(bentoml.Service):
    """A BentoML service with `OneErrorShape` around all of it and its own OpenAPI document."""

    def to_asgi(self, is_main: bool = True) -> App:
        """The whole application."""
        return OneErrorShape(super().to_asgi(is_main), loaded)

    @property
    def openapi_spec(self) -> Any:
        """What `/docs.json` answers; with the loaded model's own answer as the example."""
        return describe(super().openapi_spec, loaded)


@bentoml.service(
    name="stalkscreen_service",
    service_class=ScreeningService,
    workers=1,
    threads=AT_ONCE,
    traffic={"timeout": float(TIMEOUT_SECONDS), "max_concurrency": 32},
    http={"host": "127.0.0.1", "port": 3000},
    logging={"access": {"request_content_type": False}},
)
class Screening:
    """Screens police narratives for probable stalking, for review by a trained person. It never decides."""

    @bentoml.on_startup
    def load(self) -> None:
        """Start loading the model; `/readyz` answers 503 until it is there."""
        loaded.start()

    async def __is_ready__(self) -> bool:
        return loaded.ready

    @bentoml.api(route="/v1/screen", output_spec=Assessment)
    def screen(self, incident: Incident, /) -> Response:
        """Assess one incident."""
        return _answer(lambda: _assess([incident])[0])

    @bentoml.api(route="/v1/screen_batch", output_spec=ScreenBatchAnswer)
    def screen_batch(self, batch: ScreenBatch, /) -> Response:
        """Assess 1 to 256 incidents, each by itself; answers come in the order sent."""
        return _answer(lambda: {"assessments": _assess(batch.incidents)})

    @bentoml.api(route="/v1/model", output_spec=ModelAnswer)
    def model(self) -> Response:
        """Say which model answers, how it was measured and what it is for."""
        return _answer(lambda: model_answer(loaded.get()))


Screening.add_asgi_middleware(Gate, loaded=loaded)  # type: ignore[attr-defined]  # a bentoml.Service by now


def _assess(incidents: list[Incident]) -> list[dict[str, Any]]:
    """One assessment an incident, as JSON types.

    Raises:
        TimeoutError: The caller has been answered 504 already; the rest would be thrown away.
    """
    deadline = arrived.get() + TIMEOUT_SECONDS + GRACE_SECONDS
    if not places.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise TimeoutError
    try:
        answers: list[dict[str, Any]] = []
        for chunk in _chunks(incidents):
            if time.monotonic() > deadline:
                raise TimeoutError
            cases = [Case.of_one(incident) for incident in chunk]
            answers += [assessment.to_json_dict() for assessment in loaded.get().assess(cases)]
        return answers
    finally:
        places.release()


def _chunks(incidents: list[Incident]) -> Iterator[list[Incident]]:
    """The incidents in order, at least one and otherwise at most `CHUNK` and `CHUNK_CHARS` at a time."""
    chunk: list[Incident] = []
    chars = 0
    for incident in incidents:
        length = len(incident.narrative)
        if chunk and (len(chunk) == CHUNK or chars + length > CHUNK_CHARS):
            yield chunk
            chunk, chars = [], 0
        chunk.append(incident)
        chars += length
    yield chunk


def _answer(make: Callable[[], dict[str, Any]]) -> Response:
    """What `make` returns, as JSON; or 500. An exception must not reach BentoML, which logs its text."""
    try:
        return JSONResponse(make())
    except TimeoutError:
        status = 504
    except Exception as error:
        log_failure(error, "A call")
        status = 500
    return Response(error_body(status), status, media_type="application/json")
