"""Out-of-fold scores that training has already made, so that the encoder is not fitted five times more.

Input: the folder in which `stalkscreen train --keep-folds out/folds` kept its folds, or the evaluation in a model kept
in `models/`, which knows both stages together, the cascade, and since `without_cascade` the encoder alone. They count only
where they were made from this very corpus file with these very folds.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpus import Corpus
from benchmarks.peers.ours import kept_model
from stalkscreen.config import CHECKOUT, TrainConfig
from stalkscreen.model_format import ModelInfo, Platt, read_info
from stalkscreen.run_figures import SCORES, read_scores
from stalkscreen.taxonomy import load_taxonomy

Floats = NDArray[np.float64]
FOLDS = CHECKOUT / "out" / "folds"


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Scores of every record by a classifier that saw none of its group.

    Attributes:
        scores: `(n,)` raw scores of stalking.
        first: `(n,)` of the cheap first stage, where there is one.
        indicators: `(n, 26)` in taxonomy order, NaN where not known; None where they were not kept.
        note: Where they come from, for the table.
    """

    scores: Floats
    first: Floats | None
    indicators: Floats | None
    note: str | None


def same_folds(config: dict[str, Any], corpus: Corpus) -> bool:
    """Whether a training config makes the benchmark's own folds."""
    ours = TrainConfig.read(CHECKOUT / "training" / "configs" / "linear.toml")
    same = config.get("seed") == ours.seed and config.get("validation") == ours.validation.model_dump()
    return same and not corpus.quick


def kept_on_this_corpus(kind: str, corpus: Corpus) -> ModelInfo | None:
    """What is known of the kept model of a kind, if it was trained on this very corpus with these folds."""
    folder = kept_model(kind)
    info = read_info(folder) if folder is not None else None
    if info is None or info.provenance.data_hash != corpus.data_hash:
        return None
    return info if same_folds(info.provenance.config, corpus) else None


def kept_folds(kind: str, corpus: Corpus) -> OutOfFold | None:
    """The folds that training kept, or None where they are of other data, other settings, or not all there."""
    from training.kept_folds import KeptFolds

    try:
        about = json.loads((FOLDS / "for.json").read_text(encoding="utf-8"))
        trained_on = hashlib.sha256(about["files"][0].encode()).hexdigest()
        if trained_on != corpus.data_hash or about["config"]["kind"] != kind or not same_folds(about["config"], corpus):
            return None
    except (OSError, ValueError, KeyError, IndexError):
        return None
    kept, names = KeptFolds(FOLDS, about), load_taxonomy().indicator_names
    n = len(corpus.sample.records)
    scores, first, indicators = np.full(n, np.nan), np.full(n, np.nan), np.full((n, len(names)), np.nan)
    for number, _, outside in corpus.folds():
        found = kept.scores(number)
        if found is None or len(found[0].stalking) != len(outside):
            return None
        own, cheap, known, _ = found
        scores[outside] = own.stalking
        indicators[np.ix_(outside, [names.index(name) for name in known])] = own.indicators
        if cheap is not None:
            first[outside] = cheap.stalking
    return OutOfFold(scores, None if np.isnan(first).any() else first, indicators, "folds as kept by training")


def released_cascade(corpus: Corpus) -> tuple[Floats, dict[str, float]] | None:
    """Out-of-fold answers of the cascade as the evaluation of the kept encoder recorded them.

    Returns:
        `(n,)` probabilities, and micro-averaged `f1`, `precision`, `recall` of the indicators at the cuts it chose; None
        where no encoder with a cascade, trained on this very corpus with these folds, is kept.
    """
    found = _recorded(corpus, "probability")
    if found is None:
        return None
    scores, evaluation = found
    try:
        together = json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))["indicators"]["all_together"]
    except (OSError, ValueError, KeyError):
        return None
    rates = {name: float(together[name]["value"]) for name in ("precision", "recall")}
    return scores, {"f1": 2 * rates["precision"] * rates["recall"] / sum(rates.values()), **rates}


def released_encoder(corpus: Corpus) -> Floats | None:
    """`(n,)` out-of-fold probabilities of the same encoder with its cascade switched off; None where none were recorded."""
    found = _recorded(corpus, "without_cascade")
    return None if found is None else found[0]


def _recorded(corpus: Corpus, column: str) -> tuple[Floats, Path] | None:
    """A column of the out-of-fold scores beside the kept encoder, in the order of the corpus, and the folder they are in."""
    folder, info = kept_model("encoder"), kept_on_this_corpus("encoder", corpus)
    if folder is None or info is None or info.cascade is None:
        return None
    evaluation = folder / "evaluation"
    try:
        scores = read_scores(evaluation / SCORES, column)
        return np.array([scores[r.incident_id][1] for r in corpus.sample.records]), evaluation
    except (OSError, ValueError, KeyError):
        return None


def through_cascade(found: OutOfFold, info: ModelInfo | None) -> Floats | None:
    """Out-of-fold probabilities of the cascade: the first stage's below its cut, the encoder's elsewhere.

    The same rule as `ScreeningModel.assess`. None without a first stage or a model that names the cut.
    """
    if found.first is None or info is None or info.cascade is None:
        return None
    cleared = found.first < info.cascade.cut
    cheap = info.cascade.calibration.get("stalking", Platt())(found.first)
    return np.where(cleared, cheap, info.calibration.get("stalking", Platt())(found.scores))
