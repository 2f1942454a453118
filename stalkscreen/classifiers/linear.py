"""TF-IDF with logistic heads: fast to train, small, and its evidence comes from the same weights as its scores.

Two feature spaces share one set of labels. The *whole text* (words, word pairs and character pieces) carries the
heads for stalking, family, tier, FOUR and context. Each *clause* carries 26 indicator heads, 26 heads for "is spoken
of at all" and one for "speaks against", learnt from marked evidence; an indicator's score for the text joins its
best clause with a head on the whole text. Every head is a binary logistic regression over the records whose label is
known, so partly labelled sets simply work; a head without both answers in the data stays at what was seen.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import sparse
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from stalkscreen.classifiers.base import FOUR, Floats, Progress, ScoredSpan, Scores, Targets, silent
from stalkscreen.classifiers.clause_targets import clause_targets
from stalkscreen.errors import ModelFormatError
from stalkscreen.schema import Case, LabelledIncident
from stalkscreen.taxonomy import Taxonomy
from stalkscreen.text import Clause, clauses, normalise


class LinearSettings(BaseModel):
    """The `[linear]` table of a training config.

    Attributes:
        max_words: Most words and word pairs kept for the whole text, the commonest first.
        max_pieces: Most character pieces (within words) kept for the whole text.
        max_clause_words: Most words and word pairs kept for clauses.
        min_documents: A term seen in fewer texts than this is dropped: it is a name or a slip.
        min_writers: A whole-text term used by fewer writers is dropped where at least twice as many writers are known:
            it is somebody's habit.
        piece_weight: Weight of character pieces beside words. They bridge slips and endings, and they also carry a
            writer's spelling: at full weight recall at 5% false flags on other writers' texts fell by a quarter.
        c: Inverse regularisation strength of the whole-text heads; larger fits closer.
        c_clause: The same for clause heads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_words: int = Field(default=30_000, ge=100)
    max_pieces: int = Field(default=12_000, ge=100)
    max_clause_words: int = Field(default=25_000, ge=100)
    min_documents: int = Field(default=3, ge=1)
    min_writers: int = Field(default=3, ge=1)
    piece_weight: float = Field(default=0.3, ge=0)
    c: float = Field(default=8.0, gt=0)
    c_clause: float = Field(default=4.0, gt=0)


@dataclass(frozen=True, slots=True)
class _Heads:
    """Binary logistic heads over one feature space: `weights` is `(features, heads)`, `bias` is `(heads,)`."""

    names: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def scores(self, features: sparse.csr_matrix) -> Floats:
        """`(rows, heads)` probabilities."""
        result: Floats = expit(np.asarray(features @ self.weights, dtype=np.float64) + self.bias)
        return result


def _fit_heads(features: sparse.csr_matrix, targets: dict[str, Floats], c: float) -> _Heads:
    """One logistic regression a target; NaN rows are left out; a one-sided target becomes a constant."""

    def fit(target: Floats) -> tuple[NDArray[np.float32], float]:
        known = ~np.isnan(target)
        labels = target[known]
        if len(labels) == 0 or labels.min() == labels.max():
            share = 0.0 if len(labels) == 0 else float(labels[0])
            return np.zeros(features.shape[1], np.float32), float(np.log((share + 0.002) / (1.002 - share)))
        # The dual solver: the same optimum, found ten times sooner where there are more terms than texts. Its shuffling
        # draws from one generator a process, so heads are fitted one after another: threads would change the result.
        model = LogisticRegression(C=c, solver="liblinear", dual=True, tol=0.1, max_iter=300, random_state=0)
        model.fit(features if known.all() else features[known], labels.astype(int))
        # Rounded as `save` rounds, so that a saved model gives the very scores it was calibrated on.
        return model.coef_[0].astype(np.float16).astype(np.float32), float(model.intercept_[0])

    features = features.astype(np.float64)  # what the solver works in: converted once, not once a head
    fitted = [fit(target) for target in targets.values()]
    return _Heads(
        tuple(targets),
        np.stack([weights for weights, _ in fitted], axis=1),
        np.array([bias for _, bias in fitted], dtype=np.float32),
    )


def _vectoriser(analyzer: str, ngrams: tuple[int, int], terms: list[str] | None = None, **limits: int) -> Any:
    return TfidfVectorizer(
        analyzer=analyzer,
        ngram_range=ngrams,
        vocabulary=terms,
        lowercase=False,
        sublinear_tf=True,
        dtype=np.float32,
        **({"token_pattern": r"\S+"} if analyzer == "word" else {}),
        **limits,
    )


_SPACES: dict[str, tuple[str, tuple[int, int]]] = {
    "words": ("word", (1, 2)),
    "pieces": ("char_wb", (3, 5)),
    "clause_words": ("word", (1, 2)),
}


class LinearClassifier:
    """The `linear` kind.

    Args:
        **settings: See `LinearSettings`.
    """

    kind: ClassVar[str] = "linear"
    parallel_folds: ClassVar[bool] = True

    def __init__(self, **settings: Any) -> None:
        self.settings = LinearSettings(**settings)
        self.indicator_names: tuple[str, ...] = ()
        self._vectorisers: dict[str, Any] = {}
        self._text_heads: _Heads
        self._clause_heads: _Heads
        self._families: tuple[str, ...] = ()
        self._relationships: tuple[str, ...] = ()

    def fit(
        self,
        records: Sequence[LabelledIncident],
        taxonomy: Taxonomy,
        progress: Progress = silent,
        histories: Sequence[LabelledIncident] = (),
    ) -> Self:
        """Learn every head; takes seconds for a few thousand narratives on two cores."""
        steps = 4
        targets = Targets.of(records, taxonomy)
        known: NDArray[np.bool_] = ~np.all(np.isnan(targets.indicators), axis=0)
        self.indicator_names = tuple(n for n, k in zip(taxonomy.indicator_names, known, strict=True) if k)
        columns = np.flatnonzero(known)
        self._families, self._relationships = taxonomy.family_names, taxonomy.relationships
        progress("reading words", 0, steps)
        settings = self.settings
        limits = {
            "words": {
                "max_features": settings.max_words,
                "min_df": min(settings.min_documents, len(records)),
            },
            "pieces": {
                "max_features": settings.max_pieces,
                "min_df": min(settings.min_documents, len(records)),
            },
            "clause_words": {"max_features": settings.max_clause_words, "min_df": min(2, len(records))},
        }
        self._vectorisers = {n: _vectoriser(*_SPACES[n], None, **cast(dict[str, Any], limits[n])) for n in _SPACES}
        texts = [normalise(r.narrative) for r in records]
        writers = [r.writer for r in records]
        words, pieces = (self._fit_shared(name, texts, writers) for name in ("words", "pieces"))
        whole = self._joined(words, pieces)
        progress("whole-text heads", 1, steps)
        self._text_heads = _fit_heads(whole, self._text_targets(targets, columns), settings.c)
        progress("clause heads", 2, steps)
        cut = [clauses(r.narrative) for r in records]
        cut_texts = [normalise(r.narrative[c.start : c.end]) for r, cs in zip(records, cut, strict=True) for c in cs]
        by_clause = self._vectorisers["clause_words"].fit_transform(cut_texts)
        self._clause_heads = _fit_heads(
            by_clause, self._clause_heads_targets(records, cut, targets.indicators[:, columns]), settings.c_clause
        )
        progress("done", steps, steps)
        return self

    def _fit_shared(self, name: str, texts: list[str], writers: Sequence[str | None]) -> sparse.csr_matrix:
        """Fit a vectoriser of the whole text, keep only terms that enough writers use, and read the texts with it.

        A record whose writer is unknown counts as a writer of its own.
        """
        fitted = self._vectorisers[name]
        read = fitted.fit_transform(texts)
        known = {w: [i for i, v in enumerate(writers) if v == w] for w in set(writers) if w is not None}
        if len(known) < 2 * self.settings.min_writers:
            return read
        alone = [i for i, writer in enumerate(writers) if writer is None]
        users = np.asarray((read[alone] > 0).sum(axis=0)).ravel()
        users = users + sum((np.asarray(read[rows].sum(axis=0)).ravel() > 0).astype(int) for rows in known.values())
        kept = np.flatnonzero(users >= self.settings.min_writers)
        self._vectorisers[name] = _vectoriser(*_SPACES[name], fitted.get_feature_names_out()[kept].tolist())
        self._vectorisers[name].idf_ = fitted.idf_[kept]
        return normalize(read[:, kept], copy=False)

    def _joined(self, words: sparse.csr_matrix, pieces: sparse.csr_matrix) -> sparse.csr_matrix:
        return sparse.hstack([words, pieces * np.float32(self.settings.piece_weight)], format="csr")

    def _text_targets(self, targets: Targets, columns: NDArray[np.intp]) -> dict[str, Floats]:
        def is_class(values: Floats, index: int) -> Floats:
            return np.where(np.isnan(values), np.nan, (values == index).astype(float))

        heads = {
            "stalking": targets.stalking,
            "history_check": targets.history_check,
            "tier_s4a": targets.tier_s4a,
            "domestic": targets.domestic,
            "cyber": targets.cyber,
        }
        heads |= {f"four_{name}": targets.four[:, i] for i, name in enumerate(FOUR)}
        heads |= {f"family:{n}": is_class(targets.family, i) for i, n in enumerate(self._families)}
        heads |= {f"relationship:{n}": is_class(targets.relationship, i) for i, n in enumerate(self._relationships)}
        heads |= {
            f"indicator:{n}": targets.indicators[:, c] for n, c in zip(self.indicator_names, columns, strict=True)
        }
        return heads

    def _clause_heads_targets(
        self, records: Sequence[LabelledIncident], cut: Sequence[Sequence[Clause]], known: Floats
    ) -> dict[str, Floats]:
        labels = clause_targets(records, cut, known, self.indicator_names)
        heads = {f"present:{n}": labels.present[:, i] for i, n in enumerate(self.indicator_names)}
        heads |= {f"mentioned:{n}": labels.mentioned[:, i] for i, n in enumerate(self.indicator_names)}
        return heads | {"against": labels.against}

    def predict(self, cases: Sequence[Case]) -> Scores:
        """Score cases; the narratives of a case of several incidents are read as one text, in order."""
        names = self._text_heads.names
        texts = [normalise("\n".join(i.narrative for i in case.incidents)) for case in cases]
        words, pieces = (self._vectorisers[n].transform(texts) for n in ("words", "pieces"))
        whole = self._joined(words, pieces)
        heads = dict(zip(names, self._text_heads.scores(whole).T, strict=True))
        spans = self._score_clauses(cases)
        best = np.array(
            [np.max([s.indicators for s in found], axis=0, initial=0.0) if found else 0.0 for found in spans]
        ).reshape(len(cases), -1)
        if not self.indicator_names:
            best = np.zeros((len(cases), 0))
        whole_text = np.array([heads[f"indicator:{n}"] for n in self.indicator_names]).reshape(-1, len(cases)).T

        def normed(prefix: str, classes: Sequence[str]) -> Floats:
            table = np.stack([heads[f"{prefix}:{n}"] for n in classes], axis=1)
            shares: Floats = table / table.sum(axis=1, keepdims=True)
            return shares

        return Scores(
            stalking=heads["stalking"],
            history_check=heads["history_check"],
            family=normed("family", self._families),
            tier_s4a=heads["tier_s4a"],
            four=np.stack([heads[f"four_{n}"] for n in FOUR], axis=1),
            indicators=np.sqrt(best * whole_text),
            domestic=heads["domestic"],
            cyber=heads["cyber"],
            relationship=normed("relationship", self._relationships),
            spans=spans,
        )

    def _score_clauses(self, cases: Sequence[Case]) -> list[list[ScoredSpan]]:
        k = len(self.indicator_names)
        places: list[tuple[int, int, Clause]] = []
        pieces: list[str] = []
        for c, case in enumerate(cases):
            for i, incident in enumerate(case.incidents):
                for piece in clauses(incident.narrative):
                    places.append((c, i, piece))
                    pieces.append(normalise(incident.narrative[piece.start : piece.end]))
        spans: list[list[ScoredSpan]] = [[] for _ in cases]
        if pieces:
            scores = self._clause_heads.scores(self._vectorisers["clause_words"].transform(pieces))
            for (c, i, piece), row in zip(places, scores, strict=True):
                spans[c].append(ScoredSpan(i, piece.start, piece.end, row[:k], float(row[2 * k]), row[k : 2 * k]))
        return spans

    def save(self, folder: Path) -> None:
        """Write `classifier.json`, `terms.json` and `weights.npz`: names, words and plain arrays, no code."""
        (folder / "classifier.json").write_text(
            json.dumps(
                {
                    "settings": self.settings.model_dump(),
                    "indicator_names": self.indicator_names,
                    "families": self._families,
                    "relationships": self._relationships,
                    "text_heads": self._text_heads.names,
                    "clause_heads": self._clause_heads.names,
                },
                indent=1,
            ),
            encoding="utf-8",
        )
        terms = {n: v.get_feature_names_out().tolist() for n, v in self._vectorisers.items()}
        (folder / "terms.json").write_text(json.dumps(terms, ensure_ascii=False), encoding="utf-8")
        arrays = {f"idf_{n}": v.idf_.astype(np.float32) for n, v in self._vectorisers.items()}
        for name, heads in (("text", self._text_heads), ("clause", self._clause_heads)):
            arrays[f"{name}_weights"] = heads.weights.astype(np.float16)
            arrays[f"{name}_bias"] = heads.bias
        np.savez_compressed(folder / "weights.npz", **arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Arrays of objects, the one way an `.npz` can carry code, are refused."""
        try:
            about = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
            terms = json.loads((folder / "terms.json").read_text(encoding="utf-8"))
            with np.load(folder / "weights.npz", allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            made = cls(**about["settings"])
            made.indicator_names = tuple(about["indicator_names"])
            made._families, made._relationships = tuple(about["families"]), tuple(about["relationships"])
            for name, (analyzer, ngrams) in _SPACES.items():
                made._vectorisers[name] = _vectoriser(analyzer, ngrams, terms[name])
                made._vectorisers[name].idf_ = arrays[f"idf_{name}"]
            made._text_heads, made._clause_heads = (
                _Heads(tuple(about[f"{n}_heads"]), arrays[f"{n}_weights"].astype(np.float32), arrays[f"{n}_bias"])
                for n in ("text", "clause")
            )
        except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ModelFormatError(
                f"The linear classifier in {folder} cannot be read ({type(error).__name__}); the folder is damaged or "
                "was made by another version. Copy it again or retrain.",
                file=str(folder),
            ) from error
        return made
