from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from stalkscreen import resampling
from stalkscreen.metrics import rate, recall_at_false_flag, recall_by_false_flag
from stalkscreen.resampling import Estimate, paired_differences, ranking, recalls


def judged(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.4).astype(float)
    good = np.clip(rng.normal(0.35 + 0.3 * y, 0.15), 0, 1)
    return y, good, np.clip(good + rng.normal(0, 0.15, n), 0, 1)


def width(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low


def test_paired_differences_are_those_of_the_figures_themselves() -> None:
    y, a, b = judged(600)
    found = paired_differences(y, (a > 0.5, b > 0.5), (a, b), np.arange(600))
    yes = y == 1
    assert found.recall.value == pytest.approx((a > 0.5)[yes].mean() - (b > 0.5)[yes].mean())
    assert found.false_flag.value == pytest.approx((a > 0.5)[~yes].mean() - (b > 0.5)[~yes].mean())
    assert found.average_precision.value == pytest.approx(average_precision_score(y, a) - average_precision_score(y, b))
    at = [recall_at_false_flag(y, p, 0.05)[1].value or 0 for p in (a, b)]
    assert found.recall_at_false_flag.value == pytest.approx(at[0] - at[1])
    assert (found.rows, found.groups) == (600, 600)


def test_paired_intervals_hold_the_difference_and_are_narrower_than_unpaired_ones() -> None:
    y, a, _ = judged(600)
    close = np.clip(a + np.random.default_rng(1).normal(0, 0.01, 600), 0, 1)
    found = paired_differences(y, (a > 0.5, close > 0.5), (a, close), np.arange(600))
    assert width(found.average_precision) < 0.2 * width(ranking(y, a)["average_precision"])
    assert found.recall.low is not None
    assert found.recall.high is not None
    assert found.recall.value is not None
    assert found.recall.low <= found.recall.value <= found.recall.high


def test_a_judge_against_itself_differs_by_nothing() -> None:
    y, a, _ = judged(200)
    found = paired_differences(y, (a > 0.5, a > 0.5), (a, a), np.arange(200))
    for estimate in (found.recall, found.false_flag, found.average_precision, found.recall_at_false_flag):
        # Every draw gives nought: an interval of no width would claim more than 200 records can show.
        assert (estimate.value, estimate.low, estimate.high) == (0, None, None)


@pytest.mark.parametrize("n", [5, 40])
def test_a_perfect_score_or_a_handful_of_records_has_no_interval(n: int) -> None:
    y = np.arange(n) % 2
    found = ranking(y, 0.1 + 0.8 * y)["auc"]
    assert (found.value, found.low, found.high) == (1.0, None, None)
    assert (ranking(y, np.linspace(0, 1, n))["auc"].low is None) == (n == 5)


def test_cases_widen_the_interval_of_a_paired_difference() -> None:
    y, a, b = judged(60)
    y, a, b = (np.repeat(v, 10) for v in (y, a, b))
    alone = paired_differences(y, (a > 0.5, b > 0.5), (a, b), np.arange(600))
    grouped = paired_differences(y, (a > 0.5, b > 0.5), (a, b), np.arange(600) // 10)
    assert width(grouped.recall) > 2 * width(alone.recall)


@pytest.mark.parametrize("only", [0.0, 1.0])
def test_with_one_class_only_what_cannot_be_measured_is_none(only: float) -> None:
    y, a = np.full(5, only), np.linspace(0.1, 0.9, 5)
    found = paired_differences(y, (a > 0.5, a > 0.3), (a, a), np.arange(5))
    assert found.average_precision.value is None
    assert found.recall_at_false_flag.value is None
    assert (found.recall.value is None) == (only == 0.0)
    assert (found.false_flag.value is None) == (only == 1.0)


def test_a_judge_that_cannot_flag_so_few_is_not_compared_where_few_are_flagged() -> None:
    y, a, b = judged(600)
    two = np.where(b > 0.5, 0.9, 0.1)
    assert (two[y == 0] == 0.9).mean() > 0.05
    found = paired_differences(y, (a > 0.5, two > 0.5), (a, two), np.arange(600))
    assert found.recall_at_false_flag == resampling.NOT_MEASURED
    assert found.average_precision.value is not None
    assert paired_differences(y, (two > 0.5, a > 0.5), (two, a), np.arange(600)).recall_at_false_flag.value is None
    loose = paired_differences(y, (a > 0.5, two > 0.5), (a, two), np.arange(600), max_false_flag=0.5)
    assert loose.recall_at_false_flag.value is not None


def test_the_interval_of_recall_at_few_false_flags_counts_that_these_records_set_the_threshold() -> None:
    y, a, _ = judged(2000)
    fixed, found = recall_by_false_flag(y, a), recalls(y, a)
    for before, after in zip(fixed, found, strict=True):
        kept = ("n", "of", "value")
        assert after["false_flag"] == before["false_flag"]
        assert [after["recall"][k] for k in kept] == [before["recall"][k] for k in kept]
        assert after["recall"]["low"] <= after["recall"]["value"] <= after["recall"]["high"]
    spans = [rows[0]["recall"]["high"] - rows[0]["recall"]["low"] for rows in (fixed, found)]
    assert spans[1] > 1.5 * spans[0]


def test_recall_at_few_false_flags_resamples_whole_groups_and_has_no_interval_for_a_handful() -> None:
    y, a, _ = judged(60)
    y, a = np.repeat(y, 10), np.repeat(a, 10)
    alone, grouped = (recalls(y, a, group)[2]["recall"] for group in (None, np.arange(600) // 10))
    assert grouped["high"] - grouped["low"] > 1.5 * (alone["high"] - alone["low"])
    few = recalls([1, 0, 1, 0, np.nan], [0.9, 0.1, 0.8, 0.2, 0.5])[0]["recall"]
    assert (few["n"], few["of"], few["low"], few["high"]) == (2, 2, None, None)
    assert recalls([1, 1], [0.1, 0.9])[0]["recall"] == rate(0, 0).to_json_dict()


def test_without_the_others_scores_only_flags_are_compared() -> None:
    y, a, b = judged(50)
    found = paired_differences(y, (a > 0.5, b > 0.5), None, np.arange(50))
    assert found.recall.value is not None
    assert found.average_precision == resampling.NOT_MEASURED


def test_one_group_has_no_interval() -> None:
    y, a, _ = judged(30)
    assert ranking(y, a, np.zeros(30))["auc"].low is None


def test_joining_groups_at_random_keeps_the_width_of_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    y, a, _ = judged(6000)
    whole = width(ranking(y, a, np.arange(6000) // 2)["auc"])
    monkeypatch.setattr(resampling, "MAX_UNITS", 1000)
    monkeypatch.setattr(resampling, "MAX_STEPS", 300)
    assert width(ranking(y, a, np.arange(6000) // 2)["auc"]) == pytest.approx(whole, rel=0.15)
