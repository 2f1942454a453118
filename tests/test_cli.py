from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stalkscreen import screening
from stalkscreen.cli import main
from stalkscreen.dataset import Columns, read_incidents, write_labelled
from stalkscreen.errors import ConfigError, DataError
from stalkscreen.model import ScreeningModel
from stalkscreen.schema import Assessment, Case, Incident, LabelledIncident
from stalkscreen.screening import COLUMNS, flat_row, screen_file

TEXT = "He waits by the bus stop every evening. She keeps ringing from new numbers after being blocked."
CONFIG = Path(__file__).parents[1] / "training" / "configs" / "linear.toml"


@pytest.fixture
def run(tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Call the command line with stores of its own and the test model released."""
    models = tmp_path / "models"
    models.mkdir()
    (models / model_folder.name).symlink_to(model_folder)
    (models / "RELEASED").write_text(model_folder.name)
    monkeypatch.setenv("STALKSCREEN_MODELS", str(models))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("STALKSCREEN_ARTIFACTS", str(tmp_path / "artifacts"))

    def call(*args: object) -> Result:
        return CliRunner().invoke(main, [str(a) for a in args], prog_name="stalkscreen")

    return call


def incidents_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("command", ["synthesise", "train", "evaluate", "promote", "screen", "models"])
def test_every_command_has_help_with_an_example(command: str, run) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0
    assert f"stalkscreen {command}" in done.output.split("Example")[-1]


def test_one_text_is_printed_readably(run) -> None:
    done = run("screen", "--text", TEXT)
    assert done.exit_code == 0
    assert "FLAGGED FOR REVIEW" in done.output
    assert "“He waits by the bus stop every evening.”" in done.output
    assert "No flag means nothing." in done.output


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_file_is_screened_to_every_form_with_extras_and_a_summary(
    run, tmp_path: Path, suffix: str, model: ScreeningModel
) -> None:
    rows = [
        {"URN": "007", "FREE_TEXT": TEXT, "recorded_offence": "harassment", "beat": "K3"},
        {"URN": "008", "FREE_TEXT": "Wallet handed in.", "recorded_offence": "", "beat": "=1+1"},
    ]
    source = incidents_csv(tmp_path / "in.csv", rows)
    out = tmp_path / f"out{suffix}"
    done = run("screen", source, "--columns", "narrative=FREE_TEXT,incident_id=URN", "--out", out)
    assert done.exit_code == 0, done.output
    assert "2 read, 1 flagged for review, 1 possible misidentifications" in done.output
    expected = model.assess([Case.of_one(Incident(incident_id="007", narrative=TEXT, recorded_offence="harassment"))])[
        0
    ]
    if suffix == ".jsonl":
        first, second = (json.loads(line) for line in out.read_text(encoding="utf-8").splitlines())
        assert first.pop("extra") == {"beat": "K3"}
        assert first == expected.to_json_dict()
        assert second["possible_misidentification"] is None
        Assessment.model_validate(first)
    else:
        import pandas as pd

        frame = pd.read_csv(out, dtype=str) if suffix == ".csv" else pd.read_parquet(out)
        assert frame["incident_id"].tolist() == ["007", "008"]
        assert json.loads(frame["assessment"][0]) == expected.to_json_dict()
        assert frame.columns.tolist() == [*COLUMNS, "beat", *(["guarded_cells"] if suffix == ".csv" else [])]
        assert tuple(flat_row(expected)) == COLUMNS
        assert frame["beat"][0] == "K3"
        if suffix == ".csv":
            assert frame["beat"][1] == "'=1+1"


def test_bad_rows_stop_the_run_with_every_problem_and_nothing_written(run, tmp_path: Path) -> None:
    source = incidents_csv(
        tmp_path / "in.csv",
        [
            {"incident_id": "1", "narrative": ""},
            {"incident_id": "2", "narrative": TEXT},
            {"incident_id": "2", "narrative": "x" * 20_001},
        ],
    )
    done = run("screen", source, "--out", tmp_path / "out.jsonl")
    assert done.exit_code == 2
    assert "row 1" in done.output
    assert "row 3" in done.output
    assert "--rejects" in done.output
    assert "xxxx" not in done.output
    assert not (tmp_path / "out.jsonl").exists()


def test_rejects_takes_the_bad_rows_and_the_rest_is_screened(run, tmp_path: Path) -> None:
    source = incidents_csv(
        tmp_path / "in.csv", [{"incident_id": "1", "narrative": ""}, {"incident_id": "2", "narrative": TEXT}]
    )
    done = run("screen", source, "--out", tmp_path / "out.jsonl", "--rejects", tmp_path / "bad.csv")
    assert done.exit_code == 0, done.output
    assert "2 read, 1 rejected, 1 flagged" in done.output
    bad = list(csv.DictReader((tmp_path / "bad.csv").open(encoding="utf-8-sig")))
    assert [(b["incident_id"], b["row"], b["field"]) for b in bad] == [("1", "1", "narrative")]
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def cells(path: Path) -> dict[str, list[Any]]:
    """The columns of a screened `.csv` or `.parquet`, an absent cell as an empty text."""
    import pandas as pd

    frame = pd.read_csv(path, dtype=str, keep_default_na=False) if path.suffix == ".csv" else pd.read_parquet(path)
    return {
        name: frame[name].fillna("").tolist() for name in frame if name not in {"flag", "possible_misidentification"}
    }


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("rejects", [None, "bad.csv"])
def test_an_extra_column_is_kept_whichever_row_first_fills_it(
    tmp_path: Path, suffix: str, rejects: str | None, model: ScreeningModel
) -> None:
    rows = [
        {"incident_id": "1", "narrative": TEXT, "beat": "", "team": "red"},
        {"incident_id": "2", "narrative": TEXT, "beat": "K3", "team": ""},
        {"incident_id": "3", "narrative": TEXT, "beat": "", "team": ""},
    ]
    out = tmp_path / f"out{suffix}"
    bad = tmp_path / rejects if rejects else None
    screen_file(incidents_csv(tmp_path / "in.csv", rows), out, model, rejects=bad, chunk_rows=1)
    screened = cells(out)
    assert [name for name in screened if name not in {*COLUMNS, "guarded_cells"}] == ["team", "beat"]
    assert (screened["beat"], screened["team"]) == (["", "K3", ""], ["red", "", ""])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_extra_column_named_like_one_of_ours_is_kept_under_another_name(
    tmp_path: Path, suffix: str, model: ScreeningModel
) -> None:
    rows = [{"incident_id": "1", "narrative": TEXT, "band": "brass", "assessment": "a", "input_assessment": "b"}]
    out = tmp_path / f"out{suffix}"
    screen_file(incidents_csv(tmp_path / "in.csv", rows), out, model)
    screened = cells(out)
    assert screened["band"][0] in {"low", "medium", "high"}
    assert screened["input_band"] == ["brass"]
    assert json.loads(screened["assessment"][0])["incident_id"] == "1"
    assert (screened["input_assessment"], screened["input_input_assessment"]) == (["b"], ["a"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_without_a_single_good_row_still_has_all_its_columns(
    tmp_path: Path, suffix: str, model: ScreeningModel
) -> None:
    source = incidents_csv(tmp_path / "in.csv", [{"incident_id": "1", "narrative": ""}])
    out = tmp_path / f"out{suffix}"
    screen_file(source, out, model, rejects=tmp_path / "bad.csv")
    assert set(cells(out)) - {"guarded_cells"} == {*COLUMNS} - {"flag", "possible_misidentification"}
    assert cells(out)["incident_id"] == []


def test_more_extra_names_than_a_table_can_have_are_refused_but_not_in_json_lines(
    tmp_path: Path, model: ScreeningModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screening, "MAX_EXTRA_COLUMNS", 2)
    source = tmp_path / "in.jsonl"
    lines = [{"incident_id": str(n), "narrative": TEXT, f"key{n}": n} for n in range(3)]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"ends in \.jsonl"):
        screen_file(source, tmp_path / "out.csv", model)
    assert screen_file(source, tmp_path / "out.jsonl", model).read == 3


def test_screened_csv_opens_in_excel_as_utf8_and_in_our_own_reader(tmp_path: Path, model: ScreeningModel) -> None:
    rows = [{"incident_id": "1", "narrative": TEXT, "loss": "£20", "sum": " ＝1+1"}]
    out = tmp_path / "out.csv"
    screen_file(incidents_csv(tmp_path / "in.csv", rows), out, model)
    assert out.read_bytes().startswith(b"\xef\xbb\xbf")
    (read,) = read_incidents(out, Columns.parse("narrative=assessment")).records
    assert read.incident_id == "1"
    assert (read.model_extra or {})["loss"] == "£20"
    assert (read.model_extra or {})["sum"] == " ＝1+1"


def test_a_guarded_id_cell_and_column_name_are_inert_and_can_be_told(tmp_path: Path, model: ScreeningModel) -> None:
    rows = [
        {"incident_id": "=2+2", "narrative": TEXT, "=HYPERLINK(0)": "@SUM", "beat": "'K3"},
        {"incident_id": "2", "narrative": TEXT, "=HYPERLINK(0)": "x", "beat": "K4"},
    ]
    out = tmp_path / "out.csv"
    screen_file(incidents_csv(tmp_path / "in.csv", rows), out, model)
    with out.open(encoding="utf-8-sig", newline="") as stream:
        first, second = csv.DictReader(stream)
    assert list(first)[-3:] == ["'=HYPERLINK(0)", "beat", "guarded_cells"]
    assert (first["incident_id"], first["'=HYPERLINK(0)"], first["beat"]) == ("'=2+2", "'@SUM", "'K3")
    assert (first["guarded_cells"], second["guarded_cells"]) == ("incident_id|'=HYPERLINK(0)", "")
    read = read_incidents(out, Columns.parse("narrative=assessment")).records
    assert [record.incident_id for record in read] == ["=2+2", "2"]
    assert [(record.model_extra or {})["beat"] for record in read] == ["'K3", "K4"]
    assert (read[0].model_extra or {})["'=HYPERLINK(0)"] == "@SUM"


def test_a_json_lines_output_has_null_where_the_file_has_no_number(tmp_path: Path, model: ScreeningModel) -> None:
    source = tmp_path / "in.jsonl"
    record = json.dumps({"incident_id": "1", "narrative": TEXT})
    source.write_text(record[:-1] + ', "a": NaN, "b": [1.5, Infinity], "c": {"d": -Infinity}}\n', encoding="utf-8")
    screen_file(source, tmp_path / "out.jsonl", model)
    (line,) = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["extra"] == {"b": [1.5, None], "c": {"d": None}}


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o022, 0o644)])
def test_who_may_read_the_outputs_follows_the_umask(
    tmp_path: Path, model: ScreeningModel, suffix: str, mask: int, mode: int
) -> None:
    source = incidents_csv(tmp_path / "in.csv", [{"incident_id": "1", "narrative": TEXT}])
    out, rejects = tmp_path / f"out{suffix}", tmp_path / "bad.csv"
    before = os.umask(mask)
    try:
        screen_file(source, out, model, rejects=rejects)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (out, rejects)] == [mode, mode]
    assert sorted(tmp_path.iterdir()) == sorted([source, out, rejects])


class _Untouched(ScreeningModel):
    """Stands for a model of which a run must make no use."""

    def __init__(self) -> None:
        pass

    def assess(self, cases: Any) -> Any:
        raise AssertionError("something was assessed")


@pytest.mark.parametrize(
    ("out", "rejects", "message"),
    [
        ("in.csv", None, "--out .*same file as the input; .*.jsonl, .csv, .parquet"),
        ("sub/../in.csv", None, "same file as the input"),
        ("link.csv", None, "same file as the input"),
        ("out.csv", "in.csv", "--rejects .*same file as the input; .*.csv, .jsonl"),
        ("out.csv", "link.csv", "same file as the input"),
        ("out.csv", "out.csv", "--rejects .*same file as --out"),
        ("out.xlsx", None, "--out .*suffix must be one of .jsonl, .csv, .parquet"),
        ("sub", None, "suffix must be one of"),
        ("out.csv", "bad.parquet", "--rejects .*suffix must be one of .csv, .jsonl"),
        ("out.csv", "folder.csv", "is a folder"),
        ("out.csv", "in.csv/bad.csv", "--rejects .*nothing can be put into the folder"),
        ("in.csv/out.csv", None, "--out .*nothing can be put into the folder"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_anything_is_assessed(
    tmp_path: Path, out: str, rejects: str | None, message: str
) -> None:
    source = incidents_csv(tmp_path / "in.csv", [{"incident_id": "1", "narrative": TEXT}])
    (tmp_path / "link.csv").symlink_to(source)
    (tmp_path / "sub").mkdir()
    (tmp_path / "folder.csv").mkdir()
    before, names = source.read_bytes(), sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=message):
        screen_file(source, tmp_path / out, _Untouched(), rejects=tmp_path / rejects if rejects else None)
    assert source.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == names


def test_the_folders_of_both_outputs_are_made(tmp_path: Path, model: ScreeningModel) -> None:
    source = incidents_csv(tmp_path / "in.csv", [{"incident_id": "1", "narrative": ""}])
    screen_file(source, tmp_path / "a" / "out.csv", model, rejects=tmp_path / "b" / "bad.csv")
    assert (tmp_path / "a" / "out.csv").exists()
    assert (tmp_path / "b" / "bad.csv").exists()


def test_a_file_that_changes_between_the_two_readings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = incidents_csv(tmp_path / "in.csv", [{"incident_id": "1", "narrative": TEXT, "beat": ""}])
    first_pass = screening._first_pass

    def then_changed(*args: Any, **more: Any) -> Any:
        looked = first_pass(*args, **more)
        incidents_csv(source, [{"incident_id": "1", "narrative": TEXT, "beat": "K3"}])
        return looked

    monkeypatch.setattr(screening, "_first_pass", then_changed)
    with pytest.raises(DataError, match="changed while it was read"):
        screen_file(source, tmp_path / "out.csv", _Untouched())
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["screen"], "Give either a FILE"),
        (["screen", "x.csv"], "--out FILE is needed"),
        (["screen", "--text", "  "], "is empty"),
        (["screen", "--text", "x", "--out", "y.csv"], "go with a FILE"),
        (["screen", "nowhere.csv", "--out", "o.jsonl"], "nowhere.csv"),
        (["screen", "--text", "x", "--model", "no/such"], "is no model"),
        (["train", "--data", "nowhere.csv", "--config", str(CONFIG)], "nowhere.csv"),
        (["train", "--data", "a.csv", "--config", "nowhere.toml"], "nowhere.toml"),
        (["promote", "7"], "no version"),
        (["evaluate", "--data", "nowhere.csv", "--out", "o"], "nowhere.csv"),
        (["synthesise", "--cases", "0", "--out", "o"], "0 is not in the range"),
        (["conjure"], "No such command"),
    ],
)
def test_the_callers_mistakes_end_with_2_and_a_sentence(run, args: list[str], message: str) -> None:
    done = run(*args)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output


def test_with_nothing_released_the_message_says_what_to_do(
    run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STALKSCREEN_MODELS", str(tmp_path / "empty"))
    done = run("screen", "--text", "x")
    assert done.exit_code == 2
    assert "stalkscreen promote" in done.output


def test_a_force_trains_on_its_own_columns_promotes_evaluates_and_lists(
    run, tmp_path: Path, records: list[LabelledIncident], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = incidents_csv(
        tmp_path / "mine.csv",
        [
            {"URN": r.incident_id, "FREE_TEXT": r.narrative, "IS_STALKING": int(r.stalking), "Z": "kept"}
            for r in records
        ],
    )
    config = tmp_path / "c.toml"
    config.write_text("kind = 'linear'\n[validation]\nfolds = 3\nnear_duplicate = 0.9\n")
    columns = "narrative=FREE_TEXT,incident_id=URN,stalking=IS_STALKING"
    done = run("train", "--data", source, "--columns", columns, "--config", config)
    assert done.exit_code == 0, done.output
    assert "version 1 registered as candidate" in done.output
    assert "near-duplicate text" in done.output
    listed = run("models")
    assert "candidate" in listed.output
    done = run(
        "evaluate",
        "--data",
        source,
        "--columns",
        columns,
        "--model",
        "1",
        "--against",
        "keyword",
        "--out",
        tmp_path / "report",
    )
    assert done.exit_code == 0, done.output
    assert f"{len(records)} of {len(records)} records were in training" in done.output
    assert {p.name for p in (tmp_path / "report").iterdir()} == {"metrics.json", "errors.csv", "report.html"}
    monkeypatch.setenv("STALKSCREEN_MODELS", str(tmp_path / "fresh"))
    done = run("promote", "1")
    assert done.exit_code == 0, done.output
    assert "not applicable  invariance" in done.output
    assert "could not be applied, which is not passed." in done.output
    assert "TRANSPARENCY.md are for the force to fill." in done.output
    assert run("screen", "--text", TEXT).exit_code == 0


def test_a_report_folder_that_cannot_be_is_refused_before_anything_is_assessed(
    run, tmp_path: Path, records: list[LabelledIncident], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_labelled(records[:4], tmp_path / "set.jsonl")
    (tmp_path / "afile").write_text("mine", encoding="utf-8")
    monkeypatch.setattr("stalkscreen.workflow.evaluating.assess_all", lambda *_: pytest.fail("assessed"))
    for out in (tmp_path / "afile", tmp_path / "afile" / "x"):
        done = run("evaluate", "--data", tmp_path / "set.jsonl", "--out", out)
        assert done.exit_code == 2
        assert f"--out {out}: nothing can be put into the folder {out} (it cannot be made" in done.output
    assert (tmp_path / "afile").read_text(encoding="utf-8") == "mine"


def test_a_holdout_that_leaks_is_refused_before_training(run, tmp_path: Path, records: list[LabelledIncident]) -> None:
    write_labelled(records[:80], tmp_path / "a.jsonl")
    write_labelled(
        [r.model_copy(update={"incident_id": f"h{r.incident_id}"}) for r in records[:3]], tmp_path / "b.jsonl"
    )
    done = run("train", "--data", tmp_path / "a.jsonl", "--holdout", tmp_path / "b.jsonl", "--config", CONFIG)
    assert done.exit_code == 2
    assert "hR000" in done.output
    assert "Registered: nothing yet" in run("models").output


def test_synthesise_writes_a_set_that_reads_back(run, tmp_path: Path) -> None:
    from stalkscreen.dataset import check_manifest, read_labelled

    done = run("synthesise", "--cases", 20, "--seed", 4, "--out", tmp_path / "h")
    assert done.exit_code == 0, done.output
    assert len({r.case_id for r in read_labelled([tmp_path / "h" / "histories.jsonl"]).records}) == 20
    check_manifest(tmp_path / "h")
    again = run("synthesise", "--cases", 20, "--seed", 4, "--out", tmp_path / "h")
    assert again.exit_code == 2
