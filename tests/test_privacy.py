"""No narrative text leaves by a message, a log or a file that is not an answer; and nothing opens an outside socket."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from stalkscreen.cli import main
from stalkscreen.dataset import write_labelled
from stalkscreen.schema import LabelledIncident

CANARY = "quartzlanterncanary"


@pytest.fixture
def outside_denied(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    tried: list[object] = []

    def refuse(self: object, address: object, *rest: object, **more: object) -> None:
        tried.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried


@pytest.fixture
def labelled(tmp_path: Path, records: list[LabelledIncident]) -> Path:
    path = tmp_path / "labelled.jsonl"
    write_labelled(
        [r.model_copy(update={"narrative": f"{r.narrative} {CANARY}"}) for r in records[:40:2] + records[50::3]], path
    )
    return path


def test_evaluation_and_its_files_hold_no_text_and_need_no_network(
    tmp_path: Path, labelled: Path, model_folder: Path, outside_denied: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "report"
    with caplog.at_level(logging.DEBUG):
        done = CliRunner().invoke(
            main, ["evaluate", "--data", str(labelled), "--model", str(model_folder), "--out", str(out)]
        )
    assert done.exit_code == 0, done.output
    assert CANARY not in done.output + caplog.text
    for path in out.iterdir():
        assert CANARY not in path.read_text(encoding="utf-8"), path.name
    assert outside_denied == []


@pytest.mark.parametrize(
    "row",
    [
        f'{{"incident_id": "a", "narrative": "{CANARY}\\u0000"}}',
        f'{{"incident_id": "a", "narrative": "{CANARY}", "source_type": "hearsay"}}',
        f'{{"incident_id": "a", "narrative": "{CANARY} {"y" * 20_000}"}}',
        f'{{"incident_id": "a", "narrative": "{CANARY}", "occurred_at": "{CANARY}"}}',
        f'{{"incident_id": "a", "narrative": ["{CANARY}"]}}',
        f'{{"incident_id": "a", "narrative": "{CANARY}"',
        f'{{"incident_id": "a", "narrative": "x", "victim": {{"surname": "{CANARY}", "shoe_size": "{CANARY}"}}}}',
    ],
)
def test_no_bad_record_is_quoted_in_its_error(
    tmp_path: Path, model_folder: Path, row: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "bad.jsonl"
    source.write_text(row + "\n", encoding="utf-8")
    with caplog.at_level(logging.DEBUG):
        done = CliRunner().invoke(
            main, ["screen", str(source), "--model", str(model_folder), "--out", str(tmp_path / "o.jsonl")]
        )
    assert done.exit_code == 2, done.output
    assert CANARY not in done.output + caplog.text


def test_screening_needs_no_network(
    tmp_path: Path, labelled: Path, model_folder: Path, outside_denied: list[object]
) -> None:
    done = CliRunner().invoke(
        main, ["screen", str(labelled), "--model", str(model_folder), "--out", str(tmp_path / "o.csv")]
    )
    assert done.exit_code == 0, done.output
    assert outside_denied == []
