"""Measure a model on labelled files: what `stalkscreen evaluate` does, and the figures that every other command shows."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stalkscreen.config import Settings
from stalkscreen.dataset import LabelledSet
from stalkscreen.dataset.writing import make_output_folder
from stalkscreen.errors import ConfigError
from stalkscreen.model import ScreeningModel, keyword_model
from stalkscreen.references import load_model, resolve
from stalkscreen.schema import Case
from stalkscreen.trained_on import Seen, count_seen
from stalkscreen.workflow.reading import read_labels

if TYPE_CHECKING:
    from evaluation.answers import Answers
    from evaluation.evaluate import DatasetInfo

Json = dict[str, Any]
CHUNK = 500
"""Records assessed at a time, so that memory does not grow with the set."""


def seen_in_training(model: ScreeningModel, labelled: LabelledSet) -> Seen:
    """How many of the records a model was trained on, as far as it can tell."""
    narratives = (r.narrative for r in labelled.records)
    return count_seen(narratives, labelled.files, model.trained_on, model.info.provenance.data)


class About(BaseModel):
    """What labelled files are, as `dataset.toml` beside them says it; other keys are left alone.

    Attributes:
        name: As the report should call them.
        synthetic: True when no narrative is a police record.
        note: Anything a reader must know.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    name: str = Field(min_length=1)
    synthetic: bool = False
    note: str = ""

    @classmethod
    def read(cls, paths: Sequence[Path]) -> About:
        """Of all the files together: synthetic only where every folder says so, named after the files where one says nothing.

        Raises:
            ConfigError: A `dataset.toml` cannot be read, or a value in it is wrong.
        """
        found = []
        for folder in dict.fromkeys(p.parent for p in paths):
            names = ", ".join(p.name for p in paths if p.parent == folder)
            found.append(_said_in(folder / "dataset.toml") or cls(name=names))
        return cls(
            name=" and ".join(a.name for a in found),
            synthetic=all(a.synthetic for a in found),
            note=" ".join(a.note for a in found if a.note),
        )


def _said_in(path: Path) -> About | None:
    """One `dataset.toml`; None where there is none."""
    if not path.is_file():
        return None
    try:
        return About(**tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", file=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML in UTF-8: {error}.", file=str(path)) from error
    except ValidationError as error:
        listed = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(
            f"{path}: {listed}. It needs `name`, a text; `synthetic`, true or false, and `note`, a text, may be left out.",
            file=str(path),
        ) from error


def describe(
    about: About,
    labelled: LabelledSet,
    grouping: str,
    seen: Seen,
    compared_seen: Mapping[str, Seen] | None = None,
) -> DatasetInfo:
    """What the files are, and how many of their records were in training."""
    from evaluation.evaluate import DatasetInfo

    return DatasetInfo(
        name=about.name,
        sha256=[f["sha256"] for f in labelled.files],
        synthetic=about.synthetic,
        grouping=grouping,
        note=about.note,
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


def shown(figures: Mapping[str, float], key: str) -> str:
    """A figure of `headline` as a summary says it."""
    return f"{figures[key]:.3f}" if key in figures else "not measured"


def evaluate_set(
    model: ScreeningModel,
    labelled: LabelledSet,
    about: About,
    settings: Settings,
    *,
    answers: Answers | None = None,
    baselines: Mapping[str, Answers] | None = None,
    compared_seen: Mapping[str, Seen] | None = None,
    daily_volume: int = 1200,
) -> Json:
    """Figures of a finished model on a labelled set; what `answers` and `baselines` do not bring is assessed here."""
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
        dataset=describe(about, labelled, "none: the model is fixed", counted, compared_seen),
        seen_in_training=seen,
        baselines=baselines,
        daily_volume=daily_volume,
        live_prevalence=settings.live_prevalence,
        behaviour=behaviour_tests(labelled.records, model, seen_in_training=seen),
        earliness=earliness(labelled.records, model, seen_in_training=seen),
    )


def evaluate_on(model: ScreeningModel, paths: Sequence[Path], settings: Settings) -> Json:
    """Figures of a loaded model on labelled files, without writing anything."""
    return evaluate_set(model, read_labels(paths, None), About.read(paths), settings)


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
    from evaluation.release import released_or_none
    from evaluation.seen import seen_sentence

    if live_prevalence is not None:
        settings = replace(settings, live_prevalence=live_prevalence)
    loaded = load_model(model, settings)
    labelled, about = read_labels(data, columns), About.read(data)
    make_output_folder("--out", out, out)
    baselines = {"keyword": assess_all(keyword_model(settings.live_prevalence), labelled)}
    compared_seen: dict[str, Seen] = {}
    if against not in (None, "keyword", "recorded"):
        folder = resolve(against, settings)
        other = ScreeningModel.load(folder, settings.live_prevalence, settings.cascade)
        name = "released" if folder == released_or_none(settings) else str(against)
        baselines[name] = assess_all(other, labelled)
        compared_seen[name] = seen_in_training(other, labelled)
    answers = assess_all(loaded, labelled)
    metrics = evaluate_set(
        loaded,
        labelled,
        about,
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
        f"{len(labelled.records):,} records: AUC {shown(figures, 'auc')}, recall {shown(figures, 'recall')} and false "
        f"flags {shown(figures, 'false_flag')} at the review threshold. {seen_sentence(metrics['dataset'])}\nReport: {out / 'report.html'}{'.' if marked else ''}{marked}"
    )
