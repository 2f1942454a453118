"""The machine: two cores for everything, its name, and the most arithmetic it can do, by a matrix product."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CORES = 2
"""Cores and threads of every measurement."""

SIZES = (512, 1024, 2048)
"""Sides of the square products tried; the fastest counts, since small ones are bound by memory and calls."""

LIBRARIES = (
    "numpy", "scipy", "scikit-learn", "torch", "transformers", "sentence-transformers", "spacy",
    "fasttext-community", "onnxruntime", "bentoml",
)  # fmt: skip


def two_cores() -> dict[str, str]:
    """Environment of a measured process: bounded threads and no network."""
    names = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON", "VECLIB_MAXIMUM")
    return {
        **os.environ,
        **{f"{name}_NUM_THREADS": str(CORES) for name in names},
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "true",
        "TQDM_DISABLE": "1",
    }


def stay_on_two_cores() -> None:
    """Keep this process, and what it starts, on the first two cores it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def peak_mib(pid: int | str = "self") -> float:
    """Largest resident memory of a process so far, in MiB (Linux counts it anew for every program started)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def processor() -> str:
    """Name of the processor."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def versions() -> dict[str, str]:
    """Versions of the libraries measured, those installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def arithmetic_limit(seconds: float = 2.0) -> dict[str, float]:
    """Fastest square matrix product in torch, in units of 10^9 operations a second, for fp32 and bf16.

    Args:
        seconds: Time spent on each size and type.
    """
    import torch

    torch.set_num_threads(CORES)
    best: dict[str, float] = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        rates = []
        for n in SIZES:
            a, b = torch.randn(n, n).to(kind), torch.randn(n, n).to(kind)
            a @ b
            began, done = time.perf_counter(), 0
            while time.perf_counter() - began < seconds:
                a @ b
                done += 1
            rates.append(2 * n**3 * done / (time.perf_counter() - began) / 1e9)
        best[name] = max(rates)
    return best


def describe() -> dict[str, Any]:
    """What the report says of the machine."""
    return {
        "processor": processor(),
        "cores_used": CORES,
        "python": platform.python_version(),
        "libraries": versions(),
    }
