"""Labelled texts as the rows read them, and texts for the clock. Light on purpose: what is timed imports this."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from stalkscreen.schema import LabelledIncident

CORPUS = Path(__file__).parents[1] / "data" / "synthetic" / "narratives.jsonl"


@dataclass(frozen=True, slots=True)
class Sample:
    """Labelled texts as the rows read them.

    Attributes:
        records: With all labels; only this project's classifiers use more than `stalking`.
        group: `(n,)` group numbers (writer, case, pair, near-duplicate); a row that tunes itself keeps them whole.
    """

    records: Sequence[LabelledIncident]
    group: NDArray[np.intp]

    @property
    def texts(self) -> list[str]:
        """The narratives, in order."""
        return [r.narrative for r in self.records]

    @property
    def stalking(self) -> NDArray[np.int64]:
        """`(n,)` of 0 and 1."""
        return np.array([int(r.stalking) for r in self.records], dtype=np.int64)

    def at(self, rows: NDArray[np.intp]) -> Sample:
        """The records at `rows`."""
        return Sample([self.records[i] for i in rows.tolist()], self.group[rows])


def plain_texts(path: Path = CORPUS) -> list[dict[str, str]]:
    """`narrative` and `stratum` of every corpus text in a fixed mixed order, read without any library.

    For processes whose memory and load time are measured.
    """
    with path.open(encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    rows.sort(key=lambda r: hashlib.sha256(r["incident_id"].encode()).digest())
    return [{"narrative": r["narrative"], "stratum": r["stratum"]} for r in rows]
