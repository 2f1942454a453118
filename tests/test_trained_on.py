"""How many records of a set a model was trained on: what its folder keeps, what is counted and what is said."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from evaluation.seen import seen_sentence
from stalkscreen.config import Settings
from stalkscreen.dataset import write_labelled
from stalkscreen.errors import ModelFormatError
from stalkscreen.model import ScreeningModel
from stalkscreen.model_format import ModelInfo, Provenance, read_info
from stalkscreen.schema import LabelledIncident
from stalkscreen.trained_on import TRAINED_ON, Seen, count_seen, read_hashes, short_hashes, write_hashes
from stalkscreen.workflow.evaluating import evaluate_files


@pytest.fixture(scope="module")
def folder(model: ScreeningModel, records: list[LabelledIncident], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared model saved with the hashes of the first 80 of its 100 records."""
    made = ScreeningModel(model.classifier, model.info, trained_on=short_hashes(r.narrative for r in records[:80]))
    path = tmp_path_factory.mktemp("models") / "linear"
    made.save(path)
    return path


def test_the_file_holds_sorted_hashes_and_nothing_of_the_records(folder: Path, records: list[LabelledIncident]) -> None:
    text = (folder / TRAINED_ON).read_text(encoding="ascii")
    lines = text.splitlines()
    assert lines == sorted(set(lines))
    assert len(lines) == 80
    assert all(re.fullmatch("[0-9a-f]{16}", line) for line in lines)
    assert TRAINED_ON in read_info(folder).files
    assert not any(r.incident_id in text for r in records)


def test_the_same_records_in_another_order_give_the_same_bytes(records: list[LabelledIncident], tmp_path: Path) -> None:
    texts = [r.narrative for r in records]
    write_hashes(short_hashes(texts), tmp_path / "a")
    write_hashes(short_hashes([*texts[::-1], texts[0]]), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_hashes(tmp_path / "a").tolist() == sorted(set(short_hashes(texts).tolist()))


def test_a_changed_list_is_refused_like_any_changed_file(folder: Path, model: ScreeningModel, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    ScreeningModel(model.classifier, model.info, trained_on=short_hashes(["one", "two"])).save(changed)
    (changed / TRAINED_ON).write_text("")
    with pytest.raises(ModelFormatError, match=r"trained_on\.txt is missing, was changed"):
        ScreeningModel.load(changed)
    for text in ("no number\n", "-1\n", "f" * 17 + "\n"):
        (tmp_path / "list").write_text(text)
        with pytest.raises(ModelFormatError, match="64-bit hexadecimal"):
            read_hashes(tmp_path / "list")


def test_a_model_without_the_list_still_loads(model_folder: Path) -> None:
    assert ScreeningModel.load(model_folder).trained_on is None


def test_capitals_and_white_space_make_no_other_text_and_a_word_does() -> None:
    trained = short_hashes(["He waits\n by the  gate."])
    found = count_seen(["HE WAITS BY\tTHE GATE. ", "He waits by the gate again."], [], trained, [])
    assert found == Seen(1, "text")


def test_without_a_list_whole_training_files_are_counted_and_nothing_else() -> None:
    files = [{"sha256": "a", "rows": 7}, {"sha256": "b", "rows": 5}]
    assert count_seen(["x"] * 12, files, None, [{"sha256": "b"}]) == Seen(5, "file")
    assert count_seen(["x"] * 12, files, None, [{"sha256": "c"}]) == Seen(0, "file")


@pytest.mark.parametrize(
    ("seen", "by", "says"),
    [
        (0, "text", "No record of 1,500 was in training. Near-copies"),
        (1200, "text", "1,200 of 1,500 records were in training: the figures flatter the model. Near-copies"),
        (1200, "file", "At least 1,200 of 1,500 records were in training, those of whole training files"),
        (0, "file", "How many of the 1,500 records were in training is not known"),
        (0, "folds", "Each record was judged by a model that was trained on none of its group."),
    ],
)
def test_no_more_is_said_than_was_counted(seen: int, by: str, says: str) -> None:
    assert seen_sentence({"rows": 1500, "seen_records": seen, "seen_by": by}).startswith(says)


def test_the_model_compared_with_is_spoken_of_too() -> None:
    dataset: dict[str, Any] = {"rows": 9, "seen_records": 0, "seen_by": "text"}
    for other, says in [
        ({"records": 4, "by": "text"}, "In the training of the model compared with (released) were 4 of 9:"),
        (
            {"records": 0, "by": "file"},
            "How many were in the training of the model compared with (released) is not known",
        ),
        ({"records": 0, "by": "text"}, "No record was in the training of the model compared with (released)."),
    ]:
        assert says in seen_sentence({**dataset, "compared_seen": {"released": other}})
    assert seen_sentence({"rows": 9}) == ""


def _evaluate(folder: Path, records: list[LabelledIncident], out: Path, settings: Settings, **more: Any) -> Any:
    data = out.with_suffix(".jsonl")
    write_labelled(records, data)
    options = {"against": None, "columns": None, "live_prevalence": None, "daily_volume": 1200} | more
    said = evaluate_files([data], settings, model=str(folder), out=out, **options)
    return json.loads((out / "metrics.json").read_text())["dataset"], said, (out / "report.html").read_text()


def test_part_of_a_training_file_with_new_records_is_counted_and_said_at_the_top(
    folder: Path, model_folder: Path, records: list[LabelledIncident], tmp_path: Path, settings: Settings
) -> None:
    dataset, said, page = _evaluate(folder, records[40:], tmp_path / "out", settings, against=str(model_folder))
    assert (dataset["seen_in_training"], dataset["seen_records"], dataset["seen_by"]) == (True, 40, "text")
    assert dataset["compared_seen"] == {str(model_folder): {"records": 0, "by": "file"}}
    assert "40 of 60 records were in training" in said
    top = page.split('id="contents"')[0]
    assert "40 of 60 records were in training" in top
    assert "Used in training" in top


def test_a_set_of_new_records_is_called_unseen(
    folder: Path, records: list[LabelledIncident], tmp_path: Path, settings: Settings
) -> None:
    dataset, said, _ = _evaluate(folder, records[80:], tmp_path / "out", settings)
    assert (dataset["seen_in_training"], dataset["seen_records"]) == (False, 0)
    assert "No record of 20 was in training." in said


def test_a_model_from_before_the_list_is_judged_by_its_files(
    model: ScreeningModel, records: list[LabelledIncident], tmp_path: Path, settings: Settings
) -> None:
    data = tmp_path / "out.jsonl"
    write_labelled(records[:20], data)
    trained = {"name": "a", "rows": 20, "sha256": hashlib.sha256(data.read_bytes()).hexdigest()}
    info: ModelInfo = model.info.model_copy(update={"provenance": Provenance(data=[trained])})
    ScreeningModel(model.classifier, info).save(tmp_path / "old")
    dataset, said, _ = _evaluate(tmp_path / "old", records[:20], tmp_path / "out", settings)
    assert (dataset["seen_in_training"], dataset["seen_records"], dataset["seen_by"]) == (True, 20, "file")
    assert "At least 20 of 20" in said
