"""The recorder: which offence title a force puts on a record, a documented model with every parameter in one file.

It exists so that misidentification can be measured on synthetic records at all. Its figures are anchored to
published ones where there are any (`recorder.toml` says which) and are assumptions elsewhere; nothing learnt here says
how a real force records, and no model ever reads the title.
"""

from __future__ import annotations

import hashlib
import tomllib
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stalkscreen.errors import ConfigError
from stalkscreen.schema import LONDON, LabelledIncident

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Era(BaseModel):
    """Recording rules between two dates: the share of true stalking that is recorded as stalking."""

    model_config = _FROZEN

    until: datetime
    ex_partner: float = Field(ge=0, le=1)
    other: float = Field(ge=0, le=1)
    source: str


class RecorderSettings(BaseModel):
    """`recorder.toml`.

    Attributes:
        eras: In time order; the last one's `until` lies in the future.
        stalking_missed: Weights of the titles that stalking goes under when it is not recorded as stalking,
            by `domestic` and `non_domestic`.
        by_indicator: Extra weight of a title when the indicator is present, in missed stalking and, tenfold, in a crime
            that is not stalking (a burglary is recorded as one).
        other: Weights of titles for each family that is not stalking.
        unknown_share: Share of records without any title yet (a call log before a crime is recorded).
    """

    model_config = _FROZEN

    eras: list[Era]
    stalking_missed: dict[str, dict[str, float]]
    by_indicator: dict[str, dict[str, float]]
    other: dict[str, dict[str, float]]
    unknown_share: dict[str, float]


class Recorder:
    """Gives a record the title a force might have given it; the same record always gets the same one.

    Args:
        path: Settings file; by default the packaged `recorder.toml`.

    Raises:
        ConfigError: The file cannot be read, has an unknown key or a value out of range.
    """

    def __init__(self, path: Path | None = None) -> None:
        path = path or Path(__file__).with_name("recorder.toml")
        try:
            self.settings = RecorderSettings(**tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise ConfigError(f"{path.name} is wrong: {error}", file=str(path)) from error

    def title(self, record: LabelledIncident) -> str | None:
        """Recorded offence title of a labelled record, or None where none is recorded yet."""
        settings = self.settings
        if self._draw(record, "unknown") < settings.unknown_share.get(record.source_type or "", 0.0):
            return None
        if record.offence_family != "stalking":
            weights = dict(settings.other[record.offence_family or "other_non_crime"])
            if record.offence_family == "other_crime":
                self._drawn_by_indicators(weights, record, times=10.0)
            return self._pick(weights, record)
        when = record.occurred_at or datetime.now(LONDON)
        era = next((e for e in settings.eras if when < e.until.replace(tzinfo=LONDON)), settings.eras[-1])
        share = era.ex_partner if record.relationship == "ex_partner" else era.other
        if self._draw(record, "as stalking") < share:
            return "stalking"
        weights = dict(settings.stalking_missed["domestic" if record.domestic else "non_domestic"])
        self._drawn_by_indicators(weights, record, times=1.0)
        return self._pick(weights, record)

    def _drawn_by_indicators(self, weights: dict[str, float], record: LabelledIncident, times: float) -> None:
        """Add the weight of titles that a concrete crime in the text draws to itself."""
        for indicator in record.indicators or ():
            for title, extra in self.settings.by_indicator.get(indicator, {}).items():
                weights[title] = weights.get(title, 0.0) + times * extra

    def _draw(self, record: LabelledIncident, purpose: str) -> float:
        digest = hashlib.sha256(f"{purpose}:{record.incident_id}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    def _pick(self, weights: dict[str, float], record: LabelledIncident) -> str:
        point = self._draw(record, "title") * sum(weights.values())
        for title, weight in weights.items():
            point -= weight
            if point < 0:
                return title
        return title
