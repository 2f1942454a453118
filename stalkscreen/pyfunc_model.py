"""The MLflow form of a model: code that MLflow stores beside the model folder and runs to load it (models from code).

Input: a table with `narrative` and, optionally, the other incident fields. Output: one row an incident with the
headline answers and the whole assessment as JSON. It calls `ScreeningModel.assess` and adds nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from stalkscreen.config import DEFAULT_LIVE_PREVALENCE
from stalkscreen.errors import ConfigError
from stalkscreen.model import ScreeningModel
from stalkscreen.schema import Case, Incident

COLUMNS = (
    "incident_id",
    "narrative",
    "occurred_at",
    "reported_at",
    "source_type",
    "recorded_offence",
    "force",
)
"""Columns read; `narrative` is required, a missing `incident_id` becomes the row number."""


class ScreeningPyfunc(mlflow.pyfunc.PythonModel):
    """Loads the model folder among its artefacts; `params` may set `live_prevalence`."""

    def load_context(self, context: Any) -> None:
        """Load the model folder. No pickle: the folder holds text and numeric arrays."""
        self.model = ScreeningModel.load(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Assess every row by itself.

        Raises:
            ConfigError: A parameter other than `live_prevalence`, or one outside 0..1.
        """
        settings = dict(params or {})
        prevalence = float(settings.pop("live_prevalence", DEFAULT_LIVE_PREVALENCE))
        if settings or not 0 < prevalence < 1:
            raise ConfigError("The only parameter is live_prevalence, a number between 0 and 1.", field="params")
        model = ScreeningModel(self.model.classifier, self.model.info, prevalence)
        columns = [c for c in COLUMNS if c in model_input.columns]
        cases = []
        for number, row in enumerate(model_input[columns].to_dict(orient="records")):
            known = {str(k): v for k, v in row.items() if not pd.isna(v)}
            cases.append(Case.of_one(Incident.model_validate({"incident_id": str(number), **known})))
        assessed = model.assess(cases)
        return pd.DataFrame(
            {
                "incident_id": [a.incident_id for a in assessed],
                "probability": [a.stalking.probability for a in assessed],
                "probability_at_live": [a.stalking.probability_at_live for a in assessed],
                "flag": [a.stalking.flag for a in assessed],
                "band": [a.stalking.band for a in assessed],
                "assessment": [json.dumps(a.to_json_dict(), ensure_ascii=False) for a in assessed],
            }
        )


mlflow.models.set_model(ScreeningPyfunc())
