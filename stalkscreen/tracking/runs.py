"""Record a training run and register its model; add to a finished run an evaluation, figures, charts and the view."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stalkscreen.config import CHECKOUT, DEFAULT_LIVE_PREVALENCE, Settings
from stalkscreen.errors import UnknownNameError
from stalkscreen.model import ScreeningModel
from stalkscreen.run_figures import RECALL_AT, SCORES, charts, evaluation_figures
from stalkscreen.tracking.registry import download_evaluation
from stalkscreen.tracking.store import NAME, TAKEN, experiment_id, mlflow_at

if TYPE_CHECKING:
    import pandas as pd

REQUIREMENTS = (
    "numpy", "scipy", "scikit-learn", "pydantic", "pandas", "click", "tzdata", "onnxruntime", "tokenizers",
)  # fmt: skip
"""What loading the MLflow model needs, pinned to the versions that logged it."""

VIEW = "unseen-writers"
"""Name of the saved view that `save_view` keeps: `#/experiments/ID/runs?viewStateShareKey=unseen-writers`."""

VIEW_STATE: dict[str, Any] = {
    "searchFilter": "tags.grouping LIKE '%writer%'",
    "orderByKey": f"metrics.`cv.{RECALL_AT}`",
    "orderByAsc": False,
    "selectedColumns": [
        f"metrics.`cv.{RECALL_AT}`",
        "metrics.`cv.auc`",
        "metrics.`cv.recall`",
        "metrics.`cv.near_miss_flagged`",
        "metrics.`cv.ordinary_flagged`",
        "metrics.`slice.domestic.non_domestic.recall`",
        "tags.`kind`",
        "tags.`grouping`",
        "attributes.`Dataset`",
        "attributes.`Models`",
    ],
}
"""Runs whose folds kept writers apart, by recall at 5% false flags. What MLflow's own *Share* button would store."""


def record_run(
    model: ScreeningModel,
    *,
    settings: Settings,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    frame: pd.DataFrame,
    sources: Sequence[Mapping[str, Any]],
    folder: Path,
    evaluation: Path,
    input_example: pd.DataFrame,
    curves: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
) -> str:
    """Log one training run and register its model with the alias `candidate`.

    Args:
        model: As trained; its `info.version` must be the one from `next_version`.
        settings: Where the store is.
        params: Hyper-parameters and settings, flat.
        metrics: Headline figures, flat; None and NaN are left out.
        frame: Ids and labels of the training records, without narratives, for MLflow's dataset record.
        sources: Name, sha256 and rows of every training file.
        folder: The saved model.
        evaluation: Folder with `metrics.json`, `errors.csv` and `report.html`.
        input_example: Synthetic rows only; MLflow stores them with the model.
        curves: By name of a fit, one entry an epoch with `epoch` and what was measured; logged as curves.

    Returns:
        Run id.

    Raises:
        UnknownNameError: Another run registered a version meanwhile.
    """
    mlflow = mlflow_at(settings)
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    from stalkscreen import pyfunc_model

    inputs = [ColSpec("string", c, required=c == "narrative") for c in pyfunc_model.COLUMNS]
    outputs = [
        ColSpec("string", "incident_id"),
        ColSpec("double", "probability"),
        ColSpec("double", "probability_at_live"),
        ColSpec("boolean", "flag"),
        ColSpec("string", "band"),
        ColSpec("string", "assessment"),
    ]
    signature = ModelSignature(
        Schema(inputs),
        Schema(outputs),
        ParamSchema([ParamSpec("live_prevalence", "double", DEFAULT_LIVE_PREVALENCE)]),
    )
    info = model.info
    with mlflow.start_run(experiment_id=experiment_id(mlflow, settings), run_name=f"{info.kind}-{info.version}") as run:
        mlflow.set_tags(
            {
                "kind": info.kind,
                "label_version": info.label_version,
                "data_hash": info.provenance.data_hash,
                "grouping": info.provenance.grouping,
                "code_version": info.provenance.code_version,
                # Numbered: a file's name need not be one that MLflow takes, and two files may have the same.
                **{f"data_sha256.{number}": s["sha256"] for number, s in enumerate(sources, 1)},
            }
        )
        mlflow.log_params({k: str(v)[:500] for k, v in params.items()})
        # No narrative goes into the record, and each source is a name with its hash rather than a place.
        files = {f"file {n}": f"{s['name']}, sha256 {s['sha256']}" for n, s in enumerate(sources, 1)}
        source = CodeDatasetSource(files)
        dataset = mlflow.data.from_pandas(frame, source=source, name=NAME, targets="stalking")
        mlflow.log_input(dataset, context="training")
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=pyfunc_model.__file__,
            artifacts={"model": str(folder)},
            code_paths=[str(CHECKOUT / "stalkscreen")],
            signature=signature,
            input_example=input_example,
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            registered_model_name=None,
        )
        mlflow.log_metrics(_flat(metrics), model_id=logged.model_id, dataset=dataset)
        mlflow.log_metrics(_found_in(evaluation, "cv."), model_id=logged.model_id, dataset=dataset)
        for fit, entries in (curves or {}).items():
            for entry in entries:
                mlflow.log_metrics(
                    {f"{fit}.{k}": v for k, v in entry.items() if k != "epoch"}, step=int(entry["epoch"])
                )
        mlflow.log_artifacts(str(evaluation), "evaluation")
        _log_charts(mlflow.MlflowClient(), run.info.run_id, evaluation, "plots")
        with tempfile.TemporaryDirectory() as scratch:
            environment = Path(scratch) / "environment.txt"
            environment.write_text(_environment(), encoding="utf-8")
            mlflow.log_artifact(str(environment))
        client = mlflow.MlflowClient()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            made = mlflow.register_model(logged.model_uri, NAME)
        if str(made.version) != info.version:
            client.set_registered_model_tag(NAME, TAKEN, str(made.version))
            client.delete_model_version(NAME, made.version)
            raise UnknownNameError(
                f"A version number was taken meanwhile: this run got {made.version} and expected {info.version}; run it again."
            )
        client.set_registered_model_alias(NAME, "candidate", made.version)
        for key, value in _flat(metrics).items():
            client.set_model_version_tag(NAME, made.version, key, f"{value:.4f}")
        save_view(settings)
        return str(run.info.run_id)


def log_evaluation(run_id: str, name: str, folder: Path, metrics: Mapping[str, float], settings: Settings) -> None:
    """Add an evaluation on another set to a finished run, under `name`."""
    mlflow = mlflow_at(settings)
    client = mlflow.MlflowClient()
    client.log_artifacts(run_id, str(folder), f"evaluation-{name}")
    figures = _flat(metrics) | _found_in(folder)
    _log_figures(mlflow, run_id, {f"{name}.{key}": value for key, value in figures.items()})
    _log_charts(client, run_id, folder, f"plots-{name}")


def complete_run(run_id: str, settings: Settings) -> None:
    """Put on a run of an earlier version what later ones have: recall at 5%, figures of slices, charts, the view.

    Raises:
        UnknownNameError: There is no such run, or no evaluation on it.
    """
    mlflow, folder = mlflow_at(settings), download_evaluation(run_id, settings)
    _log_figures(mlflow, run_id, _found_in(folder, "cv."))
    _log_charts(mlflow.MlflowClient(), run_id, folder, "plots")
    save_view(settings)


def _log_figures(mlflow: Any, run_id: str, figures: Mapping[str, float]) -> None:
    now = int(1000 * time.time())
    mlflow.MlflowClient().log_batch(run_id, [mlflow.entities.Metric(k, v, now, 0) for k, v in figures.items()])


def _found_in(folder: Path, prefix: str = "") -> dict[str, float]:
    """Figures of every `metrics.json` in an evaluation folder; `prefix` stands before those that are of no slice.

    A file of another name, such as `public_metrics.json`, puts its own (`public.`) before all of its figures.
    """
    found: dict[str, float] = {}
    for path in sorted(folder.glob("*metrics.json")):
        own = path.name.removesuffix("metrics.json")
        figures = evaluation_figures(json.loads(path.read_text(encoding="utf-8")), None if own else folder / SCORES)
        before = f"{own.rstrip('_-')}." if own else ""
        for name, value in figures.items():
            found[f"{before}{'' if name.startswith('slice.') else prefix}{name}"] = value
    return found


def _log_charts(client: Any, run_id: str, folder: Path, place: str) -> None:
    """Put each chart of the report on the run as a file of its own, which the MLflow pages show."""
    report = folder / "report.html"
    if report.is_file():
        for name, svg in charts(report.read_text(encoding="utf-8")):
            client.log_text(run_id, svg, f"{place}/{name}.svg")


def save_view(settings: Settings) -> None:
    """Keep the view that compares runs by recall at 5% false flags on unseen writers (docs/how-to/compare-runs.md)."""
    mlflow = mlflow_at(settings)
    client = mlflow.MlflowClient()
    client.set_experiment_tag(experiment_id(mlflow, settings), f"mlflow.sharedViewState.{VIEW}", json.dumps(VIEW_STATE))


def _flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {k: float(v) for k, v in metrics.items() if isinstance(v, int | float) and v == v}


def _environment() -> str:
    from importlib.metadata import distributions

    found = {f"{d.metadata['Name']}=={d.version}" for d in distributions() if d.metadata["Name"]}
    return "\n".join(sorted(found, key=str.lower)) + "\n"
