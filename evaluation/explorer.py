"""Section 2 of the report: what a threshold, a live stream and a reviewers' capacity mean, from binned counts.

Input: `score_bins` and `live` of `metrics.json`. Output: figures for the page as it stands without a script, and the
counts that the page's script reckons with. `templates/report.js` does the same sums; `tests/test_browser.py` holds
the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from evaluation.columns import Json
from stalkscreen.metrics import Rate, live_figures, rate

GROUPS = ("stalking", "ordinary", "near_miss", "unknown")
"""True stalking, and the kinds of what is not; `unknown` holds the records that are of no named kind."""

NEAR_MISS_SHARE = 0.10
REVIEW_MINUTES = 5.0
"""Used where `live` names none. Both are assumptions: see `evaluation/operating.py` for the first; the second is a
quick read of one record, and the page lets the reader put in what was timed."""

CAPACITY = 40
"""Records a day the reviewers can read, where the page starts."""

FEW = 30
"""True stalking records below which recall says little (as in `evaluation/slices.py`)."""

FEW_FALSE_FLAGS = 5
"""With fewer false flags than this, alerts and precision in a live stream rest on next to nothing."""

BANDS = tuple(round(0.1 * step, 1) for step in range(11))
"""Edges of the score bands of the daily queue, beside the threshold itself."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The stream of records that the figures are worked out for.

    Attributes:
        prevalence: Share of it that is stalking, strictly between 0 and 1.
        volume: Records a day.
        minutes: To review one alert.
        near_miss: Share of near misses among what is not stalking, 0..1; None for the mix of the set.
        capacity: Records a day that can be read.
    """

    prevalence: float
    volume: float
    minutes: float
    near_miss: float | None
    capacity: float = CAPACITY


class Explorer:
    """Counts by score of one set, and what follows from them.

    Attributes:
        edges: k+1 rising numbers from 0 to 1; bin i holds the scores from `edges[i]` up to `edges[i + 1]`.
        review: Index of the model's threshold among them.
        counts: k counts for each of `GROUPS`.
        start: Where the page's control starts.
    """

    def __init__(self, metrics: Json) -> None:
        bins, live = metrics["score_bins"], metrics["live"]
        self.edges: list[float] = bins["edges"]
        self.review: int = bins["review"]
        self.counts: dict[str, list[int]] = {name: [0] * (len(self.edges) - 1) for name in GROUPS}
        for row in bins["counts"]:
            kind = row["stratum"] if row["stratum"] in ("ordinary", "near_miss") else "unknown"
            name = "stalking" if row["stalking"] else kind
            self.counts[name] = [a + b for a, b in zip(self.counts[name], row["n"], strict=True)]
        self.totals = {name: sum(counts) for name, counts in self.counts.items()}
        self.start = Stream(
            live["prevalence"],
            live["daily_volume"],
            live.get("review_minutes", REVIEW_MINUTES),
            live.get("near_miss_share", NEAR_MISS_SHARE) if self.can_mix else None,
        )

    @property
    def can_mix(self) -> bool:
        """Whether a mix other than the set's can be worked out: every record's kind is known, and there are both."""
        return self.totals["ordinary"] > 0 and self.totals["near_miss"] > 0 and self.totals["unknown"] == 0

    def payload(self) -> Json:
        """What the page's script needs: the counts and where its controls start."""
        s = self.start
        return {
            "edges": self.edges,
            "review": self.review,
            "counts": [self.counts[name] for name in GROUPS],
            "bands": BANDS,
            "few": FEW,
            "fewFalse": FEW_FALSE_FLAGS,
            "start": {"p": s.prevalence, "v": s.volume, "m": s.minutes, "n": s.near_miss, "c": s.capacity},
        }

    def _between(self, first: int, last: int) -> tuple[Rate, Rate, Rate]:
        """Shares of the ordinary, the near misses and all that is not stalking with a score in bins first..last-1."""
        inside = {name: sum(self.counts[name][first:last]) for name in GROUPS}
        rest = GROUPS[1:]
        return (
            rate(inside["ordinary"], self.totals["ordinary"]),
            rate(inside["near_miss"], self.totals["near_miss"]),
            rate(sum(inside[name] for name in rest), sum(self.totals[name] for name in rest)),
        )

    def _rates(self, first: int, last: int, stream: Stream) -> tuple[Rate, Rate]:
        """Shares of stalking, and of what is not as the stream mixes it, with a score in bins first..last-1."""
        recall = rate(sum(self.counts["stalking"][first:last]), self.totals["stalking"])
        ordinary, near, every = self._between(first, last)
        if stream.near_miss is None or not self.can_mix:
            return recall, every
        s = stream.near_miss
        ends = ((1 - s) * (a or 0) + s * (b or 0) for a, b in zip(_ends(ordinary), _ends(near), strict=True))
        return recall, Rate(every.n, every.of, *ends)

    def at(self, index: int, stream: Stream | None = None) -> Json:
        """Every figure of the control at the threshold `edges[index]`; rates as in `metrics.json`, None unmeasured.

        `found_a_day` and the like are numbers of records; `hours` are those of reviewers a day.
        """
        stream = stream or self.start
        last = len(self.edges) - 1
        recall, mixed = self._rates(index, last, stream)
        every = self._between(index, last)[2]
        live = live_figures(recall, mixed, stream.prevalence, stream.volume)
        found, false = self._a_day(index, last, stream) or (None, None)
        alerts = live["alerts_a_day"]
        return {
            "threshold": self.edges[index],
            "recall": recall.to_json_dict(),
            "precision": rate(recall.n, recall.n + every.n).to_json_dict(),
            "specificity": rate(every.of - every.n, every.of).to_json_dict(),
            "missed": rate(recall.of - recall.n, recall.of).to_json_dict(),
            "falsely_flagged": every.to_json_dict(),
            "live_precision": live["precision"],
            "alerts_a_day": alerts,
            "found_a_day": found,
            "missed_a_day": None if found is None else stream.volume * stream.prevalence - found,
            "false_a_day": false,
            "hours": {end: _times(value, stream.minutes / 60) for end, value in alerts.items()},
            "few": self.totals["stalking"] < FEW,
            "few_false": every.n < FEW_FALSE_FLAGS,
        }

    def _a_day(self, first: int, last: int, stream: Stream) -> tuple[float, float] | None:
        """Expected records a day with a score in bins first..last-1: truly stalking, and not; None unmeasured."""

        def part(*names: str) -> float | None:
            of = sum(self.totals[name] for name in names)
            return sum(sum(self.counts[name][first:last]) for name in names) / of if of else None

        mixed = part(*GROUPS[1:])
        if stream.near_miss is not None and self.can_mix:
            mixed = (1 - stream.near_miss) * (part("ordinary") or 0) + stream.near_miss * (part("near_miss") or 0)
        found = part("stalking")
        if found is None or mixed is None:
            return None
        return stream.volume * stream.prevalence * found, stream.volume * (1 - stream.prevalence) * mixed

    def to_fill(self, stream: Stream | None = None) -> int | None:
        """Index of the lowest threshold with no more alerts a day than can be read.

        It is the number of bins when even the highest-scored bin holds more, and None when alerts are unmeasured.
        """
        stream, last = stream or self.start, len(self.edges) - 1
        for index in range(last):
            alerts = self._a_day(index, last, stream)
            if alerts is None:
                return None
            if sum(alerts) <= stream.capacity:
                return index
        return last

    def queue(self, index: int, stream: Stream | None = None) -> list[Json]:
        """The expected daily queue by score band, highest first; bands below the threshold are not `in_queue`.

        `rows` and `stalking` are counts of the set; `a_day` is expected, `share` the part of it that is stalking;
        `read` and `caught` are the records a day and the share of stalking from the top down to here.
        """
        stream = stream or self.start
        places = sorted({index, *(min(range(len(self.edges)), key=lambda i: abs(self.edges[i] - b)) for b in BANDS)})
        bands, read, caught = [], 0.0, 0.0
        for first, last in reversed(list(pairwise(places))):
            a_day = self._a_day(first, last, stream)
            stalking = sum(self.counts["stalking"][first:last])
            if a_day is not None:
                read, caught = read + sum(a_day), caught + stalking / self.totals["stalking"]
            bands.append(
                {
                    "low": self.edges[first],
                    "high": self.edges[last],
                    "in_queue": first >= index,
                    "rows": sum(sum(self.counts[name][first:last]) for name in GROUPS),
                    "stalking": stalking,
                    "a_day": None if a_day is None else sum(a_day),
                    "share": None if a_day is None or not sum(a_day) else a_day[0] / sum(a_day),
                    "read": None if a_day is None else read,
                    "caught": None if a_day is None else caught,
                }
            )
        return bands


def _ends(found: Rate) -> Sequence[float | None]:
    return found.value, found.low, found.high


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
