"""Calibration: how far stated probabilities are from what came true. Conventions as in `stalkscreen.metrics`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stalkscreen.metrics import Rate, known_only, share


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Records of one range of scores: `low` to `high`, how many, their mean score, and how many were true."""

    low: float
    high: float
    mean: float
    observed: Rate


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error and Brier score (None when empty), and their bins, lowest first."""

    ece: float | None
    brier: float | None
    bins: tuple[CalibrationBin, ...]


def calibration(y: ArrayLike, p: ArrayLike, bins: int = 10) -> Calibration:
    """How far the scores are from what came true, in at most `bins` bins of equal numbers of records.

    Equal scores stay in one bin, so there are fewer bins where many records share a score.
    """
    truth, score = known_only(y, p)
    if len(truth) == 0:
        return Calibration(None, None, ())
    edges = np.unique(np.quantile(score, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
    place = np.searchsorted(edges, score, side="left")
    found: list[CalibrationBin] = []
    error = 0.0
    for number in np.unique(place):
        inside = place == number
        observed = share(truth == 1, inside)
        mean = float(score[inside].mean())
        error += observed.of * abs(mean - (observed.value or 0.0))
        found.append(CalibrationBin(float(score[inside].min()), float(score[inside].max()), mean, observed))
    return Calibration(error / len(truth), float(np.mean((score - truth) ** 2)), tuple(found))
