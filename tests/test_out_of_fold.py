from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stalkscreen.classifiers import classifier_class
from stalkscreen.config import TrainConfig
from stalkscreen.errors import ConfigError
from stalkscreen.model import ScreeningModel
from stalkscreen.schema import LabelledIncident
from training import out_of_fold, splits
from training.kept_folds import KeptFolds
from training.out_of_fold import cross_fit, workers_from
from training.train import fit

CONFIG = TrainConfig(kind="linear", validation={"folds": 3, "near_duplicate": 0.9})


def saved(model: ScreeningModel, folder: Path) -> dict[str, bytes]:
    model.save(folder)
    return {p.name: p.read_bytes() for p in (folder / "classifier").iterdir()}


@pytest.fixture
def fold(records: list[LabelledIncident]) -> Any:
    group, _ = splits.groups(records, 0.9)
    return splits.folds(records, group, 3, 0)


@pytest.mark.slow
def test_two_processes_give_the_same_bytes_and_answers_as_one(records: list[LabelledIncident], tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    alone = fit(records, CONFIG, workers=1)
    beside = fit(records, CONFIG, workers=2, progress=lambda what, done, total: steps.append((done, total)))
    assert beside.cross_validated == alone.cross_validated
    assert saved(beside.model, tmp_path / "b") == saved(alone.model, tmp_path / "a")
    assert beside.model.info.calibration == alone.model.info.calibration
    assert beside.model.thresholds == alone.model.thresholds
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1] == (5, 5)


def test_a_small_set_starts_no_process(
    records: list[LabelledIncident], fold: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STALKSCREEN_WORKERS", raising=False)
    monkeypatch.setattr(out_of_fold, "_side_by_side", None)
    result = cross_fit(records, CONFIG, fold)
    assert sorted(np.concatenate([part.rows for part in result.folds]).tolist()) == list(range(len(records)))
    assert result.final is not None
    assert cross_fit(records, CONFIG, fold, final=False).final is None


def test_a_kind_that_wants_the_machine_to_itself_is_fitted_in_this_process(
    records: list[LabelledIncident], fold: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_class("linear"), "parallel_folds", False)
    monkeypatch.setattr(out_of_fold, "_side_by_side", None)
    said: list[str] = []
    cross_fit(records, CONFIG, fold, workers=2, progress=lambda what, done, total: said.append(what))
    assert said[0].endswith("one after another")


def test_wrong_settings_are_said_before_any_process_starts(records: list[LabelledIncident], fold: Any) -> None:
    with pytest.raises(ConfigError, match=r"\[linear\]"):
        cross_fit(records, CONFIG.model_copy(update={"classifier": {"depth": 3}}), fold, workers=2)


@pytest.mark.parametrize(("text", "count"), [("", None), ("1", 1), (" 4 ", 4)])
def test_the_number_of_processes_is_read_from_the_environment(text: str, count: int | None) -> None:
    assert workers_from({"STALKSCREEN_WORKERS": text}) == count
    assert workers_from({}) is None


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_processes_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="STALKSCREEN_WORKERS"):
        workers_from({"STALKSCREEN_WORKERS": text})


def test_histories_that_share_a_writer_a_case_or_a_text_with_what_is_scored_are_left_out() -> None:
    def told(number: str, case: str | None, writer: str | None, text: str) -> LabelledIncident:
        return LabelledIncident(incident_id=number, case_id=case, writer=writer, narrative=text, stalking=True)

    histories = [
        told("1", "A", "w1", "He rang."),
        told("2", "A", "w2", "He came."),
        told("3", "B", None, "She wrote."),
        told("4", "B", None, "She waited."),
        told("5", "C", None, "They shouted."),
        told("6", "D", "w3", "Nothing more."),
    ]
    scored = [told("x", None, "w2", "Other."), told("y", "C", None, "Other."), told("z", None, None, "She wrote.")]
    assert [h.incident_id for h in out_of_fold.apart_from(histories, scored)] == ["6"]
    paired = told("q", None, None, "One more.").model_copy(update={"pair_id": "P"})
    mate = histories[5].model_copy(update={"pair_id": "P"})
    assert out_of_fold.apart_from([mate], [paired]) == []
    assert out_of_fold.apart_from([histories[5]], [told("r", None, None, "Nothing  more.\n")]) == []


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda _: b"", lambda _: b"scores"])
def test_a_kept_fold_that_is_damaged_is_named(
    records: list[LabelledIncident], fold: Any, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    kept = KeptFolds(tmp_path / "folds", {})
    cross_fit(records, TrainConfig(kind="keyword"), fold, final=False, kept=kept)
    path = tmp_path / "folds" / "fold-1.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match=r"fold-1\.npz is damaged .* delete it") as caught:
        kept.scores(1)
    assert caught.value.context["file"] == str(path)
    path.unlink()
    assert kept.scores(1) is None
