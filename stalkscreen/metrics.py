"""Rates with intervals and threshold tables: plain functions on arrays.

Everywhere `y` is `(n,)` of 1 (true), 0 (not) or NaN (unknown, left out), `p` is `(n,)` of probabilities in
0..1, and a record counts as flagged when `p >= threshold`. Nothing here raises because a class is missing or
a set is empty: what cannot be measured has the value None, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TARGET_RECALL = 0.90
"""Recall the project aims for (the planning example in the domain facts, section 6, assumes 90%)."""

FALSE_FLAG_SHARES = (0.01, 0.05, 0.10)
"""Shares of not-stalking flagged at which recall is read off to compare models. At 95% specificity, the loosest that the
domain facts, section 6, plan for, the middle one; one stricter and one looser."""

MAX_FALSE_FLAG_UNKNOWN = 0.05
"""Highest share of not-stalking that may be flagged where strata are unknown. Specificity of 95% is the
loosest that the domain facts, section 6, plan for; a labelled set is richer in near misses than a live
stream, so it is less live."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`n` of `of`, with its 95% Wilson score interval.

    Attributes:
        n: Numerator.
        of: Denominator.
        value: `n / of`, or None when `of` is 0.
        low: Lower end of the interval, or None.
        high: Upper end of the interval, or None.
    """

    n: int
    of: int
    value: float | None
    low: float | None
    high: float | None

    def to_json_dict(self) -> dict[str, Any]:
        """The five fields as plain JSON types."""
        return asdict(self)


@lru_cache(maxsize=16384)
def rate(n: int, of: int) -> Rate:
    """`n` of `of` as a rate with a 95% Wilson interval, which treats the records as independent.

    Raises:
        ValueError: `n` is not in 0..`of`.
    """
    n, of = int(n), int(of)
    if not 0 <= n <= of:
        raise ValueError(f"{n} of {of} is not a share")
    if of == 0:
        return Rate(0, 0, None, None, None)
    interval = binomtest(n, of).proportion_ci(confidence_level=0.95, method="wilson")
    return Rate(n, of, n / of, float(interval.low), float(interval.high))


def share(hits: ArrayLike, among: ArrayLike) -> Rate:
    """The share of the `(n,)` mask `among` that the `(n,)` mask `hits` covers."""
    of = np.asarray(among, dtype=bool)
    return rate(int(np.count_nonzero(np.asarray(hits, dtype=bool) & of)), int(np.count_nonzero(of)))


def difference_interval(a: Rate, b: Rate) -> tuple[float, float] | None:
    """95% interval of `a.value - b.value` (Newcombe 1998, method 10), or None when either is unmeasured."""
    if a.value is None or a.low is None or a.high is None or b.value is None or b.low is None or b.high is None:
        return None
    gap = a.value - b.value
    low = gap - math.hypot(a.value - a.low, b.high - b.value)
    high = gap + math.hypot(a.high - a.value, b.value - b.low)
    return low, high


def known_only(y: ArrayLike, p: ArrayLike) -> tuple[Floats, Floats]:
    """Truth and score of the records whose truth is known, two vectors of one length.

    Raises:
        ValueError: `y` and `p` are not vectors of one length.
    """
    truth, score = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    if truth.shape != score.shape or truth.ndim != 1:
        raise ValueError(f"y and p must be vectors of one length, not {truth.shape} and {score.shape}")
    known = ~np.isnan(truth)
    return truth[known], score[known]


@dataclass(frozen=True, slots=True)
class TruthTable:
    """Counts at every distinct threshold, highest first; the first row (`inf`) flags nothing.

    Attributes:
        threshold: `(k,)`, falling.
        tp: `(k,)` true and flagged. `fp`: not true, flagged. `tn`: not true, not flagged. `fn`: true, not
            flagged.
    """

    threshold: Floats
    tp: Ints
    fp: Ints
    tn: Ints
    fn: Ints

    def row(self, threshold: float) -> int:
        """Index of the row that says what happens at any `threshold`, listed or not."""
        return int(np.searchsorted(-self.threshold, -threshold, side="right")) - 1

    def at(self, threshold: float) -> dict[str, Rate]:
        """Precision, recall, missed, specificity and false_flag at `threshold`."""
        i = self.row(threshold)
        return rates(int(self.tp[i]), int(self.fp[i]), int(self.tn[i]), int(self.fn[i]))


def rates(tp: int, fp: int, tn: int, fn: int) -> dict[str, Rate]:
    """The five rates of one set of counts: precision, recall, missed, specificity, false_flag."""
    return {
        "precision": rate(tp, tp + fp),
        "recall": rate(tp, tp + fn),
        "missed": rate(fn, tp + fn),
        "specificity": rate(tn, tn + fp),
        "false_flag": rate(fp, tn + fp),
    }


def truth_table(y: ArrayLike, p: ArrayLike) -> TruthTable:
    """One table from which every figure that depends on a threshold is read.

    Raises:
        ValueError: `y` and `p` are not vectors of one length.
    """
    truth, score = known_only(y, p)
    order = np.argsort(-score, kind="stable")
    truth, score = truth[order], score[order]
    ends = np.flatnonzero(np.diff(score, append=-np.inf))
    tp = np.concatenate([[0], np.cumsum(truth == 1)[ends]]).astype(np.int64)
    flagged = np.concatenate([[0], ends + 1]).astype(np.int64)
    positives = int(np.count_nonzero(truth == 1))
    fp = flagged - tp
    thresholds = np.concatenate([[np.inf], score[ends]])
    return TruthTable(thresholds, tp, fp, (len(truth) - positives) - fp, positives - tp)


def recall_at_false_flag(y: ArrayLike, p: ArrayLike, max_false_flag: float) -> tuple[float, Rate]:
    """The highest recall that flags at most `max_false_flag` (0..1) of the negatives, and its threshold.

    Of the thresholds with that recall the highest is given. The threshold is `inf` when nothing may be
    flagged.
    """
    table = truth_table(y, p)
    negatives = int(table.fp[-1])
    allowed = table.fp <= max_false_flag * negatives + 1e-9
    best = int(np.argmax(np.where(allowed, table.tp, -1)))
    return float(table.threshold[best]), rate(int(table.tp[best]), int(table.tp[-1]))


def recall_by_false_flag(y: ArrayLike, p: ArrayLike) -> list[dict[str, Any]]:
    """Recall at each of `FALSE_FLAG_SHARES`: `{false_flag, recall}`, unmeasured where a class is missing.

    The Wilson intervals take the threshold as given, though these same records set it, so they are too narrow:
    `resampling.recalls` has those that do not.
    """
    measurable = len(np.unique(known_only(y, p)[0])) == 2
    return [
        {
            "false_flag": most,
            "recall": (recall_at_false_flag(y, p, most)[1] if measurable else rate(0, 0)).to_json_dict(),
        }
        for most in FALSE_FLAG_SHARES
    ]


class ReviewThreshold(NamedTuple):
    """A chosen threshold, its recall, and how far that is below the recall aimed at (None when recall is unmeasured)."""

    threshold: float
    recall: Rate
    shortfall: float | None


def choose_review_threshold(
    p: ArrayLike,
    y: ArrayLike,
    stratum: Sequence[str | None] | None,
    max_ordinary: float = 0.01,
    max_near_miss: float = 0.12,
    target_recall: float = TARGET_RECALL,
) -> ReviewThreshold:
    """The threshold with the highest recall that keeps every limit on false flags.

    Negatives of the stratum `ordinary` and of `near_miss` have a limit each; negatives whose stratum is
    unknown have `MAX_FALSE_FLAG_UNKNOWN`. Of thresholds with equal recall the highest wins. The answer lies
    half way to the next lower score, so that rounding on another machine cannot move a record across it.

    Args:
        p: `(n,)` calibrated probabilities.
        y: `(n,)` of 1, 0 or NaN.
        stratum: `(n,)` of `stalking`, `near_miss`, `ordinary` or None; or None when no record has one.
        max_ordinary: Highest share of ordinary records that may be flagged, 0..1.
        max_near_miss: Highest share of near misses that may be flagged, 0..1.
        target_recall: Recall aimed at, 0..1; it moves the shortfall only, never the threshold.

    Returns:
        Threshold, recall and shortfall from `target_recall`. Just above the highest score, with recall 0,
        when even the surest records break a limit; 0.5 when there is no record at all.
    """
    truth, score = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    names = np.array(stratum if stratum is not None else [None] * len(truth), dtype=object)
    table = truth_table(truth, score)
    if len(table.threshold) == 1:
        return ReviewThreshold(0.5, rate(0, 0), None)
    allowed = np.ones(len(table.threshold), dtype=bool)
    negative = truth == 0
    unnamed = (names != "ordinary") & (names != "near_miss")
    for group, limit in (
        (names == "ordinary", max_ordinary),
        (names == "near_miss", max_near_miss),
        (unnamed, MAX_FALSE_FLAG_UNKNOWN),
    ):
        scores = np.sort(score[negative & group])
        flagged = len(scores) - np.searchsorted(scores, table.threshold, side="left")
        allowed &= flagged <= limit * len(scores) + 1e-9
    best = int(np.argmax(np.where(allowed, table.tp, -1)))
    recall = rate(int(table.tp[best]), int(table.tp[-1]))
    value = float(table.threshold[best])
    if math.isinf(value):
        value = math.nextafter(float(table.threshold[1]), math.inf)
    else:
        below = float(table.threshold[best + 1]) if best + 1 < len(table.threshold) else 0.0
        middle = (value + below) / 2
        value = middle if below < middle else value
    shortfall = None if recall.value is None else max(0.0, target_recall - recall.value)
    return ReviewThreshold(value, recall, shortfall)


def precision_at(recall: float, false_flag: float, prevalence: float) -> float | None:
    """Precision where `prevalence` of records are true, by Bayes' rule; all arguments in 0..1."""
    true, false = prevalence * recall, (1 - prevalence) * false_flag
    return None if true + false == 0 else true / (true + false)


def alerts_a_day(recall: float, false_flag: float, prevalence: float, daily_volume: float) -> float:
    """Expected flags a day among `daily_volume` records of which `prevalence` are true."""
    return daily_volume * (prevalence * recall + (1 - prevalence) * false_flag)


def live_figures(
    recall: Rate, false_flag: Rate, prevalence: float, daily_volume: float
) -> dict[str, dict[str, float | None]]:
    """Precision and alerts a day at a live prevalence, with intervals.

    The intervals take the ends of both rates' intervals at once, so they are wider than 95%.

    Returns:
        `{"precision": {value, low, high}, "alerts_a_day": {value, low, high}}`; None where a rate is
        unmeasured.
    """
    out: dict[str, dict[str, float | None]] = {
        "precision": {"value": None, "low": None, "high": None},
        "alerts_a_day": {"value": None, "low": None, "high": None},
    }
    for end, r, f_precision, f_alerts in (
        ("value", recall.value, false_flag.value, false_flag.value),
        ("low", recall.low, false_flag.high, false_flag.low),
        ("high", recall.high, false_flag.low, false_flag.high),
    ):
        if r is not None and f_precision is not None and f_alerts is not None:
            out["precision"][end] = precision_at(r, f_precision, prevalence)
            out["alerts_a_day"][end] = alerts_a_day(r, f_alerts, prevalence, daily_volume)
    return out


def shift_prevalence(p: ArrayLike, trained_at: float, wanted: float) -> Floats:
    """Probabilities calibrated at one prevalence re-weighted to another (Saerens and others 2002), `(n,)`.

    Returned unchanged when either prevalence is not strictly between 0 and 1.
    """
    score = np.asarray(p, dtype=float)
    if not (0 < trained_at < 1 and 0 < wanted < 1):
        return score
    up, down = wanted / trained_at, (1 - wanted) / (1 - trained_at)
    return np.asarray(score * up / (score * up + (1 - score) * down), dtype=float)


@dataclass(frozen=True, slots=True)
class McNemar:
    """Paired errors of two judges on the same records, with the exact two-sided p value.

    Attributes:
        only_first_wrong: Records the first judged wrongly and the second rightly.
        only_second_wrong: The other way round.
        p_value: 0..1, or None when they never differ.
    """

    only_first_wrong: int
    only_second_wrong: int
    p_value: float | None


def mcnemar(first_wrong: ArrayLike, second_wrong: ArrayLike) -> McNemar:
    """Exact McNemar test on two `(n,)` masks of errors on the same records."""
    a, b = np.asarray(first_wrong, dtype=bool), np.asarray(second_wrong, dtype=bool)
    first, second = int(np.count_nonzero(a & ~b)), int(np.count_nonzero(b & ~a))
    p_value = None if first + second == 0 else float(binomtest(first, first + second, 0.5).pvalue)
    return McNemar(first, second, p_value)
