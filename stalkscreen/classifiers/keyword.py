"""The status quo: a word and phrase screen with FOUR cues, made with spaCy's matcher.

It learns nothing. It is the baseline that every report compares with, through the same decision path as any model.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import spacy
from spacy.matcher import Matcher

from stalkscreen.classifiers.base import FOUR, Floats, Progress, ScoredSpan, Scores, silent
from stalkscreen.errors import ModelFormatError
from stalkscreen.schema import Case, LabelledIncident
from stalkscreen.taxonomy import Taxonomy, load_taxonomy

HIT, MISS = 0.9, 0.02
"""Scores of a cue found and not found. Only their order matters; they are never calibrated."""

_NEGATIONS = frozenset(["no", "not", "never", "without", "denies", "denied", "nor"])


class KeywordClassifier:
    """The `keyword` kind. A record is flagged on a stalking word, or on three FOUR cues, or on two with a behaviour."""

    kind: ClassVar[str] = "keyword"

    def __init__(self, **settings: Any) -> None:
        if settings:
            raise TypeError(f"the keyword kind has no settings, got {', '.join(settings)}")
        cues = tomllib.loads(Path(__file__).with_name("keywords.toml").read_text(encoding="utf-8"))
        self._cues: dict[str, dict[str, list[str]]] = cues
        self.indicator_names: tuple[str, ...] = tuple(
            name for name in load_taxonomy().indicator_names if name in cues["indicators"]
        )

    @cached_property
    def _nlp(self) -> Any:
        return spacy.blank("en")

    @cached_property
    def _matcher(self) -> Any:
        matcher = Matcher(self._nlp.vocab)
        for group, phrases in self._groups():
            matcher.add(group, [self._pattern(phrase) for phrase in phrases])
        return matcher

    def _groups(self) -> Iterator[tuple[str, list[str]]]:
        yield "stalking", self._cues["stalking"]["words"]
        for name in FOUR:
            yield f"four:{name}", self._cues["four"][name]
        for name in self.indicator_names:
            yield f"indicator:{name}", self._cues["indicators"][name]

    def _pattern(self, phrase: str) -> list[dict[str, Any]]:
        return [
            {"LOWER": {"REGEX": f"^{token.lower_}"}} if star else {"LOWER": token.lower_}
            for word in phrase.split()
            for star in [word.endswith("*")]
            for token in self._nlp.make_doc(word.rstrip("*"))
        ]

    def fit(
        self,
        records: Sequence[LabelledIncident],
        taxonomy: Taxonomy,
        progress: Progress = silent,
        histories: Sequence[LabelledIncident] = (),
    ) -> Self:
        """Nothing to learn: returns itself."""
        return self

    def predict(self, cases: Sequence[Case]) -> Scores:
        """Look every cue up; a cue straight after a negation counts as speaking against, not as found."""
        found = [self._read(case) for case in cases]
        taxonomy = load_taxonomy()
        n, k = len(cases), len(self.indicator_names)

        def score(test: Sequence[bool]) -> Floats:
            return np.where(np.array(test, dtype=bool), HIT, MISS).astype(float)

        groups = [{group for group, *_ in hits} for hits, _ in found]
        four = np.stack([score([f"four:{name}" in g for g in groups]) for name in FOUR], axis=1).reshape(n, 4)
        indicators = np.array(
            [[HIT if f"indicator:{name}" in g else MISS for name in self.indicator_names] for g in groups]
        ).reshape(n, k)
        cues = (four == HIT).sum(axis=1)
        behaviours = (indicators == HIT).sum(axis=1)
        flagged = np.array(["stalking" in g for g in groups]) | (cues >= 3) | ((cues == 2) & (behaviours >= 1))
        stalking = score(list(flagged))
        family = np.repeat(
            ((1 - stalking) / (len(taxonomy.family_names) - 1))[:, None], len(taxonomy.family_names), axis=1
        )
        family[:, taxonomy.family_names.index("stalking")] = stalking
        relationship = np.full((n, len(taxonomy.relationships)), 1 / len(taxonomy.relationships))
        return Scores(
            stalking=stalking,
            history_check=score(["four:repeated" in g for g in groups]),
            family=family,
            tier_s4a=np.full(n, 0.5),
            four=four,
            indicators=indicators,
            domestic=np.full(n, 0.5),
            cyber=score([bool(g & {"indicator:digital_monitoring", "indicator:unwanted_contact"}) for g in groups]),
            relationship=relationship,
            spans=[spans for _, spans in found],
        )

    def _read(self, case: Case) -> tuple[list[tuple[str, int, int]], list[ScoredSpan]]:
        hits: list[tuple[str, int, int]] = []
        spans: list[ScoredSpan] = []
        place = {f"indicator:{name}": i for i, name in enumerate(self.indicator_names)}
        for number, incident in enumerate(case.incidents):
            doc = self._nlp.make_doc(incident.narrative)
            for key, first, last in self._matcher(doc):
                group = self._nlp.vocab.strings[key]
                negated = any(doc[i].lower_ in _NEGATIONS for i in range(max(0, first - 3), first))
                start, end = doc[first].idx, doc[last - 1].idx + len(doc[last - 1])
                if not negated:
                    hits.append((group, start, end))
                if group in place:
                    mentioned = np.zeros(len(self.indicator_names))
                    mentioned[place[group]] = HIT
                    scores = np.zeros_like(mentioned) if negated else mentioned
                    spans.append(ScoredSpan(number, start, end, scores, HIT if negated else MISS, mentioned))
        return hits, sorted(spans, key=lambda s: (s.incident, s.start, -s.end))

    def save(self, folder: Path) -> None:
        """Write the cue lists used, so that a saved baseline says what it looked for."""
        (folder / "keywords.json").write_text(json.dumps(self._cues, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the cue lists that `save` wrote."""
        made = cls()
        try:
            made._cues = json.loads((folder / "keywords.json").read_text(encoding="utf-8"))
            made.indicator_names = tuple(
                name for name in load_taxonomy().indicator_names if name in made._cues["indicators"]
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelFormatError(f"The keyword lists in {folder} cannot be read.", file=str(folder)) from error
        return made
