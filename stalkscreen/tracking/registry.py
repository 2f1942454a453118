"""What the store holds: registered versions, evaluated runs, their models and files; and which version is champion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stalkscreen.config import Settings
from stalkscreen.errors import UnknownNameError
from stalkscreen.tracking.store import NAME, TAKEN, mlflow_at


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered version as `stalkscreen models` lists it."""

    version: str
    aliases: tuple[str, ...]
    kind: str
    created: int
    run_id: str
    headline: dict[str, float]


@dataclass(frozen=True, slots=True)
class EvaluatedRun:
    """A finished run and the evaluations on it.

    Attributes:
        run_id: MLflow run.
        name: Its name.
        started: Milliseconds since 1970.
        version: Version of the model it registered; None when there is none.
        aliases: Of that version.
        evaluations: Every `metrics.json` on it, as artefact paths.
    """

    run_id: str
    name: str
    started: int
    version: str | None
    aliases: tuple[str, ...]
    evaluations: tuple[str, ...]


def next_version(settings: Settings) -> str:
    """Version number that the next registered model will get."""
    client = mlflow_at(settings).MlflowClient()
    given_back = [int(m.tags.get(TAKEN, 0)) for m in client.search_registered_models(f"name='{NAME}'")]
    listed = [int(v.version) for v in client.search_model_versions(f"name='{NAME}'")]
    return str(max(given_back + listed, default=0) + 1)


def versions(settings: Settings) -> list[Registered]:
    """All registered versions, newest first."""
    client = mlflow_at(settings).MlflowClient()
    aliases: dict[str, list[str]] = {}
    found = client.search_model_versions(f"name='{NAME}'")
    if found:
        for alias, number in client.get_registered_model(NAME).aliases.items():
            aliases.setdefault(str(number), []).append(alias)
    listed = []
    for v in found:
        run = client.get_run(v.run_id)
        listed.append(
            Registered(
                version=str(v.version),
                aliases=tuple(sorted(aliases.get(str(v.version), []))),
                kind=run.data.tags.get("kind", "?"),
                created=int(v.creation_timestamp),
                run_id=str(v.run_id),
                headline=dict(run.data.metrics),
            )
        )
    return sorted(listed, key=lambda r: -int(r.version))


def run_of(version_number: str, settings: Settings) -> str:
    """Run id of a registered version.

    Raises:
        UnknownNameError: No such version.
    """
    for registered in versions(settings):
        if registered.version == version_number:
            return registered.run_id
    known = ", ".join(r.version for r in versions(settings)) or "none"
    raise UnknownNameError(f"There is no version {version_number!r}; registered: {known}.", version=version_number)


def set_champion(version_number: str, settings: Settings) -> None:
    """Give a version the alias `champion`."""
    mlflow_at(settings).MlflowClient().set_registered_model_alias(NAME, "champion", version_number)


def download_model(reference: str, settings: Settings) -> Path:
    """Folder of a registered or logged model. A bare number is a version of `stalkscreen`.

    Raises:
        UnknownNameError: The registry has no such model.
    """
    mlflow = mlflow_at(settings)
    uri = f"models:/{NAME}/{reference}" if reference.isdecimal() else reference
    try:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise UnknownNameError(
            f"The registry has no model {reference!r}. `stalkscreen models` lists the registered ones.",
            model=reference,
        ) from error
    found = sorted(folder.glob("artifacts/*/model.json"))
    if not found:
        raise UnknownNameError(f"{reference!r} is a model, but not one of stalkscreen's.", model=reference)
    return found[0].parent


def evaluated_runs(settings: Settings) -> list[EvaluatedRun]:
    """Finished runs with an evaluation on them, newest first, at most 200. An absent local store stays absent."""
    if settings.tracking_uri.startswith("sqlite:///") and not Path(settings.tracking_uri[len("sqlite:///") :]).exists():
        return []
    mlflow = mlflow_at(settings)
    client = mlflow.MlflowClient()
    experiment = mlflow.get_experiment_by_name(NAME)
    if experiment is None:
        return []
    registered = {r.run_id: r for r in versions(settings)}
    runs = []
    for run in client.search_runs(
        [experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=200, order_by=["start_time DESC"]
    ):
        folders = [f.path for f in client.list_artifacts(run.info.run_id) if f.is_dir and _is_evaluation(f.path)]
        found = [f.path for folder in folders for f in client.list_artifacts(run.info.run_id, folder)]
        evaluations = tuple(path for path in found if path.endswith("metrics.json"))
        version_of = registered.get(run.info.run_id)
        if evaluations:
            runs.append(
                EvaluatedRun(
                    run_id=str(run.info.run_id),
                    name=str(run.info.run_name),
                    started=int(run.info.start_time),
                    version=version_of.version if version_of else None,
                    aliases=version_of.aliases if version_of else (),
                    evaluations=evaluations,
                )
            )
    return runs


def _is_evaluation(folder: str) -> bool:
    return folder == "evaluation" or folder.startswith("evaluation-")


def download_evaluation(run_id: str, settings: Settings, place: str = "evaluation") -> Path:
    """Folder of an evaluation of a run, by default the cross-validated one; where the store is local, in its place.

    Raises:
        UnknownNameError: The run has no such folder.
    """
    mlflow = mlflow_at(settings)
    try:
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=place))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise UnknownNameError(f"Run {run_id} has no folder {place}.", run_id=run_id) from error
