"""What a command does when more than one stage takes part: training with its evaluation, evaluation of files.

Like `cli.py` it may import the stages, and does so inside functions; nothing else imports it but the command line and
the demo.
"""

from __future__ import annotations

import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stalkscreen.config import Settings, TrainConfig
from stalkscreen.dataset import Columns, LabelledSet, read_labelled
from stalkscreen.dataset.writing import write_text
from stalkscreen.errors import ConfigError, DataError
from stalkscreen.model import ScreeningModel, keyword_model
from stalkscreen.progress import stages
from stalkscreen.references import load_model, resolve
from stalkscreen.run_figures import SCORES, read_scores
from stalkscreen.schema import Case
from stalkscreen.trained_on import Seen, count_seen

if TYPE_CHECKING:
    from evaluation.answers import Answers
    from evaluation.evaluate import DatasetInfo

Json = dict[str, Any]
SMALL_AUDIT = 1_000
"""Fewer records than this and an audit says so: on 200 records two of ten flipped labels were found, on 4,899 three of four."""
CHUNK = 500
"""Records assessed at a time, so that memory does not grow with the set."""


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


def read_labels(paths: Sequence[Path], columns: str | None) -> LabelledSet:
    """Read and check labelled files, and say on stderr what was noticed."""
    import click

    labelled = read_labelled(paths, Columns.parse(columns) if columns else None)
    for note in labelled.notes:
        click.echo(f"Note: {note}", err=True)
    return labelled


def seen_in_training(model: ScreeningModel, labelled: LabelledSet) -> Seen:
    """How many of the records a model was trained on, as far as it can tell."""
    narratives = (r.narrative for r in labelled.records)
    return count_seen(narratives, labelled.files, model.trained_on, model.info.provenance.data)


def describe(
    paths: Sequence[Path],
    labelled: LabelledSet,
    grouping: str,
    seen: Seen,
    compared_seen: Mapping[str, Seen] | None = None,
) -> DatasetInfo:
    """What the files are: from `dataset.toml` beside them (name, synthetic, note), else their names."""
    from evaluation.evaluate import DatasetInfo

    abouts: list[Mapping[str, Any]] = []
    for folder in dict.fromkeys(p.parent for p in paths):
        about = folder / "dataset.toml"
        if about.is_file():
            try:
                abouts.append(tomllib.loads(about.read_text(encoding="utf-8")))
            except tomllib.TOMLDecodeError as error:
                raise ConfigError(f"{about} is not valid TOML: {error}.", file=str(about)) from error
    return DatasetInfo(
        name=" and ".join(a["name"] for a in abouts) or ", ".join(p.name for p in paths),
        sha256=[f["sha256"] for f in labelled.files],
        synthetic=bool(abouts) and all(a.get("synthetic", False) for a in abouts),
        grouping=grouping,
        note=" ".join(a["note"] for a in abouts if a.get("note")),
        seen=seen,
        compared_seen=compared_seen or {},
    )


def assess_all(model: ScreeningModel, labelled: LabelledSet) -> Answers:
    """Every record judged alone, in order; what the evaluation needs of each answer is kept."""
    from evaluation.answers import Answers

    records = labelled.records
    return Answers.of(
        answer
        for at in range(0, len(records), CHUNK)
        for answer in model.assess([Case.of_one(r) for r in records[at : at + CHUNK]])
    )


def headline(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The figures that stand for a run in lists and in MLflow; those not measured are left out."""
    at = metrics["at_threshold"]
    found = {
        "auc": metrics["ranking"]["auc"]["value"],
        "average_precision": metrics["ranking"]["average_precision"]["value"],
        "recall": at["recall"]["value"],
        "precision": at["precision"]["value"],
        "false_flag": at["false_flag"]["value"],
        "ordinary_flagged": at["false_flag_by_stratum"]["ordinary"]["value"],
        "near_miss_flagged": at["false_flag_by_stratum"]["near_miss"]["value"],
        "calibration_error": metrics["calibration"]["ece"],
        "contrast_ranked_right": metrics["behaviour"]["contrast"]["ranked_right"]["value"],
        "invariance_flips": metrics["behaviour"]["invariance"]["flips"]["value"],
    }
    return {key: float(value) for key, value in found.items() if value is not None}


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
        ConfigError: The config or a setting is wrong.
    """
    from evaluation.behaviour import behaviour_tests
    from evaluation.earliness import earliness
    from evaluation.evaluate import ThresholdInfo, evaluate, write
    from evaluation.gates import Gates, run_gates, summary, write_scores
    from evaluation.release_facts import other_set
    from stalkscreen import tracking
    from training import splits
    from training.kept_folds import KeptFolds
    from training.out_of_fold import settings_of
    from training.train import fit

    config = TrainConfig.read(config_path)
    labelled = read_labels(data, columns)
    learnt = read_labels(histories, columns) if histories else None
    held_out = read_labels(holdout, columns) if holdout else None
    if held_out is not None:
        splits.check_holdout(
            [*labelled.records, *(learnt.records if learnt else ())], held_out.records, config.validation.near_duplicate
        )
    files = [*labelled.files, *(dict(f) | {"used_as": "histories"} for f in (learnt.files if learnt else ()))]
    kept = None
    if keep_folds is not None:
        made_of = {
            "files": [f["sha256"] for f in files],
            "config": config.model_dump(mode="json"),
            "settings": settings_of(config),
        }
        kept = KeptFolds(keep_folds, made_of)
    result = fit(
        labelled.records,
        config,
        histories=learnt.records if learnt else (),
        kept=kept,
        files=files,
        data_hash=labelled.data_hash,
        model_version=tracking.next_version(settings),
        live_prevalence=settings.live_prevalence,
        progress=stages("training"),
    )
    model = result.model
    cuts = model.thresholds
    folds = f"{int(result.fold.max()) + 1} folds kept apart by {result.grouping}"
    # Changed texts and prefixes are put to a model that saw none of the records they are made from, where there is one.
    seen, probe = result.first_fold is None, result.first_fold or model
    unseen = [r for r, fold in zip(labelled.records, result.fold, strict=True) if seen or fold == 0]
    baselines = {"keyword": assess_all(keyword_model(settings.live_prevalence), labelled)}
    metrics = evaluate(
        labelled.records,
        result.cross_validated,
        threshold=ThresholdInfo(cuts.review, cuts.high, model.prevalence, f"chosen on out-of-fold scores, {folds}"),
        dataset=describe(data, labelled, result.grouping, Seen(0, "folds")),
        seen_in_training=False,
        baselines=baselines,
        live_prevalence=settings.live_prevalence,
        behaviour=behaviour_tests(unseen, probe, seen_in_training=seen),
        earliness=earliness(unseen, probe, seen_in_training=seen),
    )
    figures = headline(metrics)
    model.info = model.info.model_copy(update={"headline": figures})
    logged = {f"cv.{key}": value for key, value in figures.items()}
    parts: list[Json] = []
    if held_out is not None:
        part = _evaluate_set(model, held_out, holdout, settings)
        parts.append(part)
        metrics["other_sets"] = [other_set(part)]
        logged |= {f"holdout.{key}": value for key, value in headline(part).items()}
    with tempfile.TemporaryDirectory(prefix="stalkscreen-") as scratch:
        folder, evaluation = Path(scratch) / "model", Path(scratch) / "evaluation"
        model.save(folder)
        evaluation.mkdir()
        write_scores(labelled.records, result.cross_validated, evaluation / SCORES)
        scores = read_scores(evaluation / SCORES)
        metrics["gates"] = summary(run_gates(metrics, scores, _released(settings), Gates.read()))
        write(metrics, labelled.records, result.cross_validated, evaluation, baselines=baselines, further_parts=parts)
        run_id = tracking.record_run(
            model,
            settings=settings,
            params=_flat(config.model_dump(mode="json")) | {"grouping": result.grouping},
            metrics=logged,
            frame=_labels_only(labelled),
            sources=files,
            curves=getattr(model.classifier, "curves", ()),
            folder=folder,
            evaluation=evaluation,
            input_example=_input_example(),
        )
    shortfall = "" if not result.review.shortfall else f", {result.review.shortfall:.3f} short of 0.90"
    lines = [
        f"Run {run_id}, version {model.version} registered as candidate.",
        f"{len(labelled.records):,} records, {folds}.",
        f"AUC {_shown(figures, 'auc')}, average precision {_shown(figures, 'average_precision')}; at the review threshold "
        f"recall {_shown(figures, 'recall')}{shortfall}, ordinary flagged {_shown(figures, 'ordinary_flagged')}, "
        f"near-misses flagged {_shown(figures, 'near_miss_flagged')}.",
    ]
    missing = [name for name, n in metrics["dataset"]["known_labels"].items() if n == 0 and name != "recorded_offence"]
    if missing:
        lines.append(f"No labels for {', '.join(missing)}: answers to these are not learnt and carry no information.")
    return Trained(run_id, model.version, model, metrics, scores, "\n".join(lines))


def _shown(figures: Mapping[str, float], key: str) -> str:
    return f"{figures[key]:.3f}" if key in figures else "not measured"


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


def _evaluate_set(
    model: ScreeningModel,
    labelled: LabelledSet,
    paths: Sequence[Path],
    settings: Settings,
    *,
    answers: Answers | None = None,
    baselines: Mapping[str, Answers] | None = None,
    compared_seen: Mapping[str, Seen] | None = None,
    daily_volume: int = 1200,
) -> Json:
    from evaluation.behaviour import behaviour_tests
    from evaluation.earliness import earliness
    from evaluation.evaluate import ThresholdInfo, evaluate

    counted = seen_in_training(model, labelled)
    seen = counted.records > 0
    if baselines is None:
        baselines = {"keyword": assess_all(keyword_model(settings.live_prevalence), labelled)}
    return evaluate(
        labelled.records,
        answers if answers is not None else assess_all(model, labelled),
        threshold=ThresholdInfo(
            model.thresholds.review, model.thresholds.high, model.prevalence, "stored in the model"
        ),
        dataset=describe(paths, labelled, "none: the model is fixed", counted, compared_seen),
        seen_in_training=seen,
        baselines=baselines,
        daily_volume=daily_volume,
        live_prevalence=settings.live_prevalence,
        behaviour=behaviour_tests(labelled.records, model, seen_in_training=seen),
        earliness=earliness(labelled.records, model, seen_in_training=seen),
    )


def evaluate_on(model: ScreeningModel, paths: Sequence[Path], settings: Settings) -> Json:
    """Figures of a loaded model on labelled files, without writing anything."""
    return _evaluate_set(model, read_labels(paths, None), paths, settings)


def evaluate_files(
    data: Sequence[Path],
    settings: Settings,
    *,
    model: str | None,
    against: str | None,
    out: Path,
    columns: str | None,
    live_prevalence: float | None,
    daily_volume: int,
    with_text: bool = False,
) -> str:
    """Measure a model on labelled files and write the three files of the report; answers with a summary."""
    from dataclasses import replace

    from evaluation.evaluate import write
    from evaluation.gates import Gates, run_gates, summary
    from evaluation.seen import seen_sentence

    if live_prevalence is not None:
        settings = replace(settings, live_prevalence=live_prevalence)
    loaded = load_model(model, settings)
    labelled = read_labels(data, columns)
    baselines = {"keyword": assess_all(keyword_model(settings.live_prevalence), labelled)}
    compared_seen: dict[str, Seen] = {}
    if against not in (None, "keyword", "recorded"):
        folder = resolve(against, settings)
        other = ScreeningModel.load(folder, settings.live_prevalence, settings.cascade)
        name = "released" if folder == _released(settings) else str(against)
        baselines[name] = assess_all(other, labelled)
        compared_seen[name] = seen_in_training(other, labelled)
    answers = assess_all(loaded, labelled)
    metrics = _evaluate_set(
        loaded,
        labelled,
        data,
        settings,
        answers=answers,
        baselines=baselines,
        compared_seen=compared_seen,
        daily_volume=daily_volume,
    )
    metrics["gates"] = summary(run_gates(metrics, None, None, Gates.read()))
    write(metrics, labelled.records, answers, out, baselines=baselines, with_text=with_text)
    figures = headline(metrics)
    marked = " It holds narrative text: keep it where the records are kept." if with_text else ""
    return (
        f"{len(labelled.records):,} records: AUC {_shown(figures, 'auc')}, recall {_shown(figures, 'recall')} and false "
        f"flags {_shown(figures, 'false_flag')} at the review threshold. {seen_sentence(metrics['dataset'])}\nReport: {out / 'report.html'}{'.' if marked else ''}{marked}"
    )


def audit_labels(
    path: Path, out: Path, config: TrainConfig, *, columns: str | None = None, with_text: bool = False
) -> str:
    """Write the records whose label or recorded offence is probably wrong, for review; answers with a summary.

    Raises:
        DataError: The file cannot be used, or `out` cannot be written to.
        ConfigError: The `audit` extra is not installed.
    """
    from training.label_audit import audit
    from training.label_review import label_studio_tasks, review_csv

    began = time.monotonic()
    review = out / "review.csv"
    if review.exists():
        raise DataError(
            f"{review} is there already and may hold somebody's decisions; choose another --out or move it away.",
            file=str(review),
        )
    labelled = read_labels([path], columns)
    found = audit(labelled.records, config, progress=stages("audit"))
    make_folder(out)
    tasks = out / ("label_studio_tasks_with_text.json" if with_text else "label_studio_tasks.json")
    write_text(review, "\ufeff" + review_csv(found))
    write_text(tasks, label_studio_tasks(found, labelled.records, with_text=with_text))
    counts = Counter(kind for finding in found.findings for kind in finding.kinds)
    used = "and marked indicators " if found.indicators_used else ""
    return (
        f"{found.records:,} records read, {len(found.findings):,} to review: "
        f"{counts['label_misses_stalking']:,} labels that may miss stalking, {counts['label_overstates_stalking']:,} that may "
        f"overstate it, {counts['near_duplicates_disagree']:,} near-duplicates with different labels, "
        f"{counts['recorded_offence']:,} recorded offences that are probably wrong; {time.monotonic() - began:.0f} s. "
        f"Scored by text {used}out of fold, kept apart by {found.grouping}. No label was changed.\n"
        f"Review:  {review}\nTasks:   {tasks}"
        + (" (holds narratives: keep it where they may be kept)" if with_text else "")
        + (
            f"\nWith {found.records:,} records the scores are rough and most wrong labels are not found; {SMALL_AUDIT:,} or more are better."
            if found.records < SMALL_AUDIT
            else ""
        )
        + f"\nThen:    stalkscreen audit-labels --data {path} --apply {review} --out {out}"
    )


def apply_review(path: Path, reviewed: Path, out: Path, *, columns: str | None = None) -> str:
    """Write the corrected set and its change log beside each other; the original is left as it is.

    Raises:
        DataError: The set or the reviewed file is wrong (every problem is listed, nothing is written).
    """
    import json

    from stalkscreen.dataset import write_labelled
    from training.label_review import corrected, read_review

    labelled = read_labels([path], columns)
    records, log = corrected(labelled.records, read_review(reviewed, labelled.records))
    make_folder(out)
    target, logged = out / f"{path.stem}_reviewed{path.suffix.lower()}", out / f"{path.stem}_reviewed.changes.jsonl"
    write_labelled(records, target)
    write_text(logged, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in log))
    changed = sum(entry["from"] != entry["to"] for entry in log)
    return (
        f"{len(records):,} records, {len(log):,} reviewed: {changed:,} labels changed, {len(log) - changed:,} confirmed. "
        f"{path} is as it was.\nCorrected set: {target}\nChange log:    {logged}"
    )


def make_folder(out: Path) -> None:
    """Make an output folder.

    Raises:
        DataError: There is a file of that name, or the folder may not be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--out {out}: no folder can be made there ({error.strerror}).", file=str(out)) from error


def _released(settings: Settings) -> Path | None:
    from evaluation.release import released_or_none

    return released_or_none(settings)
