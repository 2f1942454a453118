"""What the encoder learns from: the losses of its heads on one batch. An unknown label is left out of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stalkscreen.classifiers.encoder import BINARY, EncoderSettings, Sample
from stalkscreen.classifiers.encoder_text import Batch, EncodedCase

BINARY_WEIGHT = (1.0, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
FAMILY_WEIGHT, RELATIONSHIP_WEIGHT, INDICATOR_WEIGHT, CLAUSE_WEIGHT = 0.3, 0.15, 4.0, 8.0
"""Weights of the losses. Those of indicators are averages over 26 mostly empty columns, hence the larger numbers."""
MARGIN, INVARIANCE_WEIGHT = 2.0, 0.1
"""Log-odds by which the texts of a contrast pair are pushed apart; weight of the squared gap in an invariance pair. The first
values that were tried (docs/decisions/0008)."""


def _masked(logits: Tensor, target: Tensor, weight: Tensor, smoothing: float = 0.0) -> Tensor:
    """Weighted cross-entropy of yes/no logits where the target is known; `(columns,)` means."""
    known = ~torch.isnan(target)
    value = torch.where(known, target, 0.0) * (1 - smoothing) + smoothing / 2
    loss = functional.binary_cross_entropy_with_logits(logits, value, reduction="none")
    share = known * weight.unsqueeze(1)
    return (loss * share).sum(0) / share.sum(0).clamp(min=1)


def _class_loss(logits: Tensor, target: Tensor, weight: Tensor, smoothing: float) -> Tensor:
    known = ~torch.isnan(target)
    if not known.any():
        return logits.sum() * 0
    each = functional.cross_entropy(logits[known], target[known].long(), label_smoothing=smoothing, reduction="none")
    return (each * weight[known]).sum() / weight[known].sum().clamp(min=1e-6)


def loss_of(
    case_logits: Tensor,
    clause_logits: Tensor,
    samples: Sequence[Sample],
    encoded: Sequence[EncodedCase],
    batch: Batch,
    sizes: tuple[int, int, int],
    settings: EncoderSettings,
) -> Tensor:
    """The loss of one batch, all heads together.

    Args:
        case_logits: `(cases, heads)` of the network.
        clause_logits: `(clauses, 2k + 1)` of the network.
        samples: The cases with their labels, in the order of the batch.
        encoded: The same cases as clauses.
        batch: What the network was given.
        sizes: Numbers of families, relationships and indicators.
        settings: The kind's settings.
    """
    smoothing = settings.label_smoothing

    def tensor(values: Any) -> Tensor:
        return torch.tensor(np.array(values), dtype=torch.float32, device=case_logits.device)

    weight = tensor([x.weight for x in samples])
    binary, family, relationship, indicators = case_logits.split([len(BINARY), *sizes], dim=1)  # type: ignore[no-untyped-call]
    losses = _masked(binary, tensor([x.binary for x in samples]), weight, smoothing)
    total = (losses * tensor(BINARY_WEIGHT)).sum()
    total = total + FAMILY_WEIGHT * _class_loss(family, tensor([x.family for x in samples]), weight, smoothing)
    total = total + RELATIONSHIP_WEIGHT * _class_loss(
        relationship, tensor([x.relationship for x in samples]), weight, smoothing
    )
    if sizes[2]:
        shown = _masked(indicators, tensor([x.indicators for x in samples]), weight)
        total = total + INDICATOR_WEIGHT * shown.mean()
    if settings.pair_weight:
        total = total + settings.pair_weight * _pair_loss(case_logits[:, 0], samples)
    wanted = np.full(clause_logits.shape, np.nan)
    at = 0
    for sample, case in zip(samples, encoded, strict=True):
        for i, row in enumerate(case.rows):
            if row >= 0:
                wanted[at + i] = sample.clauses[row]
        at += max(1, len(case.pieces))
    owner = torch.from_numpy(batch.owner).to(weight.device)
    return total + CLAUSE_WEIGHT * _masked(clause_logits, tensor(wanted), weight[owner]).mean()


def pairs_of(samples: Sequence[Sample]) -> list[list[int]]:
    """Rows of the texts of each pair, in order."""
    members: dict[str, list[int]] = {}
    for row, sample in enumerate(samples):
        if sample.pair is not None:
            members.setdefault(sample.pair, []).append(row)
    return list(members.values())


def _pair_loss(stalking: Tensor, samples: Sequence[Sample]) -> Tensor:
    """Texts of a contrast pair are pushed apart by the margin, those of an invariance pair together.

    A contrast pair whose texts have the same judgement, or an unknown one, asks nothing.

    Args:
        stalking: `(cases,)` logits.
        samples: The cases, of which those of one pair share its id.

    Returns:
        The sum over the pairs of the batch as a share of its cases, so that a pair weighs as much as a case.
    """
    terms = []
    for a, b in (couple for rows in pairs_of(samples) for couple in combinations(rows, 2)):
        gap = stalking[a] - stalking[b]
        labels = samples[a].binary[0], samples[b].binary[0]
        if samples[a].invariant:
            terms.append(INVARIANCE_WEIGHT * gap**2)
        elif {*labels} == {0.0, 1.0}:
            terms.append(functional.softplus(MARGIN - (gap if labels[0] > labels[1] else -gap)))
    return torch.stack(terms).sum() / len(samples) if terms else stalking.sum() * 0
