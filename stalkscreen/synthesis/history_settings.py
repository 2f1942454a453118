"""The parameters of simulated histories (`histories.toml`), parsed whole; unknown keys are refused."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stalkscreen.errors import ConfigError
from stalkscreen.schema import Family

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Incidents(_Frozen):
    """How many incidents of a case reach the police: `low` plus a geometric tail with mean `mean`, at most `high`."""

    low: Annotated[int, Field(ge=1)]
    mean: Annotated[float, Field(ge=1)]
    high: Annotated[int, Field(ge=1)]


class Kind(_Frozen):
    """A kind of case.

    Attributes:
        share: Weight among cases.
        stalking: Whether the case is one of pursuit; its acts are then drawn by phase.
        ties: Weights of relationships.
        incidents: Number of incidents.
        acts: Weights of acts where it is not a pursuit; in a pursuit, factors on the weights of `phases`.
        suspect_known: Chance that the suspect's identity is known at the first report.
        source: What the share rests on.
    """

    share: Weight
    stalking: bool = False
    ties: dict[str, Weight]
    incidents: Incidents
    acts: dict[str, Weight] = {}
    suspect_known: Share = 1.0
    source: str


class TimeSettings(_Frozen):
    """Behaviour over time; see `histories.toml` for each."""

    first_year_weights: dict[str, Weight]
    gap_days: Weight
    escalates: Share
    quiet_chance: Share
    quiet_days: tuple[int, int]
    order_chance: Share
    new_partner_chance: Share
    separation_within_days: Annotated[int, Field(ge=1)]
    withdraws: Share
    hidden: Share
    abuse_before: dict[str, Share]
    suspect_health: Share
    earlier_victims: Share


class PeopleSettings(_Frozen):
    """Shares of sexes (female, male, neither) and of ages, and chances of changes within five years."""

    sexes: tuple[Weight, Weight, Weight]
    age_bands: tuple[tuple[int, int], ...]
    age_shares: tuple[Weight, ...]
    partners_of_two_sexes: Share
    partners_age_gap: Weight
    kin_share_surname: Share
    has_email: Share
    has_vehicle: Share
    moves_house: Share
    changes_phone: Share
    changes_surname: Share
    look_alike: Share


class RecordingSettings(_Frozen):
    """Chance of each slip at each recording of a person."""

    missing: dict[str, Share]
    typo: Share
    nickname: Share
    initial_only: Share
    transposed_date: Share
    spelt_otherwise: Share
    in_capitals: Share
    out_of_date: Share


class TextSettings(_Frozen):
    """How an incident's text is put together from passages."""

    registers: dict[str, Weight]
    stamps: dict[str, str]
    prefer_tie_shown: Weight
    scenes_more: Share
    stamp_single: Share
    open: Share
    close: Share
    context: Share
    effect: Share
    unmoved: Share
    negation: Share
    benign_effect: Share
    report_days: dict[str, Weight]
    thin: dict[str, Annotated[int, Field(ge=1)]]


class LabelSettings(_Frozen):
    """What the guide's rules need to know about acts."""

    stalking_acts: frozenset[str]
    continuing_acts: frozenset[str]
    watching_acts: frozenset[str]
    violent_acts: frozenset[str]
    covert_acts: frozenset[str]
    family_of_act: dict[str, Family]
    family_if_repeated: dict[str, Family]
    domestic_ties: frozenset[str]
    ordinary_acts: frozenset[str]
    cyber: str


class HistorySettings(_Frozen):
    """`histories.toml`."""

    kinds: dict[str, Kind]
    phases: dict[str, dict[str, Weight]]
    time: TimeSettings
    people: PeopleSettings
    recording: RecordingSettings
    text: TextSettings
    labels: LabelSettings
    phrases: dict[str, list[list[str]]]

    @model_validator(mode="after")
    def _whole(self) -> HistorySettings:
        if missing := {"early", "late", "after_order"} - set(self.phases):
            raise ValueError(f"phases lacks {', '.join(sorted(missing))}")
        for name, kind in self.kinds.items():
            if unknown := set(kind.ties) - set(self.phrases):
                raise ValueError(f"kinds.{name}: no phrases for {', '.join(sorted(unknown))}")
            if not kind.stalking and not kind.acts:
                raise ValueError(f"kinds.{name}: acts are needed where it is not a pursuit")
            if kind.stalking and kind.incidents.low < 2:
                raise ValueError(f"kinds.{name}: a pursuit has at least two incidents")
        return self


@cache
def read_settings(path: Path | None = None) -> HistorySettings:
    """Read a settings file; by default the packaged `histories.toml`.

    Raises:
        ConfigError: The file cannot be read, has an unknown key or a value out of range.
    """
    path = path or Path(__file__).with_name("histories.toml")
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return HistorySettings(**data)
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"{path.name} is wrong: {error}", file=str(path)) from error
