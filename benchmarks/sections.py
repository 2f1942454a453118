"""Measurements beside the table, each in a process of its own.

The arithmetic limit, the encoder against sentence-transformers, a stream at live prevalence, and cost against text
length and rows. The service has a module of its own (`service.py`).

Every function takes the results folder and whether the run is a quick one, and returns plain JSON figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np

from benchmarks.machine import CORES, arithmetic_limit
from benchmarks.results import Results
from benchmarks.sample import plain_texts

Json = dict[str, Any]

ROUNDS = 3
"""Times each side of a ratio is measured, in turn with the other side, so that a drift of the machine hits both."""

LONGEST_PIECES = 256
STREAM_TEXTS, STREAM_PREVALENCE = 1200, 0.02
BATCHES = (16, 32, 64)
"""Batch sizes tried for sentence-transformers; its fastest counts."""

LENGTHS = (250, 500, 1000, 2000, 4000, 8000, 12000, 16000, 20000)
"""Characters; 20,000 is the longest narrative that is taken (contract, section 1)."""

ROWS_READ = (125, 250, 500, 1000, 2000)


def piece_counts(texts: Sequence[str]) -> list[int]:
    """Word pieces of each text, with the two marks that the network adds, nothing cut."""
    from tokenizers import Tokenizer

    from benchmarks.peers.minilm import weights_folder

    tokenizer = Tokenizer.from_file(str(weights_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [len(e.ids) for e in tokenizer.encode_batch(list(texts))]


def operations(pieces: int, layers: int = 6, width: int = 384) -> float:
    """Multiplications and additions of a body's matrix products for one text of so many pieces; as it stands MiniLM-L6's.

    In each layer each piece passes four matrices of width x width and two of width x 4 widths, and meets every other
    piece twice in the attention.
    """
    return layers * pieces * (2 * 12 * width**2 + 2 * 2 * pieces * width)


def _short_texts(quick: bool) -> tuple[list[str], list[int]]:
    """Texts of at most 256 word pieces in a fixed mixed order, and the word pieces of each."""
    texts = [row["narrative"] for row in plain_texts()]
    chosen = [(t, n) for t, n in zip(texts, piece_counts(texts), strict=True) if n <= LONGEST_PIECES]
    chosen = chosen[: 64 if quick else 1000]
    return [t for t, _ in chosen], [n for _, n in chosen]


def _seconds(answer: Callable[[list[str]], Any], texts: list[str]) -> float:
    began = time.perf_counter()
    answer(texts)
    return time.perf_counter() - began


def _rate(answer: Callable[[list[str]], Any], texts: list[str]) -> float:
    """Texts a second."""
    return len(texts) / _seconds(answer, texts)


def machine(results: Results, quick: bool) -> Json:
    """Largest arithmetic rate by a matrix product, and what the machine is."""
    from benchmarks.machine import describe

    return {**describe(), "limit_gflops": arithmetic_limit(0.5 if quick else 2.0)}


def ratio_peer(results: Results, quick: bool) -> Json:
    """sentence-transformers, torch fp32: embeddings a second, at its fastest batch size."""
    import torch

    from benchmarks.peers.minilm import sentence_transformer

    texts, pieces = _short_texts(quick)
    flops = float(np.mean([operations(n) for n in pieces]))
    torch.set_num_threads(CORES)
    model = sentence_transformer(LONGEST_PIECES)

    def encoded(batch: int) -> Callable[[list[str]], Any]:
        return lambda chosen: model.encode(chosen, batch_size=batch, show_progress_bar=False)

    encoded(16)(texts[:16])
    few = texts[: max(64, len(texts) // 5)]
    batch = max(BATCHES, key=lambda size: _rate(encoded(size), few))
    rate = _rate(encoded(batch), texts)
    return {"texts": len(texts), "batch": batch, "narratives_a_second": rate, "gflops": rate * flops / 1e9}


def _ours(results: Results, name: str) -> Any:
    from benchmarks.rows import row_class
    from benchmarks.worker import fitted_folder

    return row_class(name).load(fitted_folder(results, name))


def ratio_ours(results: Results, quick: bool) -> Json:
    """The serving encoder on the same texts: the scores alone, and the whole answers (which the ratio is taken from)."""
    row = _ours(results, "encoder")
    texts, pieces = _short_texts(quick)
    layers, width = row.shape()
    flops = float(np.mean([operations(n, layers, width) for n in pieces]))
    row.assess(texts[:16])
    scores, answers = _rate(row.score, texts), _rate(row.assess, texts)
    return {
        "texts": len(texts),
        "scores_a_second": scores,
        "narratives_a_second": answers,
        "gflops": scores * flops / 1e9,
    }


def stream_texts(quick: bool) -> list[str]:
    """A stream as a force would send it: 2% stalking, the rest the corpus's ordinary texts, mixed, none twice."""
    rows = plain_texts()
    total = 150 if quick else STREAM_TEXTS
    wanted = {"stalking": round(total * STREAM_PREVALENCE)}
    wanted["ordinary"] = total - wanted["stalking"]
    pools = {name: [r["narrative"] for r in rows if r["stratum"] == name][:n] for name, n in wanted.items()}
    share = len(pools["ordinary"]) / wanted["ordinary"]
    pools["stalking"] = pools["stalking"][: max(1, round(wanted["stalking"] * share))]
    mixed = [t for pool in pools.values() for t in pool]
    return [mixed[i] for i in np.random.default_rng(0).permutation(len(mixed)).tolist()]


def stream_of(name: str) -> Callable[[Results, bool], Json]:
    """The section that sends the stream through one of this project's rows."""

    def section(results: Results, quick: bool) -> Json:
        row = _ours(results, name)
        texts = stream_texts(quick)
        row.assess(texts[:8])
        began = time.perf_counter()
        answers = row.assess(texts)
        seconds = time.perf_counter() - began
        stages = [a.model.stage for a in answers]
        return {
            "texts": len(texts),
            "narratives_a_second": len(texts) / seconds,
            "stages": {stage: stages.count(stage) for stage in sorted(set(stages))},
        }

    return section


def stream_peer(results: Results, quick: bool) -> Json:
    """The same stream through sentence-transformers, torch fp32."""
    import torch

    from benchmarks.peers.minilm import sentence_transformer

    torch.set_num_threads(CORES)
    texts, model = stream_texts(quick), sentence_transformer(LONGEST_PIECES)
    model.encode(texts[:16], show_progress_bar=False)
    rate = _rate(lambda chosen: model.encode(chosen, batch_size=32, show_progress_bar=False), texts)
    return {"texts": len(texts), "narratives_a_second": rate}


def growth_of(name: str) -> Callable[[Results, bool], Json]:
    """The section that times one of this project's rows against text length and against rows."""

    def section(results: Results, quick: bool) -> Json:
        row = _ours(results, name)
        texts = [r["narrative"] for r in plain_texts()]
        whole = "\n".join(texts[:400])[: max(LENGTHS)]
        row.assess([whole])
        by_length = []
        for length in LENGTHS[::4] if quick else LENGTHS:
            text = [whole[:length].rstrip()]
            by_length.append([length, median(_seconds(row.assess, text) for _ in range(5))])
        counts = [n for n in (ROWS_READ[:3] if quick else ROWS_READ) if n <= len(texts)]
        by_rows = [[n, _seconds(row.assess, texts[:n])] for n in counts]
        return {
            "length": {"points": by_length, **straightness(by_length)},
            "rows": {"points": by_rows, **straightness(by_rows)},
        }

    return section


def straightness(points: Sequence[Sequence[float]]) -> dict[str, float]:
    """How well a straight line fits seconds against size, and the power of size over the upper half of the points.

    Returns:
        `r2` of the line (1 is straight) and `power` (1 is linear, 2 is quadratic) by least squares on logarithms.
    """
    x, y = np.array(points, dtype=float).T
    slope, start = np.polyfit(x, y, 1)
    left = y - (slope * x + start)
    upper = len(x) // 2 if len(x) > 3 else 0
    return {
        "r2": float(1 - (left**2).sum() / max(((y - y.mean()) ** 2).sum(), 1e-12)),
        "power": float(np.polyfit(np.log(x[upper:]), np.log(y[upper:]), 1)[0]),
    }


def service(results: Results, quick: bool) -> Json:
    """See `benchmarks.service`."""
    from benchmarks.service import measure

    return measure(quick)


SECTIONS: dict[str, Callable[[Results, bool], Json]] = {
    "machine": machine,
    **{f"ratio/peer-{i}": ratio_peer for i in range(ROUNDS)},
    **{f"ratio/ours-{i}": ratio_ours for i in range(ROUNDS)},
    "stream/peer": stream_peer,
    **{f"stream/{name}": stream_of(name) for name in ("linear", "encoder", "cascade")},
    **{f"growth/{name}": growth_of(name) for name in ("linear", "encoder")},
    "service": service,
}
"""Name to what measures it; a name is also where its result is kept."""
