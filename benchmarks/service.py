"""The HTTP service under the clock: `bentoml serve` in a process of its own, asked over one open connection."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.clock import SINGLE_CALLS, SINGLE_WARM, latencies, percentile
from benchmarks.sample import plain_texts
from stalkscreen.config import CHECKOUT, Settings
from stalkscreen.references import load_model, released_folder
from stalkscreen.schema import Case, Incident

READY_LIMIT = 60.0
"""Seconds after which a service that is not ready counts as failed."""


def measure(quick: bool) -> dict[str, Any]:
    """Readiness, memory and latency of the service with the released model, and of the model call itself.

    The calls go out one at a time from a process on the same two cores. The model alone is asked in this process,
    after the service has gone, the same texts in the same order.
    """
    calls = 40 if quick else SINGLE_CALLS
    texts = [row["narrative"] for row in plain_texts()][: calls + SINGLE_WARM]
    settings = Settings.from_env()
    folder = released_folder(settings)
    port = free_port()
    began = time.perf_counter()
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("bentoml")), "serve", "--host", "127.0.0.1", "--port", str(port)],
        cwd=CHECKOUT, env={**os.environ, "STALKSCREEN_MODEL": str(folder)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        _wait_until_ready(port, began)
        ready = time.perf_counter() - began
        over_http = _ask(port, texts)
        memory = _memory(process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    model = load_model(str(folder), settings)

    def call(chosen: list[str]) -> None:
        model.assess([Case.of_one(Incident(incident_id="B", narrative=text)) for text in chosen])

    alone = latencies(call, texts)
    return {
        "model": folder.name,
        "kind": model.kind,
        "calls": len(over_http),
        "ready_seconds": ready,
        "http_p50_ms": percentile(over_http, 0.50),
        "http_p99_ms": percentile(over_http, 0.99),
        "model_p50_ms": percentile(alone, 0.50),
        "model_p99_ms": percentile(alone, 0.99),
        **memory,
    }


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(port: int, began: float) -> None:
    while time.perf_counter() - began < READY_LIMIT:
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise TimeoutError("the service did not become ready")


def _ask(port: int, texts: list[str]) -> list[float]:
    """Milliseconds of each call after the first `SINGLE_WARM`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    # Header and body go out as two small packets; without this the second waits for the first one's receipt.
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(chosen: list[str]) -> None:
        body = json.dumps({"incident_id": "B", "narrative": chosen[0]}).encode()
        connection.request("POST", "/v1/screen", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise ConnectionError(f"the service answered {response.status}")

    return latencies(call, texts)


def _memory(pid: int) -> dict[str, Any]:
    """Memory of the service's processes after the calls: the largest one, and all with shared pages counted once."""
    import psutil

    parent = psutil.Process(pid)
    tree = [parent, *parent.children(recursive=True)]
    found = [p.memory_full_info() for p in tree]
    return {
        "processes": len(found),
        "largest_process_mib": max(m.rss for m in found) / 2**20,
        "all_processes_mib": sum(m.pss for m in found) / 2**20,
    }
