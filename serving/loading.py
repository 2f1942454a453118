"""The model of this process: loaded once, beside the running server, and warmed before it counts as ready."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

from serving.errors import refusal
from stalkscreen.config import Settings
from stalkscreen.errors import ConfigError, RequestError, StalkscreenError
from stalkscreen.model import ScreeningModel
from stalkscreen.references import load_model
from stalkscreen.schema import Case, Incident

log = logging.getLogger("bentoml.stalkscreen")

EXAMPLE = Incident(
    incident_id="EXAMPLE-1",
    narrative=(
        "Caller reports her ex-partner was again sat in his van outside her work when she left. He has sent over "
        "thirty messages today from new numbers after she blocked him. He followed her home on Tuesday. "
        "No threats have been made. She is scared to leave the house."
    ),
    source_type="call_log",
    recorded_offence="harassment",
)
"""An invented record: it warms the model, and with the model's own answer it is the example in `/docs.json`."""

HOW_TO_GET_ONE = (
    "No model is loaded. Release one with `stalkscreen promote VERSION`, or name a model folder in STALKSCREEN_MODEL, "
    "and start the service again; the service's log says what is wrong."
)


class LoadedModel:
    """Holds the model, or why there is none.

    Attributes:
        example_answer: What the model says about `EXAMPLE`; None until it is ready.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._model: ScreeningModel | None = None
        self._problem: RequestError | None = None
        self.example_answer: dict[str, Any] | None = None

    def start(self) -> threading.Thread:
        """Load in a thread of its own, so that `/livez` answers meanwhile."""
        self._forget()
        thread = threading.Thread(target=self._load, name="load-model", daemon=True)
        thread.start()
        return thread

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and warmed."""
        return self._model is not None

    def problem(self) -> RequestError:
        """Why there is no model: still loading, or what to do to get one."""
        return self._problem or refusal(503)

    def get(self) -> ScreeningModel:
        """The model.

        Raises:
            RequestError: 503, see `problem`.
        """
        if self._model is None:
            raise self.problem()
        return self._model

    def _load(self) -> None:
        began = time.perf_counter()
        try:
            settings = Settings.from_env()
            if settings.model is not None and not Path(settings.model).is_dir():
                raise ConfigError(
                    f"STALKSCREEN_MODEL is {settings.model!r}, which is not a folder; the service opens no registry.",
                    field="STALKSCREEN_MODEL",
                )
            folder = None if settings.model is None else str(Path(settings.model).resolve())
            model = load_model(folder, settings)
            answer = model.assess([Case.of_one(EXAMPLE)])[0].to_json_dict()
        except StalkscreenError as error:
            log.error("No model is loaded (%s): %s", error.code, error.message)
            self._problem = refusal(503, HOW_TO_GET_ONE, error.code)
        except Exception as error:
            log.error("No model is loaded: %s while loading.", type(error).__name__)
            self._problem = refusal(503, HOW_TO_GET_ONE, "model_unusable")
        else:
            self.example_answer, self._model = answer, model
            log.info(
                "Model version %s (%s, labels %s, data %.12s) ready after %.1f s",
                model.version,
                model.kind,
                model.info.label_version,
                model.data_hash,
                time.perf_counter() - began,
            )
