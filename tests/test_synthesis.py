from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from stalkscreen.errors import ConfigError, DataError
from stalkscreen.schema import LabelledIncident
from stalkscreen.synthesis.authoring import read_sheet
from stalkscreen.synthesis.recorder import Recorder

ROW = {
    "n": 3, "st": "stalking", "src": "call_log", "at": "2022-11-03", "force": "Durham",
    "narrative": "He waits by the stop again. No threats made.", "fam": "stalking", "basis": "behavioural", "hc": True,
    "tier": "s2A", "four": "FUR", "dom": False, "cyber": False, "rel": "stranger", "conf": 2, "v": "f34 Polish", "s": "m",
    "ev": [["loitering", "waits by the stop again"], ["threats_to_victim", "No threats made", "n"]],
}  # fmt: skip


def sheet(folder: Path, *rows: dict[str, object]) -> Path:
    path = folder / "w99.jsonl"
    path.write_text("\n".join(json.dumps(r) for r in rows), encoding="utf-8")
    return path


class TestAuthoring:
    def test_quotes_become_offsets_and_short_names_become_labels(self, tmp_path: Path) -> None:
        (record,) = read_sheet(sheet(tmp_path, {**ROW, "origin": "retold"}), Recorder())
        assert record.incident_id == "syn-w99-003"
        assert record.origin == "retold"
        assert record.indicators == ("loitering",)
        assert [record.narrative[e.start : e.end] for e in record.evidence or ()] == [
            "waits by the stop again",
            "No threats made",
        ]
        assert [e.status for e in record.evidence or ()] == ["present", "negated"]
        assert (record.four_fixated, record.four_obsessive, record.four_repeated) == (True, False, True)
        assert record.people == {
            "victim": {"sex": "female", "age": 34, "background": "Polish"},
            "suspect": {"sex": "male"},
        }

    def test_pair_mates_share_a_case_and_a_pair(self, tmp_path: Path) -> None:
        mate = {**ROW, "n": 101, "pair_of": 3, "pair": "i1", "kind": "invariance", "narrative": ROW["narrative"]}
        base, other = read_sheet(sheet(tmp_path, ROW, mate), Recorder())
        assert base.pair_id == other.pair_id == "syn-w99-i1"
        assert base.case_id == other.case_id
        assert base.pair_kind == "invariance"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"ev": [["loitering", "not in it"]]}, "found 0 times"),
            (
                {"narrative": "waits by the stop again, waits by the stop again", "ev": [["loitering", "waits by"]]},
                "found 2 times",
            ),
            ({"v": "woman of 34"}, "victim or suspect"),
            ({"rel": "uncle"}, "relationship"),
        ],
    )
    def test_a_wrong_row_is_named_without_its_text(
        self, tmp_path: Path, change: dict[str, object], message: str
    ) -> None:
        with pytest.raises(DataError, match=message) as caught:
            read_sheet(sheet(tmp_path, {**ROW, **change}), Recorder())
        assert "n=3" in caught.value.message
        assert "waits by the stop again" not in caught.value.message


class TestRecorder:
    def test_the_same_record_always_gets_the_same_title(self) -> None:
        records = [
            LabelledIncident(
                incident_id=f"y{i}", narrative="x", stalking=i % 2 == 0, source_type="call_log",
                offence_family="stalking" if i % 2 == 0 else "dispute", occurred_at="2021-06-01",
            )
            for i in range(40)
        ]  # fmt: skip
        assert [Recorder().title(r) for r in records] == [Recorder().title(r) for r in records]

    def test_most_stalking_is_recorded_as_something_else_as_published(self) -> None:
        made = [
            LabelledIncident(
                incident_id=f"x{i}", narrative="x", stalking=True, offence_family="stalking", domestic=True,
                relationship="ex_partner" if i % 2 else "acquaintance", source_type="crime_report",
                occurred_at=f"{2015 + i % 8}-06-01",
            )
            for i in range(4000)
        ]  # fmt: skip
        titles = Counter(Recorder().title(r) for r in made)
        assert 0.12 < titles["stalking"] / 4000 < 0.24

    def test_a_wrong_settings_file_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "recorder.toml"
        path.write_text("eras = 3")
        with pytest.raises(ConfigError, match=r"recorder\.toml"):
            Recorder(path)
