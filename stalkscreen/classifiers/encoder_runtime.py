"""The fitted encoder at work: windows through ONNX Runtime, clauses through the heads. No torch.

Windows go in by length, a few at a time, so that little is spent on padding; threads are bounded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from stalkscreen.classifiers.encoder_heads import Heads, Singles
from stalkscreen.classifiers.encoder_text import Batch, EncodedCase, collate
from stalkscreen.classifiers.passages import Range
from stalkscreen.config import whole_number

MAX_THREADS = 4
"""Most threads of one model; `STALKSCREEN_THREADS` sets another number."""

PIECES_AT_ONCE = 1024
"""Word pieces in one call of the body: more was no faster when it was tried on two cores, and costs memory."""

CASES_AT_ONCE = 64


def threads_from(env: Mapping[str, str]) -> int:
    """How many threads a model may use: `STALKSCREEN_THREADS`, else one a core up to `MAX_THREADS`.

    Raises:
        ConfigError: `STALKSCREEN_THREADS` is not a whole number from 1.
    """
    return whole_number(env, "STALKSCREEN_THREADS", "2") or min(MAX_THREADS, os.cpu_count() or 1)


class Runtime:
    """A body and its heads, ready to read.

    Args:
        body: The ONNX graph as bytes or a path.
        heads: The heads' arrays.
        width: Most word pieces in a window.
        marks: Ids that open and close a window.
    """

    def __init__(self, body: bytes | str, heads: Heads, width: int, marks: tuple[int, int]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads_from(os.environ)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(body, options, providers=["CPUExecutionProvider"])
        self._heads, self._width, self._marks = heads, width, marks

    def __call__(
        self, cases: Sequence[EncodedCase], passages: Sequence[Sequence[Range]] = ()
    ) -> tuple[Singles, list[Singles]]:
        """Logits of cases.

        Args:
            cases: What `encode` gave.
            passages: Of each case; empty for none at all. The most telling one takes the place of the whole, but for the
                indicators, where it says more.

        Returns:
            `(cases, heads)`, and for each case `(its pieces, 2k + 1)`.
        """
        case_rows: list[Singles] = []
        clause_rows: list[Singles] = []
        for at in range(0, len(cases), CASES_AT_ONCE):
            part = cases[at : at + CASES_AT_ONCE]
            batch = collate(part, self._width, *self._marks)
            vectors, count = self._clause_vectors(batch)
            case_logits, clause_logits = self._heads(vectors, count, batch.owner)
            begins = np.cumsum([0, *(max(1, len(c.pieces)) for c in part)])
            for row, ranges in enumerate(passages[at : at + CASES_AT_ONCE]):
                if ranges:
                    chosen = [begins[row] + part[row].within(passage) for passage in ranges]
                    self._take_most_telling(case_logits[row], vectors, count, chosen)
            case_rows.append(case_logits)
            clause_rows += np.split(clause_logits, begins[1:-1])
        return np.concatenate(case_rows), clause_rows

    def _take_most_telling(
        self, whole: Singles, vectors: Singles, count: NDArray[np.int64], chosen: Sequence[NDArray[np.int64]]
    ) -> None:
        """Put into `whole`, `(heads,)`, what the passage of the highest logit for stalking says, if it is higher."""
        rows, owner = np.concatenate(chosen), np.repeat(np.arange(len(chosen)), [len(c) for c in chosen])
        read, _ = self._heads(vectors[rows], count[rows], owner)
        most = read[np.argmax(read[:, 0])]
        if most[0] > whole[0]:
            others = len(whole) - self._heads.indicators
            whole[:others] = most[:others]

    def _clause_vectors(self, batch: Batch) -> tuple[Singles, NDArray[np.int64]]:
        """`(clauses, width)` means over their word pieces, and `(clauses,)` how many each has."""
        lengths = batch.mask.sum(axis=1)
        order = np.argsort(lengths, kind="stable")
        total: Singles | None = None
        count = np.zeros(len(batch.owner), dtype=np.int64)
        at = 0
        while at < len(order):
            end = at + 1
            while end < len(order) and (end + 1 - at) * lengths[order[end]] <= PIECES_AT_ONCE:
                end += 1
            rows = order[at:end]
            longest = int(lengths[rows[-1]])
            states: Singles = self._session.run(
                None,
                {"ids": batch.ids[rows, :longest].astype(np.int32), "lengths": lengths[rows].astype(np.int32)},
            )[0]
            if total is None:
                total = np.zeros((len(batch.owner), states.shape[2]), dtype=np.float32)
            for states_row, clause in zip(states, batch.clause[rows, :longest], strict=True):
                real = np.flatnonzero(clause >= 0)
                if len(real):
                    begins = np.flatnonzero(np.diff(clause[real], prepend=-1))
                    owners = clause[real][begins]
                    total[owners] += np.add.reduceat(states_row[real], begins)
                    count[owners] += np.diff(np.append(begins, len(real)))
            at = end
        assert total is not None
        means: Singles = np.divide(total, np.maximum(count, 1)[:, None], dtype=np.float32)
        return means, count
