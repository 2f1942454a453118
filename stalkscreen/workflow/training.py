"""Train, evaluate, track and register: what `stalkscreen train` does."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stalkscreen.config import Settings, TrainConfig
from stalkscreen.dataset import LabelledSet
from stalkscreen.model import ScreeningModel, keyword_model
from stalkscreen.progress import stages
from stalkscreen.run_figures import SCORES, read_scores
from stalkscreen.trained_on import Seen
from stalkscreen.workflow.evaluating import About, assess_all, describe, evaluate_set, headline, shown
from stalkscreen.workflow.reading import read_labels

if TYPE_CHECKING:
    from evaluation.answers import Answers
    from training.kept_folds import KeptFolds
    from training.train import TrainingResult

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trained:
    """A registered training run.

    Attributes:
        run_id: MLflow run.
        version: Registered version, alias `candidate`.
        model: As registered.
        metrics: Cross-validated figures.
        scores: Out-of-fold scores: id to label and probability.
        summary: The headline in a few lines.
    """

    run_id: str
    version: str
    model: ScreeningModel
    metrics: Json
    scores: dict[str, tuple[int, float]]
    summary: str


def train_and_register(
    data: Sequence[Path],
    config_path: Path,
    settings: Settings,
    *,
    columns: str | None = None,
    holdout: Sequence[Path] = (),
    histories: Sequence[Path] = (),
    keep_folds: Path | None = None,
) -> Trained:
    """Check, fit, evaluate, track and register. Nothing is registered when anything before fails.

    Raises:
        DataError, LeakageError: See `read_labelled` and `training.splits.check_holdout`.
        ConfigError: The config, a setting or a `dataset.toml` beside the files is wrong, or the kind does not learn from
            histories.
    """
    from evaluation.release_facts import other_set
    from stalkscreen.tracking import registry
    from training import splits
    from training.train import check_histories, fit

    config = TrainConfig.read(config_path)
    if histories:
        check_histories(config)
    labelled, about = read_labels(data, columns), About.read(data)
    learnt = read_labels(histories, columns) if histories else None
    held_out = (read_labels(holdout, columns), About.read(holdout)) if holdout else None
    if held_out is not None:
        splits.check_holdout(
            [*labelled.records, *(learnt.records if learnt else ())],
            held_out[0].records,
            config.validation.near_duplicate,
        )
    registry.next_version(settings)  # a store that cannot be reached is said now, not after the fit
    files = [*labelled.files, *(dict(f) | {"used_as": "histories"} for f in (learnt.files if learnt else ()))]
    result = fit(
        labelled.records,
        config,
        histories=learnt.records if learnt else (),
        kept=_kept_folds(keep_folds, files, columns, config) if keep_folds is not None else None,
        files=files,
        data_hash=labelled.data_hash,
        next_version=lambda: registry.next_version(settings),
        live_prevalence=settings.live_prevalence,
        progress=stages("training"),
    )
    model = result.model
    baselines = {"keyword": assess_all(keyword_model(settings.live_prevalence), labelled)}
    metrics = _evaluate_folds(result, labelled, about, baselines, settings)
    model.info = model.info.model_copy(update={"headline": headline(metrics)})
    parts = [evaluate_set(model, *held_out, settings)] if held_out is not None else []
    if parts:
        metrics["other_sets"] = [other_set(part) for part in parts]
    run_id, scores = _record(result, labelled, metrics, parts, baselines, settings)
    summary = _summary(run_id, result, metrics, config.thresholds.target_recall)
    return Trained(run_id, model.version, model, metrics, scores, summary)


def _kept_folds(
    folder: Path, files: Sequence[Mapping[str, Any]], columns: str | None, config: TrainConfig
) -> KeptFolds:
    """The folder of finished folds, for exactly these files read in this way, this config, these settings and this code."""
    from training.kept_folds import KeptFolds, code_digest
    from training.out_of_fold import settings_of

    made_of = {
        "files": [f["sha256"] for f in files],
        "used_as": [f.get("used_as") for f in files],
        "columns": columns,
        "config": config.model_dump(mode="json"),
        "settings": settings_of(config),
        "code": code_digest(),
    }
    return KeptFolds(folder, made_of)


def _evaluate_folds(
    result: TrainingResult,
    labelled: LabelledSet,
    about: About,
    baselines: Mapping[str, Answers],
    settings: Settings,
) -> Json:
    """Cross-validated figures: each record judged by a model that saw none of its group."""
    from evaluation.behaviour import behaviour_tests
    from evaluation.earliness import earliness
    from evaluation.evaluate import ThresholdInfo, evaluate

    model, cuts = result.model, result.model.thresholds
    chosen = f"chosen on out-of-fold scores, {_folds(result)}"
    # Changed texts and prefixes are put to a model that saw none of the records they are made from.
    probe = result.first_fold
    unseen = [r for r, fold in zip(labelled.records, result.fold, strict=True) if fold == 0]
    return evaluate(
        labelled.records,
        result.cross_validated,
        threshold=ThresholdInfo(cuts.review, cuts.high, model.prevalence, chosen),
        dataset=describe(about, labelled, result.grouping, Seen(0, "folds")),
        seen_in_training=False,
        baselines=baselines,
        live_prevalence=settings.live_prevalence,
        behaviour=behaviour_tests(unseen, probe, seen_in_training=False),
        earliness=earliness(unseen, probe, seen_in_training=False),
    )


def _record(
    result: TrainingResult,
    labelled: LabelledSet,
    metrics: Json,
    parts: Sequence[Json],
    baselines: Mapping[str, Answers],
    settings: Settings,
) -> tuple[str, dict[str, tuple[int, float]]]:
    """Put the figures to the gates (their outcome joins `metrics`), write the report, log the run, register the model.

    Returns:
        Run id, and the out-of-fold scores as `Trained` has them.
    """
    from evaluation.evaluate import write
    from evaluation.gates import Gates, run_gates, summary, write_scores
    from evaluation.release import released_or_none
    from stalkscreen.tracking import runs

    model, made_from = result.model, result.model.info.provenance
    logged = {f"cv.{key}": value for key, value in headline(metrics).items()}
    for part in parts:
        logged |= {f"holdout.{key}": value for key, value in headline(part).items()}
    with tempfile.TemporaryDirectory(prefix="stalkscreen-") as scratch:
        folder, evaluation = Path(scratch) / "model", Path(scratch) / "evaluation"
        model.save(folder)
        evaluation.mkdir()
        write_scores(labelled.records, result.cross_validated, evaluation / SCORES, result.without_cascade)
        scores = read_scores(evaluation / SCORES)
        metrics["gates"] = summary(run_gates(metrics, scores, released_or_none(settings), Gates.read()))
        write(metrics, labelled.records, result.cross_validated, evaluation, baselines=baselines, further_parts=parts)
        run_id = runs.record_run(
            model,
            settings=settings,
            params=_flat(made_from.config) | {"grouping": result.grouping},
            metrics=logged,
            frame=_labels_only(labelled),
            sources=made_from.data,
            curves=result.curves,
            folder=folder,
            evaluation=evaluation,
            input_example=_input_example(),
        )
    return run_id, scores


def _summary(run_id: str, result: TrainingResult, metrics: Json, target_recall: float) -> str:
    """The headline in a few lines, whether one fold holds most records, and which labels were missing."""
    figures = headline(metrics)
    shortfall = "" if not result.review.shortfall else f", {result.review.shortfall:.3f} short of {target_recall:.3f}"
    lines = [
        f"Run {run_id}, version {result.model.version} registered as candidate.",
        f"{len(result.cross_validated):,} records, {_folds(result)}.",
        f"AUC {shown(figures, 'auc')}, average precision {shown(figures, 'average_precision')}; at the review threshold "
        f"recall {shown(figures, 'recall')}{shortfall}, ordinary flagged {shown(figures, 'ordinary_flagged')}, "
        f"near-misses flagged {shown(figures, 'near_miss_flagged')}.",
    ]
    n, n_folds = len(result.fold), int(result.fold.max()) + 1
    largest_fold, largest_group = (max(Counter(found.tolist()).values()) / n for found in (result.fold, result.group))
    if largest_fold > 0.5 and largest_group > 1 / n_folds:
        lines.append(
            f"Warning: the largest fold holds {largest_fold:.0%} of the records and the largest group, kept whole, "
            f"{largest_group:.0%}: the figures above are mostly those of one model, trained on the few others."
        )
    missing = [name for name, n in metrics["dataset"]["known_labels"].items() if n == 0 and name != "recorded_offence"]
    if missing:
        lines.append(f"No labels for {', '.join(missing)}: answers to these are not learnt and carry no information.")
    return "\n".join(lines)


def _folds(result: TrainingResult) -> str:
    return f"{int(result.fold.max()) + 1} folds kept apart by {result.grouping}"


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _labels_only(labelled: LabelledSet) -> Any:
    import pandas as pd

    return pd.DataFrame(
        {
            "incident_id": [r.incident_id for r in labelled.records],
            "stalking": [r.stalking for r in labelled.records],
            "offence_family": [r.offence_family or "" for r in labelled.records],
        }
    )


def _input_example() -> Any:
    """Made-up rows: MLflow stores them with the model."""
    import pandas as pd

    return pd.DataFrame(
        {
            "incident_id": ["example-1", "example-2"],
            "narrative": [
                "Caller blocked him in May. He writes from new accounts and was at her bus stop again this morning.",
                "Bicycle taken from outside the library between nine and noon, lock cut.",
            ],
        }
    )
