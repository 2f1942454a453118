"""The OpenAPI document at `/docs.json`, and what `/v1/model` says.

BentoML's own document knows neither our errors nor an example. The paths under `/v1` are therefore written here, from
the models of `stalkscreen.schema`; the example answer is what the loaded model says about the example incident.
"""

from __future__ import annotations

import importlib.metadata
import json
from typing import Any

import attrs
from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import models_json_schema

from serving.errors import BY_STATUS, error_body
from serving.loading import EXAMPLE, HOW_TO_GET_ONE, LoadedModel
from serving.parsing import ScreenBatch
from stalkscreen.model import ScreeningModel
from stalkscreen.model_format import INTENDED_USE, PROHIBITED_USE, Thresholds
from stalkscreen.schema import Assessment, Incident

_ANSWER = ConfigDict(extra="forbid", protected_namespaces=())


class ScreenBatchAnswer(BaseModel):
    """The answer of `/v1/screen_batch`: one assessment an incident, in the order sent."""

    model_config = _ANSWER

    assessments: list[Assessment]


class CascadeAnswer(BaseModel):
    """How the first stage clears what is plainly something else; fields as in `stalkscreen.model_format.Cascade`."""

    model_config = _ANSWER

    cut: float
    stated_loss: float
    stalking: int
    lost: int
    lost_upper: float
    below_cut: float
    cleared: dict[str, float]


class ModelAnswer(BaseModel):
    """The answer of `/v1/model`.

    Attributes:
        prevalence: Share of stalking among the training records, at which `probability` is calibrated.
        live_prevalence: Share at which `probability_at_live` is given (`STALKSCREEN_LIVE_PREVALENCE`).
        headline: Cross-validated figures, as written by training.
        cascade: The cut below which the cheap first stage answers alone, and what that costs; null where there is none or
            it is switched off (`STALKSCREEN_CASCADE`).
    """

    model_config = _ANSWER

    name: str
    version: str
    kind: str
    label_version: str
    data_hash: str
    trained_at: str | None
    thresholds: Thresholds
    prevalence: float
    live_prevalence: float
    headline: dict[str, Any]
    cascade: CascadeAnswer | None
    indicators: list[str]
    intended_use: str
    prohibited_use: str


class ErrorDetail(BaseModel):
    """What is wrong: `code` for programs, `message` for people, `field` where one field is at fault."""

    model_config = _ANSWER

    code: str
    message: str
    field: str | None


class Error(BaseModel):
    """The body of every answer with a status of 400 or more."""

    model_config = _ANSWER

    error: ErrorDetail


_MODELS = (Incident, ScreenBatch, Assessment, ScreenBatchAnswer, ModelAnswer, Error)


def model_answer(model: ScreeningModel) -> dict[str, Any]:
    """The answer of `/v1/model`, as JSON types."""
    return ModelAnswer(
        name="stalkscreen",
        version=model.version,
        kind=model.kind,
        label_version=model.info.label_version,
        data_hash=model.data_hash,
        trained_at=model.info.provenance.trained_at,
        thresholds=model.thresholds,
        prevalence=model.prevalence,
        live_prevalence=model.live_prevalence,
        headline=model.info.headline,
        cascade=_cascade(model),
        indicators=list(model.info.indicator_names),
        intended_use=INTENDED_USE,
        prohibited_use=PROHIBITED_USE,
    ).model_dump(mode="json")


def _cascade(model: ScreeningModel) -> CascadeAnswer | None:
    if model.cascade is None:
        return None
    return CascadeAnswer(**{name: getattr(model.cascade, name) for name in CascadeAnswer.model_fields})


def describe(spec: Any, loaded: LoadedModel) -> Any:
    """BentoML's document with our paths, schemas and version in place of its own.

    Args:
        spec: A BentoML `OpenAPISpecification`.
        loaded: While it holds no model the examples of answers are left out.
    """
    _, defined = models_json_schema(
        [(model, "validation") for model in _MODELS], ref_template="#/components/schemas/{model}"
    )
    ours = _paths(loaded)
    paths = {path: attrs.evolve(item, **ours[path]) if path in ours else item for path, item in spec.paths.items()}
    return attrs.evolve(
        spec,
        openapi="3.1.0",
        info=attrs.evolve(
            spec.info,
            description=f"{INTENDED_USE} Not for: {PROHIBITED_USE}",
            version=_version(),
            contact=None,
        ),
        components={"schemas": defined["$defs"]},
        paths=paths,
    )


def _version() -> str:
    """The package's version; a Bento holds the package without installing it."""
    try:
        return importlib.metadata.version("stalkscreen")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _paths(loaded: LoadedModel) -> dict[str, Any]:
    incident = EXAMPLE.model_dump(mode="json", exclude_none=True)
    answer = loaded.example_answer
    about = model_answer(loaded.get()) if loaded.ready else None
    batch_answer = None if answer is None else {"assessments": [answer]}
    about_it = {
        "summary": "The loaded model",
        "responses": _responses("ModelAnswer", about, (405, 413, 429, 500, 503, 504)),
    }
    return {
        "/v1/screen": {"post": _call("Assess one incident", "Incident", incident, "Assessment", answer)},
        "/v1/screen_batch": {
            "post": _call(
                "Assess 1 to 256 incidents, each by itself",
                "ScreenBatch",
                {"incidents": [incident]},
                "ScreenBatchAnswer",
                batch_answer,
            )
        },
        "/v1/model": {
            "get": {**about_it, "operationId": "get_model"},
            "post": {**about_it, "operationId": "post_model"},
        },
        "/readyz": {
            "get": {
                "summary": "Whether the model is loaded and has assessed the example",
                "tags": ["Infrastructure"],
                "responses": {"200": {"description": "It is."}, "503": _error(503)},
            }
        },
    }


def _call(summary: str, takes: str, sent: Any, gives: str, answer: Any) -> dict[str, Any]:
    return {
        "summary": summary,
        "operationId": "screen" if takes == "Incident" else "screen_batch",
        "requestBody": {"required": True, "content": _json(takes, sent)},
        "responses": _responses(gives, answer, (400, 405, 413, 415, 422, 429, 500, 503, 504)),
    }


def _responses(gives: str, answer: Any, errors: tuple[int, ...]) -> dict[str, Any]:
    answered = {"200": {"description": "OK", "content": _json(gives, answer)}}
    return answered | {str(status): _error(status) for status in errors}


def _error(status: int) -> dict[str, Any]:
    body = json.loads(error_body(status, *_SHOWN.get(status, ())))
    return {"description": BY_STATUS[status][1], "content": _json("Error", body)}


_SHOWN: dict[int, tuple[str, ...]] = {
    400: ("malformed_json", "The body is not valid JSON (line 1, column 17: Expecting ',' delimiter)."),
    422: ("narrative_too_long", "narrative has 20,001 characters; at most 20,000 are allowed.", "narrative"),
    503: ("no_released_model", HOW_TO_GET_ONE),
}


def _json(schema: str, example: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    if example is not None:
        content["example"] = example
    return {"application/json": content}
