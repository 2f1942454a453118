"""What happens in a case, before anybody writes it down: kind, tie, and dated acts with what was true at each.

A pursuit grows and changes: it may escalate (shorter gaps, graver acts), go quiet for months, change its method after a
block, a warning or an order, quicken when there is a new partner, and drop out of the records when the victim
withdraws. Other cases repeat one matter. Parameters: `histories.toml`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from stalkscreen.schema import LONDON
from stalkscreen.synthesis.history_settings import HistorySettings, Kind

_LAST_DAY = date(2026, 10, 31)
"""No report is later: the corpus is of 2015 to 2026."""
_HOURS = (2, 1, 1, 1, 1, 1, 2, 4, 5, 5, 5, 5, 6, 5, 5, 6, 7, 8, 8, 8, 8, 7, 6, 4)
"""Weights of the hours of the day from midnight on. Assumption: evenings most."""


@dataclass(frozen=True, slots=True)
class Event:
    """One report: the acts it is about, the last of them the reason for it.

    Attributes:
        acts: Act and when it was done, in time order.
        again_allowed: Whether the writer may tell of repetition.
        order: Whether a block, warning or order was in place.
        separated: Whether the two separated within the twelve months before.
        repeated: Whether something of the kind was reported before.
    """

    acts: tuple[tuple[str, datetime], ...]
    again_allowed: bool
    order: bool
    separated: bool
    repeated: bool

    @property
    def at(self) -> datetime:
        """When the latest act was done."""
        return self.acts[-1][1]


@dataclass(frozen=True, slots=True)
class Story:
    """A case as it happened.

    Attributes:
        kind: Name of a kind in `histories.toml`.
        stalking: Whether it is a pursuit.
        tie: Closest tie of the two people.
        hidden: Whether each report tells of a single act only.
        abused_before, unwell, earlier_victims: What may come up as background.
        withdrew: Whether the victim withdrew, after which nothing more was reported.
        events: At least one, in time order.
    """

    kind: str
    stalking: bool
    tie: str
    hidden: bool
    abused_before: bool
    unwell: bool
    earlier_victims: bool
    withdrew: bool
    events: tuple[Event, ...]


def start_day(rng: random.Random, settings: HistorySettings) -> date:
    """Day of a case's first act."""
    weights = settings.time.first_year_weights
    year = int(rng.choices(list(weights), list(weights.values()))[0])
    return date(year, 1, 1) + timedelta(days=rng.randrange(365))


def pick(rng: random.Random, weights: dict[str, float]) -> str:
    """A key, by weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


def tell(rng: random.Random, settings: HistorySettings, kind_name: str, start: date) -> Story:
    """Draw what happens in a case of a kind that begins on a day."""
    kind, time = settings.kinds[kind_name], settings.time
    tie = pick(rng, kind.ties)
    count = _count(rng, kind)
    hidden = kind.stalking and rng.random() < time.hidden
    withdrew = count > 2 and kind.stalking and rng.random() < time.withdraws
    if withdrew:
        count = rng.randint(2, count)
    facts = {
        "abused_before": rng.random() < time.abuse_before.get(tie, 0.0),
        "unwell": rng.random() < time.suspect_health,
        "earlier_victims": kind.stalking and rng.random() < time.earlier_victims,
    }
    events = _pursuit(rng, settings, kind, tie, start, count, hidden) if kind.stalking else []
    if not kind.stalking:
        separated = tie == "ex_partner" and rng.random() < 0.5
        for i, day in enumerate(_days(rng, start, count, time.gap_days * 1.5, 1.0, settings)):
            acts = [(pick(rng, kind.acts), _moment(rng, day))]
            if count > 1 and rng.random() < settings.text.scenes_more:
                acts = _with_earlier(rng, acts, lambda: pick(rng, kind.acts))
            # A matter of one report is told as one: "again" would make it another matter.
            events.append(Event(tuple(acts), count > 1, False, separated, i > 0))
    return Story(kind_name, kind.stalking, tie, hidden, withdrew=withdrew, events=tuple(events), **facts)


def _count(rng: random.Random, kind: Kind) -> int:
    low, mean, high = kind.incidents.low, kind.incidents.mean, kind.incidents.high
    return low if mean <= low else min(high, low + int(rng.expovariate(1.0 / (mean - low + 0.5))))


def _pursuit(
    rng: random.Random, settings: HistorySettings, kind: Kind, tie: str, start: date, count: int, hidden: bool
) -> list[Event]:
    time = settings.time
    escalates = rng.random() < time.escalates
    order_from = rng.randint(2, max(2, count - 1)) if rng.random() < time.order_chance else count
    quicker_from = rng.randint(1, count) if tie == "ex_partner" and rng.random() < time.new_partner_chance else count
    separation = start - timedelta(days=rng.randrange(1, time.separation_within_days))
    shrink = rng.uniform(0.6, 0.95) if escalates else 1.0
    days = _days(rng, start, count, time.gap_days, shrink, settings, quicker_from)
    events = []
    for i, day in enumerate(days):
        phase = "after_order" if i >= order_from else "late" if escalates and 2 * i >= count else "early"

        def act(phase: str = phase) -> str:
            weights = settings.phases[phase]
            return pick(rng, {name: weight * kind.acts.get(name, 1.0) for name, weight in weights.items()})

        acts = [(act(), _moment(rng, day))]
        if hidden:
            while acts[0][0] in settings.labels.continuing_acts:  # a tracker is a course of conduct by itself
                acts = [(act(), acts[0][1])]
        elif rng.random() < settings.text.scenes_more:
            acts = _with_earlier(rng, acts, act)
        recent = tie == "ex_partner" and (day - separation).days <= 365
        events.append(Event(tuple(acts), not hidden, i >= order_from, recent, i > 0))
    return events


def _days(
    rng: random.Random,
    start: date,
    count: int,
    gap: float,
    shrink: float,
    settings: HistorySettings,
    quicker_from: int | None = None,
) -> list[date]:
    """Days of the reports, each later than the one before; fewer than `count` if time runs out, but two where asked."""
    days = [start]
    for i in range(1, count):
        if rng.random() < settings.time.quiet_chance:
            step = rng.randint(*settings.time.quiet_days)
        else:
            step = 1 + int(rng.expovariate(1.0 / max(1.0, gap)))
        gap *= shrink * rng.uniform(0.85, 1.15) * (0.5 if i == quicker_from else 1.0)
        day = days[-1] + timedelta(days=step)
        if day > _LAST_DAY:
            if i > 1:
                break
            day = days[-1] + timedelta(days=1)
        days.append(day)
    return days


def _moment(rng: random.Random, day: date) -> datetime:
    hour = rng.choices(range(24), _HOURS)[0]
    return datetime(day.year, day.month, day.day, hour, rng.randrange(60), tzinfo=LONDON)


def _with_earlier(
    rng: random.Random, acts: list[tuple[str, datetime]], act: Callable[[], str]
) -> list[tuple[str, datetime]]:
    """One or two acts of the days before, never reported at the time, told along with the latest."""
    earliest = acts[0][1]
    for _ in range(1 if rng.random() < 0.75 else 2):
        day = earliest.date() - timedelta(days=rng.randint(1, 9))
        earliest = _moment(rng, day)
        acts = [(act(), earliest), *acts]
    return acts
