"""Where the cheap first stage may answer alone: the cut of the cascade, from out-of-fold scores.

Below the cut a record is "plainly something else" and the second stage never reads it. The cut is the highest one that
loses at most the stated share of true stalking: records that the second stage flags and the first would clear.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from stalkscreen.classifiers import Scores, Targets
from stalkscreen.config import ThresholdSettings
from stalkscreen.model_format import Cascade, Platt
from training import thresholds


def choose_cascade(
    first: Scores,
    flagged: NDArray[np.bool_],
    targets: Targets,
    strata: Sequence[str | None],
    indicator_names: Sequence[str],
    settings: ThresholdSettings,
    review: float,
) -> Cascade:
    """Choose the cut and say what it costs.

    Args:
        first: Out-of-fold scores of the first stage, `n` records.
        flagged: `(n,)` whether the second stage flags each.
        targets: Labels of the records, `indicators` in the columns of `indicator_names`.
        strata: Stratum of each, where known.
        indicator_names: The indicators.
        settings: Holds `cascade_loss`.
        review: The review threshold, a calibrated probability; the first stage stays below it.

    Returns:
        The cut with its loss, and the first stage's own calibration and cuts.
    """
    calibration = thresholds.calibrate(first, targets, indicator_names)
    cuts, _ = thresholds.choose(first, targets, strata, indicator_names, calibration, settings)
    true = targets.stalking == 1
    found = np.sort(first.stalking[true & flagged])
    allowed = int(np.floor((settings.cascade_loss or 0.0) * true.sum()))
    cut = float(found[allowed]) if allowed < len(found) else 1.0
    cut = min(cut, calibration.get("stalking", Platt()).inverse(review))
    clears = first.stalking < cut
    lost, n = int((clears & true & flagged).sum()), int(true.sum())
    kinds = np.array([s or "none" for s in strata])
    cleared = {"all": float(clears.mean())}
    cleared |= {str(kind): float(clears[kinds == kind].mean()) for kind in np.unique(kinds) if kind != "none"}
    return Cascade(
        cut=cut,
        calibration=calibration,
        thresholds=cuts.model_copy(update={"review": review, "high": max(review, cuts.high)}),
        stated_loss=settings.cascade_loss or 0.0,
        stalking=n,
        lost=lost,
        lost_upper=float(beta.ppf(0.975, lost + 1, n - lost)) if lost < n else 1.0,
        below_cut=float((clears & true).sum() / max(1, n)),
        cleared=cleared,
    )
