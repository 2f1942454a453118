from __future__ import annotations

import csv
import json
import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from stalkscreen.cli import main
from stalkscreen.config import TrainConfig
from stalkscreen.dataset import read_labelled, write_labelled
from stalkscreen.errors import ConfigError, DataError
from stalkscreen.schema import LabelledIncident
from training import label_studio
from training.label_audit import Audit, audit, disagreeing_duplicates
from training.label_review import corrected, read_review, review_csv

CONFIG = TrainConfig(kind="linear", validation={"folds": 3, "near_duplicate": 0.9})
WRONG = ("R004", "R013", "R060", "R087")


def turned(record: LabelledIncident) -> LabelledIncident:
    """The record with its stalking label turned round and nothing that contradicts it."""
    return record.model_copy(
        update={
            "stalking": not record.stalking,
            "offence_family": "other_crime" if record.stalking else "stalking",
            "tier": None,
        }
    )


@pytest.fixture(scope="module")
def spoilt(records: list[LabelledIncident]) -> list[LabelledIncident]:
    """The small labelled set with four labels turned round."""
    return [turned(r) if r.incident_id in WRONG else r for r in records]


@pytest.fixture(scope="module")
def found(spoilt: list[LabelledIncident]) -> Audit:
    return audit(spoilt, CONFIG)


def labelled(number: int, text: str, stalking: bool, **fields: object) -> LabelledIncident:
    return LabelledIncident.model_validate(
        {"incident_id": f"r{number}", "narrative": text, "stalking": stalking, **fields}
    )


class TestAudit:
    def test_labels_turned_on_purpose_are_listed_with_the_right_suggestion(
        self, found: Audit, spoilt: list[LabelledIncident]
    ) -> None:
        listed = {
            f.incident_id: f
            for f in found.findings
            if {"label_misses_stalking", "label_overstates_stalking"} & set(f.kinds)
        }
        assert set(listed) <= set(WRONG)
        assert len(listed) >= 3
        assert all(f.suggested != f.current for f in listed.values())

    def test_what_matters_most_stands_first(self, found: Audit) -> None:
        order = [f.matters for f in found.findings]
        assert order == sorted(order, reverse=True)

    def test_the_records_are_not_changed(self, found: Audit, spoilt: list[LabelledIncident]) -> None:
        assert [f.current for f in found.findings] == [spoilt[f.row].stalking for f in found.findings]
        assert found.records == len(spoilt)
        assert found.indicators_used

    def test_a_recorded_offence_is_doubted_only_towards_stalking(self, records: list[LabelledIncident]) -> None:
        titled = [
            r.model_copy(update={"recorded_offence": "harassment" if r.stalking else "stalking"}) for r in records
        ]
        doubted = [f for f in audit(titled, CONFIG).findings if "recorded_offence" in f.kinds]
        assert doubted
        assert all(f.recorded_offence == "harassment" for f in doubted)
        assert all(f.suggested for f in doubted)

    def test_it_works_without_indicators_writers_and_cases(self, spoilt: list[LabelledIncident]) -> None:
        bare = [LabelledIncident(incident_id=r.incident_id, narrative=r.narrative, stalking=r.stalking) for r in spoilt]
        result = audit(bare, CONFIG)
        assert not result.indicators_used
        assert result.grouping == "near-duplicate text"

    def test_one_class_only_is_refused(self, records: list[LabelledIncident]) -> None:
        with pytest.raises(DataError, match="both labels"):
            audit([r for r in records if r.stalking], CONFIG)

    def test_without_cleanlab_the_extra_is_named(
        self, records: list[LabelledIncident], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
        with pytest.raises(ConfigError, match=r"stalkscreen\[audit\]"):
            audit(records, CONFIG)


class TestDuplicates:
    LONG = "the caller says that a man was outside the shop at noon with a grey dog and a blue van"

    def test_nearly_equal_texts_with_different_labels_name_each_other(self) -> None:
        rows = [
            labelled(0, self.LONG, True),
            labelled(1, self.LONG.replace("noon", "one"), False),
            labelled(2, self.LONG.replace("blue", "red"), True),
            labelled(3, "nothing like the others at all", False),
        ]
        pairs = disagreeing_duplicates(rows, 0.6)
        assert 1 in pairs[0]
        assert 0 in pairs[1]
        assert 2 not in pairs[0]
        assert 3 not in pairs

    def test_declared_contrast_pairs_differ_on_purpose(self) -> None:
        pair = {"pair_id": "p", "pair_kind": "contrast"}
        rows = [labelled(0, self.LONG, True, **pair), labelled(1, self.LONG + " today", False, **pair)]
        assert disagreeing_duplicates(rows, 0.6) == {}


class TestFiles:
    def test_the_review_file_has_empty_columns_for_the_reviewer_and_no_narrative(
        self, found: Audit, spoilt: list[LabelledIncident]
    ) -> None:
        text = review_csv(found)
        rows = list(csv.DictReader(text.splitlines()))
        assert [r["incident_id"] for r in rows] == [f.incident_id for f in found.findings]
        assert [r["rank"] for r in rows] == [str(n) for n in range(1, len(rows) + 1)]
        assert not any(r["reviewed_stalking"] or r["reviewer"] or r["reason"] for r in rows)
        assert not any(r.narrative[:25] in text for r in spoilt)

    def test_tasks_hold_the_narrative_only_when_asked(self, found: Audit, spoilt: list[LabelledIncident]) -> None:
        without = json.loads(label_studio.tasks(found, spoilt, with_text=False))
        assert all("text" not in task["data"] for task in without)
        first = json.loads(label_studio.tasks(found, spoilt, with_text=True))[0]
        assert first["data"]["text"] == spoilt[found.findings[0].row].narrative
        assert first["predictions"][0]["result"][0]["type"] == "choices"
        assert 0 <= first["predictions"][0]["score"] <= 1

    def test_an_id_that_looks_like_a_formula_comes_back(self, records: list[LabelledIncident], tmp_path: Path) -> None:
        rows = [records[0].model_copy(update={"incident_id": "=1+1"}), *records[1:]]
        path = review(tmp_path, ["'=1+1,false,a,b"])
        assert read_review(path, rows)[0].row == 0

    @pytest.mark.parametrize("odd", ["=1+1", " ＝1+1", "+44"])
    def test_the_review_file_holds_no_formula_and_its_ids_are_found_again(
        self, found: Audit, spoilt: list[LabelledIncident], tmp_path: Path, odd: str
    ) -> None:
        finding = replace(found.findings[0], incident_id=odd)
        (row,) = csv.DictReader(review_csv(replace(found, findings=[finding])).splitlines())
        assert row["incident_id"] == f"'{odd}"
        rows = [r.model_copy(update={"incident_id": odd}) if i == finding.row else r for i, r in enumerate(spoilt)]
        path = review(tmp_path, [f"{row['incident_id']},{row['current_stalking']},ann,agreed"])
        assert read_review(path, rows)[0].row == finding.row


def review(folder: Path, lines: list[str], header: str = "incident_id,reviewed_stalking,reviewer,reason") -> Path:
    path = folder / "reviewed.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def task(
    incident_id: str, choice: str | None, reason: str, *, by: object = 1, current: str = "true", **more: object
) -> dict[str, Any]:
    """An annotated task as Label Studio exports it."""
    stalking = {"from_name": "stalking", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}
    why = {"from_name": "reason", "to_name": "text", "type": "textarea", "value": {"text": [reason]}}
    result = [stalking, *([why] if reason else [])] if choice else []
    data = {"incident_id": incident_id, "current_stalking": current, "text": "He followed the twins home."}
    return {"id": 5, "data": data, "annotations": [{"completed_by": by, "result": result, **more}]}


def export(folder: Path, *tasks: dict[str, Any]) -> Path:
    path = folder / "export.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


class TestReview:
    def test_every_problem_of_a_reviewed_file_is_listed(self, records: list[LabelledIncident], tmp_path: Path) -> None:
        quoted = " ".join(records[5].narrative.replace(",", "").split()[:9])
        path = review(
            tmp_path,
            [
                "nobody,true,ann,because",
                "R001,maybe,ann,because",
                "R002,false,ann,it is not",
                "R002,true,ann,it is",
                "R003,false,,no name given",
                "R004,false,ann,",
                f"R005,false,ann,{quoted}",
                "R006,false",
            ],
        )
        with pytest.raises(DataError) as caught:
            read_review(path, records)
        wrong = {(p["row"], p["field"]) for p in caught.value.context["problems"]}
        assert wrong == {
            (1, "incident_id"),
            (2, "reviewed_stalking"),
            (4, "incident_id"),
            (5, "reviewer"),
            (6, "reason"),
            (7, "reason"),
            (8, None),
        }
        assert quoted not in caught.value.message

    def test_missing_columns_are_all_named(self, records: list[LabelledIncident], tmp_path: Path) -> None:
        path = review(tmp_path, ["R001,true"], header="incident_id,decision")
        with pytest.raises(DataError, match="3 problems"):
            read_review(path, records)

    def test_a_review_of_other_labels_is_refused(self, records: list[LabelledIncident], tmp_path: Path) -> None:
        path = review(
            tmp_path,
            ["R001,false,true,ann,ok"],
            header="incident_id,current_stalking,reviewed_stalking,reviewer,reason",
        )
        with pytest.raises(DataError, match="run the audit again"):
            read_review(path, records)

    def test_a_file_without_decisions_is_refused(self, records: list[LabelledIncident], tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no row has a decision"):
            read_review(review(tmp_path, ["R001,,,"]), records)

    def test_a_spreadsheets_semicolons_capitals_and_blank_lines_are_read(
        self, records: list[LabelledIncident], tmp_path: Path
    ) -> None:
        path = review(
            tmp_path,
            ["R001;FALSE;ann;not fixated", "", "R002;;;"],
            header="\ufeffincident_id;reviewed_stalking;reviewer;reason",
        )
        (decision,) = read_review(path, records)
        assert (decision.row, decision.stalking) == (1, False)

    def test_the_answers_of_label_studio_are_read(self, records: list[LabelledIncident], tmp_path: Path) -> None:
        path = export(
            tmp_path,
            task("R001", "not_stalking", "one act only", by=7),
            task("R002", "stalking", "", by={"id": 9, "email": "ann@force.example"}),
            task("R003", None, ""),
            task("R004", "not_stalking", "skipped", was_cancelled=True),
        )
        decisions = read_review(path, records)
        assert [(d.row, d.stalking, d.reviewer, d.reason) for d in decisions] == [
            (1, False, "7", "one act only"),
            (2, True, "ann@force.example", ""),
        ]

    def test_white_space_around_an_id_belongs_to_it_and_need_not_come_back(
        self, records: list[LabelledIncident], tmp_path: Path
    ) -> None:
        names = ["a ", "b", " b", " =1", "c"]
        spaced = [r.model_copy(update={"incident_id": n}) for r, n in zip(records, names, strict=False)]
        assert [r.stalking for r in spaced] == [True] * 5
        as_written = review(tmp_path, ["a ,true,ann,x", "b,true,ann,x", " b,true,ann,x", "' =1,true,ann,x"])
        assert [d.row for d in read_review(as_written, spaced)] == [0, 1, 2, 3]
        trimmed = review(tmp_path, ["a,true,ann,x", "'=1,true,ann,x", "  c ,true,ann,x"])
        assert [d.row for d in read_review(trimmed, spaced)] == [0, 3, 4]
        tasks = export(tmp_path, task("a ", "stalking", "x"), task(" b", "stalking", "x"), task("c", "stalking", "x"))
        assert [d.row for d in read_review(tasks, spaced)] == [0, 2, 4]
        with pytest.raises(DataError, match="is not an id of the data"):
            read_review(review(tmp_path, ["d ,true,ann,x"]), spaced)

    def test_every_problem_of_an_export_is_listed(self, records: list[LabelledIncident], tmp_path: Path) -> None:
        twice = task("R001", "not_stalking", "one act")
        twice["annotations"] *= 2
        path = export(
            tmp_path,
            twice,
            {"incident_id": "R002", "stalking": "stalking"},
            task("nobody", "stalking", "x"),
            task("R003", "perhaps", "x"),
            task("R004", "not_stalking", ""),
            task("R005", "stalking", "agreed", current="false"),
        )
        with pytest.raises(DataError) as caught:
            read_review(path, records)
        assert [(p["row"], p["field"]) for p in caught.value.context["problems"]] == [
            (1, "annotations"),
            (2, None),
            (3, "incident_id"),
            (4, "reviewed_stalking"),
            (5, "reason"),
            (6, "current_stalking"),
        ]
        assert "twins" not in caught.value.message

    @pytest.mark.parametrize("text", ["", "{", "{}", "[1]", "[[]]", "\ufeff", '"x"', "[" * 100_000])
    def test_what_is_no_list_of_tasks_is_refused(
        self, records: list[LabelledIncident], tmp_path: Path, text: str
    ) -> None:
        path = tmp_path / "export.json"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=r"JSON|list of tasks"):
            read_review(path, records)

    def test_both_labels_are_kept_and_what_contradicts_the_new_one_goes(
        self, records: list[LabelledIncident], tmp_path: Path
    ) -> None:
        path = review(tmp_path, ["R001,false,ann,one act only", "R002,true,ann,agreed", "R070,true,bob,a course"])
        when = datetime(2026, 1, 2, tzinfo=UTC)
        made, log = corrected(records, read_review(path, records), when)
        assert (made[1].stalking, made[1].model_extra) == (False, {"stalking_before_review": "true"})
        assert (made[1].tier, made[1].offence_family, made[1].stratum) == (None, None, None)
        assert (made[2].stalking, made[2].tier) == (True, records[2].tier)
        assert made[2].model_extra == {"stalking_before_review": "true"}
        assert (made[70].stalking, made[70].offence_family) == (True, "stalking")
        assert made[3] == records[3]
        assert records[1].stalking
        assert [(e["incident_id"], e["from"], e["to"], e["who"]) for e in log] == [
            ("R001", True, False, "ann"),
            ("R002", True, True, "ann"),
            ("R070", False, True, "bob"),
        ]
        assert log[0]["when"] == "2026-01-02T00:00:00+00:00"
        assert log[0]["also"]["tier"] == [records[1].tier, None]

    def test_a_second_review_keeps_the_first_label(self, records: list[LabelledIncident], tmp_path: Path) -> None:
        once, _ = corrected(records, read_review(review(tmp_path, ["R001,false,ann,one act"]), records))
        twice, log = corrected(once, read_review(review(tmp_path, ["R001,true,bob,three acts"]), once))
        assert twice[1].model_extra == {"stalking_before_review": "true"}
        assert log[0]["from"] is False


class TestCommand:
    @pytest.fixture
    def data(self, spoilt: list[LabelledIncident], tmp_path: Path) -> Path:
        return write_labelled(spoilt, tmp_path / "set.csv")

    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        """The small set repeats its sentences: only what is nearly the same word for word counts as the same."""
        path = tmp_path / "audit.toml"
        path.write_text('kind = "linear"\n[validation]\nfolds = 3\nnear_duplicate = 0.9\n')
        return path

    @staticmethod
    def call(*args: object) -> Result:
        return CliRunner().invoke(main, ["audit-labels", *(str(a) for a in args)], prog_name="stalkscreen")

    def test_help_has_an_example(self) -> None:
        done = self.call("--help")
        assert done.exit_code == 0
        assert "stalkscreen audit-labels --data" in done.output

    def test_from_audit_to_corrected_set(self, data: Path, config: Path, tmp_path: Path) -> None:
        before = data.read_bytes()
        out = tmp_path / "audit"
        done = self.call("--data", data, "--config", config, "--out", out)
        assert done.exit_code == 0, done.output
        assert "100 records read" in done.output
        assert "No label was changed" in done.output
        assert {p.name for p in out.iterdir()} == {"review.csv", "label_studio_tasks.json"}
        with (out / "review.csv").open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
        rows[0] |= {"reviewed_stalking": rows[0]["suggested_stalking"], "reviewer": "ann", "reason": "read it again"}
        with (out / "review.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        again = self.call("--data", data, "--out", out)
        assert again.exit_code == 2
        assert "somebody's decisions" in again.output
        done = self.call("--data", data, "--apply", out / "review.csv", "--out", out)
        assert done.exit_code == 0, done.output
        assert data.read_bytes() == before
        fixed = {r.incident_id: r for r in read_labelled([out / "set_reviewed.csv"]).records}
        record = fixed[rows[0]["incident_id"]]
        assert record.stalking == (rows[0]["suggested_stalking"] == "true")
        assert (record.model_extra or {})["stalking_before_review"] == rows[0]["current_stalking"]
        (entry,) = map(json.loads, (out / "set_reviewed.changes.jsonl").read_text(encoding="utf-8").splitlines())
        assert (entry["incident_id"], entry["who"]) == (rows[0]["incident_id"], "ann")

    def test_a_second_review_never_replaces_the_first(self, data: Path, tmp_path: Path) -> None:
        out = tmp_path / "fixed"
        done = self.call("--data", data, "--apply", review(tmp_path, ["R001,true,ann,x"]), "--out", out)
        assert done.exit_code == 0, done.output
        before = {path: path.read_bytes() for path in out.iterdir()}
        again = self.call("--data", data, "--apply", review(tmp_path, ["R002,true,bob,y"]), "--out", out)
        assert again.exit_code == 2
        assert "set_reviewed.changes.jsonl is there already" in again.output
        assert "--out" in again.output
        assert {path: path.read_bytes() for path in out.iterdir()} == before
        more = self.call("--data", out / "set_reviewed.csv", "--apply", tmp_path / "reviewed.csv", "--out", out)
        assert more.exit_code == 0, more.output

    def test_a_corrected_set_without_its_log_is_not_replaced_either(self, data: Path, tmp_path: Path) -> None:
        (tmp_path / "set_reviewed.csv").write_text("somebody's work")
        done = self.call("--data", data, "--apply", review(tmp_path, ["R001,true,ann,x"]), "--out", tmp_path)
        assert done.exit_code == 2
        assert "set_reviewed.csv is there already" in done.output
        assert (tmp_path / "set_reviewed.csv").read_text() == "somebody's work"
        assert not (tmp_path / "set_reviewed.changes.jsonl").exists()

    def test_what_to_do_next_can_be_pasted_with_a_forces_own_columns(
        self, spoilt: list[LabelledIncident], config: Path, tmp_path: Path
    ) -> None:
        data = tmp_path / "own set.csv"
        with data.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["URN", "FREE TEXT", "IS_STALKING"])
            writer.writerows([r.incident_id, r.narrative, int(r.stalking)] for r in spoilt)
        columns = "incident_id=URN,narrative=FREE TEXT,stalking=IS_STALKING"
        out = tmp_path / "audit"
        done = self.call("--data", data, "--columns", columns, "--config", config, "--out", out)
        assert done.exit_code == 0, done.output
        program, command, *args = shlex.split(done.stdout.split("Then:")[1])
        assert (program, command) == ("stalkscreen", "audit-labels")
        (out / "review.csv").write_bytes(review(tmp_path, ["R001,true,ann,x"]).read_bytes())
        applied = self.call(*args)
        assert applied.exit_code == 0, applied.output

    def test_a_folder_that_cannot_be_made_is_refused_before_the_audit(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_audit(*args: object, **more: object) -> None:
            raise AssertionError("the audit ran")

        monkeypatch.setattr("training.label_audit.audit", no_audit)
        (tmp_path / "taken").write_text("a file")
        done = self.call("--data", data, "--out", tmp_path / "taken")
        assert done.exit_code == 2
        assert "nothing can be put into the folder" in done.output

    def test_a_bad_review_ends_with_2_and_writes_nothing(self, data: Path, tmp_path: Path) -> None:
        path = review(tmp_path, ["nobody,true,ann,x", "R001,perhaps,ann,x"])
        done = self.call("--data", data, "--apply", path, "--out", tmp_path / "fixed")
        assert done.exit_code == 2
        assert "2 problems" in done.output
        assert not (tmp_path / "fixed").exists()

    def test_text_goes_into_the_tasks_only_on_request_and_their_name_says_so(
        self, data: Path, config: Path, tmp_path: Path, spoilt: list[LabelledIncident]
    ) -> None:
        done = self.call("--data", data, "--config", config, "--out", tmp_path / "t", "--with-text")
        assert done.exit_code == 0, done.output
        texts = {r.incident_id: r.narrative for r in spoilt}
        for task in json.loads((tmp_path / "t" / "label_studio_tasks_with_text.json").read_text(encoding="utf-8")):
            assert task["data"]["text"] == texts[task["data"]["incident_id"]]


def test_the_benchmark_flips_the_share_it_says_and_keeps_only_what_it_says(records: list[LabelledIncident]) -> None:
    from benchmarks.label_audit import flipped

    made, mask = flipped(records, 0.08, 0, indicators=False)
    assert mask.sum() == 8
    assert np.array_equal([a.stalking != b.stalking for a, b in zip(made, records, strict=True)], mask)
    assert all(r.offence_family is None and r.indicators is None and r.stratum is None for r in made)
    assert np.array_equal(flipped(records, 0.08, 0, indicators=True)[1], mask)
