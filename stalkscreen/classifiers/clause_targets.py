"""Labels of clauses, read from marked evidence: what every kind that learns evidence is taught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stalkscreen.classifiers.base import Floats
from stalkscreen.schema import Evidence, LabelledIncident
from stalkscreen.text import Clause


@dataclass(frozen=True, slots=True)
class ClauseTargets:
    """Labels of `m` clauses, 0, 1 or NaN for unknown.

    Attributes:
        present: `(m, k)` whether the clause shows the indicator.
        mentioned: `(m, k)` whether it speaks of it at all, also negated or of another person.
        against: `(m,)` whether it says an indicator is absent or another person's.
    """

    present: Floats
    mentioned: Floats
    against: Floats


def clause_targets(
    records: Sequence[LabelledIncident], cut: Sequence[Sequence[Clause]], known: Floats, names: Sequence[str]
) -> ClauseTargets:
    """Read the evidence of `records`.

    Args:
        records: `n` labelled incidents.
        cut: The clauses of each.
        known: `(n, k)` their indicator labels, 0, 1 or NaN.
        names: The `k` indicators.

    Returns:
        One row a clause, in order; unknown where an indicator is present but nothing was marked.
    """
    k = len(names)
    place = {n: i for i, n in enumerate(names)}
    rows = sum(len(cs) for cs in cut)
    present, mentioned = np.zeros((rows, k)), np.zeros((rows, k))
    against = np.zeros(rows)
    at = 0
    for record, pieces, labels in zip(records, cut, known, strict=True):
        block = slice(at, at + len(pieces))
        at += len(pieces)
        marked = [e for e in record.evidence or () if e.indicator in place]
        unmarked = np.isnan(labels)
        unmarked |= (labels == 1) & ~np.isin(np.arange(k), [place[e.indicator] for e in marked])
        present[block, unmarked] = np.nan
        mentioned[block, unmarked] = np.nan
        if record.evidence is None:
            against[block], mentioned[block] = np.nan, np.nan
        for span in marked:
            for row, piece in enumerate(pieces, start=block.start):
                if _overlaps(span, piece):
                    mentioned[row, place[span.indicator]] = 1.0
                    if span.status == "present":
                        present[row, place[span.indicator]] = 1.0
                    else:
                        against[row] = 1.0
    return ClauseTargets(present, mentioned, against)


def _overlaps(span: Evidence, piece: Clause) -> bool:
    """Whether half of the shorter one lies in the other."""
    shared = min(span.end, piece.end) - max(span.start, piece.start)
    return shared * 2 >= min(span.end - span.start, piece.end - piece.start)
