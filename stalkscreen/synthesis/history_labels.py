"""Labels of a simulated incident, from its own text alone, and of the case (labelling guide, sections 2 to 4 and 8).

The passages say what a text shows and whether it tells of repetition; the acts' dates, which stand in the text where there are
several, say whether it tells of different occasions. What cannot be derived is left out: absent means unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from stalkscreen.synthesis.history_settings import LabelSettings
from stalkscreen.synthesis.passages import Passage
from stalkscreen.taxonomy import load_taxonomy

_ONLINE_OFFENCES = frozenset(("threats_to_victim", "threats_to_kill", "threats_to_others", "sexual_element"))
_MINOR_AT_HOME = frozenset(("physical_violence", "threats_to_victim", "threats_to_others"))


@dataclass(frozen=True, slots=True)
class Told:
    """What the text of one incident tells.

    Attributes:
        scenes: Scene or benign passages, each with the day stamped or meant.
        others: The other passages.
        tie: The tie if the text lets it be seen, else None.
    """

    scenes: tuple[tuple[Passage, date], ...]
    others: tuple[Passage, ...]
    tie: str | None

    @property
    def pursuit(self) -> bool:
        """Whether it is told of as acts towards a person rather than over a matter."""
        return self.scenes[0][0].row.role == "scene"

    @property
    def present(self) -> frozenset[str]:
        """Indicators that the text shows."""
        return frozenset().union(*(p.present for p, _ in self.scenes), *(p.present for p in self.others))

    @property
    def negated(self) -> frozenset[str]:
        """Indicators that the text denies."""
        return frozenset().union(*(p.negated for p, _ in self.scenes), *(p.negated for p in self.others))

    @property
    def again(self) -> bool:
        """Whether a scene says that it happened before."""
        return any(p.row.again for p, _ in self.scenes)

    @property
    def days(self) -> int:
        """Days on which scenes of the text lie."""
        return len({day for _, day in self.scenes})


@cache
def _cyber(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def earlier_breach(passage: Passage) -> bool:
    """Whether a background passage itself tells of an earlier occasion of unwanted contact."""
    return passage.row.role == "context" and (
        "breach_of_order" in passage.present or (passage.row.again and passage.row.act == "order")
    )


def labels_of(told: Told, settings: LabelSettings) -> dict[str, Any]:
    """The label fields of `LabelledIncident` that the text settles."""
    present, negated = told.present, told.negated
    repeated = told.again or told.days > 1 or (told.pursuit and any(map(earlier_breach, told.others)))
    stalking, basis, sure = _stalking(told, repeated, settings)
    scenes = " ".join(p.row.text for p, _ in told.scenes)
    cyber = bool(present & {"digital_monitoring", "tracking_device"} or _cyber(settings.cyber).search(scenes))
    acts = {p.row.act for p, _ in told.scenes}
    fields: dict[str, Any] = {
        "stalking": stalking,
        "stalking_basis": basis,
        "offence_family": "stalking" if stalking else _family(told, repeated, cyber, settings),
        "tier": _tier(told, settings) if stalking else None,
        "four_repeated": repeated or stalking,  # a tracker found once is continuing conduct
        "indicators": [name for name in load_taxonomy().indicator_names if name in present],
        "domestic": None if told.tie is None else told.tie in settings.domestic_ties,
        "cyber": cyber,
        "relationship": told.tie or "unknown",
        "confidence": 3 if sure and not (stalking and negated & {"victim_fear", "impact_daily_life"}) else 2,
        "stratum": "stalking" if stalking else "ordinary" if acts <= settings.ordinary_acts else "near_miss",
        # The guide (section 2) asks for it where two occasions are not in the text, as in the written corpus.
        "history_check": None
        if stalking
        else told.tie == "ex_partner"
        or "breach_of_order" in present
        or bool(present & settings.watching_acts)
        or (told.pursuit and repeated),
    }
    return fields | _four(told, stalking, settings)


def _stalking(told: Told, repeated: bool, settings: LabelSettings) -> tuple[bool, str | None, bool]:
    """Whether it is stalking, on what basis, and whether that is plain."""
    if not told.pursuit:
        return False, None, True  # wholly explained by the matter it is about (question 5)
    kind = [(p, day) for p, day in told.scenes if p.present & settings.stalking_acts]
    occasions = len({day for _, day in kind}) + any(map(earlier_breach, told.others))
    if kind and (occasions > 1 or any(p.row.again for p, _ in kind)):
        return True, "behavioural", True
    if told.present & settings.continuing_acts:
        return True, "behavioural", False
    if repeated and told.tie == "ex_partner":
        return True, "presumption_only", False
    # One intrusion into an account may be continuing conduct too; a passage does not say which it was.
    return False, None, "digital_monitoring" not in told.present


def _family(told: Told, repeated: bool, cyber: bool, settings: LabelSettings) -> str:
    act = told.scenes[-1][0].row.act
    if "breach_of_order" in told.present:
        return "breach_of_order"
    if cyber and told.present & _ONLINE_OFFENCES and told.pursuit:
        return "malicious_communications"
    family = settings.family_of_act[act]
    if repeated:
        family = settings.family_if_repeated.get(act, family)
    at_home = told.pursuit and told.tie in settings.domestic_ties
    if at_home and (family == "other_non_crime" or act in _MINOR_AT_HOME):
        return "domestic_incident"
    return family


def _tier(told: Told, settings: LabelSettings) -> str | None:
    """Section 3: fear with two days of violent acts, or effect on daily life; s2A where that is denied; else unclear."""
    violent = {day for p, day in told.scenes if p.present & settings.violent_acts}
    if "impact_daily_life" in told.present or ("victim_fear" in told.present and len(violent) > 1):
        return "s4A"
    return "s2A" if "impact_daily_life" in told.negated else None


def _four(told: Told, stalking: bool, settings: LabelSettings) -> dict[str, bool | None]:
    if not told.pursuit:
        return {"four_fixated": False, "four_obsessive": False, "four_unwanted": None}
    present = told.present
    fixated = "breach_of_order" in present or told.days > 2
    obsessive = bool(present & {"obsession_last_resort", "tracking_device"})
    unwanted = bool(present & (settings.covert_acts | {"victim_fear", "impact_daily_life"}))
    return {
        "four_fixated": (fixated or None) if stalking else False,
        "four_obsessive": (obsessive or None) if stalking else False,
        "four_unwanted": unwanted or None,
    }


def case_is_stalking(incidents: Sequence[tuple[Told, bool]], settings: LabelSettings) -> bool:
    """Section 8: any incident is, or unwanted acts of the stalking kind were reported on two different days.

    Args:
        incidents: What each incident tells, and whether it is stalking by its own text.
        settings: Which acts are of the stalking kind.
    """
    if any(stalking for _, stalking in incidents):
        return True
    days = {
        day for told, _ in incidents if told.pursuit for p, day in told.scenes if p.present & settings.stalking_acts
    }
    return len(days) > 1
