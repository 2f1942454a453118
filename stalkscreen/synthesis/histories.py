"""Simulated case histories: people, what one did to another over time, and how different officers wrote it down.

Facts come first (`events`: who, which acts, when), written wording second (`composing`: passages of one writer and register
an incident), labels from the text third (`history_labels`), the recorder's title last. Incident labels follow the text of that
incident alone; `case_stalking` says what the history adds up to (labelling guide, section 8).

Out: `histories.jsonl`, `dataset.toml` and `manifest.json` in a new folder. Streams to disk in bounded memory; the same seed
gives the same bytes, and one more case changes none before it.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from stalkscreen.config import CHECKOUT
from stalkscreen.dataset import flatten, unflatten, write_manifest
from stalkscreen.errors import ConfigError
from stalkscreen.progress import counted
from stalkscreen.schema import LabelledIncident, Person
from stalkscreen.synthesis.composing import Teller, Text, compose
from stalkscreen.synthesis.events import Event, Story, start_day, tell
from stalkscreen.synthesis.history_labels import case_is_stalking, labels_of
from stalkscreen.synthesis.history_settings import HistorySettings, read_settings
from stalkscreen.synthesis.names import register
from stalkscreen.synthesis.passages import read_passages
from stalkscreen.synthesis.people import SimulatedPerson, as_recorded, look_alike, simulate_person
from stalkscreen.synthesis.recorder import Recorder
from stalkscreen.synthesis.stock import Stock
from stalkscreen.synthesis.wording import introductions
from stalkscreen.taxonomy import LABEL_VERSION

PASSAGES = CHECKOUT / "data" / "synthetic" / "passages.jsonl"
"""The committed passages."""

Part = Literal["all", "learning", "held-out"]
"""Passages that may be used: so that histories which are scored share no passage with those that were learnt from."""
ORDINARY = "ordinary"
"""The kind of case that a live prevalence mixes in."""
MAX_LIVE = 0.5
"""Highest share of incidents of stalking cases that mixing in others can always reach (about 0.65 without)."""

_PARTNERS = frozenset(("ex_partner", "current_partner"))
_GROWN_UP = frozenset(("current_partner", "professional_contact", "colleague"))


@dataclass(frozen=True, slots=True)
class _Cast:
    """A case before it is written down."""

    story: Story
    force: str
    victim: SimulatedPerson
    suspect: SimulatedPerson


class Simulator:
    """Writes histories.

    Args:
        seed: Every case has chance of its own, drawn from the seed and its number.
        passages: File of written passages; by default the committed one.
        settings: By default the packaged `histories.toml`.
        recorder: Puts the offence titles on.
        part: Which of the passages may be used.

    Raises:
        DataError: The passages are missing, wrong or too thin.
        ConfigError: The settings are wrong.
    """

    def __init__(
        self,
        seed: int,
        passages: Path | None = None,
        settings: HistorySettings | None = None,
        recorder: Recorder | None = None,
        part: Part = "all",
    ) -> None:
        self.seed = seed
        self.settings = settings or read_settings()
        self.stock = Stock(
            [p for p in read_passages(passages or PASSAGES) if in_part(p.row.passage_id, part)], self.settings
        )
        self.recorder = recorder or Recorder()

    def histories(self, cases: int, live_prevalence: float | None = None) -> Iterator[LabelledIncident]:
        """Yield incidents case by case, in time order within each, and never hold more than one case.

        Args:
            cases: Number of histories.
            live_prevalence: Share of incidents that shall belong to stalking cases, above 0 and at most 0.5: single
                ordinary incidents are mixed in after each case until the share so far is that. None: as they come.

        Raises:
            ConfigError: The prevalence is out of range.
        """
        if live_prevalence is not None and not 0 < live_prevalence <= MAX_LIVE:
            raise ConfigError(
                f"--live-prevalence is {live_prevalence:g}; allowed is above 0 to {MAX_LIVE:g}", field="live_prevalence"
            )
        owed = 0.0
        for number in range(cases):
            case = self._case(number)
            yield from case
            if live_prevalence is None:
                continue
            hit = bool(case[0].case_stalking)
            owed += len(case) * ((1 - live_prevalence) / live_prevalence if hit else -1)
            extra = 0
            while owed >= 1:
                extra += 1
                owed -= 1
                yield from self._case(number, extra)

    def _case(self, number: int, extra: int | None = None) -> list[LabelledIncident]:
        key = f"{self.seed}:{number}" if extra is None else f"{self.seed}:{number}:x{extra}"
        case_id = f"sim-{number:07d}" if extra is None else f"sim-{number:07d}-x{extra:05d}"
        rng = random.Random(key)
        cast = self._cast(key, None if extra is None else ORDINARY)
        if rng.random() < self.settings.people.look_alike and number:
            cast = self._mixed_up(cast, self._cast(f"{self.seed}:{rng.randrange(number)}", None), rng)
        story = cast.story
        sexes = {"victim": cast.victim.sex, "suspect": cast.suspect.sex}
        teller = Teller(story, sexes, self._phrases(cast, rng))
        known_from = 0
        if rng.random() >= self.settings.kinds[story.kind].suspect_known:
            known_from = rng.randint(1, len(story.events) + 1)
        texts = [compose(event, teller, self.stock, self.settings, rng) for event in story.events]
        labels = [labels_of(text.told, self.settings.labels) for text in texts]
        pairs = [(text.told, bool(fields["stalking"])) for text, fields in zip(texts, labels, strict=True)]
        whole = case_is_stalking(pairs, self.settings.labels)
        return [
            self._incident(case_id, i, event, text, fields | {"case_stalking": whole}, cast, rng, known=i >= known_from)
            for i, (event, text, fields) in enumerate(zip(story.events, texts, labels, strict=True))
        ]

    def _cast(self, key: str, kind: str | None) -> _Cast:
        """Kind, story and people of a case: the same again whenever it is asked for."""
        rng, settings = random.Random(f"{key}:cast"), self.settings
        names = list(settings.kinds)
        kind = kind or rng.choices(names, [k.share for k in settings.kinds.values()])[0]
        start, force = start_day(rng, settings), rng.choice(tuple(register().forces))
        story = tell(rng, settings, kind, start)
        victim = simulate_person(rng, settings.people, start, force)
        partner = victim if story.tie in _PARTNERS else None
        suspect = simulate_person(
            rng,
            settings.people,
            start,
            force,
            adult=story.tie in _GROWN_UP,
            partner_of=partner,
            kin_of=victim if story.tie == "family" else None,
            same_home=story.tie == "current_partner",
        )
        return _Cast(story, force, victim, suspect)

    @staticmethod
    def _mixed_up(cast: _Cast, other: _Cast, rng: random.Random) -> _Cast:
        """The cast with one of the two looking like somebody of another case, whom they have nothing to do with."""
        whom = rng.choice((other.victim, other.suspect))
        if rng.random() < 0.5:
            return _Cast(cast.story, cast.force, look_alike(cast.victim, whom, rng), cast.suspect)
        return _Cast(cast.story, cast.force, cast.victim, look_alike(cast.suspect, whom, rng))

    def _phrases(self, cast: _Cast, rng: random.Random) -> list[str]:
        start = cast.story.events[0].at.date()
        ages = cast.victim.age(start), cast.suspect.age(start)
        return rng.choice(introductions(self.settings.phrases[cast.story.tie], cast.suspect.sex, *ages))

    def _incident(
        self,
        case_id: str,
        number: int,
        event: Event,
        text: Text,
        fields: dict[str, object],
        cast: _Cast,
        rng: random.Random,
        *,
        known: bool,
    ) -> LabelledIncident:
        settings, day, story = self.settings, event.at.date(), cast.story
        delay = rng.expovariate(1.0 / max(0.01, settings.text.report_days[text.register]))
        extras: dict[str, object] = {"case_kind": story.kind, "passages": list(text.passages)}
        if story.withdrew and number == len(story.events) - 1:
            extras["victim_withdrew"] = True
        record = LabelledIncident.model_validate(
            {
                "incident_id": f"{case_id}-{number:02d}",
                "narrative": text.narrative,
                "occurred_at": event.at,
                "reported_at": event.at + timedelta(minutes=3 + int(delay * 1440)),
                "source_type": text.register,
                "force": cast.force,
                "case_id": case_id,
                "victim": as_recorded(cast.victim, day, rng, settings.recording),
                "suspect": self._suspect(cast, day, rng, known=known),
                "evidence": text.evidence,
                "label_version": LABEL_VERSION,
                "annotator": "simulation",
                "writer": text.writer,
                "people": {"victim": cast.victim.described(day), "suspect": cast.suspect.described(day)},
                **fields,
                **extras,
            }
        )
        # The force knows the tie even where the text does not let it be seen.
        as_known = {"relationship": story.tie, "domestic": story.tie in settings.labels.domestic_ties}
        return record.model_copy(update={"recorded_offence": self.recorder.title(record.model_copy(update=as_known))})

    def _suspect(self, cast: _Cast, day: date, rng: random.Random, *, known: bool) -> Person | None:
        if known:
            return as_recorded(cast.suspect, day, rng, self.settings.recording, keep=2)
        plate = cast.suspect.true_fields(day).get("vehicle_vrm")
        return Person(vehicle_vrm=plate) if plate and rng.random() < 0.2 else None


def in_part(passage_id: str, part: Part) -> bool:
    """Whether a passage may be used: `learning` and `held-out` share none, three fifths and two fifths of them."""
    learning = hashlib.sha256(passage_id.encode()).digest()[0] % 5 < 3
    return part == "all" or learning == (part == "learning")


def histories(
    cases: int,
    seed: int,
    *,
    passages: Path | None = None,
    live_prevalence: float | None = None,
    part: Part = "all",
) -> Iterator[LabelledIncident]:
    """Yield the incidents of `cases` simulated histories; see `Simulator`."""
    return Simulator(seed, passages, part=part).histories(cases, live_prevalence)


def synthesise(
    cases: int,
    seed: int,
    out: Path,
    *,
    live_prevalence: float | None = None,
    passages: Path | None = None,
    part: Part = "all",
) -> str:
    """Write `histories.jsonl`, `dataset.toml` and `manifest.json` into `out`, whole or not at all.

    Args:
        cases: Number of histories, without the single incidents that a live prevalence adds.
        seed: Same seed, same bytes.
        out: Made when missing.
        live_prevalence: See `Simulator.histories`.
        passages: By default the committed ones.
        part: Which of them may be used.

    Returns:
        A sentence that says what was written.

    Raises:
        ConfigError: `out` exists and is not an empty folder, or the prevalence is out of range.
        DataError: The passages are missing, wrong or too thin.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out} exists and is not an empty folder; nothing was written.", field="out")
    stream = counted(
        histories(cases, seed, passages=passages, live_prevalence=live_prevalence, part=part),
        "Simulating",
        "incidents",
        lambda _: 1,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    rows = stalking = case_stalking = 0
    try:
        with (building / "histories.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for incident in stream:
                file.write(json.dumps(unflatten(flatten(incident)), ensure_ascii=False) + "\n")
                rows += 1
                stalking += incident.stalking
                case_stalking += bool(incident.case_stalking)
        live = f", live prevalence {live_prevalence:g}" if live_prevalence is not None else ""
        used = "" if part == "all" else f", {part} passages"
        (building / "dataset.toml").write_text(
            f'name = "Simulated histories, {cases} cases, seed {seed}{live}{used}"\nsynthetic = true\n'
            'note = "Simulated people and events; machine-written passages recombined, so texts share sentences."\n',
            encoding="utf-8",
        )
        write_manifest(building)
        building.chmod(0o755)
        if out.exists():
            out.rmdir()
        building.replace(out)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return (
        f"{cases:,} cases, {rows:,} incidents in {out}: {stalking:,} incidents are stalking by themselves, "
        f"{case_stalking:,} belong to a case that is ({case_stalking / rows:.1%})."
    )
