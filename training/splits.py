"""Which records must stay on one side of every split, and the folds that keep them so.

Same case, same writer (where given), same declared pair and near-duplicate texts belong together; a model that has
seen one of them has in effect seen the others, and a figure measured across them is worth nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from stalkscreen.errors import DataError, LeakageError
from stalkscreen.schema import LabelledIncident

PERMUTATIONS = 128
"""MinHash permutations."""

PROPOSED = 0.6
"""Share of the threshold for which the MinHash index is built, so that it proposes nearly every pair that reaches the
threshold: of pairs that lie right on it 98.8% at the default of 0.6, and at least 89% anywhere from 0.2 to 0.9."""


class _Union:
    """Disjoint sets over `0..n-1`."""

    def __init__(self, n: int) -> None:
        self.parent = list(range(n))

    def find(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        self.parent[self.find(j)] = self.find(i)


def word_pairs(text: str) -> set[str]:
    """Every two neighbouring words of a text, in small letters; the word itself where there is only one."""
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[k : k + 2]) for k in range(max(1, len(words) - 1))}


def near_duplicates(texts: Sequence[str], threshold: float) -> list[tuple[int, int]]:
    """Pairs of texts whose sets of word pairs have a Jaccard similarity of at least `threshold`.

    A MinHash index proposes pairs and the similarity of each is counted exactly: every pair given reaches the
    threshold, and few that do are missed (see `PROPOSED`).
    """
    index = MinHashLSH(threshold=PROPOSED * threshold, num_perm=PERMUTATIONS)
    sets = [word_pairs(text) for text in texts]
    pairs: list[tuple[int, int]] = []
    for i, own in enumerate(sets):
        sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
        sketch.update_batch([pair.encode() for pair in own])
        pairs += [(j, i) for j in index.query(sketch) if len(own & sets[j]) >= threshold * len(own | sets[j])]
        index.insert(i, sketch)
    return pairs


def groups(records: Sequence[LabelledIncident], near_duplicate: float = 0.6) -> tuple[NDArray[np.intp], str]:
    """Group numbers of the records, and the grouping in words for the report.

    Args:
        records: Labelled incidents.
        near_duplicate: Jaccard similarity from which two texts count as the same.

    Returns:
        `(n,)` group numbers and a phrase such as "writer, case, pair and near-duplicate text".
    """
    union = _Union(len(records))
    used: list[str] = []
    for name, keys in (
        ("writer", [r.writer for r in records]),
        ("case", [r.case_id for r in records]),
        ("pair", [r.pair_id for r in records]),
    ):
        first: dict[str, int] = {}
        for i, key in enumerate(keys):
            if key is not None:
                union.join(first.setdefault(key, i), i)
        if first:
            used.append(name)
    for i, j in near_duplicates([r.narrative for r in records], near_duplicate):
        union.join(i, j)
    _, numbers = np.unique([union.find(i) for i in range(len(records))], return_inverse=True)
    return numbers, " and ".join(filter(None, [", ".join(used), "near-duplicate text"]))


def folds(records: Sequence[LabelledIncident], group: NDArray[np.intp], wanted: int, seed: int) -> NDArray[np.intp]:
    """Fold number of every record: groups stay whole, the share of stalking is kept as even as they allow.

    There are fewer folds than wanted where groups or records are too few to fill them.

    Raises:
        DataError: Fewer than two groups, a class with fewer than two records, or one whose records all fall into one
            fold.
    """
    labels = np.array([r.stalking for r in records], dtype=int)
    n_groups, smallest = len(np.unique(group)), int(np.bincount(labels, minlength=2).min())
    n_folds = min(wanted, n_groups, smallest)
    if n_folds < 2:
        raise DataError(
            f"Cross-validation needs at least two groups and two records of each class; there are {n_groups} groups, "
            f"{int(labels.sum())} records labelled stalking and {int((1 - labels).sum())} labelled not stalking.",
            code="too_few_records",
        )
    fold = np.zeros(len(records), dtype=np.intp)
    splitter = StratifiedGroupKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    for number, (_, test) in enumerate(splitter.split(np.zeros((len(records), 1)), labels, group)):
        fold[test] = number
    for value, name in ((1, "stalking"), (0, "not stalking")):
        held = labels == value
        if len(np.unique(fold[held])) < 2:
            raise DataError(
                f"All {int(held.sum())} records labelled {name} fall into one fold, which no model that learnt any could "
                f"score: they belong to {len(np.unique(group[held]))} writer, case, pair or near-duplicate group(s). "
                f"Records labelled {name} of other writers and cases are needed.",
                code="class_in_one_fold",
            )
    return np.unique(fold, return_inverse=True)[1]  # without the numbers of folds that stayed empty


def check_holdout(
    train: Sequence[LabelledIncident], holdout: Sequence[LabelledIncident], near_duplicate: float = 0.6
) -> None:
    """Refuse a split supplied by the caller that puts records which belong together, or one record, on both sides.

    Raises:
        LeakageError: Names up to 20 of the records concerned.
    """
    group, grouping = groups([*train, *holdout], near_duplicate)
    shared = set(group[: len(train)].tolist()) & set(group[len(train) :].tolist())
    ids = {r.incident_id for r in train}
    leaking = [
        r.incident_id
        for r, g in zip(holdout, group[len(train) :].tolist(), strict=True)
        if g in shared or r.incident_id in ids
    ]
    if leaking:
        shown = ", ".join(leaking[:20]) + (" …" if len(leaking) > 20 else "")
        raise LeakageError(
            f"{len(leaking)} held-out records belong with training records (same incident_id, {grouping}): {shown}. "
            "Move each group to one side.",
            incident_ids=leaking,
        )
