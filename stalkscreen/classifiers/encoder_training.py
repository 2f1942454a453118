"""Fitting the encoder: the network in torch and its loop. Only `EncoderClassifier.fit` imports this.

One pass over a case gives every clause its indicators and, by attention over the clauses, the case its judgement. All
heads are learnt together; an unknown label is left out of the loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as transformers_logging

from stalkscreen.classifiers.base import Progress
from stalkscreen.classifiers.encoder import BINARY, EncoderSettings, Sample
from stalkscreen.classifiers.encoder_graph import body_graph, rounded, widened
from stalkscreen.classifiers.encoder_heads import Heads
from stalkscreen.classifiers.encoder_losses import loss_of, pairs_of
from stalkscreen.classifiers.encoder_text import Batch, collate, encode
from stalkscreen.classifiers.encoder_wording import wording

WARM_UP_SHARE = 0.06
"""Share of the steps over which the learning rate rises."""


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
        self.short = False
        """Whether the body computes in bfloat16."""

    def clause_vectors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """`(clauses, width)` means of the word pieces, and `(clauses,)` how many pieces each has."""
        device = self.clause_head.weight.device
        ids, mask = (torch.from_numpy(a).to(device) for a in (batch.ids, batch.mask))
        with torch.autocast(device.type, torch.bfloat16, enabled=self.short):
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
        mean = torch.zeros(n, vectors.shape[1], device=vectors.device).index_add_(
            0, owner, vectors * count.unsqueeze(1)
        )
        mean = mean / pieces.clamp(min=1).unsqueeze(1)
        best = torch.full((n, k), -30.0, device=vectors.device)
        best = best.scatter_reduce(0, owner.unsqueeze(1).expand(-1, k), clause_logits[:, :k], "amax")
        joined = torch.cat([self.trunk_norm(torch.cat([pooled, mean], 1)), torch.sigmoid(best)], 1)
        hidden = functional.gelu(self.trunk(self.dropout(joined)))
        case_logits = self.case_head(self.dropout(hidden))
        others = case_logits.shape[1] - k
        indicators = case_logits[:, others:] + self.best_scale * best
        return torch.cat([case_logits[:, :others], indicators], 1), clause_logits


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


def _mates(samples: Sequence[Sample]) -> dict[int, list[int]]:
    """For each text of a pair, the rows of the others of that pair."""
    return {row: [other for other in rows if other != row] for rows in pairs_of(samples) for row in rows}


def _absent_mates(chosen: Sequence[int], mates: Mapping[int, Sequence[int]]) -> list[int]:
    """Mates of the chosen rows that were not chosen: texts of a pair are compared in one batch."""
    return sorted({mate for row in chosen for mate in mates.get(row, ())} - {*chosen})


def train(
    samples: Sequence[Sample],
    watched: Sequence[Sample],
    folder: Path,
    tokenizer: Any,
    settings: EncoderSettings,
    sizes: tuple[int, int, int],
    marks: tuple[int, int],
    progress: Progress,
) -> tuple[Network, list[dict[str, float]]]:
    """Fit the network.

    Args:
        samples: Cases to learn from.
        watched: Cases of other writers, to see when to stop; may be empty.
        folder: Of the pretrained body.
        tokenizer: Its tokeniser, without truncation or padding.
        settings: The kind's settings.
        sizes: Numbers of families, relationships and indicators.
        marks: Ids that open and close a window.
        progress: Called about ten times an epoch.

    Returns:
        The network in evaluation mode, on the CPU, as it was after the epoch that ranks the watched cases best, or after the
        last where none are watched; and one entry an epoch.
    """
    # On every load it reports that the pooler is left out, as asked.
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.manual_seed(settings.seed)
    random = Random(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Without dropout inside attention torch uses its fused attention: three times as fast on a processor.
    config = AutoConfig.from_pretrained(folder, local_files_only=True, attention_probs_dropout_prob=0.0)
    config.num_hidden_layers = min(settings.layers or config.num_hidden_layers, config.num_hidden_layers)
    body = AutoModel.from_pretrained(folder, local_files_only=True, config=config, add_pooling_layer=False)
    if settings.precision == "int8":
        round_frozen(body, settings.frozen_layers)
    network = Network(body, *sizes, settings.queries, settings.hidden, settings.dropout).to(device)
    network.short = settings.bfloat16 and has_bfloat16(device)
    optimiser = torch.optim.AdamW(_rates(network, settings), weight_decay=settings.weight_decay, fused=True)
    plain = encode([s.case for s in samples], tokenizer)
    per_epoch = len(_batches([c.tokens for c in plain], settings.batch_pieces, Random(0)))
    steps = per_epoch * settings.epochs
    warm = max(1, int(WARM_UP_SHARE * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / warm) * max(0.02, 1 - max(0, step - warm) / max(1, steps - warm))
    )
    mates = _mates(samples) if settings.pair_weight else {}
    curves: list[dict[str, float]] = []
    done, best, since = 0, -1.0, 0
    best_weights: dict[str, Tensor] = {}
    for epoch in range(settings.epochs):
        network.train()
        for kept in (body.embeddings, *body.encoder.layer[: settings.frozen_layers]):
            kept.eval()
        rewordings = [wording(Random(random.random()), settings.rewording) for _ in samples]
        encoded = encode([s.case for s in samples], tokenizer, rewordings)
        batches = _batches([c.tokens for c in encoded], settings.batch_pieces, random)
        held = 0.0
        for number, alike in enumerate(batches, start=1):
            chosen = [*alike, *_absent_mates(alike, mates)]
            batch = collate([encoded[i] for i in chosen], settings.window, *marks)
            learnt, read = [samples[i] for i in chosen], [encoded[i] for i in chosen]
            case_logits, clause_logits = network(batch)
            loss = loss_of(case_logits, clause_logits, learnt, read, batch, sizes, settings)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            done += 1
            held += float(loss.detach())
            if number % max(1, per_epoch // 10) == 0:
                progress(f"epoch {epoch + 1} of {settings.epochs}, loss {held / number:.3f}", min(done, steps), steps)
        curves.append({"epoch": epoch + 1, "loss": held / max(1, len(batches))})
        if watched:
            score = _watch(network, watched, tokenizer, settings, marks)
            curves[-1]["watched_average_precision"] = score
            progress(f"epoch {epoch + 1}: average precision {score:.3f} on watched writers", min(done, steps), steps)
            since += 1
            if score > best:
                best, since = score, 0
                best_weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
            if since >= settings.patience:
                break
    if best_weights:
        network.load_state_dict(best_weights)
    return network.eval().cpu(), curves


@torch.no_grad()
def _watch(
    network: Network, watched: Sequence[Sample], tokenizer: Any, settings: EncoderSettings, marks: tuple[int, int]
) -> float:
    """Average precision for stalking on watched cases."""
    network.eval()
    encoded = encode([s.case for s in watched], tokenizer)
    scores = np.zeros(len(watched))
    for chosen in _batches([c.tokens for c in encoded], 2 * settings.batch_pieces, Random(0)):
        logits, _ = network(collate([encoded[i] for i in chosen], settings.window, *marks))
        scores[chosen] = logits[:, 0].float().cpu().numpy()
    return float(average_precision_score([s.binary[0] for s in watched], scores))


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies in bfloat16 itself; elsewhere it is slower than 32 bits."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return any(
        bool(getattr(torch.cpu, name, bool)()) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


@torch.no_grad()
def round_frozen(body: Any, layers: int) -> None:
    """Round what stays frozen as it will be stored, so that the rest is fitted to what is served."""
    frozen = [body.embeddings.word_embeddings]
    frozen += [m for layer in body.encoder.layer[:layers] for m in layer.modules() if isinstance(m, nn.Linear)]
    for module in frozen:
        module.weight.copy_(torch.from_numpy(widened(*rounded(module.weight.numpy(), 4), 4)))


def export(network: Network, settings: EncoderSettings) -> tuple[bytes, Heads]:
    """The fitted network as an ONNX body and plain arrays."""
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    config = network.body.config
    body = {name.removeprefix("body."): value for name, value in state.items() if name.startswith("body.")}
    heads = Heads({n: v.astype(np.float16).astype(np.float32) for n, v in state.items() if not n.startswith("body.")})
    graph = body_graph(
        body,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.layer_norm_eps,
        settings.frozen_layers if settings.precision == "int8" else None,
    )
    return graph.SerializeToString(), heads


def _rates(network: Network, settings: EncoderSettings) -> list[dict[str, Any]]:
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
