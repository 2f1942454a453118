"""Put the text of one incident together from one writer's passages in one register, with exact evidence offsets.

open + context + scenes + effect + negation + close; only the scenes are always there.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from stalkscreen.errors import DataError
from stalkscreen.schema import Evidence
from stalkscreen.synthesis.events import Event, Story
from stalkscreen.synthesis.history_labels import Told, earlier_breach
from stalkscreen.synthesis.history_settings import HistorySettings
from stalkscreen.synthesis.passages import ANY_TIE, Passage
from stalkscreen.synthesis.stock import Stock
from stalkscreen.synthesis.wording import fill

_SUSPECT_SLOTS = frozenset(("he", "him", "his", "He", "Him", "His", "suspect", "Suspect"))
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_IMPLIES = {"previous_domestic_abuse": "physical_violence", "threats_to_kill": "threats_to_victim"}
_BY_VICTIM = frozenset(("victim_statement", "online_report"))
_SENTENCE_END = tuple(".!?…:;\"”'’)")


@dataclass(slots=True)
class Teller:
    """What stays the same over a case's incidents.

    Attributes:
        story: What happened.
        sexes: `victim` and `suspect` to "f", "m" or "x".
        phrases: Ways to introduce the suspect, filled but for the victim's pronouns.
        used: Ids of passages already used in the case.
    """

    story: Story
    sexes: dict[str, str]
    phrases: list[str]
    used: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Text:
    """One incident's text.

    Attributes:
        narrative: As it will stand in the record.
        evidence: With offsets into it.
        passages: Ids, in the order of the text.
        writer, register: Of all passages.
        told: What it tells, for the labels.
    """

    narrative: str
    evidence: tuple[Evidence, ...]
    passages: tuple[str, ...]
    writer: str
    register: str
    told: Told


def compose(event: Event, teller: Teller, stock: Stock, settings: HistorySettings, rng: random.Random) -> Text:
    """Write one incident.

    Raises:
        DataError: No passage fits the case at all.
    """
    text, story = settings.text, teller.story
    act, at = event.acts[-1]
    main = _main(act, event, teller, stock, settings, rng)
    pool = stock.pools[main.row.writer, main.row.source_type]
    chosen = [main]
    scenes = [(main, at)]

    def fits(p: Passage) -> bool:
        if not _usable(p, at.date(), teller) or p in chosen:
            return False
        views = {c.view for c in chosen} | {p.view}
        return not {"first", "third"} <= views and not _contradicts(p, chosen)

    def take(found: Iterable[Passage]) -> Passage | None:
        options = [p for p in found if fits(p)]
        fresh = [p for p in options if p.row.passage_id not in teller.used]
        return rng.choice(fresh or options) if options else None

    for earlier, when in event.acts[-2::-1]:
        same = [p for p in pool[main.row.role] if event.again_allowed or not p.row.again]
        found = take(p for p in same if p.row.act == earlier)
        if found is None and main.row.role == "scene":
            found = take(p for p in same if p.row.act in settings.phases["early"])
        if found is not None:
            chosen.append(found)
            scenes.insert(0, (found, when))
    ordinary = main.row.act in settings.labels.ordinary_acts
    neutral: Callable[[Passage], bool] = lambda p: not (ordinary and p.slots & _SUSPECT_SLOTS)  # noqa: E731

    def maybe(chance: float, found: Iterable[Passage]) -> list[Passage]:
        if rng.random() >= chance:
            return []
        one = take(p for p in found if neutral(p))
        if one is None:
            return []
        chosen.append(one)
        return [one]

    wanted = set() if ordinary else _background(event, story)
    plain = story.hidden or not story.stalking
    context = maybe(
        text.context, (p for p in pool["context"] if p.row.act in wanted and not (plain and earlier_breach(p)))
    )
    unmoved = rng.random() < text.unmoved
    effects = [p for p in pool["effect"] if (p.row.act == "unmoved") == unmoved]
    effect = maybe(text.effect if main.row.role == "scene" else text.benign_effect, effects)
    negation = maybe(text.negation, pool["negation"])
    opening = maybe(text.open, pool["open"])
    closing = maybe(text.close, pool["close"])
    before, after = (context, []) if rng.random() < 0.6 else ([], context)
    teller.used.update(p.row.passage_id for p in chosen if p.row.role != "open" and p.row.role != "close")
    several = len({when.date() for _, when in scenes}) > 1
    stamped = several or rng.random() < text.stamp_single
    parts: list[tuple[Passage, datetime | None]] = [
        *((p, None) for p in opening + before),
        *((p, when if stamped else None) for p, when in scenes),
        *((p, None) for p in after + effect + negation + closing),
    ]
    others = tuple(context + effect + negation)
    shown = any(map(_shows_tie, chosen))
    told = Told(tuple((p, when.date()) for p, when in scenes), others, story.tie if shown and not ordinary else None)
    narrative, evidence = _joined(parts, teller, settings, rng)
    return Text(
        narrative, evidence, tuple(p.row.passage_id for p, _ in parts), main.row.writer, main.row.source_type, told
    )


def _shows_tie(p: Passage) -> bool:
    return ANY_TIE not in p.row.ties or bool(p.slots & {"suspect", "Suspect"})


def _usable(p: Passage, day: date, teller: Teller) -> bool:
    return p.since <= day and p.fits(teller.story.tie) and ("x" not in teller.sexes.values() or p.neutral)


def _main(
    act: str, event: Event, teller: Teller, stock: Stock, settings: HistorySettings, rng: random.Random
) -> Passage:
    """The passage of the latest act; one of another act of the kind where no writer has one that fits."""
    kind = settings.kinds[teller.story.kind]
    others = list(settings.phases["early"]) if kind.stalking else list(kind.acts)
    rng.shuffle(others)
    if teller.story.hidden:
        others = [a for a in others if a not in settings.labels.continuing_acts]
    for wanted in (act, *others):
        options = [
            p
            for p in stock.of_act(wanted, teller.story.tie, again=event.again_allowed, hidden=teller.story.hidden)
            if _usable(p, event.at.date(), teller)
        ]
        options = [p for p in options if p.row.passage_id not in teller.used] or options
        if options:
            held = Counter(p.row.source_type for p in options)
            weights = [
                settings.text.registers[p.row.source_type]
                / held[p.row.source_type]
                * (settings.text.prefer_tie_shown if _shows_tie(p) else 1.0)
                for p in options
            ]
            return rng.choices(options, weights)[0]
    raise DataError(
        f"No passage fits a case of kind {teller.story.kind} with the tie {teller.story.tie} in {event.at.year}: "
        f"acts {', '.join(others)}. Add passages with this tie or '{ANY_TIE}'.",
        kind=teller.story.kind,
    )


def _background(event: Event, story: Story) -> set[str]:
    wanted = set()
    if event.separated:
        wanted.add("recent_separation")
    if story.abused_before:
        wanted.add("previous_domestic_abuse")
    if story.unwell:
        wanted.add("suspect_health_substance")
    if story.earlier_victims:
        wanted.add("prior_stalking_others")
    if event.order:
        wanted.add("order")
    return wanted


def _contradicts(p: Passage, chosen: Iterable[Passage]) -> bool:
    """Whether it denies what another shows, or the other way round."""
    for other in chosen:
        for one, two in ((p, other), (other, p)):
            shown = one.present | {_IMPLIES[name] for name in one.present if name in _IMPLIES}
            if shown & two.negated:
                return True
    return False


def _joined(
    parts: Sequence[tuple[Passage, datetime | None]], teller: Teller, settings: HistorySettings, rng: random.Random
) -> tuple[str, tuple[Evidence, ...]]:
    narrative, evidence = "", list[Evidence]()
    phrase = rng.choice(teller.phrases)
    views = {p.view for p, _ in parts}
    by_victim = "third" not in views and parts[0][0].row.source_type in _BY_VICTIM
    own = "I" if "first" in views or by_victim else teller.sexes["victim"]
    theirs, them = {"I": ("my", "me"), "m": ("his", "him"), "f": ("her", "her"), "x": ("their", "them")}[own]
    for passage, when in parts:
        if narrative:
            narrative += " " if narrative.endswith(_SENTENCE_END) else "\n"
        if when is not None:
            narrative += _stamp(settings.text.stamps[passage.row.source_type], when)
        said, marks = fill(
            passage.pieces,
            passage.row.evidence,
            teller.sexes,
            phrase.replace("{their}", theirs).replace("{her}", them),
            capitals=passage.capitals,
            at=len(narrative),
        )
        narrative += said
        evidence += marks
    return narrative, tuple(evidence)


def _stamp(form: str, when: datetime) -> str:
    return form.format(
        d=when.day, dd=f"{when.day:02d}", mm=f"{when.month:02d}", yy=f"{when.year % 100:02d}",
        month=_MONTHS[when.month - 1], hhmm=f"{when.hour:02d}{when.minute:02d}",
    )  # fmt: skip
