"""Fit, calibrate and cut a model.

In: labelled incidents that were checked by `stalkscreen.dataset`, and a config. Out: a `ScreeningModel` fitted on all
of them, and for every record the assessment of a model that saw none of its group, which is what the cross-validated
figures are made of. Nothing is written here; `stalkscreen.tracking` does that.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from stalkscreen.classifiers import Classifier, Floats, Progress, Scores, Targets, silent
from stalkscreen.config import CHECKOUT, TrainConfig
from stalkscreen.errors import ConfigError, DataError
from stalkscreen.metrics import ReviewThreshold
from stalkscreen.model import ScreeningModel
from stalkscreen.model_format import ModelInfo, Provenance
from stalkscreen.schema import Assessment, Case, FourAnswer, LabelledIncident
from stalkscreen.taxonomy import load_taxonomy
from stalkscreen.trained_on import short_hashes
from training import splits, thresholds
from training.cascade import choose_cascade
from training.kept_folds import Curves, KeptFolds
from training.out_of_fold import FoldScores, Scored, cross_fit, curves_of, settings_of

LIBRARIES = ("numpy", "scipy", "scikit-learn", "pydantic", "torch", "transformers", "tokenizers", "onnxruntime")
"""What a fit's numbers depend on; those that are not installed were not used."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training run gives.

    Attributes:
        model: Fitted on all records.
        cross_validated: One assessment a record, in order, by a model that saw none of its group.
        group: `(n,)` group numbers used for the folds.
        fold: `(n,)` fold numbers.
        grouping: What the folds kept apart, in words.
        review: The review threshold with its recall and shortfall.
        curves: One entry an epoch of every fit by its name (`fit` for all records, `fold-1`, …), for a kind that has epochs.
        without_cascade: `(n,)` probabilities of stalking by the same models with the cascade switched off, 0..1; None for a
            model without one.
        first_fold: The model of fold 0, with the same calibration and cuts, which saw none of the records of that
            fold.
    """

    model: ScreeningModel
    cross_validated: list[Assessment]
    group: NDArray[np.intp]
    fold: NDArray[np.intp]
    grouping: str
    review: ReviewThreshold
    first_fold: ScreeningModel
    curves: Mapping[str, Curves]
    without_cascade: Floats | None = None


def fit(
    records: Sequence[LabelledIncident],
    config: TrainConfig,
    *,
    files: Sequence[dict[str, Any]] = (),
    data_hash: str = "none",
    next_version: Callable[[], str] = lambda: "unregistered",
    live_prevalence: float = 0.008,
    workers: int | None = None,
    histories: Sequence[LabelledIncident] = (),
    kept: KeptFolds | None = None,
    progress: Progress = silent,
) -> TrainingResult:
    """Cross-validate over group-disjoint folds, calibrate and choose cuts on the result, then fit on everything.

    Args:
        records: Checked labelled incidents; partly labelled ones are used for the labels they have.
        config: The experiment.
        files: Name, sha256 and rows of each file, for the provenance.
        data_hash: Hash over those.
        next_version: Gives the version number the model will be registered under; asked once all fits are done, since
            others may register theirs meanwhile.
        live_prevalence: See `ScreeningModel`.
        workers: Processes that fit folds side by side, at most; see `training.out_of_fold.cross_fit`.
        histories: Incidents of case histories to learn the pattern over time from; never scored.
        kept: Where finished folds are kept and found again; None keeps nothing.
        progress: Called as each stage is done.

    Raises:
        ConfigError: The classifier's own settings are wrong.
        DataError: Too few records, groups or classes to validate on.
    """
    taxonomy = load_taxonomy()
    share = float(np.mean([r.stalking for r in records])) if records else 0.0
    if not 0 < share < 1:
        raise DataError(
            "Training needs records labelled stalking and records labelled not stalking; "
            f"of {len(records)} records {'all' if share else 'none'} are stalking.",
            code="one_class_only",
        )
    progress("grouping records", 0, config.validation.folds + 2)
    group, grouping = splits.groups(records, config.validation.near_duplicate)
    fold = splits.folds(records, group, config.validation.folds, config.seed)
    n_folds = int(fold.max()) + 1
    fitted = cross_fit(records, config, fold, workers=workers, histories=histories, kept=kept, progress=progress)
    final = cast(Classifier, fitted.final)
    names = final.indicator_names
    scores = _gather(fitted.folds, names, len(records))
    targets = Targets.of(records, taxonomy)
    columns = [taxonomy.indicator_names.index(n) for n in names]
    targets = _replace(targets, indicators=targets.indicators[:, columns])
    calibration = thresholds.calibrate(scores, targets, names)
    strata = [r.stratum for r in records]
    cuts, review = thresholds.choose(scores, targets, strata, names, calibration, config.thresholds)
    cascade = without_cascade = None
    if fitted.folds[0].first is not None and config.thresholds.cascade_loss is not None:
        first = _gather([replace(p, scores=cast(Scores, p.first)) for p in fitted.folds], names, len(records))
        without_cascade = thresholds.calibrated(calibration, "stalking", scores.stalking)
        flagged = without_cascade >= cuts.review
        cascade = choose_cascade(first, flagged, targets, strata, names, config.thresholds, cuts.review)
    info = ModelInfo(
        kind=config.kind,
        version=next_version(),
        indicator_names=names,
        family_names=taxonomy.family_names,
        not_learnt=tuple(sorted((*not_learnt(targets), *without_evidence(records, targets.indicators, names)))),
        prevalence=share,
        thresholds=cuts,
        calibration=calibration,
        cascade=cascade,
        provenance=Provenance(
            data=list(files),
            data_hash=data_hash,
            grouping=grouping,
            code_version=code_version(),
            config=config.model_dump(mode="json"),
            libraries={name: version(name) for name in LIBRARIES if _installed(name)},
            trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )
    assessed: list[Assessment | None] = [None] * len(records)
    infos = [info.model_copy(update={"indicator_names": part.indicator_names}) for part in fitted.folds]
    first_fold = ScreeningModel(cast(Classifier, fitted.folds[0].classifier), infos[0], live_prevalence)
    for part, fold_info in zip(fitted.folds, infos, strict=True):
        rows = part.rows.tolist()
        ids = [records[i].incident_id for i in rows]
        scored = cast(Classifier, Scored(part.scores, part.indicator_names, ids, config.kind, part.first))
        answers = ScreeningModel(scored, fold_info, live_prevalence).assess([Case.of_one(records[i]) for i in rows])
        for i, answer in zip(rows, answers, strict=True):
            assessed[i] = answer
    curves = {"fit": curves_of(final)} | {f"fold-{i}": part.curves for i, part in enumerate(fitted.folds, start=1)}
    progress("done", n_folds + 2, n_folds + 2)
    return TrainingResult(
        model=ScreeningModel(
            final,
            info,
            live_prevalence,
            trained_on=short_hashes(r.narrative for r in (*records, *histories)),
        ),
        cross_validated=[a for a in assessed if a is not None],
        group=group,
        fold=fold,
        grouping=grouping,
        review=review,
        first_fold=first_fold,
        curves={name: entries for name, entries in curves.items() if entries},
        without_cascade=without_cascade,
    )


def check_histories(config: TrainConfig) -> None:
    """Refuse case histories for a kind that leaves them aside: a model must not list as learnt what it never read.

    Raises:
        ConfigError: The kind has no `history_weight`, or it is 0.
    """
    if not settings_of(config).get("history_weight"):
        raise ConfigError(
            f"--histories: kind {config.kind!r} does not learn from case histories with these settings; leave them out, "
            "or train a kind with a `history_weight` above 0 (encoder).",
            field="histories",
        )


def not_learnt(targets: Targets) -> tuple[str, ...]:
    """Names of the answers that no labels stand behind, or labels of one value only; see `ModelInfo`."""
    names = ("history_check", "tier_s4a", "domestic", "cyber", "relationship")
    heads: dict[str, Floats] = {name: getattr(targets, name) for name in names}
    heads |= {f"four_{name}": targets.four[:, i] for i, name in enumerate(FourAnswer.model_fields)}
    missing = [name for name, values in heads.items() if len(np.unique(values[~np.isnan(values)])) < 2]
    if np.isnan(targets.family[targets.stalking == 0]).all():
        missing.append("family")
    return tuple(sorted(missing))


def without_evidence(records: Sequence[LabelledIncident], indicators: Floats, names: Sequence[str]) -> list[str]:
    """`evidence:` with each indicator that is labelled present in some record while no record marks the words that show it."""
    marked = {e.indicator for r in records for e in r.evidence or () if e.status == "present"}
    return [
        f"evidence:{n}" for n, found in zip(names, indicators.T, strict=True) if (found == 1).any() and n not in marked
    ]


def _gather(parts: Sequence[FoldScores], names: tuple[str, ...], n: int) -> Scores:
    """Put the folds' scores into the records' order; an indicator that a fold never saw scores 0 there."""
    arrays: dict[str, Any] = {}
    for field in fields(Scores):
        if field.name == "spans":
            continue
        sample = getattr(parts[0].scores, field.name)
        width = (len(names),) if field.name == "indicators" else sample.shape[1:]
        whole = np.zeros((n, *width))
        for part in parts:
            values = getattr(part.scores, field.name)
            if field.name == "indicators":
                for column, name in enumerate(part.indicator_names):
                    whole[part.rows, names.index(name)] = values[:, column]
            else:
                whole[part.rows] = values
        arrays[field.name] = whole
    return Scores(**arrays, spans=[])


def _replace(targets: Targets, **changes: Any) -> Targets:
    return Targets(**{f.name: changes.get(f.name, getattr(targets, f.name)) for f in fields(Targets)})


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def code_version() -> str:
    """Package version, with the commit where the code lies in a git checkout."""
    here = version("stalkscreen")
    try:
        commit = subprocess.run(
            ["git", "-C", str(CHECKOUT), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return here
    return f"{here}+{commit}"
