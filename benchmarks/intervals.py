"""Figures of a row and intervals of the difference between two rows, resampling whole groups (writers)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stalkscreen.resampling import paired_differences, ranking, recalls

Floats = NDArray[np.float64]
RESAMPLES = 2000
"""Draws behind an interval of a difference; four times what a report uses, since the claim rests on it."""


def figures(stalking: NDArray[np.int64], scores: Floats, group: NDArray[np.intp]) -> dict[str, Any]:
    """AUC, average precision, and recall with its count at each of `FALSE_FLAG_SHARES`; their intervals resample groups."""
    found: dict[str, Any] = {k: v.to_json_dict() for k, v in ranking(stalking, scores, group).items()}
    at = recalls(stalking, scores, group)
    return found | {f"recall_at_{row['false_flag']:.2f}": row["recall"] for row in at}


def differences(
    stalking: NDArray[np.int64],
    scores: Mapping[str, Floats],
    best: str,
    group: NDArray[np.intp],
    false_flag: float = 0.05,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, Any]]:
    """`best` minus every other row, on the same resamples of whole groups.

    Args:
        stalking: `(n,)` of 0 and 1.
        scores: `(n,)` a row, by name.
        best: Name of the row that the others are taken from.
        group: `(n,)` group numbers.
        false_flag: Share of not-stalking that may be flagged, for the recall.
        resamples: Number of resamples.

    Returns:
        Name to `{"average_precision": {value, low, high}, "recall": {value, low, high}}`; 95% percentile intervals.
    """
    unused = np.zeros(len(stalking), dtype=bool)
    found = {}
    for name in scores:
        if name == best:
            continue
        gap = paired_differences(
            stalking.astype(float),
            (unused, unused),
            (scores[best], scores[name]),
            group,
            max_false_flag=false_flag,
            resamples=resamples,
        )
        found[name] = {
            "average_precision": gap.average_precision.to_json_dict(),
            "recall": gap.recall_at_false_flag.to_json_dict(),
        }
    return found


def micro_f1(present: Floats, scores: Floats) -> dict[str, float] | None:
    """Micro-averaged F1 of the indicators at each one's best cut, chosen on these very scores as training does.

    Args:
        present: `(n, 26)` of 0, 1 or NaN.
        scores: `(n, 26)`, NaN in the columns the row does not know; those count as never found.
    """
    from training.thresholds import best_f1_cut

    tp = fp = fn = 0
    for truth, score in zip(present.T, scores.T, strict=True):
        known = ~np.isnan(truth)
        if np.isnan(score).all():
            fn += int(truth[known].sum())
            continue
        score = np.nan_to_num(score)
        found = score >= best_f1_cut(score, truth)
        tp += int(np.count_nonzero(found[known] & (truth[known] == 1)))
        fp += int(np.count_nonzero(found[known] & (truth[known] == 0)))
        fn += int(np.count_nonzero(~found[known] & (truth[known] == 1)))
    if tp == 0:
        return None
    return {"f1": 2 * tp / (2 * tp + fp + fn), "precision": tp / (tp + fp), "recall": tp / (tp + fn)}
