"""fastText's supervised classifier, from `fasttext-community`.

Of the packages with a wheel for Python 3.11 it is the one still maintained (0.11.9, October 2026, MIT); `fasttext`
itself has none, `floret` fails in `predict` under numpy 2, `fasttext-numpy2` had its last release in 2024. Fair
settings: words lower-cased and parted from punctuation, and epochs and word n-grams chosen on unseen writers. One
thread, because with two its result differs from run to run.
"""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from benchmarks.rows import Floats, files_below
from benchmarks.sample import Sample

EPOCHS = (10, 25)
WORD_NGRAMS = (1, 2)
_TOKEN = re.compile(r"\w+|[^\w\s]")


def _line(text: str) -> str:
    return " ".join(_TOKEN.findall(text.lower()))


class FastTextRow:
    """The `fasttext` row."""

    title: ClassVar[str] = "fastText (fasttext-community)"
    settings: ClassVar[dict[str, Any]] = {
        "features": "lower-case words, 100 dimensions, 200,000 buckets, character pieces of 3 to 5",
        "training": "learning rate 0.5, softmax, one thread (so that it can be repeated)",
        "epochs and word n-grams": f"best of {EPOCHS} x {WORD_NGRAMS} by average precision on a fifth of the groups",
        "seed": 0,
    }
    needs: ClassVar[tuple[str, ...]] = ("fasttext",)

    def __init__(self, model: Any = None) -> None:
        self._model = model
        self.indicator_scores: Floats | None = None

    def fit(self, sample: Sample) -> Self:
        """Choose epochs and n-grams on groups left out, then train on everything given."""
        from sklearn.metrics import average_precision_score
        from sklearn.model_selection import GroupShuffleSplit

        split = GroupShuffleSplit(n_splits=1, test_size=0.2, random_state=0)
        inside, outside = next(split.split(sample.stalking, groups=sample.group))
        learn, held_out, truth = sample.at(inside), sample.at(outside).texts, sample.stalking[outside]

        def found(choice: tuple[int, int]) -> float:
            return float(average_precision_score(truth, _scores(_trained(learn, *choice), held_out)))

        self._model = _trained(sample, *max(itertools.product(EPOCHS, WORD_NGRAMS), key=found))
        return self

    def score(self, texts: Sequence[str]) -> Floats:
        """Probabilities."""
        return _scores(self._model, texts)

    def save(self, folder: Path) -> None:
        """FastText's own binary."""
        self._model.save_model(str(folder / "model.bin"))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it."""
        import fasttext

        return cls(fasttext.load_model(str(folder / "model.bin")))

    @classmethod
    def files(cls, folder: Path) -> list[Path]:
        """The binary."""
        return files_below(folder)


def _scores(model: Any, texts: Sequence[str]) -> Floats:
    labels, probabilities = model.predict([_line(text) for text in texts], k=2)
    return np.array(
        [
            dict(zip(names, found, strict=True))["__label__1"]
            for names, found in zip(labels, probabilities, strict=True)
        ],
        dtype=float,
    )


def _trained(sample: Sample, epochs: int, word_ngrams: int) -> Any:
    import fasttext

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "texts.txt"
        lines = [
            f"__label__{label} {_line(text)}"
            for text, label in zip(sample.texts, sample.stalking.tolist(), strict=True)
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return fasttext.train_supervised(
            str(path), lr=0.5, epoch=epochs, wordNgrams=word_ngrams, minn=3, maxn=5, dim=100, bucket=200_000,
            thread=1, seed=0, verbose=0,
        )  # fmt: skip
