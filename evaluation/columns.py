"""Records and assessments side by side as arrays: read once here, used by every section of the evaluation.

Input: labelled incidents and their assessments. Output: `Columns`, in memory only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from evaluation.answers import Answers
from stalkscreen.errors import DataError
from stalkscreen.metrics import Bools, Floats
from stalkscreen.schema import LabelledIncident
from stalkscreen.taxonomy import Taxonomy

Json = dict[str, Any]

MAX_TITLE = 80
"""Characters of a recorded offence title that reach an output; a mapped column may hold more than a title."""

FEW = 30
"""Fewer records than this behind a rate: too few to compare. The labelling guide, section 10, asks for 30
positives before it judges an indicator; with 30 a 95% interval is still about 30 points wide."""


@dataclass(frozen=True, slots=True)
class Columns:
    """One row a record, in the records' order.

    Attributes:
        stalking: `(n,)` truth, 1 or 0.
        probability: `(n,)` calibrated probability of stalking, 0..1.
        flag: `(n,)` whether the model flagged the record. The flag itself is used, not the threshold, so that
            figures from several folds with a threshold each are those that a user would have seen.
        recorded: `(n,)` recorded offence as given, shortened to `MAX_TITLE`, or None when not recorded.
        recorded_stalking: `(n,)` whether that title is a stalking offence; False where there is none.
        stratum: `(n,)` `stalking`, `near_miss`, `ordinary` or None.
        group: `(n,)` number of what belongs together: records joined by `case_id` or by `pair_id`.
        has_recorded: `(n,)` whether the force recorded an offence; worked out from `recorded`.
    """

    stalking: Floats
    probability: Floats
    flag: Bools
    recorded: NDArray[np.object_]
    recorded_stalking: Bools
    stratum: NDArray[np.object_]
    group: NDArray[np.intp]
    has_recorded: Bools = field(init=False)

    @property
    def positive(self) -> Bools:
        """`(n,)` true stalking."""
        return np.asarray(self.stalking == 1)

    def __post_init__(self) -> None:
        has = np.array([title is not None for title in self.recorded], dtype=bool)
        object.__setattr__(self, "has_recorded", has)


def check_aligned(records: Sequence[LabelledIncident], answers: Answers, whose: str = "the model") -> None:
    """Refuse assessments that are not one for each record, in the same order.

    Raises:
        DataError: Their number, their ids or their order differ, or an id is repeated.
    """
    if len(records) != len(answers):
        raise DataError(
            f"{len(records)} records but {len(answers)} assessments by {whose}; give one for each record",
            code="not_aligned",
        )
    for row, (record, assessed) in enumerate(zip(records, answers.ids, strict=True)):
        if record.incident_id != assessed:
            raise DataError(
                f"row {row} is incident {record.incident_id} but its assessment by {whose} is of {assessed}; "
                f"give them in the same order",
                code="not_aligned",
                row=row,
                incident_id=record.incident_id,
            )
    if len({record.incident_id for record in records}) != len(records):
        twice = Counter(record.incident_id for record in records).most_common(1)[0][0]
        raise DataError(f"incident_id {twice} occurs more than once", code="not_unique", incident_id=twice)


def groups_of(records: Sequence[LabelledIncident]) -> NDArray[np.intp]:
    """`(n,)` group numbers: records that share a `case_id` or `pair_id`, directly or through others."""
    n = len(records)
    if n == 0:
        return np.zeros(0, dtype=np.intp)
    names: dict[tuple[str, str], int] = {}
    rows: list[int] = []
    nodes: list[int] = []
    for row, record in enumerate(records):
        for kind, value in (("case", record.case_id), ("pair", record.pair_id)):
            if value is not None:
                rows.append(row)
                nodes.append(n + names.setdefault((kind, value), len(names)))
    size = n + len(names)
    links = coo_matrix((np.ones(len(rows)), (rows, nodes)), shape=(size, size))
    labels = connected_components(links, directed=False)[1]
    return np.asarray(labels[:n], dtype=np.intp)


def title_of(recorded_offence: str | None) -> str | None:
    """A recorded title fit for an output: trimmed and shortened; None when blank."""
    title = " ".join((recorded_offence or "").split())
    return title[:MAX_TITLE] or None


def read_columns(records: Sequence[LabelledIncident], answers: Answers, taxonomy: Taxonomy) -> Columns:
    """Read the columns that most sections need. The two sequences must be aligned (`check_aligned`)."""
    titles = np.empty(len(records), dtype=object)
    strata = np.empty(len(records), dtype=object)
    for row, record in enumerate(records):
        titles[row] = title_of(record.recorded_offence)
        strata[row] = record.stratum
    is_stalking = {title: taxonomy.is_stalking_title(title) for title in set(titles) if title is not None}
    return Columns(
        stalking=np.array([record.stalking for record in records], dtype=float),
        probability=answers.probability,
        flag=answers.flag,
        recorded=titles,
        recorded_stalking=np.array([is_stalking.get(title, False) for title in titles], dtype=bool),
        stratum=strata,
        group=groups_of(records),
    )
