"""Fitting the encoder: the network in torch, its losses and its loop. Only `EncoderClassifier.fit` imports this.

One pass over a case gives every clause its indicators and, by attention over the clauses, the case its judgement. All
heads are learnt together; an unknown label is left out of the loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel

from stalkscreen.classifiers.base import Floats, Progress
from stalkscreen.classifiers.encoder_text import Batch, EncodedCase, collate, encode
from stalkscreen.classifiers.encoder_wording import wording
from stalkscreen.schema import Case


@dataclass(frozen=True, slots=True)
class Sample:
    """One case to learn from.

    Attributes:
        case: Its incidents.
        binary: `(b,)` 0, 1 or NaN in the order of `Layout.binary`.
        family: Index or NaN.
        relationship: Index or NaN.
        indicators: `(k,)` 0, 1 or NaN.
        clauses: `(clauses, 2k + 1)` present, mentioned, against; 0, 1 or NaN, in the order of `text.clauses`.
        weight: Weight of its case-level loss.
    """

    case: Case
    binary: Floats
    family: float
    relationship: float
    indicators: Floats
    clauses: Floats
    weight: float = 1.0


BINARY = (
    "stalking",
    "history_check",
    "tier_s4a",
    "domestic",
    "cyber",
    "four_fixated",
    "four_obsessive",
    "four_unwanted",
    "four_repeated",
)
"""Order of the yes/no heads of a case."""

BINARY_WEIGHT = (1.0, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
AVERAGED_SHARE = 0.25
"""Share of the steps, the last ones, whose weights are averaged (Izmailov et al. 2018)."""
FAMILY_WEIGHT, RELATIONSHIP_WEIGHT, INDICATOR_WEIGHT, CLAUSE_WEIGHT = 0.3, 0.15, 4.0, 8.0
"""Weights of the losses. Those of indicators are averages over 26 mostly empty columns, hence the larger numbers."""


class Network(nn.Module):
    """The encoder with attention over clauses and its heads.

    Args:
        body: A BERT-like model.
        families, relationships, indicators: Sizes of those heads.
        queries: Attention queries over the clauses.
        hidden: Width of the case representation.
        dropout: Share dropped before and after it.
    """

    def __init__(
        self,
        body: Any,
        families: int,
        relationships: int,
        indicators: int,
        queries: int = 6,
        hidden: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        width = body.config.hidden_size
        self.body = body
        self.clause_norm = nn.LayerNorm(width)
        self.clause_head = nn.Linear(width, 2 * indicators + 1)
        self.attention_in = nn.Linear(width, 128)
        self.attention_out = nn.Linear(128, queries)
        joined = width * (queries + 1) + indicators
        self.trunk_norm = nn.LayerNorm(width * (queries + 1))
        self.trunk = nn.Linear(joined, hidden)
        self.case_head = nn.Linear(hidden, len(BINARY) + families + relationships + indicators)
        self.best_scale = nn.Parameter(torch.ones(indicators))
        self.dropout = nn.Dropout(dropout)
        self.indicators = indicators
        self.bfloat16 = False

    def clause_vectors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """`(clauses, width)` means of the word pieces, and `(clauses,)` how many pieces each has."""
        device = self.clause_head.weight.device
        ids, mask = (torch.from_numpy(a).to(device) for a in (batch.ids, batch.mask))
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
            states = self.body(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        clause = torch.from_numpy(batch.clause).to(device).flatten()
        real = clause >= 0
        states, clause = states.flatten(0, 1)[real], clause[real]
        n = len(batch.owner)
        count = torch.zeros(n, device=device).index_add_(0, clause, torch.ones_like(clause, dtype=torch.float))
        total = torch.zeros(n, states.shape[1], device=device).index_add_(0, clause, states)
        return total / count.clamp(min=1).unsqueeze(1), count

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """`(cases, heads)` and `(clauses, 2k + 1)` logits."""
        vectors, count = self.clause_vectors(batch)
        owner = torch.from_numpy(batch.owner).to(vectors.device)
        k, n = self.indicators, batch.cases
        clause_logits = self.clause_head(self.dropout(self.clause_norm(vectors)))
        attention = self.attention_out(torch.tanh(self.attention_in(vectors)))
        top = torch.full((n, attention.shape[1]), -1e9, device=vectors.device)
        top = top.scatter_reduce(0, owner.unsqueeze(1).expand_as(attention), attention.detach(), "amax")
        weight = torch.exp(attention - top[owner])
        total = torch.zeros_like(top).index_add_(0, owner, weight)
        weight = weight / total[owner]
        pooled = torch.zeros(n, attention.shape[1], vectors.shape[1], device=vectors.device)
        pooled = pooled.index_add_(0, owner, weight.unsqueeze(2) * vectors.unsqueeze(1)).flatten(1)
        pieces = torch.zeros(n, device=vectors.device).index_add_(0, owner, count)
        mean = torch.zeros(n, vectors.shape[1], device=vectors.device).index_add_(0, owner, vectors * count.unsqueeze(1))
        mean = mean / pieces.clamp(min=1).unsqueeze(1)
        best = torch.full((n, k), -30.0, device=vectors.device)
        best = best.scatter_reduce(0, owner.unsqueeze(1).expand(-1, k), clause_logits[:, :k], "amax")
        joined = torch.cat([self.trunk_norm(torch.cat([pooled, mean], 1)), torch.sigmoid(best)], 1)
        hidden = functional.gelu(self.trunk(self.dropout(joined)))
        case_logits = self.case_head(self.dropout(hidden))
        indicators = case_logits[:, -k:] + self.best_scale * best
        return torch.cat([case_logits[:, :-k], indicators], 1), clause_logits


def _masked(logits: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of yes/no logits where the target is known; `(columns,)` means."""
    known = ~torch.isnan(target)
    value = torch.where(known, target, 0.0) * (1 - smoothing) + smoothing / 2
    loss = functional.binary_cross_entropy_with_logits(logits, value, reduction="none")
    return (loss * known).sum(0) / known.sum(0).clamp(min=1)


def _loss(network: Network, samples: Sequence[Sample], encoded: Sequence[EncodedCase], batch: Batch, s: Any) -> Tensor:
    case_logits, clause_logits = network(batch)
    device = case_logits.device
    k = network.indicators
    b = len(BINARY)

    def tensor(values: Any) -> Tensor:
        return torch.tensor(np.array(values), dtype=torch.float32, device=device)

    binary = _masked(case_logits[:, :b], tensor([x.binary for x in samples]), s.label_smoothing)
    total = (binary * tensor(BINARY_WEIGHT)).sum()
    at = b
    for values, weight in (
        ([x.family for x in samples], FAMILY_WEIGHT),
        ([x.relationship for x in samples], RELATIONSHIP_WEIGHT),
    ):
        target = tensor(values)
        size = s.families if weight == FAMILY_WEIGHT else s.relationships
        known = ~torch.isnan(target)
        if known.any():
            total = total + weight * functional.cross_entropy(
                case_logits[known, at : at + size], target[known].long(), label_smoothing=s.label_smoothing
            )
        at += size
    total = total + INDICATOR_WEIGHT * _masked(case_logits[:, at:], tensor([x.indicators for x in samples])).mean()
    wanted = np.full((len(batch.owner), 2 * k + 1), np.nan)
    at = 0
    for sample, case in zip(samples, encoded, strict=True):
        for i, row in enumerate(case.rows):
            if row >= 0:
                wanted[at + i] = sample.clauses[row]
        at += max(1, len(case.pieces))
    return total + CLAUSE_WEIGHT * _masked(clause_logits, tensor(wanted)).mean()


def _batches(sizes: Sequence[int], most: int, random: Random) -> list[list[int]]:
    """Batches of at most `most` word pieces, of cases of like length, in random order."""
    order = sorted(range(len(sizes)), key=lambda i: sizes[i] * random.uniform(0.8, 1.25))
    batches: list[list[int]] = [[]]
    held = 0
    for i in order:
        if batches[-1] and held + sizes[i] > most:
            batches.append([])
            held = 0
        batches[-1].append(i)
        held += sizes[i]
    random.shuffle(batches)
    return batches


def train(
    samples: Sequence[Sample],
    folder: Path,
    tokenizer: Any,
    settings: Any,
    marks: tuple[int, int],
    progress: Progress,
    watch: Any = None,
) -> Network:
    """Fit the network.

    Args:
        samples: Cases to learn from.
        folder: Of the pretrained body.
        tokenizer: Its tokeniser, without truncation or padding.
        settings: `EncoderSettings`, with the sizes of the heads.
        marks: Ids that open and close a window.
        progress: Called after every tenth of an epoch.
        watch: Called as `watch(epoch, network)` after each epoch, for curves.

    Returns:
        The network in evaluation mode, on the CPU, with the average of its late weights.
    """
    torch.manual_seed(settings.seed)
    random = Random(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Without dropout inside attention torch uses its fused attention: three times as fast on a processor.
    config = AutoConfig.from_pretrained(folder, local_files_only=True, attention_probs_dropout_prob=0.0)
    body = AutoModel.from_pretrained(folder, local_files_only=True, config=config, add_pooling_layer=False)
    network = Network(
        body, settings.families, settings.relationships, settings.indicators, settings.queries, settings.hidden,
        settings.dropout,
    ).to(device)
    network.bfloat16 = settings.bfloat16
    groups = _rates(network, settings)
    optimiser = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    sizes = [c.tokens for c in encode([s.case for s in samples], tokenizer)]
    per_epoch = len(_batches(sizes, settings.batch_pieces, Random(0)))
    steps = per_epoch * settings.epochs
    warm = max(1, int(0.06 * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / warm) * max(0.02, 1 - max(0, step - warm) / max(1, steps - warm))
    )
    average = torch.optim.swa_utils.AveragedModel(network)
    done = 0
    for epoch in range(settings.epochs):
        network.train()
        rewordings = [wording(Random(random.random()), settings.rewording) for _ in samples]
        encoded = encode([s.case for s in samples], tokenizer, rewordings)
        held = 0.0
        for number, chosen in enumerate(_batches([c.tokens for c in encoded], settings.batch_pieces, random), start=1):
            batch = collate([encoded[i] for i in chosen], settings.window, *marks)
            loss = _loss(network, [samples[i] for i in chosen], [encoded[i] for i in chosen], batch, settings)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            done += 1
            if done >= steps * (1 - AVERAGED_SHARE):
                average.update_parameters(network)
            held += float(loss.detach())
            if number % max(1, per_epoch // 10) == 0:
                progress(f"epoch {epoch + 1} of {settings.epochs}, loss {held / number:.3f}", min(done, steps), steps)
        if watch is not None:
            watch(epoch, network.eval(), held / max(1, number))
    result: Network = average.module
    return result.eval().cpu()


def _rates(network: Network, settings: Any) -> list[dict[str, Any]]:
    """Parameter groups: heads fastest, then the body's layers, each lower one slower; the word embeddings stay."""
    layers = network.body.config.num_hidden_layers
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        rate = settings.head_rate
        if name.startswith("body."):
            layer = int(name.split(".layer.")[1].split(".")[0]) if ".layer." in name else -1
            if layer < settings.frozen_layers:
                parameter.requires_grad_(False)
                continue
            rate = settings.rate * settings.layer_decay ** (layers - 1 - layer)
        groups.setdefault(rate, []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]
