"""Section 2 of the report, and calibration: what the model does at a threshold, here and in a live stream.

Input: `Columns` and the model's thresholds. Output: plain JSON figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.columns import Columns, Json
from stalkscreen.calibration import calibration
from stalkscreen.metrics import (
    Rate,
    TruthTable,
    live_figures,
    rates,
    share,
    shift_prevalence,
    truth_table,
)

LIVE_NEAR_MISS_SHARE = 0.10
"""Share of what is not stalking in a live stream that is near to it: about 38 harassment and communications
offences and 83 domestic incidents among 1,200 a day (domain facts, section 6: 38 a day for an average force;
1.3 million domestic incidents a year over 43 forces). An estimate, shown beside the set's own mix and never
instead of it."""

GRID = tuple(round(0.01 * step, 2) for step in range(1, 100))
"""Thresholds of the table beside the model's own."""


REVIEW_MINUTES = 5.0
"""Minutes a reviewer spends on one alert: an assumption for the page's control, to be set by the force; not measured."""

QUANTILES = 150
"""Further bin edges at the scores of stalking, and as many in the upper quarter of what is not, where alerts come
from. With the hundredths there are at most 404 edges."""


@dataclass(frozen=True, slots=True)
class ThresholdInfo:
    """Where the model cuts.

    Attributes:
        review: At or above it a record is flagged; on the calibrated probability, 0..1.
        high: At or above it a flagged record is in the band `high`.
        prevalence: Share of stalking at which the probability is calibrated, 0..1.
        note: How it came about where that needs saying (such as one threshold a fold); empty otherwise.
    """

    review: float
    high: float
    prevalence: float
    note: str = ""


def _mixed_false_flag(ordinary: Rate, near_miss: Rate) -> Rate | None:
    """False flags where `LIVE_NEAR_MISS_SHARE` of what is not stalking is near to it; counts are summed."""
    if ordinary.value is None or near_miss.value is None:
        return None
    share_of = (1 - LIVE_NEAR_MISS_SHARE, LIVE_NEAR_MISS_SHARE)

    def mixed(a: float | None, b: float | None) -> float:
        return share_of[0] * (a or 0.0) + share_of[1] * (b or 0.0)

    return Rate(
        ordinary.n + near_miss.n,
        ordinary.of + near_miss.of,
        mixed(ordinary.value, near_miss.value),
        mixed(ordinary.low, near_miss.low),
        mixed(ordinary.high, near_miss.high),
    )


def at_threshold(columns: Columns, live_prevalence: float, daily_volume: int) -> Json:
    """The headline figures at the model's own flags, and what they become in a live stream."""
    yes, flag = columns.positive, columns.flag
    found = rates(
        int((flag & yes).sum()), int((flag & ~yes).sum()), int((~flag & ~yes).sum()), int((~flag & yes).sum())
    )
    by_stratum = {name: share(flag, ~yes & (columns.stratum == name)) for name in ("ordinary", "near_miss")}
    unnamed = ~yes & (columns.stratum != "ordinary") & (columns.stratum != "near_miss")
    mixed = _mixed_false_flag(by_stratum["ordinary"], by_stratum["near_miss"])
    live = [
        {
            "mix": "this_set",
            "title": "What is not stalking is mixed as in this set",
            **live_figures(found["recall"], found["false_flag"], live_prevalence, daily_volume),
        }
    ]
    if mixed is not None and not unnamed.any():
        live.append(
            {
                "mix": "assumed_live",
                "title": f"{1 - LIVE_NEAR_MISS_SHARE:.0%} of what is not stalking is ordinary, "
                f"{LIVE_NEAR_MISS_SHARE:.0%} near misses (an estimate)",
                **live_figures(found["recall"], mixed, live_prevalence, daily_volume),
            }
        )
    return {
        "flagged": share(flag, np.ones(len(flag), dtype=bool)).to_json_dict(),
        **{name: value.to_json_dict() for name, value in found.items()},
        "false_flag_by_stratum": {
            **{name: value.to_json_dict() for name, value in by_stratum.items()},
            "unknown": share(flag, unnamed).to_json_dict(),
        },
        "live": live,
    }


def _threshold_row(table: TruthTable, at: float, use: str, prevalence: float, volume: int) -> Json:
    found = table.at(at)
    return {
        "threshold": at,
        "use": use,
        **{name: found[name].to_json_dict() for name in ("precision", "recall", "specificity", "false_flag")},
        "live": live_figures(found["recall"], found["false_flag"], prevalence, volume),
    }


def threshold_table(
    columns: Columns, threshold: ThresholdInfo, live_prevalence: float, daily_volume: int
) -> list[Json]:
    """Rows at `GRID` and at the model's own thresholds, rising; `use` is `review`, `high` or empty."""
    table = truth_table(columns.stalking, columns.probability)
    cuts = [(at, "") for at in GRID if at not in (threshold.review, threshold.high)]
    cuts += [(threshold.review, "review"), (threshold.high, "high")]
    return [_threshold_row(table, at, use, live_prevalence, daily_volume) for at, use in sorted(cuts)]


def score_bins(columns: Columns, threshold: ThresholdInfo) -> Json:
    """Counts by score from which recall, precision and alerts at any edge can be had exactly, without a record.

    Bin `i` holds scores from `edges[i]` up to, not including, `edges[i + 1]`; the last one also 1. Records without a
    stratum are counted as `unknown`.
    """
    p = columns.probability
    levels = np.linspace(0, 1, QUANTILES)
    edges = {0.0, 1.0, *GRID, threshold.review, threshold.high}
    for scores, shares in ((p[columns.positive], levels), (p[~columns.positive], 0.75 + levels / 4)):
        if len(scores):
            edges |= {round(float(score), 6) for score in np.quantile(scores, shares, method="lower")}
    rising = np.array(sorted(edges))
    place = np.minimum(np.searchsorted(rising, p, side="right") - 1, len(rising) - 2)
    names = np.array(["unknown" if name is None else name for name in columns.stratum], dtype=object)
    counts = []
    for name in ("stalking", "near_miss", "ordinary", "unknown"):
        for truth, rows in ((True, columns.positive), (False, ~columns.positive)):
            inside = (names == name) & rows
            if inside.any():
                n = np.bincount(place[inside], minlength=len(rising) - 1)
                counts.append({"stratum": name, "stalking": truth, "n": n.tolist()})
    return {
        "edges": rising.tolist(),
        "review": int(np.searchsorted(rising, threshold.review)),
        "high": int(np.searchsorted(rising, threshold.high)),
        "counts": counts,
        "agrees_with_flags": bool(np.array_equal(p >= threshold.review, columns.flag)),
    }


def calibration_figures(columns: Columns, threshold: ThresholdInfo) -> Json:
    """Calibration as given and, where the set's prevalence differs, re-weighted to the set's."""
    given = calibration(columns.stalking, columns.probability)
    here = float(columns.stalking.mean()) if len(columns.stalking) else 0.0
    shifted = calibration(columns.stalking, shift_prevalence(columns.probability, threshold.prevalence, here))
    return {
        "ece": given.ece,
        "brier": given.brier,
        "ece_at_this_prevalence": shifted.ece,
        "bins": [
            {"low": b.low, "high": b.high, "mean": b.mean, "observed": b.observed.to_json_dict()} for b in given.bins
        ],
    }
