"""Simulated case histories: people, what one did to another over time, and how different officers wrote it down.

Facts come first (who, which acts, when), wording second (`wording.toml`, hand-written sentences), the recorder's title
last. Incident labels follow the text of that incident alone; `case_stalking` says what the history adds up to
(labelling guide, section 8). Streams to disk in bounded memory; the same seed gives the same bytes.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from stalkscreen.dataset import write_manifest
from stalkscreen.errors import ConfigError
from stalkscreen.schema import LONDON, Evidence, LabelledIncident, Person
from stalkscreen.synthesis.recorder import Recorder
from stalkscreen.taxonomy import LABEL_VERSION, load_taxonomy

_FORENAMES = "Aneta Bronwen Callum Dilys Ebele Farida Gethin Hamza Imogen Jaspreet Kofi Lowri Marek Nia Oluwaseun Petra"
_SURNAMES = "Adeyemi Bevan Cartwright Dobson Evans Fletcher Gill Haworth Iqbal Jarvis Kowalska Llewellyn Mensah Nowak"
_PLACES = ("the bus station", "her work", "the gym", "the school gate", "the flats", "the corner shop")
_FORCES = ("Gwent", "Kent", "Cleveland", "West Yorkshire", "Dorset", "Staffordshire", "Metropolitan")
_PURSUIT = ("loitering", "unwanted_contact", "following_surveillance", "property_damage", "unwanted_gifts")
_LATE = ("third_party_proxy", "threats_to_victim")
_KINDS = (("stalking", 0.4), ("quarrel", 0.15), ("neighbours", 0.15), ("debt", 0.1), ("unrelated", 0.2))
_REPEATED = {"quarrel": "argument", "neighbours": "noise", "debt": "debt", "unrelated": "theft"}
_TIE = {"quarrel": "current_partner", "neighbours": "neighbour", "debt": "acquaintance", "unrelated": "stranger"}


@dataclass(frozen=True, slots=True)
class _Event:
    act: str
    at: datetime


def _wording() -> dict[str, dict[str, Any]]:
    path = Path(__file__).with_name("wording.toml")
    return {a["name"]: a for a in tomllib.loads(path.read_text(encoding="utf-8"))["act"]}


def histories(cases: int, seed: int, recorder: Recorder | None = None) -> Iterator[LabelledIncident]:
    """Yield the incidents of `cases` simulated histories, case by case and in time order within each."""
    wording, recorder = _wording(), recorder or Recorder()
    for number in range(cases):
        # A generator of its own for every case: one more case changes none before it.
        yield from _case(number, random.Random(f"{seed}:{number}"), wording, recorder)


def _case(
    number: int, rng: random.Random, wording: dict[str, dict[str, Any]], recorder: Recorder
) -> Iterator[LabelledIncident]:
    kind = rng.choices([k for k, _ in _KINDS], [w for _, w in _KINDS])[0]
    stalking = kind == "stalking"
    tie = rng.choice(("ex_partner", "acquaintance", "colleague", "stranger")) if stalking else _TIE[kind]
    victim, suspect = _person(rng), _person(rng)
    incidents = [
        _incident(number, i, event, tie, victim, suspect, rng, wording[event.act])
        for i, event in enumerate(_events(kind, rng))
    ]
    repeated = stalking and len(incidents) > 1
    for incident in incidents:
        # Escalation of the case is left to the case; an incident carries what its own text shows.
        whole = incident.model_copy(update={"case_stalking": repeated or incident.stalking})
        yield whole.model_copy(update={"recorded_offence": recorder.title(whole)})


def _events(kind: str, rng: random.Random) -> list[_Event]:
    """Acts with dates: a pursuit changes method, has quiet spells and grows closer; other histories repeat one thing."""
    at = datetime(2016, 1, 1, tzinfo=LONDON) + timedelta(days=rng.randrange(3600), hours=rng.randrange(24))
    count = rng.randint(3, 8) if kind == "stalking" else 1 if kind == "unrelated" else rng.randint(1, 4)
    found = []
    gap = 20.0
    for i in range(count):
        late = kind == "stalking" and i >= count - 2 and rng.random() < 0.5
        act = rng.choice(_LATE if late else _PURSUIT) if kind == "stalking" else _REPEATED[kind]
        found.append(_Event(act, at))
        gap = max(1.0, gap * rng.uniform(0.5, 1.1)) if rng.random() < 0.85 else 90.0
        at += timedelta(days=int(gap), minutes=rng.randrange(1440))
    return found


def _person(rng: random.Random) -> Person:
    born = datetime(1940, 1, 1, tzinfo=LONDON) + timedelta(days=rng.randrange(25_000))
    return Person(
        forename=rng.choice(_FORENAMES.split()),
        surname=rng.choice(_SURNAMES.split()),
        dob=born.date().isoformat(),
        phone=f"07700 900{rng.randrange(1000):03d}",
    )


def _as_recorded(person: Person, rng: random.Random) -> Person:
    """The same person as another officer writes them down: fields missing, a slip in the surname, a swapped date."""
    changes: dict[str, str | None] = {}
    if rng.random() < 0.3:
        changes["phone"] = None
    if rng.random() < 0.2:
        changes["dob"] = None
    elif person.dob and rng.random() < 0.1:
        year, month, day = person.dob.split("-")
        changes["dob"] = f"{year}-{day}-{month}"
    if person.surname and rng.random() < 0.15:
        i = rng.randrange(len(person.surname) - 1)
        changes["surname"] = person.surname[:i] + person.surname[i + 1] + person.surname[i] + person.surname[i + 2 :]
    if rng.random() < 0.1:
        changes["forename"] = None
    return person.model_copy(update=changes)


def _incident(
    case: int,
    number: int,
    event: _Event,
    tie: str,
    victim: Person,
    suspect: Person,
    rng: random.Random,
    act: dict[str, Any],
) -> LabelledIncident:
    sentence = rng.choice(act["sentences"])
    who = {"ex_partner": "the ex-partner", "colleague": "a colleague", "neighbour": "the neighbour"}.get(
        tie, suspect.forename or "a male"
    )
    values = {"who": who, "day": f"{event.at:%A}", "place": rng.choice(_PLACES)}
    capitals = sentence["register"] == "call_log"
    text = sentence["text"].format(**{k: v.upper() if capitals else v for k, v in values.items()})
    text = text[0].upper() + text[1:]
    indicator = act["name"] if act["name"] in load_taxonomy().indicator_names else None
    pursuit = indicator is not None
    stalking = pursuit and sentence.get("again", False)
    family = "stalking" if stalking else act["family"]
    evidence = (Evidence(indicator=indicator, start=0, end=len(text)),) if indicator else ()
    closing = rng.choice(("", " Reference number given.", " Officer to call back.", " No CCTV."))
    return LabelledIncident.model_validate(
        {
            "incident_id": f"sim-{case:07d}-{number:02d}",
            "narrative": text + (closing.upper() if capitals else closing),
            "occurred_at": event.at,
            "reported_at": event.at + timedelta(hours=rng.randrange(1, 72)),
            "source_type": sentence["register"],
            "force": rng.choice(_FORCES),
            "case_id": f"sim-{case:07d}",
            "victim": _as_recorded(victim, rng),
            "suspect": _as_recorded(suspect, rng),
            "stalking": stalking,
            "stalking_basis": "behavioural" if stalking else None,
            "history_check": pursuit,
            "offence_family": family,
            "indicators": [indicator] if indicator else [],
            "evidence": evidence,
            "domestic": tie in ("ex_partner", "current_partner"),
            "relationship": tie,
            "label_version": LABEL_VERSION,
            "annotator": "simulation",
        }
    )


def synthesise(cases: int, seed: int, out: Path) -> str:
    """Write `histories.jsonl`, `dataset.toml` and `manifest.json` into `out`, whole or not at all.

    Returns:
        A sentence that says what was written.

    Raises:
        ConfigError: `out` exists and is not an empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out} exists and is not an empty folder; nothing was written.", field="out")
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    rows = stalking = case_stalking = 0
    try:
        path = building / "histories.jsonl"
        with path.open("w", encoding="utf-8", newline="\n") as stream:
            for incident in histories(cases, seed):
                data = incident.model_dump(mode="json", exclude_none=True)
                stream.write(json.dumps(data, ensure_ascii=False) + "\n")
                rows += 1
                stalking += incident.stalking
                case_stalking += bool(incident.case_stalking)
        (building / "dataset.toml").write_text(
            f'name = "Simulated histories, {cases} cases, seed {seed}"\nsynthetic = true\n'
            'note = "Simulated; recombined sentences, not for training text classifiers."\n',
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
        f"{case_stalking:,} belong to a case that is."
    )
