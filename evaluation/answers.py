"""What the evaluation keeps of a model's assessments: columns of numbers, so that 200,000 records fit in memory.

Input: assessments, one after another. Output: `Answers`, in memory only. An assessment as the contract has it takes
about 37 KB of memory, a row here about 200 bytes; quoted text is not kept, only its place.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stalkscreen.metrics import Bools, Floats
from stalkscreen.schema import Assessment, FourAnswer
from stalkscreen.taxonomy import Taxonomy, load_taxonomy

TIER_HINTS = ("s2A", "s4A", "unclear", "not_applicable")
"""Answers on the tier (contract, section 2), in the order of `Answers.tier`."""

FOUR = tuple(FourAnswer.model_fields)
Places = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Answers:
    """One row an assessment, in the order given.

    Attributes:
        ids: Incident ids.
        probability: `(n,)` calibrated probability of stalking, 0..1.
        flag: `(n,)` flagged for review. `history_check`: `(n,)` a search for linked records is advised.
        family: `(n,)` likeliest family, index into `Taxonomy.family_names`.
        tier: `(n,)` index into `TIER_HINTS`. `s4a`: `(n,)` probability of section 4A.
        four: `(n, 4)` in the order of `FOUR`. `domestic`, `cyber`: `(n,)` probabilities.
        relationship: `(n,)` index into `Taxonomy.relationships`.
        present: `(n, indicators)` in taxonomy order.
        titles: Titles of the indicators the model knows, by name; those of the taxonomy not in it are not covered.
        quoted: `(m, 4)` row, indicator, start and end of every span of evidence, rows rising.
        against: `(m, 3)` row, start and end of every span that speaks against, rows rising.
        stamps: Version, kind, label version and data hash of the models that answered, sorted.
    """

    ids: list[str]
    probability: Floats
    flag: Bools
    history_check: Bools
    family: NDArray[np.int16]
    tier: NDArray[np.int16]
    s4a: Floats
    four: Floats
    domestic: Floats
    cyber: Floats
    relationship: NDArray[np.int16]
    present: Bools
    titles: dict[str, str]
    quoted: Places
    against: Places
    stamps: tuple[tuple[str, str, str, str], ...]

    def __len__(self) -> int:
        """Number of assessments."""
        return len(self.ids)

    @cached_property
    def _quoted_from(self) -> NDArray[np.intp]:
        return np.searchsorted(self.quoted[:, 0], np.arange(len(self) + 1))

    @cached_property
    def _against_from(self) -> NDArray[np.intp]:
        return np.searchsorted(self.against[:, 0], np.arange(len(self) + 1))

    def quoted_in(self, row: int) -> Places:
        """`(k, 3)` indicator, start, end of the evidence quoted in one record."""
        return self.quoted[self._quoted_from[row] : self._quoted_from[row + 1], 1:]

    def against_in(self, row: int) -> Places:
        """`(k, 2)` start, end of what was shown as speaking against in one record."""
        return self.against[self._against_from[row] : self._against_from[row + 1], 1:]

    @classmethod
    def of(cls, assessments: Iterable[Assessment], taxonomy: Taxonomy | None = None) -> Answers:
        """Read assessments, which may come one after another from a generator; none is kept."""
        taxonomy = taxonomy or load_taxonomy()
        places = {name: place for place, name in enumerate(taxonomy.indicator_names)}
        families = {name: place for place, name in enumerate(taxonomy.family_names)}
        relationships = {name: place for place, name in enumerate(taxonomy.relationships)}
        hints = {name: place for place, name in enumerate(TIER_HINTS)}
        ids: list[str] = []
        titles: dict[str, str] = {}
        stamps: dict[tuple[str, str, str, str], None] = {}
        numbers, codes, yes, quoted, against = array("d"), array("h"), bytearray(), array("i"), array("i")
        for row, a in enumerate(assessments):
            ids.append(a.incident_id)
            stamps[(a.model.version, a.model.kind, a.model.label_version, a.model.data_hash)] = None
            numbers.extend((a.stalking.probability, a.tier.probability_s4A, a.context.domestic, a.context.cyber))
            numbers.extend(getattr(a.four, name) for name in FOUR)
            codes.extend((families[a.offence_family.top], hints[a.tier.hint], relationships[a.context.relationship]))
            held = bytearray(2 + len(places))
            held[0], held[1] = a.stalking.flag, a.stalking.history_check
            for answer in a.indicators:
                place = places.get(answer.name)
                if place is None:
                    continue
                titles.setdefault(answer.name, answer.title)
                if answer.present:
                    held[2 + place] = 1
                    for span in answer.evidence:
                        quoted.extend((row, place, span.start, span.end))
            yes += held
            for span in a.against:
                against.extend((row, span.start, span.end))
        n = len(ids)
        table = np.frombuffer(numbers, dtype=np.float64).reshape(n, 8) if n else np.zeros((0, 8))
        named = np.frombuffer(codes, dtype=np.int16).reshape(n, 3) if n else np.zeros((0, 3), dtype=np.int16)
        said = np.frombuffer(yes, dtype=bool).reshape(n, 2 + len(places)) if n else np.zeros((0, 2 + len(places)), bool)
        return cls(
            ids=ids,
            probability=table[:, 0].copy(),
            flag=said[:, 0].copy(),
            history_check=said[:, 1].copy(),
            family=named[:, 0],
            tier=named[:, 1],
            s4a=table[:, 1],
            four=table[:, 4:],
            domestic=table[:, 2],
            cyber=table[:, 3],
            relationship=named[:, 2],
            present=said[:, 2:],
            titles=titles,
            quoted=np.frombuffer(quoted, dtype=np.int32).reshape(-1, 4) if quoted else np.zeros((0, 4), np.int32),
            against=np.frombuffer(against, dtype=np.int32).reshape(-1, 3) if against else np.zeros((0, 3), np.int32),
            stamps=tuple(sorted(stamps)),
        )


def as_answers(assessments: Iterable[Assessment] | Answers, taxonomy: Taxonomy | None = None) -> Answers:
    """Assessments as columns; columns are passed through."""
    return assessments if isinstance(assessments, Answers) else Answers.of(assessments, taxonomy)
