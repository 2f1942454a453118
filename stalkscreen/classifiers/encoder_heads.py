"""The encoder's heads as plain arrays: the same arithmetic as `encoder_training.Network`, without torch.

`tests/test_encoder.py` holds the two to the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Heads:
    """Weights of the heads under their torch names, each as torch stores it (`weight` is `(out, in)`)."""

    arrays: Mapping[str, Singles]

    @property
    def indicators(self) -> int:
        """How many of a case's last columns are indicators."""
        return len(self.arrays["best_scale"])

    def __call__(self, vectors: Singles, count: NDArray[np.int64], owner: NDArray[np.int64]) -> tuple[Singles, Singles]:
        """Read clause vectors into logits.

        Args:
            vectors: `(clauses, width)` mean of each clause's word pieces.
            count: `(clauses,)` how many pieces each has.
            owner: `(clauses,)` index of its case, ascending, every case at least once.

        Returns:
            `(cases, heads)` and `(clauses, 2k + 1)` logits.
        """
        clause_logits = self._linear("clause_head", self._norm("clause_norm", vectors))
        k = (clause_logits.shape[1] - 1) // 2
        begins = np.flatnonzero(np.diff(owner, prepend=-1))
        attention = self._linear("attention_out", np.tanh(self._linear("attention_in", vectors)))
        top = np.maximum.reduceat(attention, begins)
        weight = np.exp(attention - top[owner])
        weight /= np.add.reduceat(weight, begins)[owner]
        pooled = np.add.reduceat(weight[:, :, None] * vectors[:, None, :], begins).reshape(len(begins), -1)
        mean = (
            np.add.reduceat(vectors * count[:, None], begins) / np.maximum(np.add.reduceat(count, begins), 1)[:, None]
        )
        best = np.maximum.reduceat(clause_logits[:, :k], begins)
        read = self._norm("trunk_norm", np.concatenate([pooled, mean.astype(np.float32)], axis=1))
        hidden = self._linear("trunk", np.concatenate([read, expit(best)], axis=1))
        hidden = hidden * 0.5 * (1 + erf(hidden / math.sqrt(2)))
        case_logits = self._linear("case_head", hidden.astype(np.float32))
        case_logits[:, case_logits.shape[1] - k :] += self.arrays["best_scale"] * best
        return case_logits, clause_logits

    def _linear(self, name: str, values: Singles) -> Singles:
        result: Singles = values @ self.arrays[f"{name}.weight"].T + self.arrays[f"{name}.bias"]
        return result

    def _norm(self, name: str, values: Singles) -> Singles:
        centred = values - values.mean(axis=1, keepdims=True)
        scale = 1 / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        result: Singles = centred * scale * self.arrays[f"{name}.weight"] + self.arrays[f"{name}.bias"]
        return result
