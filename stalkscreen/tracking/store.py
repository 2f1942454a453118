"""The MLflow store: how it is opened, and the names in it that both its writers and its readers know."""

from __future__ import annotations

import os
from typing import Any

from stalkscreen.config import Settings

NAME = "stalkscreen"
"""Registered model and experiment name."""

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_SCHEMA_DETAILS": "true",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Set before MLflow is imported: no telemetry, no input in schema errors, no pip calls, no pickle."""

TAKEN = "last_number_given_back"
"""Tag of the registered model: MLflow counts deleted versions on, but does not list them."""


def mlflow_at(settings: Settings) -> Any:
    """MLflow itself, quiet and pointed at the store of the settings."""
    for key, value in ENVIRONMENT.items():
        os.environ[key] = value
    import logging

    import mlflow

    # MLflow and Alembic narrate migrations, validation and registration; the command says what matters itself.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    mlflow.set_tracking_uri(settings.tracking_uri)
    mlflow.set_registry_uri(settings.tracking_uri)
    return mlflow


def experiment_id(mlflow: Any, settings: Settings) -> str:
    """Id of our experiment, made where it is not there yet."""
    found = mlflow.get_experiment_by_name(NAME)
    if found is not None:
        return str(found.experiment_id)
    local = settings.tracking_uri.startswith("sqlite:")
    location = settings.artifacts.resolve().as_uri() if local else None
    return str(mlflow.create_experiment(NAME, artifact_location=location))
