"""What every classifier kind offers, and the arrays that pass between it and `stalkscreen.model`.

A classifier turns cases into raw scores. It knows nothing of calibration, thresholds, wording or answers:
`ScreeningModel` does that, the same way for every kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from stalkscreen.schema import Case, LabelledIncident
from stalkscreen.taxonomy import LABEL_VERSION, Taxonomy

Floats = NDArray[np.float64]
FOUR = ("fixated", "obsessive", "unwanted", "repeated")
"""Order of the FOUR columns in `Scores.four` and `Targets.four` (labelling guide, section 5)."""
Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, total)` during long work."""


def silent(what: str, done: int, total: int) -> None:
    """The progress callback that says nothing."""


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """One stretch of one incident's narrative with its scores.

    Attributes:
        incident: Index of the incident in its case.
        start: First character, counted in that incident's narrative.
        end: One past the last character.
        indicators: `(26,)` scores in 0..1, in the order of the classifier's `indicator_names`.
        against: Score in 0..1 that the stretch says an indicator is absent or is somebody else's.
        mentioned: `(26,)` scores in 0..1 that the indicator is spoken of at all, present or not.
    """

    incident: int
    start: int
    end: int
    indicators: Floats
    against: float
    mentioned: Floats


@dataclass(frozen=True, slots=True)
class Scores:
    """Raw scores of `n` cases, all in 0..1; `ScreeningModel` calibrates them.

    Attributes:
        stalking: `(n,)`.
        history_check: `(n,)`.
        family: `(n, 9)`, rows sum to 1, taxonomy order.
        tier_s4a: `(n,)`, meaningful for stalking only.
        four: `(n, 4)`, order fixated, obsessive, unwanted, repeated.
        indicators: `(n, k)` for the classifier's `k` indicator names.
        domestic: `(n,)`.
        cyber: `(n,)`.
        relationship: `(n, 10)`, rows sum to 1, taxonomy order.
        spans: For each case the stretches that may serve as evidence, in reading order.
    """

    stalking: Floats
    history_check: Floats
    family: Floats
    tier_s4a: Floats
    four: Floats
    indicators: Floats
    domestic: Floats
    cyber: Floats
    relationship: Floats
    spans: list[list[ScoredSpan]]

    def take(self, rows: Sequence[int]) -> Scores:
        """The scores of some cases, in the order of `rows`."""
        chosen = {f.name: getattr(self, f.name)[list(rows)] for f in fields(self) if f.name != "spans"}
        return Scores(**chosen, spans=[self.spans[i] for i in rows] if self.spans else [])


@dataclass(frozen=True, slots=True)
class Targets:
    """Labels of `n` incidents as arrays; NaN means unknown and is left out of every loss and metric.

    Attributes:
        stalking, history_check, tier_s4a, domestic, cyber: `(n,)` of 0, 1 or NaN. `tier_s4a` is NaN unless stalking.
        four: `(n, 4)`.
        family: `(n,)` index in taxonomy order or NaN.
        relationship: `(n,)` index in taxonomy order or NaN.
        indicators: `(n, 26)`.
    """

    stalking: Floats
    history_check: Floats
    family: Floats
    tier_s4a: Floats
    four: Floats
    indicators: Floats
    domestic: Floats
    cyber: Floats
    relationship: Floats

    @classmethod
    def of(cls, records: Sequence[LabelledIncident], taxonomy: Taxonomy) -> Targets:
        """Read the flat labels of `records` into arrays.

        An indicator named in `indicators` is 1; one looked for (`indicators_assessed`; by default, when `indicators`
        is given, the whole taxonomy of that `label_version`) and not named is 0; any other is unknown (contract,
        section 1).
        """
        names = taxonomy.indicator_names
        place = {name: i for i, name in enumerate(names)}
        indicators = np.full((len(records), len(names)), np.nan)
        for row, record in enumerate(records):
            if record.indicators is None:
                continue
            assessed = record.indicators_assessed
            if assessed is None:
                assessed = taxonomy.indicator_names_in(record.label_version or LABEL_VERSION)
            for name in assessed:
                if name in place:
                    indicators[row, place[name]] = 0.0
            for name in record.indicators:
                if name in place:
                    indicators[row, place[name]] = 1.0

        def flags(read: Callable[[LabelledIncident], bool | None]) -> Floats:
            return np.array([np.nan if (v := read(r)) is None else float(v) for r in records], dtype=float)

        def index(values: Sequence[str | None], allowed: Sequence[str]) -> Floats:
            return np.array([np.nan if v is None else float(allowed.index(v)) for v in values], dtype=float)

        return cls(
            stalking=flags(lambda r: r.stalking),
            history_check=flags(lambda r: r.history_check),
            family=index([r.offence_family for r in records], taxonomy.family_names),
            tier_s4a=np.array(
                [np.nan if r.tier is None or not r.stalking else float(r.tier == "s4A") for r in records]
            ),
            four=np.stack(
                [
                    flags(lambda r: r.four_fixated),
                    flags(lambda r: r.four_obsessive),
                    flags(lambda r: r.four_unwanted),
                    flags(lambda r: r.four_repeated),
                ],
                axis=1,
            ),
            indicators=indicators,
            domestic=flags(lambda r: r.domestic),
            cyber=flags(lambda r: r.cyber),
            relationship=index([r.relationship for r in records], taxonomy.relationships),
        )


class Classifier(Protocol):
    """One kind of classifier.

    To add a kind: write one file here with a class of this shape, add one line to `KINDS` and one config in
    `training/configs/`. `tests/test_classifiers.py` then runs the contract over it.
    """

    kind: ClassVar[str]
    indicator_names: tuple[str, ...]

    def fit(
        self,
        records: Sequence[LabelledIncident],
        taxonomy: Taxonomy,
        progress: Progress = silent,
        histories: Sequence[LabelledIncident] = (),
    ) -> Self:
        """Learn from labelled incidents; unknown labels are left out. Deterministic for a given config.

        `histories` are incidents of cases with a known `case_stalking`, for kinds that learn the pattern over several
        incidents; others leave them aside.
        """
        ...

    def predict(self, cases: Sequence[Case]) -> Scores:
        """Score cases; each one's scores do not depend on the others in the call."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything `load` needs into `folder` (it exists and is empty). No pickle."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ModelFormatError: A file is missing, damaged or holds a type that is not on our allow-list.
        """
        ...
