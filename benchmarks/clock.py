"""Throughput, single calls and percentiles, measured the same way for everything."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

BULK_SECONDS, BULK_LEAST = 20.0, 500
"""Throughput: chunks of `BULK_LEAST` texts, none of them twice, until this many seconds are over or the texts are. `stalkscreen screen` reads in chunks of 500 too."""

SINGLE_CALLS, SINGLE_WARM = 300, 20


def throughput(answer: Callable[[list[str]], Any], texts: list[str], limit: float = BULK_SECONDS) -> tuple[float, int]:
    """Texts a second in bulk, and how many were read."""
    answer(texts[:8])
    began, at = time.perf_counter(), 0
    while at < len(texts) and time.perf_counter() - began < limit:
        answer(texts[at : at + BULK_LEAST])
        at = min(at + BULK_LEAST, len(texts))
    return at / (time.perf_counter() - began), at


def latencies(answer: Callable[[list[str]], Any], texts: list[str]) -> list[float]:
    """Milliseconds of calls with one text each, after `SINGLE_WARM` calls that do not count."""
    found = []
    for number, text in enumerate(texts):
        began = time.perf_counter()
        answer([text])
        if number >= SINGLE_WARM:
            found.append((time.perf_counter() - began) * 1000)
    return found


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]
