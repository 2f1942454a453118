"""What a model folder holds: `model.json`, its parts and its checks. Plain text and numbers, no pickle, no code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.special import expit, logit

from stalkscreen.classifiers import KINDS, Floats
from stalkscreen.errors import ModelFormatError
from stalkscreen.taxonomy import LABEL_VERSION

INTENDED_USE = (
    "Screening incident and crime narratives of England and Wales, written in English, so that a trained person reviews "
    "those that may be stalking, with the words that suggest it. It flags for human review. A record in Welsh or any "
    "other language is not understood: it hardly ever gets a flag, whatever it tells."
)
PROHIBITED_USE = (
    "Deciding, closing, downgrading or prioritising away any report; judging a person, a victim's account or how likely "
    "harm is; any use of the absence of a flag. No flag means nothing."
)
"""What every model is for and not for, as the service, the model card and the documentation say it."""

FORMAT_VERSION = 1
"""Version of the folder format. Raise it when `load` would misread an older folder, and say in the error what to do."""

_FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
TINY = 1e-6
"""Scores are kept this far from 0 and 1 before a logarithm."""


class Platt(BaseModel):
    """Logistic calibration of one head: `expit(slope * logit(raw) + intercept)`. The default changes nothing."""

    model_config = _FROZEN

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, raw: Floats) -> Floats:
        """Calibrated probabilities, same shape as `raw`."""
        clipped = np.clip(raw, TINY, 1 - TINY)
        value: Floats = expit(self.slope * logit(clipped) + self.intercept)
        return value

    def inverse(self, probability: float) -> float:
        """The raw score that is calibrated to `probability`, which lies strictly between 0 and 1."""
        return float(expit((logit(probability) - self.intercept) / self.slope))


class Thresholds(BaseModel):
    """Cuts on calibrated probabilities, chosen in training on out-of-fold scores.

    Attributes:
        review: At or above it a record is flagged.
        high: At or above it a flagged record's band is `high`.
        history_check: At or above it linked records should be searched for.
        tier_unclear: Probability of s4A strictly between the two answers `unclear`.
        indicators: One cut an indicator; 0.5 where none was chosen.
        against: Cut on a clause's score of speaking against.
    """

    model_config = _FROZEN

    review: float
    high: float
    history_check: float = 0.5
    tier_unclear: tuple[float, float] = (0.4, 0.6)
    indicators: dict[str, float] = Field(default_factory=dict)
    against: float = 0.5


class Cascade(BaseModel):
    """How the cheap first stage clears what is plainly something else, so that only the rest is read by the second.

    Attributes:
        cut: A record whose raw first-stage score is below it is answered by the first stage and not flagged.
        calibration: Of the first stage's heads.
        thresholds: The first stage's own cuts; its `review` is never reached below `cut`.
        stated_loss: Largest share of true stalking records that may be lost by it, as configured.
        stalking: True stalking records it was chosen on, out of fold.
        lost: Of them, those that the second stage would have flagged and the first clears.
        lost_upper: Upper end of the exact 95% interval of their share (Clopper and Pearson 1934).
        below_cut: Share of all true stalking records below the cut, flagged by the second stage or not.
        cleared: Share of the records it clears, by stratum and for `all`.
    """

    model_config = _FROZEN

    cut: float
    calibration: dict[str, Platt] = Field(default_factory=dict)
    thresholds: Thresholds
    stated_loss: float
    stalking: int
    lost: int
    lost_upper: float
    below_cut: float
    cleared: dict[str, float] = Field(default_factory=dict)


class Provenance(BaseModel):
    """Where a model comes from; enough to train it again.

    Attributes:
        data: Name, sha256 and rows of every training file, in the order given.
        data_hash: sha256 over those sha256 values.
        grouping: What the folds kept apart, in words.
        code_version: Package version and, where known, the commit.
        config: The experiment config as parsed.
        libraries: Versions of the libraries that fitted it.
        trained_at: ISO 8601, UTC.
    """

    model_config = _FROZEN

    data: list[dict[str, Any]] = Field(default_factory=list)
    data_hash: str = "none"
    grouping: str = "none"
    code_version: str = "unknown"
    config: dict[str, Any] = Field(default_factory=dict)
    libraries: dict[str, str] = Field(default_factory=dict)
    trained_at: str | None = None


class ModelInfo(BaseModel):
    """Everything in `model.json`. `headline` holds cross-validated figures, each as written by the evaluation.

    `not_learnt` names the answers for which the training records held no labels, or one value only (of `family` none
    beside stalking): `family`, `relationship`, `tier_s4a`, `history_check`, `domestic`, `cyber` and `four_` with its four.
    They are answered as not known. `evidence:` with an indicator: no record marked the words that show it, so there are none
    to quote, and the indicator is not called present.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    format_version: int = FORMAT_VERSION
    kind: str
    version: str = "unregistered"
    label_version: str = LABEL_VERSION
    indicator_names: tuple[str, ...]
    family_names: tuple[str, ...]
    not_learnt: tuple[str, ...] = ()
    prevalence: float = Field(gt=0, lt=1)
    thresholds: Thresholds
    calibration: dict[str, Platt] = Field(default_factory=dict)
    cascade: Cascade | None = None
    provenance: Provenance = Provenance()
    headline: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)


def read_info(folder: Path) -> ModelInfo:
    """Read and check `model.json` alone, without loading the classifier.

    Raises:
        ModelFormatError: It is missing, damaged, of another format version or of an unknown kind.
    """
    path = folder / "model.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelFormatError(
            f"{folder} is not a model folder: it has no model.json.", file=str(folder), code="model_not_found"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelFormatError(f"{path} cannot be read as JSON.", file=str(path)) from error
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if version != FORMAT_VERSION:
        raise ModelFormatError(
            f"{path} has format version {version!r}; this release reads {FORMAT_VERSION}. "
            "Retrain, or use the release that wrote it.",
            file=str(path),
        )
    try:
        info = ModelInfo.model_validate(raw)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
        raise ModelFormatError(f"{path} is damaged at: {fields}.", file=str(path)) from error
    if info.kind not in KINDS:
        raise ModelFormatError(f"{path}: kind {info.kind!r} is unknown; allowed: {', '.join(KINDS)}.", file=str(path))
    return info


def folder_digest(folder: Path) -> str:
    """sha256 over `model.json`, which itself holds the sha256 of every classifier file."""
    return file_sha256(folder / "model.json")


def file_sha256(path: Path) -> str:
    """sha256 of a file, as hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_in(folder: Path) -> list[Path]:
    """Every file below a folder, sorted by path."""
    return sorted(p for p in folder.rglob("*") if p.is_file())
