"""What a check of the corpus is, the table its functions measure on, and where results are written.

A module of checks is a function from the corpus to `Check` objects. One over many things (writers, indicators) is
one check whose measured value is the worst of them and whose offenders are all those outside the limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stalkscreen.dataset.writing import write_text
from stalkscreen.errors import DataError
from stalkscreen.schema import LabelledIncident

FULL_SIZE = 2400
"""Narratives the corpus is commissioned to have at least. Counts asked for are scaled down below it, never up."""

MAX_OFFENDERS = 12
"""Offenders named in a table; the rest are counted."""

_TOKEN = re.compile(r"[a-z0-9']+")


@dataclass(frozen=True, slots=True)
class Check:
    """One measured property of the corpus.

    Attributes:
        group: Heading it stands under.
        name: What is measured.
        measured: Its value, or None where it cannot be measured (too few records).
        low: Smallest value allowed, or None.
        high: Largest value allowed, or None.
        reason: Why the limit is what it is.
        hard: Whether the corpus may not be used while it fails. The others are reported.
        offenders: Record ids or names that are outside, with their values where there are any.
    """

    group: str
    name: str
    measured: float | None
    low: float | None
    high: float | None
    reason: str
    hard: bool = False
    offenders: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether the value lies within the limits; what cannot be measured or has no limit passes."""
        if self.measured is None:
            return True
        return not (
            (self.low is not None and self.measured < self.low) or (self.high is not None and self.measured > self.high)
        )

    @property
    def verdict(self) -> str:
        """`passes`, `FAILS` (hard), `misses` (soft), `reported` (no limit) or `not measured`."""
        if self.measured is None:
            return "not measured"
        if self.low is None and self.high is None:
            return "reported"
        return "passes" if self.passes else "FAILS" if self.hard else "misses"

    @property
    def limit(self) -> str:
        """The limits in words."""
        low, high = (None if v is None else number(v) for v in (self.low, self.high))
        if low is not None and high is not None:
            return low if low == high else f"{low} to {high}"
        return f"at least {low}" if low is not None else f"at most {high}" if high is not None else "none"


def number(value: float) -> str:
    """Whole numbers as they are, shares and areas with three decimals."""
    return (
        f"{value:,.0f}" if float(value).is_integer() and abs(value) != 1.0 else f"{value:.3f}".rstrip("0").rstrip(".")
    )


def scaled(limit: int, n: int) -> int:
    """A count asked of the whole corpus, in proportion while it has fewer than `FULL_SIZE` of its records."""
    return limit if n >= FULL_SIZE else max(1, round(limit * n / FULL_SIZE))


def worst(
    group: str,
    name: str,
    values: Mapping[Any, float],
    low: float | None,
    high: float | None,
    reason: str,
    hard: bool = False,
) -> Check:
    """One check over many things: the value furthest outside (or nearest to) its limits, and all those outside."""
    if not values:
        return Check(group, name, None, low, high, reason, hard)

    def slack(value: float) -> float:
        return min(value - low if low is not None else float("inf"), high - value if high is not None else float("inf"))

    order = sorted(values, key=lambda key: (slack(values[key]), str(key)))
    outside = tuple(f"{key} ({number(values[key])})" for key in order if slack(values[key]) < 0)
    return Check(group, name, values[order[0]], low, high, reason, hard, outside)


def tokens(text: str) -> list[str]:
    """Lower-case words and numbers, without punctuation."""
    return _TOKEN.findall(text.lower().replace("’", "'"))


def as_frame(records: Sequence[LabelledIncident]) -> pd.DataFrame:
    """The corpus as a table, one row a record in the order given.

    Returns:
        Columns of the record, with `present` and `elsewhere` (frozensets of indicators with a span that is present, or
        negated or another person's), `words`, `year`, and `base`: False for the mate of a pair, which copies its base
        text and is left out wherever texts are counted as different texts.
    """
    return pd.DataFrame(_row(record) for record in records)


def _row(record: LabelledIncident) -> dict[str, Any]:
    spans = record.evidence or ()
    return {
        "id": record.incident_id,
        "case": record.case_id or record.incident_id,
        "base": record.case_id in (None, record.incident_id),
        "text": record.narrative,
        "words": len(record.narrative.split()),
        "stalking": record.stalking,
        "stratum": record.stratum,
        "source": record.source_type,
        "writer": record.writer,
        "family": record.offence_family,
        "tier": record.tier,
        "relationship": record.relationship,
        "force": record.force,
        "at": record.occurred_at,
        "year": record.occurred_at.year if record.occurred_at else None,
        "present": frozenset(s.indicator for s in spans if s.status == "present"),
        "elsewhere": frozenset(s.indicator for s in spans if s.status != "present"),
        "pair": record.pair_id,
        "pair_kind": record.pair_kind,
        "people": record.people or {},
    }


def render(checks: Iterable[Check]) -> str:
    """Checks as one Markdown table a group, each followed by the offenders of those that do not pass."""
    groups: dict[str, list[Check]] = {}
    for check in checks:
        groups.setdefault(check.group, []).append(check)
    parts = []
    for group, members in groups.items():
        lines = [f"**{group}**", "", "| check | measured | limit | verdict | reason |", "|---|---|---|---|---|"]
        for c in members:
            measured = "–" if c.measured is None else number(c.measured)
            kind = " (hard)" if c.hard else ""
            lines.append(f"| {c.name}{kind} | {measured} | {c.limit} | {c.verdict} | {c.reason} |")
        notes = [f"- {c.name}: {_named(c.offenders)}" for c in members if c.offenders]
        parts.append("\n".join([*lines, *(["", "Outside, or worth reading:", "", *notes] if notes else [])]))
    return "\n\n".join(parts)


def _named(offenders: Sequence[str]) -> str:
    more = len(offenders) - MAX_OFFENDERS
    return ", ".join(offenders[:MAX_OFFENDERS]) + (f" and {more} more" if more > 0 else "")


def write_section(path: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name:begin -->` and `<!-- name:end -->` in a Markdown file.

    Raises:
        DataError: The file is missing or does not have both markers once.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    page = path.read_text(encoding="utf-8") if path.is_file() else ""
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise DataError(f"{path}: needs the markers {begin} and {end}, once each and in this order", file=str(path))
    head, rest = page.split(begin)
    tail = rest.split(end)[1]
    write_text(path, f"{head}{begin}\n\n{text.strip()}\n\n{end}{tail}")
