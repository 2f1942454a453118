"""TF-IDF with logistic regression, as anyone would write it in scikit-learn.

Fair settings: words and word pairs, logarithmic term counts, terms of at least two texts, and the strength of the
regularisation chosen on unseen writers inside the training texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from benchmarks.rows import Floats, files_below
from benchmarks.sample import Sample
from benchmarks.tuning import GRID, INNER_FOLDS, best_c


class TfidfRow:
    """The `tfidf` row."""

    title: ClassVar[str] = "TF-IDF + logistic regression (scikit-learn)"
    settings: ClassVar[dict[str, Any]] = {
        "features": "words and word pairs, sublinear counts, at least 2 texts",
        "C": f"best of {', '.join(f'{c:g}' for c in GRID)} by average precision on {INNER_FOLDS} inner folds of "
        "unseen writers",
    }
    needs: ClassVar[tuple[str, ...]] = ("sklearn", "skops")

    def __init__(self, pipeline: Any = None) -> None:
        self._pipeline = pipeline
        self.indicator_scores: Floats | None = None

    def fit(self, sample: Sample) -> Self:
        """Choose C on unseen writers, then fit on everything given."""
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, dtype=np.float32)
        features = words.fit_transform(sample.texts)
        stalking = sample.stalking

        def make(c: float) -> LogisticRegression:
            return LogisticRegression(C=c, max_iter=1000)

        model = make(best_c(features, stalking, sample.group, make)).fit(features, stalking)
        self._pipeline = Pipeline([("words", words), ("model", model)])
        return self

    def score(self, texts: Sequence[str]) -> Floats:
        """Probabilities."""
        scores: Floats = self._pipeline.predict_proba(list(texts))[:, 1].astype(float)
        return scores

    def save(self, folder: Path) -> None:
        """One skops file, deflated."""
        from zipfile import ZIP_DEFLATED

        import skops.io

        skops.io.dump(self._pipeline, folder / "pipeline.skops", compression=ZIP_DEFLATED)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it; only types that skops itself trusts."""
        import skops.io

        return cls(skops.io.load(folder / "pipeline.skops"))

    @classmethod
    def files(cls, folder: Path) -> list[Path]:
        """The one file."""
        return files_below(folder)
