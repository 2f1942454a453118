"""This project's own rows: a classifier kind of `stalkscreen.classifiers.KINDS`, with its config, as `train` fits it.

Speed, memory, size and load time are those of the whole answer, `ScreeningModel.assess`, with indicators, evidence and
considerations: what the product gives, beside peers that give one number. They are taken with the model kept in
`models/`, where there is one of the kind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from benchmarks.machine import CORES
from benchmarks.rows import Floats, NotAvailableError, files_below
from benchmarks.sample import Sample
from stalkscreen.classifiers import KINDS, Classifier, classifier_class
from stalkscreen.classifiers.encoder import EncoderSettings
from stalkscreen.classifiers.encoder_base import base_folder
from stalkscreen.classifiers.passages import first_look
from stalkscreen.config import CHECKOUT, TrainConfig
from stalkscreen.errors import ConfigError, ModelFormatError
from stalkscreen.model import ScreeningModel
from stalkscreen.model_format import ModelInfo, Thresholds, read_info
from stalkscreen.references import RELEASED
from stalkscreen.schema import Assessment, Case, Incident
from stalkscreen.taxonomy import load_taxonomy

CHUNK = 500
"""Narratives assessed at a time, as `stalkscreen screen` does."""

MODELS = CHECKOUT / "models"


def kept_model(kind: str) -> Path | None:
    """The released folder when it is of this kind, else the last one of the kind beside it, else None."""
    marker = MODELS / RELEASED
    folders = [MODELS / marker.read_text(encoding="utf-8").strip()] if marker.is_file() else []
    folders += sorted(MODELS.glob(f"{kind}-*"), key=lambda p: p.stat().st_mtime, reverse=True)
    for folder in folders:
        try:
            if folder.is_dir() and read_info(folder).kind == kind:
                return folder
        except ModelFormatError:
            continue
    return None


def cases_of(texts: Sequence[str]) -> list[Case]:
    """One case a narrative."""
    return [Case.of_one(Incident(incident_id=f"B{i}", narrative=text)) for i, text in enumerate(texts)]


class KindRow:
    """A row of one classifier kind. Subclasses say which."""

    title: ClassVar[str]
    kind: ClassVar[str]
    cascade: ClassVar[bool] = False
    settings: ClassVar[dict[str, Any]]
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: ScreeningModel | None = None) -> None:
        self.model = model
        self.indicator_scores: Floats | None = None

    @classmethod
    def code_digest(cls) -> str:
        """Digest of the classifiers' code, the text splitting and the config: what a fit depends on beside the texts."""
        code = CHECKOUT / "stalkscreen"
        kinds = ("base", "clause_targets", "linear", cls.kind, *(("passages",) if cls.kind == "encoder" else ()))
        files = [p for p in (code / "classifiers").glob("*.*") if p.name.startswith(kinds)]
        files += [code / "text.py", code / "shorthand.toml", cls.config_path()]
        content = b"".join(p.read_bytes() for p in sorted(files) if p.is_file())
        return hashlib.sha256(content).hexdigest()[:12]

    @classmethod
    def config_path(cls) -> Path:
        """The kind's config."""
        return CHECKOUT / "training" / "configs" / f"{cls.kind}.toml"

    def _new(self) -> Classifier:
        """An unfitted classifier with the settings of its config.

        Raises:
            NotAvailableError: There is no such kind.
        """
        if self.kind not in KINDS:
            raise NotAvailableError(f"no classifier kind {self.kind!r}")
        if not self.config_path().is_file():
            return classifier_class(self.kind)()
        return classifier_class(self.kind)(**TrainConfig.read(self.config_path()).classifier)

    def fit(self, sample: Sample) -> Self:
        """Fit the classifier as training does; the answers' cuts do not matter for ranking and are left at 0.5."""
        classifier = self._new().fit(sample.records, load_taxonomy())
        info = ModelInfo(
            kind=self.kind,
            version="benchmark",
            indicator_names=classifier.indicator_names,
            family_names=load_taxonomy().family_names,
            prevalence=float(np.clip(sample.stalking.mean(), 0.01, 0.99)),
            thresholds=Thresholds(review=0.5, high=0.9),
        )
        self.model = ScreeningModel(classifier, info)
        return self

    def _loaded(self) -> ScreeningModel:
        if self.model is None:
            raise NotAvailableError(f"no {self.kind} model was fitted or loaded")
        return self.model

    def score(self, texts: Sequence[str]) -> Floats:
        """The classifier's raw scores; keeps its indicator scores."""
        model, names = self._loaded(), load_taxonomy().indicator_names
        stalking: list[Floats] = []
        self.indicator_scores = np.full((len(texts), len(names)), np.nan)
        columns = [names.index(n) for n in model.classifier.indicator_names]
        for at in range(0, len(texts), CHUNK):
            scores = model.classifier.predict(cases_of(texts[at : at + CHUNK]))
            stalking.append(scores.stalking)
            self.indicator_scores[at : at + CHUNK, columns] = scores.indicators
        return np.concatenate(stalking)

    def first_stage_scores(self, texts: Sequence[str]) -> Floats | None:
        """Scores of the cheap first stage, where the classifier has one."""
        first = getattr(self._loaded().classifier, "first_stage", None)
        return None if first is None else np.asarray(first_look(first, cases_of(texts)).stalking, dtype=float)

    def assess(self, texts: Sequence[str]) -> list[Assessment]:
        """The whole answers, in chunks as `stalkscreen screen` makes them."""
        model = self._loaded()
        return [
            answer for at in range(0, len(texts), CHUNK) for answer in model.assess(cases_of(texts[at : at + CHUNK]))
        ]

    def save(self, folder: Path) -> None:
        """The model folder of this project."""
        self._loaded().save(folder / "model")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The released model of this kind where there is one, else the one fitted here."""
        return cls(ScreeningModel.load(cls.model_folder(folder), cascade=cls.cascade))

    @classmethod
    def model_folder(cls, folder: Path) -> Path:
        """See `load`.

        Raises:
            NotAvailableError: There is neither.
        """
        found = kept_model(cls.kind) or folder / "model"
        if not found.is_dir():
            raise NotAvailableError(f"no {cls.kind} model is kept in models/ and none was fitted")
        return found

    @classmethod
    def files(cls, folder: Path) -> list[Path]:
        """The model without its report."""
        model = cls.model_folder(folder)
        return [p for p in files_below(model) if "evaluation" not in p.relative_to(model).parts]


def pretrained(settings: EncoderSettings) -> Path:
    """Folder of the weights that the encoder started from.

    Raises:
        NotAvailableError: They are not here, or are not the ones named in `encoders.toml`.
    """
    try:
        return base_folder(settings.base)
    except ConfigError as error:
        raise NotAvailableError(error.message) from error


def shape(settings: EncoderSettings) -> tuple[int, int]:
    """Layers and width of an encoder's body."""
    about = json.loads((pretrained(settings) / "config.json").read_text(encoding="utf-8"))
    return settings.layers or int(about["num_hidden_layers"]), int(about["hidden_size"])


class _TorchBody:
    """Stands where the ONNX session of the encoder stands: the same network in torch, fp32.

    It carries the pretrained weights, not the fitted ones, which only training has in torch: it is there for the clock.

    Args:
        settings: Of the encoder it stands in for.

    Raises:
        NotAvailableError: Its pretrained weights are not here.
    """

    def __init__(self, settings: EncoderSettings) -> None:
        import torch
        from transformers import AutoConfig, AutoModel

        folder = pretrained(settings)
        torch.set_num_threads(CORES)
        self._torch = torch
        config = AutoConfig.from_pretrained(folder, local_files_only=True, num_hidden_layers=shape(settings)[0])
        self._network = AutoModel.from_pretrained(folder, config=config, local_files_only=True).eval()

    def run(self, _: None, feeds: dict[str, Any]) -> list[Any]:
        """Last hidden states `(windows, pieces, width)` of padded windows, as the session gives them."""
        torch = self._torch
        ids = torch.from_numpy(feeds["ids"]).long()
        mask = torch.arange(ids.shape[1])[None] < torch.from_numpy(feeds["lengths"])[:, None]
        with torch.inference_mode():
            return [self._network(input_ids=ids, attention_mask=mask.long()).last_hidden_state.numpy()]


class KeywordRow(KindRow):
    """The status quo."""

    title: ClassVar[str] = "Keyword screen (ours, learns nothing)"
    kind: ClassVar[str] = "keyword"
    settings: ClassVar[dict[str, Any]] = {"rule": "a stalking word, three FOUR cues, or two with a behaviour"}


class LinearRow(KindRow):
    """The linear model."""

    title: ClassVar[str] = "Linear (ours)"
    kind: ClassVar[str] = "linear"
    settings: ClassVar[dict[str, Any]] = {"config": "training/configs/linear.toml"}


class EncoderRow(KindRow):
    """The encoder as it is served."""

    title: ClassVar[str] = "Encoder (ours, ONNX)"
    kind: ClassVar[str] = "encoder"
    settings: ClassVar[dict[str, Any]] = {"config": "training/configs/encoder.toml", "runtime": "as served"}

    def shape(self) -> tuple[int, int]:
        """Layers and width of the body of the model that answers."""
        classifier: Any = self._loaded().classifier
        return shape(classifier.settings)


class EncoderTorchRow(EncoderRow):
    """The encoder with its network in torch: what serving without torch gains. Speed only."""

    title: ClassVar[str] = "Encoder (ours, torch)"
    settings: ClassVar[dict[str, Any]] = {
        "config": "training/configs/encoder.toml",
        "runtime": "the network in torch fp32, all else as served",
        "weights": "the pretrained ones, for the clock: fitted ones are kept as ONNX only, so no ranking",
    }

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model with its ONNX session replaced."""
        made = super().load(folder)
        classifier: Any = made._loaded().classifier
        classifier.predict(cases_of(["A first text, so that the runtime is there."]))
        classifier._runtime._session = _TorchBody(classifier.settings)
        return made

    @classmethod
    def files(cls, folder: Path) -> list[Path]:
        """The model with the torch weights, all layers of them, in place of the ONNX graph."""
        about = json.loads((cls.model_folder(folder) / "classifier" / "encoder.json").read_text(encoding="utf-8"))
        base = pretrained(EncoderSettings(**about["settings"]))
        return [p for p in super().files(folder) if p.suffix != ".onnx"] + [base / "model.safetensors"]


class CascadeRow(KindRow):
    """The cheap model first, the encoder on the rest: the encoder's model with its cascade on."""

    title: ClassVar[str] = "Cascade (ours)"
    kind: ClassVar[str] = "encoder"
    cascade: ClassVar[bool] = True
    settings: ClassVar[dict[str, Any]] = {
        "config": "training/configs/encoder.toml",
        "cut": "as recorded in the model, for the loss stated in its config",
    }

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The kept encoder.

        Raises:
            NotAvailableError: It has no cascade.
        """
        made = super().load(folder)
        if made._loaded().info.cascade is None:
            raise NotAvailableError("no encoder with a cascade is kept in models/")
        return made

    def score(self, texts: Sequence[str]) -> Floats:
        """Calibrated probabilities of whichever stage answered: raw scores of two stages have no common scale."""
        return np.array([answer.stalking.probability for answer in self.assess(texts)])
