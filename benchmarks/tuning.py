"""How strongly a peer's logistic regression is regularised: chosen on unseen writers inside its training texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

GRID = (1.0, 4.0, 16.0, 64.0)
INNER_FOLDS = 3


def best_c(features: Any, stalking: Any, group: Any, make: Callable[[float], Any]) -> float:
    """The inverse regularisation of `GRID` with the best average precision on groups left out of the fit.

    Args:
        features: `(n, d)` array or sparse matrix.
        stalking: `(n,)` of 0 and 1.
        group: `(n,)` group numbers; a group is never on both sides.
        make: An unfitted classifier with `decision_function` for a value of C.
    """
    from sklearn.metrics import average_precision_score
    from sklearn.model_selection import GroupKFold

    folds = list(GroupKFold(n_splits=INNER_FOLDS).split(stalking, groups=group))

    def held_out(c: float) -> float:
        scores = np.zeros(len(stalking))
        for inside, outside in folds:
            scores[outside] = make(c).fit(features[inside], stalking[inside]).decision_function(features[outside])
        return float(average_precision_score(stalking, scores))

    return max(GRID, key=held_out)
