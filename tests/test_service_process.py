"""A plain `bentoml serve`, in a copy of the checkout and from a built Bento, with an empty environment.

Every process here runs under a guard that denies and records any attempt to reach another machine, and everything it
prints is searched for words that were sent to it.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stalkscreen.model import keyword_model
from stalkscreen.references import RELEASED

ROOT = Path(__file__).parents[1]
BENTOML = Path(sys.executable).with_name("bentoml")
CANARY = "zebrafish"
NAME = "stalkscreen_service"

GUARD = """
import ipaddress, os, sys

def watch(event, args):
    if event not in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        return
    where = args[1] if event != "socket.getaddrinfo" else args
    host = where[0] if isinstance(where, tuple) else None
    if host is None or isinstance(where, str):
        return
    host = host.decode() if isinstance(host, bytes) else host
    try:
        near = ipaddress.ip_address(host).is_loopback or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        near = host in ("localhost", "")
    if not near:
        with open(os.path.join(os.path.dirname(__file__), "attempts"), "a") as log:
            log.write(f"{event} {host} {sys.argv}\\n")
        raise OSError("denied by the guard")

sys.addaudithook(watch)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what `bentoml serve` needs, with the keyword baseline as its released model."""
    folder: Path = tmp_path_factory.mktemp("checkout")
    for name in ("stalkscreen", "serving"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("bentofile.yaml", ".bentoignore", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    keyword_model().save(folder / "models" / "keyword-tiny")
    (folder / "models" / RELEASED).write_text("keyword-tiny\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that puts the guard into every Python that has it on PYTHONPATH."""
    folder: Path = tmp_path_factory.mktemp("guard")
    (folder / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    return folder


def environment(guard: Path, home: Path) -> dict[str, str]:
    """Nothing that concerns BentoML or this project."""
    home.mkdir(parents=True, exist_ok=True)
    return {"PATH": f"{BENTOML.parent}:/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(guard)}


def attempts(guard: Path) -> str:
    """What tried to leave the machine since the last call."""
    found = guard / "attempts"
    text = found.read_text(encoding="utf-8") if found.exists() else ""
    found.unlink(missing_ok=True)
    return text


class Served:
    """A running service: `call` it, then read what it printed."""

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self.log = log

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of one call on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read().decode()

    def post(self, path: str, body: Any, kind: str = "application/json") -> tuple[int, str]:
        """Status and text of a POST of `body`, as JSON unless it is bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, _, text = self.call("POST", path, data, {"content-type": kind})
        return status, text


@contextlib.contextmanager
def serve(folder: Path, env: dict[str, str], log: Path, *target: str) -> Iterator[Served]:
    """`bentoml serve` in `folder`, ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(BENTOML), "serve", *target, "-p", str(port)],
            cwd=folder,
            env=env,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    served = Served(port, log)
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if served.call("GET", "/readyz")[0] == 200:
                    break
            time.sleep(0.1)
        else:
            raise AssertionError(log.read_text(encoding="utf-8"))
        yield served
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def record(**fields: Any) -> dict[str, Any]:
    return {"incident_id": "A1", "narrative": f"{CANARY} followed her home and will not stop."} | fields


def every_kind_of_call(served: Served) -> dict[str, tuple[int, str]]:
    """One call of every kind with the canary in it; status expected first."""
    good, canary = json.dumps(record()).encode(), CANARY.encode()
    big = good + b" " * 1_100_000
    return {
        "200 one": served.post("/v1/screen", record(case_id=CANARY, force=CANARY, victim={"surname": CANARY})),
        "200 forwarded": served.call(
            "POST",
            "/v1/screen",
            good,
            {"content-type": "application/json", "X-Forwarded-For": f"{CANARY} followed her", "User-Agent": CANARY},
        )[::2],
        "200 forwarded zone": served.call("GET", "/v1/model", headers={"X-Forwarded-For": f"fe80::1%{CANARY}"})[::2],
        "200 batch": served.post("/v1/screen_batch", {"incidents": [record()]}),
        "400 broken": served.post("/v1/screen", good[:-3]),
        "400 not utf-8": served.post("/v1/screen", good[:-2] + b'\xff"}'),
        "400 nan": served.post("/v1/screen", good[:-1] + b', "x": NaN}'),
        "400 surrogate": served.post("/v1/screen", b'{"narrative": "\\ud800 ' + canary + b'"}'),
        "400 deep": served.post("/v1/screen", (b'{"' + canary + b'":') * 9000),
        "400 two keys": served.post("/v1/screen", b'{"' + canary + b'": 1, "' + canary + b'": 2}'),
        "404 path": served.call("POST", f"/v1/{CANARY}", good, {"content-type": "application/json"})[::2],
        "405 method": served.call("PUT", f"/v1/screen?{CANARY}")[::2],
        "405 other method": served.call(CANARY.upper(), "/v1/screen")[::2],
        "413 long": served.post("/v1/screen", big),
        "413 chunked": served.call("POST", "/v1/screen", iter([big]), {"content-type": "application/json"})[::2],
        "415 kind": served.post("/v1/screen", good, f"text/{CANARY}"),
        "415 pickle": served.post("/v1/screen", canary, "application/vnd.bentoml+pickle"),
        "422 long": served.post("/v1/screen", record(narrative=CANARY * 3000)),
        "422 control": served.post("/v1/screen", record(narrative=f"{CANARY}\x00")),
        "422 type": served.post("/v1/screen", record(narrative=[CANARY])),
        "422 choice": served.post("/v1/screen", record(source_type=CANARY)),
        "422 unknown": served.post("/v1/screen", record(victim={CANARY: CANARY})),
        "422 batch": served.post("/v1/screen_batch", {"incidents": [record(), record(occurred_at=CANARY)]}),
        "422 root": served.post("/v1/screen_batch", [record()]),
    }


@pytest.mark.slow
def test_a_plain_serve_answers_stays_private_and_stays_offline(checkout: Path, guard: Path, tmp_path: Path) -> None:
    attempts(guard)
    with serve(checkout, environment(guard, tmp_path / "home"), tmp_path / "log") as served:
        for name, (status, text) in every_kind_of_call(served).items():
            assert status == int(name[:3]), f"{name}: {status} {text[:300]}"
            if status >= 400:
                assert list(json.loads(text)["error"]) == ["code", "message", "field"], name
                assert CANARY not in text.lower(), name
        status, _, model = served.call("GET", "/v1/model")
        assert json.loads(model)["version"] == "keyword"
        status, _, metrics = served.call("GET", "/metrics")
        assert status == 200
        assert 'endpoint="/v1/screen",http_response_code="422"' in metrics
        assert CANARY not in metrics.lower()
    printed = served.log.read_text(encoding="utf-8")
    assert "path=/v1/screen" in printed
    assert "path=/unknown" in printed
    assert "Traceback" not in printed
    assert CANARY not in printed.lower()
    assert attempts(guard) == ""


def test_the_guard_would_have_seen_it(guard: Path, tmp_path: Path) -> None:
    attempts(guard)
    code = "import httpx; httpx.post('https://t.bentoml.com', json={}, timeout=1)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(guard, tmp_path / "home"), capture_output=True)
    assert done.returncode != 0
    assert "t.bentoml.com" in attempts(guard)


@pytest.mark.slow
def test_a_bento_is_built_moved_and_served_without_source_or_network(
    checkout: Path, guard: Path, tmp_path: Path
) -> None:
    def bentoml(folder: Path, home: str, *words: str) -> None:
        folder.mkdir(exist_ok=True)
        env = environment(guard, tmp_path / home)
        done = subprocess.run([str(BENTOML), *words], cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    attempts(guard)
    (checkout / ".venv").mkdir(exist_ok=True)
    (checkout / ".venv" / "models").write_text("not for the Bento", encoding="utf-8")
    bentoml(checkout, "builder", "build")
    packed = {p.name for p in (tmp_path / "builder" / "bentoml" / "bentos" / NAME).glob("*/src/*")}
    assert packed == {"stalkscreen", "serving", "models", "LICENSE", "bentofile.yaml"}
    assert attempts(guard) == ""
    bentoml(checkout, "builder", "export", "--do-not-track", f"{NAME}:latest", str(tmp_path / "out.bento"))
    bentoml(tmp_path / "empty", "target", "import", "--do-not-track", str(tmp_path / "out.bento"))
    with serve(
        tmp_path / "empty", environment(guard, tmp_path / "target"), tmp_path / "log", f"{NAME}:latest"
    ) as served:
        assert json.loads(served.call("GET", "/v1/model")[2])["version"] == "keyword"
        status, text = served.post("/v1/screen", record())
        assert (status, json.loads(text)["incident_id"]) == (200, "A1")
    bentos = tmp_path / "target" / "bentoml" / "bentos" / NAME
    models = bentos / (bentos / "latest").read_text(encoding="utf-8") / "src" / "models"
    (tmp_path / "in.jsonl").write_text(json.dumps(record()), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "stalkscreen", "screen", tmp_path / "in.jsonl", "--out", tmp_path / "out.jsonl"],
        env=environment(guard, tmp_path / "target") | {"STALKSCREEN_MODELS": str(models)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))["model"]["version"] == "keyword"
    assert attempts(guard) == ""
