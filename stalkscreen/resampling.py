"""Figures whose interval needs the bootstrap: ranking, shares by case, and paired differences of two judges.

Whole groups are resampled (a case with all its records), since records of one case resemble each other. Conventions
as in `stalkscreen.metrics`: `y` is 1, 0 or NaN, `p` is 0..1, and what cannot be measured is None, never zero.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from sklearn.metrics import average_precision_score, roc_auc_score

from stalkscreen.metrics import Bools, Floats, known_only, recall_at_false_flag, recall_by_false_flag, share

RESAMPLES = 500
"""Bootstrap resamples behind an interval; the ends then move by about a tenth of its width from seed to seed."""

MAX_UNITS = 2000
"""Most units resampled. Where there are more groups, whole groups are joined at random into this many units: the
random groups method (Wolter 2007, Introduction to Variance Estimation, chapter 2). The interval's width is then off by
about 1/sqrt(2 x 2000), less than 2%."""

LEAST_UNITS = 10
"""Fewer groups than this are not resampled: so few draws differ that their spread says little, and always too little."""

MAX_STEPS = 2000
"""Most steps of a resampled curve: beyond that many distinct scores, neighbouring ones share a step. The point
estimates never use the steps, only the intervals do."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure that is no share of a count, with a bootstrap interval; None where it cannot be measured."""

    value: float | None
    low: float | None
    high: float | None

    def to_json_dict(self) -> dict[str, Any]:
        """The three fields as plain JSON types."""
        return asdict(self)


NOT_MEASURED = Estimate(None, None, None)


class Resamples:
    """Draws of whole groups with replacement, the same for every figure that is taken from them.

    Args:
        group: `(n,)` names or numbers of what belongs together; None takes each record for itself.
        rows: n.
        resamples: Number of draws.
        seed: Same seed and groups, same draws.
    """

    def __init__(self, group: ArrayLike | None, rows: int, *, resamples: int = RESAMPLES, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        codes = np.arange(rows) if group is None else np.unique(np.asarray(group), return_inverse=True)[1].reshape(-1)
        self.groups = int(codes.max()) + 1 if rows else 0
        units = min(self.groups, MAX_UNITS)
        if self.groups > MAX_UNITS:
            codes = rng.permutation(np.arange(self.groups) % MAX_UNITS)[codes]
        self._codes: NDArray[np.intp] = np.asarray(codes, dtype=np.intp)
        drawn = resamples if units >= LEAST_UNITS else 0
        taken = rng.integers(0, max(units, 1), (drawn, units)) + units * np.arange(drawn)[:, None]
        self._weight = np.bincount(taken.ravel(), minlength=drawn * units).reshape(drawn, units).astype(float)

    def totals(self, values: ArrayLike) -> Floats:
        """Resampled sums of `(n, k)` values, `(resamples, k)`."""
        columns = np.asarray(values, dtype=float)
        units = self._weight.shape[1]
        sums = [np.bincount(self._codes, weights=columns[:, k], minlength=units) for k in range(columns.shape[1])]
        return np.asarray(self._weight @ np.column_stack(sums), dtype=float)

    def curves(self, truth: Floats, score: Floats) -> tuple[Floats, Floats]:
        """Resampled counts of true and of other records flagged, `(resamples, steps)` each, threshold falling."""
        levels = np.unique(score)
        if len(levels) > MAX_STEPS:
            levels = np.unique(np.quantile(score, np.linspace(0, 1, MAX_STEPS), method="lower"))
        step = len(levels) - np.searchsorted(levels, score, side="right")
        shape = (self._weight.shape[1], len(levels))
        cumulated = []
        for counted in (truth, 1 - truth):
            cells = csr_matrix((counted, (self._codes, step)), shape=shape)
            cumulated.append(np.cumsum(np.asarray((cells.T @ self._weight.T).T, dtype=float), axis=1))
        return cumulated[0], cumulated[1]


def ends(samples: Floats) -> tuple[float | None, float | None]:
    """The middle 95% of resampled figures, NaN left out.

    None twice when fewer than a fifth could be measured, or when that middle is one number, as for a perfect score: an
    interval of no width would claim to be sure.
    """
    measured = samples[~np.isnan(samples)]
    if len(measured) < RESAMPLES // 5:
        return None, None
    low, high = np.percentile(measured, [2.5, 97.5])
    return (float(low), float(high)) if low < high else (None, None)


def _divided(over: Floats, under: Floats) -> Floats:
    return np.asarray(np.divide(over, under, out=np.full(over.shape, np.nan), where=under > 0), dtype=float)


def _areas(tp: Floats, fp: Floats) -> Floats:
    gained, before = np.diff(tp, prepend=0.0, axis=1), np.concatenate([np.zeros((len(tp), 1)), tp[:, :-1]], axis=1)
    area = np.sum(np.diff(fp, prepend=0.0, axis=1) * (before + gained / 2), axis=1)
    return _divided(area, tp[:, -1] * fp[:, -1])


def _precisions(tp: Floats, fp: Floats) -> Floats:
    gained = np.diff(tp, prepend=0.0, axis=1)
    found = _divided(np.sum(gained * tp / np.maximum(tp + fp, 1.0), axis=1), tp[:, -1])
    return np.where(fp[:, -1] > 0, found, np.nan)


def _recalls(tp: Floats, fp: Floats, max_false_flag: float) -> Floats:
    allowed = fp <= max_false_flag * fp[:, -1:] + 1e-9
    found = _divided(np.max(np.where(allowed, tp, 0.0), axis=1), tp[:, -1])
    return np.where(fp[:, -1] > 0, found, np.nan)


def _known_curves(
    y: ArrayLike, p: ArrayLike, group: ArrayLike | None, resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """Resampled curves of the records whose truth is known; see `Resamples.curves`."""
    truth, score = known_only(y, p)
    kept = None if group is None else np.asarray(group)[~np.isnan(np.asarray(y, dtype=float))]
    return Resamples(kept, len(truth), resamples=resamples, seed=seed).curves(truth, score)


def ranking(
    y: ArrayLike, p: ArrayLike, group: ArrayLike | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Estimate]:
    """Area under the ROC curve and average precision, with intervals that resample whole groups.

    Args:
        y: `(n,)` of 1, 0 or NaN.
        p: `(n,)` scores.
        group: `(n,)` names or numbers of what belongs together (a case); None takes each record for itself.
        resamples: Number of resamples; those without both classes are left out.
        seed: Same seed, same interval.

    Returns:
        `{"auc": Estimate, "average_precision": Estimate}`, all None when a class is missing.
    """
    truth, score = known_only(y, p)
    if len(np.unique(truth)) < 2:
        return {"auc": NOT_MEASURED, "average_precision": NOT_MEASURED}
    tp, fp = _known_curves(y, p, group, resamples, seed)
    return {
        "auc": Estimate(float(roc_auc_score(truth, score)), *ends(_areas(tp, fp))),
        "average_precision": Estimate(float(average_precision_score(truth, score)), *ends(_precisions(tp, fp))),
    }


def recalls(
    y: ArrayLike, p: ArrayLike, group: ArrayLike | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[dict[str, Any]]:
    """`metrics.recall_by_false_flag` with intervals that resample whole groups and set the threshold anew in each draw.

    Args:
        y: `(n,)` of 1, 0 or NaN.
        p: `(n,)` scores.
        group: `(n,)` names or numbers of what belongs together (a case); None takes each record for itself.
        resamples: Number of resamples.
        seed: Same seed, same intervals.
    """
    rows = recall_by_false_flag(y, p)
    if len(np.unique(known_only(y, p)[0])) == 2:
        tp, fp = _known_curves(y, p, group, resamples, seed)
        for row in rows:
            row["recall"]["low"], row["recall"]["high"] = ends(_recalls(tp, fp, row["false_flag"]))
    return rows


def grouped_rate(
    hits: ArrayLike, among: ArrayLike, group: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """The share of `among` that `hits` covers, with an interval that resamples whole groups."""
    of = np.asarray(among, dtype=bool)
    hit = np.asarray(hits, dtype=bool)[of]
    point = share(hit, np.ones(len(hit), dtype=bool))
    if point.value is None:
        return NOT_MEASURED
    drawn = Resamples(np.asarray(group)[of], len(hit), resamples=resamples, seed=seed).totals(
        np.column_stack([hit, np.ones(len(hit))])
    )
    return Estimate(point.value, *ends(_divided(drawn[:, 0], drawn[:, 1])))


@dataclass(frozen=True, slots=True)
class PairedDifferences:
    """Model minus another judge on the same records, each with an interval that resamples whole groups.

    Attributes:
        rows: Records both judged.
        groups: Groups they belong to.
        recall: Difference of recall at each judge's own flags.
        false_flag: Difference of the share of not-stalking flagged.
        average_precision: Difference of average precision; not measured without the other's scores.
        recall_at_false_flag: Difference of recall where each flags the given share of not-stalking; not measured where
            either can only flag more than that or nothing, as a judge with two scores may.
    """

    rows: int
    groups: int
    recall: Estimate
    false_flag: Estimate
    average_precision: Estimate
    recall_at_false_flag: Estimate


def paired_differences(
    y: Floats,
    flags: tuple[Bools, Bools],
    scores: tuple[Floats, Floats] | None,
    group: ArrayLike,
    *,
    max_false_flag: float = 0.05,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedDifferences:
    """How far two judges differ on the same `(n,)` records, first minus second.

    Args:
        y: `(n,)` truth, 1 or 0.
        flags: `(n,)` flags of the first and of the second.
        scores: `(n,)` scores of both; None when the second has none.
        group: `(n,)` what belongs together; each draw takes the same groups for both judges.
        max_false_flag: Share of not-stalking that may be flagged for `recall_at_false_flag`, 0..1.
        resamples: Number of draws.
        seed: Same seed, same intervals.
    """
    draws = Resamples(group, len(y), resamples=resamples, seed=seed)
    yes, no = y == 1, y == 0
    counts = np.column_stack([yes, no, *(flag & among for flag in flags for among in (yes, no))]).astype(float)
    drawn, whole = draws.totals(counts), counts.sum(axis=0, keepdims=True)

    def gap(sums: Floats, of: int) -> Floats:
        return _divided(sums[:, 2 + of] - sums[:, 4 + of], sums[:, of])

    def estimate(point: float | None, samples: Floats) -> Estimate:
        return NOT_MEASURED if point is None or np.isnan(point) else Estimate(float(point), *ends(samples))

    precision = recall = NOT_MEASURED
    if scores is not None and yes.any() and no.any():
        curves = [draws.curves(y, score) for score in scores]
        exact = [average_precision_score(y, score) for score in scores]
        precision = estimate(exact[0] - exact[1], _precisions(*curves[0]) - _precisions(*curves[1]))
        found = [recall_at_false_flag(y, score, max_false_flag) for score in scores]
        if all(math.isfinite(cut) for cut, _ in found):
            at = [there.value or 0.0 for _, there in found]
            recall = estimate(
                at[0] - at[1], _recalls(*curves[0], max_false_flag) - _recalls(*curves[1], max_false_flag)
            )
    return PairedDifferences(
        rows=len(y),
        groups=draws.groups,
        recall=estimate(gap(whole, 0)[0], gap(drawn, 0)),
        false_flag=estimate(gap(whole, 1)[0], gap(drawn, 1)),
        average_precision=precision,
        recall_at_false_flag=recall,
    )
