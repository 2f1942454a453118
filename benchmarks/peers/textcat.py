"""spaCy's text categoriser, trained from a blank English pipeline.

Fair settings: the library's own accuracy setting (its ensemble of a small network and a bag of words), dropout 0.2,
growing batches, and the state after the epoch that ranks a tenth of the training groups best, as `spacy train` keeps it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from benchmarks.rows import Floats, files_below
from benchmarks.sample import Sample

EPOCHS = 6
PATIENCE = 1
DROPOUT = 0.2


class TextcatRow:
    """The `textcat` row."""

    title: ClassVar[str] = "spaCy textcat (ensemble)"
    settings: ClassVar[dict[str, Any]] = {
        "model": "TextCatEnsemble.v2 with its default tok2vec and bag of words, from a blank pipeline",
        "training": f"dropout {DROPOUT}, batches of 4 to 32 texts, Adam as spaCy sets it",
        "epochs": f"best of up to {EPOCHS} on a tenth of the training groups (patience {PATIENCE})",
        "seed": 0,
    }
    needs: ClassVar[tuple[str, ...]] = ("spacy",)

    def __init__(self, nlp: Any = None) -> None:
        self._nlp = nlp
        self.indicator_scores: Floats | None = None

    def fit(self, sample: Sample) -> Self:
        """Train on all but a tenth of the groups, and keep the state that ranks that tenth best."""
        from sklearn.metrics import average_precision_score
        from sklearn.model_selection import GroupShuffleSplit

        split = GroupShuffleSplit(n_splits=1, test_size=0.1, random_state=0)
        inside, outside = next(split.split(sample.stalking, groups=sample.group))
        held_out, truth = sample.at(outside), sample.stalking[outside]
        best, best_epoch, state = -1.0, 0, b""
        for epoch, nlp in enumerate(_trained(sample.at(inside), EPOCHS), start=1):
            found = float(average_precision_score(truth, _scores(nlp, held_out.texts)))
            if found > best:
                best, best_epoch, state = found, epoch, nlp.to_bytes()
            if epoch - best_epoch >= PATIENCE:
                break
        self._nlp = nlp.from_bytes(state)
        return self

    def score(self, texts: Sequence[str]) -> Floats:
        """Probabilities."""
        return _scores(self._nlp, texts)

    def save(self, folder: Path) -> None:
        """SpaCy's own folder."""
        self._nlp.to_disk(folder / "pipeline")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it."""
        import spacy

        return cls(spacy.load(folder / "pipeline"))

    @classmethod
    def files(cls, folder: Path) -> list[Path]:
        """The folder."""
        return files_below(folder)


def _scores(nlp: Any, texts: Sequence[str]) -> Floats:
    return np.array([doc.cats["stalking"] for doc in nlp.pipe(texts, batch_size=64)], dtype=float)


def _trained(sample: Sample, epochs: int) -> Any:
    """The pipeline after each epoch."""
    import spacy
    from spacy.training import Example
    from spacy.util import compounding, fix_random_seed, minibatch

    fix_random_seed(0)
    nlp = spacy.blank("en")
    categoriser = nlp.add_pipe("textcat")
    for label in ("stalking", "other"):
        categoriser.add_label(label)
    examples = [
        Example.from_dict(nlp.make_doc(text), {"cats": {"stalking": float(label), "other": float(1 - label)}})
        for text, label in zip(sample.texts, sample.stalking.tolist(), strict=True)
    ]
    optimiser = nlp.initialize(lambda: examples)
    order = random.Random(0)
    for _ in range(epochs):
        order.shuffle(examples)
        for batch in minibatch(examples, size=compounding(4.0, 32.0, 1.01)):
            nlp.update(batch, drop=DROPOUT, sgd=optimiser)
        yield nlp
