"""Calibration and thresholds from out-of-fold scores: what turns raw scores into answers.

Out-of-fold means that each record was scored by a model which saw none of its group. The cuts are chosen on the very
scores they are then reported on; with a few thousand records and one or two numbers a head that flatters little, and
the held-out sets say how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from stalkscreen.classifiers import FOUR, Floats, Scores, Targets
from stalkscreen.config import ThresholdSettings
from stalkscreen.metrics import ReviewThreshold, choose_review_threshold, truth_table
from stalkscreen.model_format import Platt, Thresholds

MIN_EACH = 10
"""A head with fewer known positives or negatives is left uncalibrated and cut at 0.5: too few to learn two numbers."""


def fit_platt(raw: Floats, target: Floats) -> Platt | None:
    """Logistic calibration (Platt 1999) of raw scores in 0..1; None when too few are known or the order is wrong."""
    known = ~np.isnan(target)
    labels = target[known]
    if min(labels.sum(), (1 - labels).sum()) < MIN_EACH:
        return None
    clipped = np.clip(raw[known], 1e-6, 1 - 1e-6)
    logits = np.log(clipped / (1 - clipped))[:, None]
    model = LogisticRegression(C=1e3).fit(logits, labels)
    slope = float(model.coef_[0, 0])
    return Platt(slope=slope, intercept=float(model.intercept_[0])) if slope > 0 else None


def calibrate(scores: Scores, targets: Targets, indicator_names: Sequence[str]) -> dict[str, Platt]:
    """A calibration for every head that has enough known labels, by head name."""
    heads = {
        "stalking": (scores.stalking, targets.stalking),
        "history_check": (scores.history_check, targets.history_check),
        "tier_s4a": (scores.tier_s4a, targets.tier_s4a),
        "domestic": (scores.domestic, targets.domestic),
        "cyber": (scores.cyber, targets.cyber),
        **{f"four_{n}": (scores.four[:, i], targets.four[:, i]) for i, n in enumerate(FOUR)},
        **{
            f"indicator:{n}": (scores.indicators[:, i], targets.indicators[:, i]) for i, n in enumerate(indicator_names)
        },
    }
    fitted = {name: fit_platt(raw, target) for name, (raw, target) in heads.items()}
    return {name: platt for name, platt in fitted.items() if platt is not None}


def best_f1_cut(probability: Floats, target: Floats) -> float:
    """The cut with the highest F1; 0.5 when fewer than `MIN_EACH` positives or negatives are known."""
    known = ~np.isnan(target)
    labels = target[known]
    if min(labels.sum(), (1 - labels).sum()) < MIN_EACH:
        return 0.5
    table = truth_table(labels, probability[known])
    f1 = 2 * table.tp / np.maximum(2 * table.tp + table.fp + table.fn, 1)
    best = float(table.threshold[int(np.argmax(f1))])
    return best if np.isfinite(best) else 0.5


def calibrated(calibration: Mapping[str, Platt], head: str, raw: Floats) -> Floats:
    """Calibrated probabilities of a head; raw scores where it has no calibration."""
    return calibration[head](raw) if head in calibration else raw


def choose(
    scores: Scores,
    targets: Targets,
    strata: Sequence[str | None],
    indicator_names: Sequence[str],
    calibration: dict[str, Platt],
    settings: ThresholdSettings,
) -> tuple[Thresholds, ReviewThreshold]:
    """All cuts of a model, and the review threshold's own account of itself (recall, shortfall)."""
    stalking = calibrated(calibration, "stalking", scores.stalking)
    review = choose_review_threshold(
        stalking,
        targets.stalking,
        strata,
        settings.max_ordinary,
        settings.max_near_miss,
        target_recall=settings.target_recall,
    )
    negatives = stalking[targets.stalking == 0]
    high = float(np.quantile(negatives, 1 - settings.high_band)) if len(negatives) else 0.5
    return (
        Thresholds(
            review=review.threshold,
            high=max(high, review.threshold),
            history_check=best_f1_cut(
                calibrated(calibration, "history_check", scores.history_check), targets.history_check
            ),
            tier_unclear=settings.tier_unclear,
            indicators={
                name: best_f1_cut(
                    calibrated(calibration, f"indicator:{name}", scores.indicators[:, i]), targets.indicators[:, i]
                )
                for i, name in enumerate(indicator_names)
            },
        ),
        review,
    )
