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
"""MinHash permutations: at a Jaccard threshold of 0.6, 1,849 of 2,000 planted near-duplicates were found (trial)."""


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
    """Pairs of texts whose sets of word pairs have an estimated Jaccard similarity of at least `threshold`."""
    index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
    pairs: list[tuple[int, int]] = []
    for i, text in enumerate(texts):
        sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
        sketch.update_batch([pair.encode() for pair in word_pairs(text)])
        pairs += [(int(j), i) for j in index.query(sketch)]
        index.insert(str(i), sketch)
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

    Raises:
        DataError: Fewer than two groups, or a class with fewer than two records.
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
    return fold


def check_holdout(
    train: Sequence[LabelledIncident], holdout: Sequence[LabelledIncident], near_duplicate: float = 0.6
) -> None:
    """Refuse a split supplied by the caller that puts records which belong together on both sides.

    Raises:
        LeakageError: Names up to 20 of the records concerned.
    """
    group, grouping = groups([*train, *holdout], near_duplicate)
    shared = set(group[: len(train)].tolist()) & set(group[len(train) :].tolist())
    leaking = [r.incident_id for r, g in zip(holdout, group[len(train) :].tolist(), strict=True) if g in shared]
    if leaking:
        shown = ", ".join(leaking[:20]) + (" …" if len(leaking) > 20 else "")
        raise LeakageError(
            f"{len(leaking)} held-out records belong with training records (same {grouping}): {shown}. "
            "Move each group to one side.",
            incident_ids=leaking,
        )
