"""Experiment configs (TOML) and settings (environment). Nothing is read at import."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from stalkscreen.classifiers import KINDS
from stalkscreen.errors import ConfigError

CHECKOUT = Path(__file__).resolve().parents[1]
"""Where `models/` and the MLflow store live by default: the folder that holds the packages."""

DEFAULT_LIVE_PREVALENCE = 0.008
"""Share of stalking in a force's daily stream: about 10 in 1,200 (docs/reference/domain-facts.md, section 6)."""

_FROZEN = ConfigDict(frozen=True, extra="forbid")


def whole_number(env: Mapping[str, str], name: str, example: str) -> int | None:
    """A count in the environment; None where it is blank or not set.

    Raises:
        ConfigError: It is not a whole number from 1 to 1,000,000.
    """
    text = env.get(name, "").strip()
    if not text:
        return None
    if not text.isdecimal() or len(text) > 7 or not 1 <= int(text) <= 1_000_000:
        raise ConfigError(
            f"{name} is {text[:20]!r}; a whole number from 1 to 1,000,000 is needed, such as {example}.", field=name
        )
    return int(text)


class ValidationSettings(BaseModel):
    """How records are split.

    Attributes:
        folds: Cross-validation folds; every figure that is called cross-validated comes from them.
        near_duplicate: Records whose sets of word pairs have a Jaccard similarity of at least this are kept on one side.
    """

    model_config = _FROZEN

    folds: int = Field(default=5, ge=2, le=20)
    near_duplicate: float = Field(default=0.6, ge=0.2, le=0.9)


class ThresholdSettings(BaseModel):
    """Limits under which the review threshold has the highest recall, on out-of-fold scores.

    Attributes:
        max_ordinary: Largest share of ordinary records flagged.
        max_near_miss: Largest share of near-misses flagged.
        target_recall: Recall aimed at; the shortfall is reported, never hidden.
        high_band: Largest share of all that is not stalking in band `high`.
        tier_unclear: Probability of s4A between these two, the lower first, answers `unclear`.
        cascade_loss: Largest share of true stalking that the cheap first stage may lose, for kinds that have one;
            leave it out for no cascade.
    """

    model_config = _FROZEN

    max_ordinary: float = Field(default=0.01, gt=0, lt=1)
    max_near_miss: float = Field(default=0.12, gt=0, lt=1)
    target_recall: float = Field(default=0.90, gt=0, le=1)
    high_band: float = Field(default=0.01, gt=0, lt=1)
    tier_unclear: tuple[float, float] = (0.4, 0.6)
    cascade_loss: float | None = Field(default=None, ge=0, le=0.05)

    @field_validator("tier_unclear")
    @classmethod
    def _lower_first(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not 0 <= low <= high <= 1:
            raise ValueError(f"is [{low:g}, {high:g}]; two numbers from 0 to 1 are needed, the lower first")
        return value


class TrainConfig(BaseModel):
    """One experiment: what is fitted and how it is validated. Unknown keys are refused.

    Attributes:
        kind: A name in `stalkscreen.classifiers.KINDS`.
        seed: Seed of the folds; a kind that draws at random has a `seed` of its own in its table.
        classifier: Settings of that kind, from the TOML table of the kind's own name.
        validation: See `ValidationSettings`.
        thresholds: See `ThresholdSettings`.
    """

    model_config = _FROZEN

    kind: str
    seed: int = 0
    classifier: dict[str, Any] = Field(default_factory=dict)
    validation: ValidationSettings = ValidationSettings()
    thresholds: ThresholdSettings = ThresholdSettings()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Parse a TOML config.

        Raises:
            ConfigError: Not readable, not TOML, an unknown key or kind, or a value out of range; all are listed.
        """
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"Config {path} cannot be read: {error.strerror}.", file=str(path)) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"Config {path} is not valid TOML: {error}.", file=str(path)) from error
        kind = raw.get("kind")
        if kind not in KINDS:
            raise ConfigError(
                f"Config {path}: kind is {kind!r}; allowed: {', '.join(KINDS)}.", file=str(path), field="kind"
            )
        if "classifier" in raw:
            raise ConfigError(
                f"Config {path}: [classifier] is no table of a config; settings of the kind {kind} belong in [{kind}].",
                file=str(path),
                field="classifier",
            )
        raw["classifier"] = raw.pop(kind, {})
        try:
            return cls(**raw)
        except ValidationError as error:
            listed = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ConfigError(f"Config {path}: {listed}.", file=str(path)) from error


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are, from the environment.

    Attributes:
        models: Folder of released models and of the file `RELEASED` (`STALKSCREEN_MODELS`).
        model: Default model reference (`STALKSCREEN_MODEL`); None means the one named in `RELEASED`.
        live_prevalence: `STALKSCREEN_LIVE_PREVALENCE`, in 0..1 exclusive.
        tracking_uri: `MLFLOW_TRACKING_URI`, by default SQLite inside the checkout.
        artifacts: `STALKSCREEN_ARTIFACTS`, the folder MLflow keeps files in by default.
        cascade: `STALKSCREEN_CASCADE`, on or off: whether a model's cheap first stage may answer alone.
    """

    models: Path
    model: str | None
    live_prevalence: float
    tracking_uri: str
    artifacts: Path
    cascade: bool = True

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the environment.

        Raises:
            ConfigError: `STALKSCREEN_LIVE_PREVALENCE` is not a number between 0 and 1, or `STALKSCREEN_CASCADE` is
                neither `on` nor `off`.
        """
        env = os.environ if env is None else env
        cascade = env.get("STALKSCREEN_CASCADE", "on").strip().lower()
        if cascade not in ("on", "off"):
            raise ConfigError(f"STALKSCREEN_CASCADE is {cascade!r}; allowed: on, off.", field="STALKSCREEN_CASCADE")
        text = env.get("STALKSCREEN_LIVE_PREVALENCE", str(DEFAULT_LIVE_PREVALENCE))
        try:
            prevalence = float(text)
        except ValueError:
            prevalence = -1.0
        if not 0 < prevalence < 1:
            raise ConfigError(
                f"STALKSCREEN_LIVE_PREVALENCE is {text!r}; a number between 0 and 1 is needed, such as 0.008.",
                field="STALKSCREEN_LIVE_PREVALENCE",
            )
        return cls(
            models=Path(env.get("STALKSCREEN_MODELS", str(CHECKOUT / "models"))),
            model=env.get("STALKSCREEN_MODEL") or None,
            live_prevalence=prevalence,
            tracking_uri=env.get("MLFLOW_TRACKING_URI") or f"sqlite:///{CHECKOUT / 'mlflow.db'}",
            artifacts=Path(env.get("STALKSCREEN_ARTIFACTS", str(CHECKOUT / "mlartifacts"))),
            cascade=cascade == "on",
        )
