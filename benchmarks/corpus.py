"""The texts of the benchmark: one corpus, one set of writer-disjoint folds, one set of judged cases, for every row.

Input: `data/synthetic/narratives.jsonl` and `data/public_cases/public_cases.jsonl`. Grouping and folds are those of
`training/splits.py` with the settings of `training/configs/linear.toml`, so that a recorded out-of-fold score of a
model trained by `stalkscreen train` stands on the same folds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.sample import CORPUS, Sample
from stalkscreen.config import CHECKOUT, TrainConfig
from stalkscreen.dataset import read_labelled
from stalkscreen.schema import LabelledIncident
from training import splits

PUBLIC = CHECKOUT / "data" / "public_cases" / "public_cases.jsonl"
QUICK_WRITERS, QUICK_EACH, QUICK_FOLDS = 10, 16, 2
"""A quick run reads this many texts of this many writers in this many folds: enough to see every stage work."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Everything a row learns from and is judged on.

    Attributes:
        sample: What is learnt from.
        fold: `(n,)` fold numbers; groups stay whole.
        judged: Texts that nothing was trained on: the public cases, or in a quick run other corpus texts in their
            place, because the public cases are for models that are kept.
        data_hash: As `stalkscreen train` stamps it into a model trained on the corpus file.
        key: Names texts, folds and judged cases: results under another key are not reused.
        quick: Whether this is a small sample.
    """

    sample: Sample
    fold: NDArray[np.intp]
    judged: Sample
    data_hash: str
    key: str
    quick: bool

    def folds(self) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
        """Number, rows learnt from and rows scored of every fold."""
        for number in range(int(self.fold.max()) + 1):
            yield number, np.flatnonzero(self.fold != number), np.flatnonzero(self.fold == number)


def read_corpus(quick: bool = False) -> Corpus:
    """Read, group and fold the corpus; about half a minute for 5,000 texts.

    Raises:
        DataError: A file cannot be used.
    """
    labelled, public = read_labelled(CORPUS), read_labelled(PUBLIC)
    settings = TrainConfig.read(CHECKOUT / "training" / "configs" / "linear.toml")
    records: Sequence[LabelledIncident] = labelled.records
    judged: Sequence[LabelledIncident] = public.records
    wanted = settings.validation.folds
    if quick:
        records, judged = quick_sample(records)
        wanted = QUICK_FOLDS
    group, _ = splits.groups(records, settings.validation.near_duplicate)
    fold = splits.folds(records, group, wanted, settings.seed)
    key = json.dumps([labelled.data_hash, public.data_hash, quick, fold.tolist()])
    return Corpus(
        sample=Sample(records, group),
        fold=fold,
        judged=Sample(judged, np.arange(len(judged))),
        data_hash=labelled.data_hash,
        key=hashlib.sha256(key.encode()).hexdigest()[:16],
        quick=quick,
    )


def quick_sample(
    records: Sequence[LabelledIncident],
) -> tuple[list[LabelledIncident], list[LabelledIncident]]:
    """A few texts of a few writers to learn from, and 61 of other writers to judge on."""
    writers = sorted({r.writer for r in records if r.writer})
    chosen = set(writers[:QUICK_WRITERS])
    taken: dict[str, int] = {}
    learn: list[LabelledIncident] = []
    others: list[LabelledIncident] = []
    for record in sorted(records, key=lambda r: hashlib.sha256(r.incident_id.encode()).digest()):
        if record.writer not in chosen:
            others.append(record)
        elif taken.get(record.writer or "", 0) < QUICK_EACH:
            taken[record.writer or ""] = taken.get(record.writer or "", 0) + 1
            learn.append(record)
    return learn, others[:61]
