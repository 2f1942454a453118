"""What an address asks for: which evaluations, which part, which threshold, which live stream.

Everything that can be seen has an address. What makes no sense in one is left out, and the page says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from evaluation.explorer import Explorer, Stream

LIMITS = {
    "t": (0, 1),
    "u": (0, 1),
    "p": (0.01, 99),
    "v": (1, 100_000),
    "m": (0.1, 600),
    "n": (0, 100),
    "c": (0, 100_000),
}
"""Lowest and highest of each number, as in `templates/sections/explorer.html.j2`."""

TITLES = {
    "t": "Threshold of the first",
    "u": "Threshold of the second",
    "p": "Stalking in the live stream, %",
    "v": "Records a day",
    "m": "Minutes for one review",
    "n": "Near misses, %",
    "c": "Records that can be read a day",
}
"""What each number is, for a message."""

AS_IN_SET = "set"
"""For `n`: what is not stalking is mixed as in the set."""


@dataclass(frozen=True, slots=True)
class State:
    """One address, read.

    Attributes:
        e: Key of the evaluation looked at; empty for the list of all.
        w: Key of the one it is compared with; empty for none.
        part: Name of the slice shown; empty for the first there is.
        t: Threshold of the first; None for the model's own.
        u: Threshold of the second.
        p: Stalking, % of the live stream; None for the evaluation's own, as in the following.
        v: Records a day.
        m: Minutes for one review.
        n: Near misses, % of what is not stalking, or `AS_IN_SET`.
        c: Records that can be read a day.
        refused: Sentences on numbers that could not be used, for the page to say.
    """

    e: str = ""
    w: str = ""
    part: str = ""
    t: float | None = None
    u: float | None = None
    p: float | None = None
    v: float | None = None
    m: float | None = None
    n: float | str | None = None
    c: float | None = None
    refused: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def read(cls, asked: Mapping[str, str]) -> State:
        """From the query of an address; wrong numbers count as not given, and are named in `refused`."""
        numbers: dict[str, float | str] = {}
        refused: list[str] = []
        for key, (low, high) in LIMITS.items():
            given = asked.get(key, "")
            if key == "n" and given == AS_IN_SET:
                numbers[key] = AS_IN_SET
                continue
            try:
                value = float(given)
            except ValueError:
                value = float("nan")
            if low <= value <= high:
                numbers[key] = value
            elif given:
                refused.append(
                    f"{TITLES[key]}: {given[:20]!r} is no number from {low:g} to {high:g}; its default is shown."
                )
        names = {key: asked.get(key, "")[:500] for key in ("e", "w", "part")}
        return cls(**names, **numbers, refused=tuple(refused))  # type: ignore[arg-type]

    def query(self, **changes: str | float | None) -> str:
        """The query of this state, or of one with changes; what is not given is left out."""
        state = replace(self, **changes) if changes else self  # type: ignore[arg-type]
        given = {name: getattr(state, name) for name in ("e", "w", "part", *LIMITS)}
        return urlencode(
            {k: f"{v:.12g}" if isinstance(v, float) else v for k, v in given.items() if v not in ("", None)}
        )

    def stream(self, explorer: Explorer) -> Stream:
        """The live stream asked for; what is not given is as the evaluation says."""
        start = explorer.start
        near = start.near_miss
        if explorer.can_mix and self.n is not None:
            near = None if isinstance(self.n, str) else self.n / 100
        return Stream(
            prevalence=start.prevalence if self.p is None else self.p / 100,
            volume=start.volume if self.v is None else self.v,
            minutes=start.minutes if self.m is None else self.m,
            near_miss=near,
            capacity=start.capacity if self.c is None else self.c,
        )


def place_of(explorer: Explorer, threshold: float | None) -> int:
    """Index of the edge nearest to a threshold, as `templates/report.js` finds it; the model's own for None."""
    if threshold is None:
        return explorer.review
    return min(range(len(explorer.edges) - 1), key=lambda i: abs(explorer.edges[i] - threshold))
