from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.gates import Gates, is_better, look_up, run_gates, summary, write_scores
from evaluation.slices import slice_gaps, worst_slice
from stalkscreen.errors import ConfigError
from stalkscreen.metrics import rate
from stalkscreen.run_figures import read_scores
from stalkscreen.schema import Case

GATES = Gates.read()
SCORES = {f"i{i}": (i % 2, 0.9 if i % 2 else 0.1) for i in range(400)}


def compared(gap: float | None, rows: int = 500) -> dict[str, Any]:
    return {
        "dataset": {"seen_in_training": False},
        "comparison": [
            {
                "baseline": "released",
                "rows": rows,
                "paired": {"recall_at_5_percent": dict.fromkeys(("value", "low", "high"), gap)},
            }
        ],
    }


def outcome(metrics: dict[str, Any], name: str) -> str:
    return next(r.status for r in run_gates(metrics, None, None, GATES) if r.name == name)


def test_every_gate_has_a_name_of_its_own_and_a_reason() -> None:
    assert len({gate.name for gate in GATES.gate}) == len(GATES.gate)
    assert all(len(gate.reason) > 30 for gate in GATES.gate)


def test_a_figure_is_found_by_its_path_also_in_a_list_by_name() -> None:
    metrics = {"comparison": [{"baseline": "keyword", "x": 0.5}, {"baseline": "recorded", "x": None}]}
    assert look_up(metrics, "comparison.keyword.x") == 0.5
    assert look_up(metrics, "comparison.recorded.x") is None
    assert look_up(metrics, "comparison.released.x") is None
    assert look_up(metrics, "nothing.here") is None


def test_a_figure_that_was_not_measured_is_not_applicable_and_never_a_pass() -> None:
    found = summary(run_gates({"dataset": {"seen_in_training": False}}, None, None, GATES))
    assert (found["passed"], found["failed"]) == (0, 0)
    assert found["not_applicable"] == len(GATES.gate) + 1
    assert all(result["reason"] for result in found["results"])


@pytest.mark.parametrize(
    ("value", "status"), [(0.90, "pass"), (0.85, "pass"), (0.84, "fail"), (None, "not_applicable")]
)
def test_a_gate_passes_at_its_limit_and_fails_beyond(value: float | None, status: str) -> None:
    metrics = {"dataset": {"seen_in_training": False}, "ranking": {"auc": {"value": value}}}
    assert outcome(metrics, "ranking") == status


def test_nothing_passes_on_records_the_model_was_trained_on() -> None:
    metrics = {"dataset": {"seen_in_training": True}, "ranking": {"auc": {"value": 0.99}}}
    assert {r.status for r in run_gates(metrics, None, None, GATES)} == {"not_applicable"}


@pytest.mark.parametrize(("seen", "status"), [(True, "not_applicable"), (False, "pass")])
def test_behaviour_on_texts_seen_in_training_cannot_pass(seen: bool, status: str) -> None:
    metrics = {
        "dataset": {"seen_in_training": False},
        "behaviour": {"by_kind": {"swap": {"value": 0.0}}, "sample": {"seen_in_training": seen}},
    }
    assert outcome(metrics, "swaps") == status


@pytest.mark.parametrize(
    ("gap", "rows", "status"),
    [
        (0.05, 500, "pass"),
        (-0.02, 500, "pass"),
        (-0.03, 500, "fail"),
        (0.1, 100, "not_applicable"),
        (None, 500, "not_applicable"),
    ],
)
def test_the_released_model_is_compared_by_paired_difference(gap: float | None, rows: int, status: str) -> None:
    assert outcome(compared(gap, rows), "released") == status


def test_a_released_model_that_was_compared_without_that_figure_is_not_called_uncompared() -> None:
    said = {True: "could not be measured", False: "was not compared"}
    for metrics in (compared(None), {"dataset": {"seen_in_training": False}}):
        sentence = run_gates(metrics, None, None, GATES)[-1].sentence
        assert said["comparison" in metrics] in sentence


def test_without_a_released_model_that_gate_is_not_applicable(tmp_path: Path) -> None:
    results = run_gates({"dataset": {}}, SCORES, None, GATES)
    assert results[-1].status == "not_applicable"
    assert run_gates({"dataset": {}}, SCORES, tmp_path, GATES)[-1].status == "not_applicable"


@pytest.mark.parametrize(("theirs", "status"), [(0.9, "pass"), (0.05, "pass")])
def test_out_of_fold_scores_of_both_models_are_compared(tmp_path: Path, theirs: float, status: str) -> None:
    (tmp_path / "evaluation").mkdir()
    lines = ["incident_id,stalking,probability", *(f"{i},{y},{theirs if y else 0.1}" for i, (y, _) in SCORES.items())]
    (tmp_path / "evaluation" / "cv_scores.csv").write_text("\n".join(lines) + "\n")
    assert run_gates({"dataset": {}}, SCORES, tmp_path, GATES)[-1].status == status
    worse = {i: (y, 0.5) for i, (y, _) in SCORES.items()}
    assert run_gates({"dataset": {}}, worse, tmp_path, GATES)[-1].status == ("fail" if theirs == 0.9 else "pass")


def test_records_that_share_no_more_than_their_numbers_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / "evaluation").mkdir()

    def released(relabelled: str) -> None:
        lines = [f"{i},{1 - y if i.endswith(relabelled) else y},{p}" for i, (y, p) in SCORES.items()]
        text = "\n".join(["incident_id,stalking,probability", *lines])
        (tmp_path / "evaluation" / "cv_scores.csv").write_text(text + "\n")

    released("77")  # one label in a hundred was changed by a review: the others are compared
    assert run_gates({"dataset": {}}, SCORES, tmp_path, GATES)[-1].status == "pass"
    released("7")
    found = run_gates({"dataset": {}}, SCORES, tmp_path, GATES)[-1]
    assert found.status == "not_applicable"
    assert "the same id does not mean the same record" in found.sentence
    assert not is_better(SCORES, tmp_path, GATES)
    others = {f"j{i}": scores for i, scores in enumerate(SCORES.values())}
    assert "scored too few of these records" in run_gates({"dataset": {}}, others, tmp_path, GATES)[-1].sentence


def test_a_gate_without_a_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gates.toml"
    path.write_text('[[gate]]\nname = "a"\ntitle = "A"\nfigure = "x"\nreason = "r"\n')
    with pytest.raises(ConfigError, match=r"gates\.toml is wrong"):
        Gates.read(path)


def part(value: str, recall: tuple[int, int], rest: tuple[int, int], verdict: str) -> dict[str, Any]:
    a, b = rate(*recall), rate(*rest)
    none = {"value": None, "low": None, "high": None}
    gap = (
        {"value": a.value - b.value, "low": None, "high": None} if a.value is not None and b.value is not None else none
    )
    return {
        "value": value,
        "recall": a.to_json_dict(),
        "rest_recall": b.to_json_dict(),
        "recall_difference": gap,
        "recall_gap": verdict,
        "false_flag": rate(0, 0).to_json_dict(),
        "rest_false_flag": rate(0, 0).to_json_dict(),
        "false_flag_difference": none,
        "false_flag_gap": "not_measured",
    }


def test_gaps_beyond_chance_come_before_larger_ones_that_may_be_chance_and_none_is_left_out() -> None:
    parts = [part(f"p{i}", (50 + i, 100), (90, 100), "none" if i < 20 else "gap") for i in range(40)]
    gaps = slice_gaps([{"slice": "source_type", "title": "Source", "parts": parts}])
    assert [gap["value"] for gap in gaps] == [f"p{i}" for i in (*range(20, 40), *range(20))]


def test_the_largest_gaps_come_first_and_small_parts_last() -> None:
    parts = [
        part("a", (20, 100), (90, 100), "gap"),
        part("b", (0, 3), (90, 100), "few"),
        part("c", (80, 100), (90, 100), "none"),
        part("d", (99, 100), (90, 100), "none"),
    ]
    found = [
        {"slice": "source_type", "title": "Source", "parts": parts},
        {"slice": "stratum", "title": "Kind", "parts": parts},
        {"slice": "writer", "title": "Writer", "parts": parts},
    ]
    gaps = slice_gaps(found)
    assert [(gap["slice"], gap["value"]) for gap in gaps] == [
        ("source_type", "a"),
        ("source_type", "c"),
        ("source_type", "b"),
    ]
    worst = worst_slice(found)
    assert worst["recall"]["value"] == "a"
    assert worst["recall"]["size"] == pytest.approx(0.7)
    assert worst["false_flag"] is None, "not measured"
    assert worst_slice([{**found[0], "parts": parts[2:]}])["recall"]["size"] == 0.0
    assert worst_slice([{**found[0], "parts": parts[1:2]}])["recall"] is None, "too few is no pass"


def test_scores_are_written_without_text(tmp_path: Path, records: Any, model: Any) -> None:
    write_scores(records, model.assess([Case.of_one(r) for r in records]), tmp_path / "s.csv")
    text = (tmp_path / "s.csv").read_text()
    assert len(text.splitlines()) == len(records) + 1
    assert not [r for r in records if r.narrative[:20] in text]
    assert np.all([line.count(",") == 2 for line in text.splitlines()])


def test_scores_with_the_cascade_off_are_kept_beside_the_others(tmp_path: Path, records: Any, model: Any) -> None:
    alone = np.arange(len(records)) / 1000
    write_scores(records, model.assess([Case.of_one(r) for r in records]), tmp_path / "s.csv", alone)
    found = read_scores(tmp_path / "s.csv", "without_cascade")
    assert [found[r.incident_id] for r in records] == [
        (int(r.stalking), p) for r, p in zip(records, alone, strict=True)
    ]
    assert read_scores(tmp_path / "s.csv").keys() == found.keys()
