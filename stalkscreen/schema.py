"""The records that go in and the assessment that comes out (`docs/reference/contract.md`, sections 1 and 2).

All models hide their input in validation errors, so that no narrative text can reach a log through one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from math import inf
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from stalkscreen.taxonomy import LABEL_VERSION

MAX_NARRATIVE_CHARS = 20_000
MAX_ID_CHARS = 200
"""Longest narrative accepted, in characters after trimming (contract, section 1). Longer is refused, never cut."""

LONDON = ZoneInfo("Europe/London")
"""Times without an offset are local time (contract, section 1)."""

SourceType = Literal[
    "call_log", "crime_report", "officer_notes", "victim_statement", "online_report", "partner_referral"
]
Family = Literal[
    "stalking",
    "controlling_or_coercive_behaviour",
    "harassment",
    "breach_of_order",
    "malicious_communications",
    "domestic_incident",
    "dispute",
    "other_crime",
    "other_non_crime",
]
Relationship = Literal[
    "current_partner",
    "ex_partner",
    "family",
    "acquaintance",
    "colleague",
    "neighbour",
    "professional_contact",
    "fan_or_public_figure",
    "stranger",
    "unknown",
]
Band = Literal["low", "medium", "high"]
TierHint = Literal["s2A", "s4A", "unclear", "not_applicable"]
EvidenceStatus = Literal["present", "negated", "other_person"]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]

CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0e-\x1f]")
HALF_SURROGATE = re.compile(r"[\ud800-\udfff]")

_RECORD = ConfigDict(hide_input_in_errors=True, extra="allow", frozen=True)
_ANSWER = ConfigDict(hide_input_in_errors=True, extra="forbid", frozen=True, protected_namespaces=())

PERSON_FIELDS = (
    "forename",
    "surname",
    "dob",
    "address",
    "postcode",
    "phone",
    "email",
    "vehicle_vrm",
    "alias",
)


class Person(BaseModel):
    """A victim or suspect as recorded: every field optional and messy. For linking only, never a model feature."""

    model_config = ConfigDict(hide_input_in_errors=True, extra="forbid", frozen=True, coerce_numbers_to_str=True)

    forename: str | None = None
    surname: str | None = None
    dob: str | None = None
    address: str | None = None
    postcode: str | None = None
    phone: str | None = None
    email: str | None = None
    vehicle_vrm: str | None = None
    alias: str | None = None


def _check_characters(value: str) -> None:
    """Refuse what no store, log or tokeniser takes: control characters, and halves of surrogate pairs."""
    if CONTROL_CHARACTER.search(value):
        raise ValueError("has a control character (such as NUL); only tabs and line breaks are allowed")
    if HALF_SURROGATE.search(value):
        raise ValueError("has half of a surrogate pair, which is no character")


class Incident(BaseModel):
    """One record of one report.

    `narrative` is kept exactly as given (offsets count from its first character); its length limit applies after
    trimming. Unknown extra fields are kept in `model_extra` and never used.
    """

    model_config = _RECORD

    incident_id: Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS)]
    narrative: str
    occurred_at: datetime | None = None
    reported_at: datetime | None = None
    source_type: SourceType | None = None
    recorded_offence: str | None = None
    force: str | None = None
    case_id: str | None = None
    victim: Person | None = None
    suspect: Person | None = None

    @field_validator("recorded_offence", "force", "case_id", mode="before")
    @classmethod
    def _blank_is_absent(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("source_type", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.strip().lower() or None if isinstance(value, str) else value

    @field_validator("occurred_at", "reported_at", mode="before")
    @classmethod
    def _no_seconds(cls, value: Any) -> Any:
        """Digits alone are never taken for seconds since 1970, which is what pydantic would do."""
        digits = value.strip().lstrip("+-").replace(".", "", 1).isdecimal() if isinstance(value, str) else False
        if digits or (isinstance(value, int | float) and not isinstance(value, bool)):
            raise ValueError("is a number; an ISO 8601 time is needed, such as 2025-03-07T18:30:00")
        return value

    @field_validator("incident_id")
    @classmethod
    def _check_id(cls, value: str) -> str:
        if not value.strip():
            raise ValueError(f"is blank; 1 to {MAX_ID_CHARS} characters are needed")
        _check_characters(value)
        return value

    @field_validator("narrative")
    @classmethod
    def _check_narrative(cls, value: str) -> str:
        length = len(value.strip())
        if length == 0:
            raise ValueError("is empty; 1 to 20,000 characters are needed")
        if length > MAX_NARRATIVE_CHARS:
            raise ValueError(f"has {length:,} characters; at most {MAX_NARRATIVE_CHARS:,} are allowed")
        _check_characters(value)
        return value

    @field_validator("occurred_at", "reported_at")
    @classmethod
    def _local_time(cls, value: datetime | None) -> datetime | None:
        return value.replace(tzinfo=LONDON) if value is not None and value.tzinfo is None else value


def happened(incident: Incident) -> float:
    """When, as POSIX seconds, to put incidents in order; before all others where it is not known."""
    return -inf if incident.occurred_at is None else incident.occurred_at.timestamp()


class Evidence(BaseModel):
    """One marked stretch of a narrative: `narrative[start:end]`, end exclusive, offsets in characters."""

    model_config = ConfigDict(hide_input_in_errors=True, extra="forbid", frozen=True)

    indicator: str
    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=1)]
    status: EvidenceStatus = "present"

    @model_validator(mode="after")
    def _ordered(self) -> Evidence:
        if self.end <= self.start:
            raise ValueError("end must be greater than start")
        return self


class LabelledIncident(Incident):
    """An incident with its labels (labelling guide; files are flat). An absent label is unknown, not negative."""

    stalking: bool
    stalking_basis: Literal["behavioural", "presumption_only"] | None = None
    history_check: bool | None = None
    case_stalking: bool | None = None
    offence_family: Family | None = None
    tier: Literal["s2A", "s4A"] | None = None
    four_fixated: bool | None = None
    four_obsessive: bool | None = None
    four_unwanted: bool | None = None
    four_repeated: bool | None = None
    indicators: tuple[str, ...] | None = None
    indicators_assessed: tuple[str, ...] | None = None
    evidence: tuple[Evidence, ...] | None = None
    domestic: bool | None = None
    cyber: bool | None = None
    relationship: Relationship | None = None
    label_version: str | None = None
    annotator: str | None = None
    confidence: Annotated[int, Field(ge=1, le=3)] | None = None
    writer: str | None = None
    stratum: Literal["stalking", "near_miss", "ordinary"] | None = None
    origin: Literal["invented", "retold", "edited"] | None = None
    pair_id: str | None = None
    pair_kind: Literal["contrast", "invariance"] | None = None
    people: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _evidence_fits(self) -> LabelledIncident:
        for span in self.evidence or ():
            if span.end > len(self.narrative):
                raise ValueError(
                    f"evidence for {span.indicator} ends at {span.end} but the narrative has "
                    f"{len(self.narrative)} characters"
                )
        return self


class Case:
    """One or more incidents judged together, in time order as given. One incident is a case of one.

    Args:
        incidents: At least one.

    Raises:
        ValueError: No incident was given.
    """

    __slots__ = ("incidents",)

    def __init__(self, incidents: Sequence[Incident]) -> None:
        if not incidents:
            raise ValueError("a case needs at least one incident")
        self.incidents: tuple[Incident, ...] = tuple(incidents)

    @classmethod
    def of_one(cls, incident: Incident) -> Case:
        """The case that every record is judged as by `screen`, the service and `evaluate`."""
        return cls((incident,))


class Span(BaseModel):
    """A quoted stretch: `narrative[start:end] == text`. `incident_id` only in a case of several incidents."""

    model_config = _ANSWER

    start: int
    end: int
    text: str
    incident_id: str | None = None


class StalkingAnswer(BaseModel):
    """Probability of stalking, calibrated at `prevalence`, re-weighted to `live_prevalence`; and the review flag."""

    model_config = _ANSWER

    probability: Probability
    prevalence: Probability
    probability_at_live: Probability
    live_prevalence: Probability
    flag: bool
    band: Band
    history_check: bool


class FamilyAnswer(BaseModel):
    """All nine family probabilities, summing to 1; `probabilities["stalking"]` equals the stalking probability."""

    model_config = _ANSWER

    top: Family
    probabilities: dict[str, Probability]


class TierAnswer(BaseModel):
    """`not_applicable` when not flagged; `unclear` when the text does not settle it."""

    model_config = _ANSWER

    hint: TierHint
    probability_s4A: Probability  # noqa: N815 (the contract's name)


class FourAnswer(BaseModel):
    """FOUR as explanation only: it never gates the flag (labelling guide, section 5)."""

    model_config = _ANSWER

    fixated: Probability
    obsessive: Probability
    unwanted: Probability
    repeated: Probability


class IndicatorAnswer(BaseModel):
    """A present indicator carries at least one span, an absent one none."""

    model_config = _ANSWER

    name: str
    title: str
    probability: Probability
    present: bool
    evidence: list[Span]


class ContextAnswer(BaseModel):
    """Probabilities that the matter is domestic and that it is cyber-enabled; the likeliest closest past tie."""

    model_config = _ANSWER

    domestic: Probability
    cyber: Probability
    relationship: Relationship


class ModelStamp(BaseModel):
    """Which model answered. `stage` differs from `kind` only in a cascade."""

    model_config = _ANSWER

    name: str = "stalkscreen"
    version: str
    kind: str
    stage: str
    label_version: str = LABEL_VERSION
    data_hash: str


class Assessment(BaseModel):
    """The answer for one case. It prompts a review; it never decides, and no flag means nothing."""

    model_config = _ANSWER

    incident_id: str
    incident_ids: list[str] | None = None
    stalking: StalkingAnswer
    offence_family: FamilyAnswer
    tier: TierAnswer
    four: FourAnswer
    indicators: list[IndicatorAnswer]
    context: ContextAnswer
    against: list[Span]
    not_stated: list[str]
    considerations: list[str]
    recorded_offence: str | None = None
    possible_misidentification: bool | None = None
    model: ModelStamp

    def to_json_dict(self) -> dict[str, Any]:
        """Plain JSON types in the contract's order; `incident_id(s)` of a single incident's spans are left out."""
        data = self.model_dump(mode="json")
        if self.incident_ids is None:
            del data["incident_ids"]
            for span in [*data["against"], *(s for i in data["indicators"] for s in i["evidence"])]:
                del span["incident_id"]
        else:
            del data["incident_id"]
        return data
