from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from stalkscreen import metrics, resampling
from stalkscreen.calibration import calibration
from stalkscreen.metrics import choose_review_threshold, rate, truth_table

NAN = float("nan")


@pytest.mark.parametrize(
    ("n", "of", "low", "high"),
    # Published Wilson intervals: Newcombe 1998, table I.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_a_rate_has_the_wilson_interval_of_the_published_tables(n: int, of: int, low: float, high: float) -> None:
    found = rate(n, of)
    assert (found.value, found.low, found.high) == (
        pytest.approx(n / of),
        pytest.approx(low, abs=6e-5),
        pytest.approx(high, abs=6e-5),
    )


def test_a_rate_of_nothing_is_not_zero() -> None:
    assert rate(0, 0).to_json_dict() == {"n": 0, "of": 0, "value": None, "low": None, "high": None}


@pytest.mark.parametrize(("n", "of"), [(-1, 2), (3, 2)])
def test_a_numerator_outside_its_denominator_is_refused(n: int, of: int) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        rate(n, of)


def test_the_difference_of_two_rates_has_newcombes_interval() -> None:
    # Newcombe 1998b, example (a): 56/70 against 48/80, method 10.
    assert metrics.difference_interval(rate(56, 70), rate(48, 80)) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert metrics.difference_interval(rate(0, 0), rate(1, 2)) is None


Y = [1, 0, 1, 0, 1, NAN]
P = [0.9, 0.8, 0.8, 0.3, 0.2, 0.99]


def test_the_truth_table_has_one_row_a_distinct_score_and_leaves_out_the_unknown() -> None:
    table = truth_table(Y, P)
    assert table.threshold.tolist() == [math.inf, 0.9, 0.8, 0.3, 0.2]
    assert table.tp.tolist() == [0, 1, 2, 2, 3]
    assert table.fp.tolist() == [0, 0, 1, 2, 2]
    assert table.tn.tolist() == [2, 2, 1, 0, 0]
    assert table.fn.tolist() == [3, 2, 1, 1, 0]


@pytest.mark.parametrize(("threshold", "tp", "fp"), [(1.0, 0, 0), (0.9, 1, 0), (0.85, 1, 0), (0.8, 2, 1), (0.0, 3, 2)])
def test_any_threshold_can_be_looked_up(threshold: float, tp: int, fp: int) -> None:
    found = truth_table(Y, P).at(threshold)
    assert (found["recall"].n, found["false_flag"].n) == (tp, fp)
    assert found["precision"].of == tp + fp


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1)), max_size=40),
    st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_the_truth_table_agrees_with_counting(rows: list[tuple[bool, float]], threshold: float) -> None:
    y, p = [float(a) for a, _ in rows], [b for _, b in rows]
    found = truth_table(y, p).at(threshold)
    assert found["recall"].n == sum(a and b >= threshold for a, b in rows)
    assert found["false_flag"].n == sum(not a and b >= threshold for a, b in rows)


@pytest.mark.parametrize("y", [[], [1.0, 1.0], [0.0, 0.0], [NAN, NAN]], ids=["empty", "true", "false", "unknown"])
def test_nothing_raises_when_a_class_is_missing(y: list[float]) -> None:
    p = [0.4] * len(y)
    assert resampling.ranking(y, p)["auc"].value is None
    metrics.recall_at_false_flag(y, p, 0.1)
    calibration(y, p)
    resampling.grouped_rate(np.asarray(y) == 1, np.ones(len(y)), np.zeros(len(y)))
    choose_review_threshold(p, y, None)


def test_vectors_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        truth_table([1, 0], [0.5])


def test_recall_at_a_false_flag_rate_is_the_highest_allowed() -> None:
    assert metrics.recall_at_false_flag(Y, P, 0.0) == (0.9, rate(1, 3))
    assert metrics.recall_at_false_flag(Y, P, 0.5) == (0.8, rate(2, 3))
    assert metrics.recall_at_false_flag([0, 1], [0.9, 0.1], 0.0) == (math.inf, rate(0, 1))


def test_the_review_threshold_keeps_each_stratums_limit() -> None:
    rng = np.random.default_rng(1)
    y = np.repeat([1.0, 0.0, 0.0], 400)
    stratum = ["stalking"] * 400 + ["near_miss"] * 400 + ["ordinary"] * 400
    p = np.concatenate([rng.beta(5, 2, 400), rng.beta(2, 4, 400), rng.beta(1, 9, 400)])
    threshold, recall, shortfall = choose_review_threshold(p, y, stratum)
    flag = p >= threshold
    near, ordinary = flag[400:800].mean(), flag[800:].mean()
    assert near <= 0.12
    assert ordinary <= 0.01
    lower = p >= np.sort(p[:400][~flag[:400]])[-1]
    assert lower[400:800].mean() > 0.12 or lower[800:].mean() > 0.01, "no lower threshold gains recall in limits"
    assert recall.n == flag[:400].sum()
    assert shortfall == pytest.approx(max(0.0, 0.9 - flag[:400].mean()))


def test_a_tighter_limit_never_raises_recall() -> None:
    y, p, s = [1, 1, 0, 0], [0.9, 0.4, 0.5, 0.1], ["stalking", "stalking", "ordinary", "ordinary"]
    assert choose_review_threshold(p, y, s, max_ordinary=0.5).recall == rate(2, 2)
    assert choose_review_threshold(p, y, s, max_ordinary=0.4).recall == rate(1, 2)


def test_with_unknown_strata_the_documented_limit_holds() -> None:
    y = [1.0] + [0.0] * 100
    p = [0.5, *np.linspace(0.9, 0.1, 100)]
    chosen = choose_review_threshold(p, y, None)
    assert sum(score >= chosen.threshold for score in p[1:]) / 100 <= metrics.MAX_FALSE_FLAG_UNKNOWN
    assert chosen.recall == rate(0, 1)
    assert chosen.shortfall == pytest.approx(0.9)


def test_the_threshold_lies_between_two_scores() -> None:
    chosen = choose_review_threshold([0.8, 0.6, 0.2], [1, 1, 0], ["stalking", "stalking", "ordinary"])
    assert chosen.threshold == pytest.approx(0.4)


def test_nothing_is_flagged_when_the_surest_record_breaks_a_limit() -> None:
    chosen = choose_review_threshold([0.9, 0.8], [0, 1], ["ordinary", "stalking"])
    assert chosen.threshold > 0.9
    assert chosen.recall == rate(0, 1)


def test_ranking_agrees_with_scikit_learn_and_its_interval_holds_the_value() -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 300).astype(float)
    p = np.round(np.clip(0.3 * y + rng.normal(0.4, 0.2, 300), 0, 1), 1)
    found = resampling.ranking(y, p, np.arange(300) // 3)
    assert found["auc"].value == pytest.approx(roc_auc_score(y, p))
    assert found["average_precision"].value == pytest.approx(average_precision_score(y, p))
    for estimate in found.values():
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.value is not None
        assert estimate.low < estimate.value < estimate.high
    assert found == resampling.ranking(y, p, np.arange(300) // 3), "the same seed gives the same interval"


def test_intervals_are_wider_when_records_of_a_group_are_alike() -> None:
    hit = np.repeat(np.random.default_rng(3).random(40) < 0.6, 10)
    everything = np.ones(400, dtype=bool)
    alone = resampling.grouped_rate(hit, everything, np.arange(400))
    grouped = resampling.grouped_rate(hit, everything, np.repeat(np.arange(40), 10))
    assert alone.low is not None
    assert alone.high is not None
    assert grouped.low is not None
    assert grouped.high is not None
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_scores_that_come_true_have_no_calibration_error() -> None:
    y, p = [0.0] * 80 + [1.0] * 20 + [0.0] * 20 + [1.0] * 80, [0.2] * 100 + [0.8] * 100
    found = calibration(y, p)
    assert found.ece == pytest.approx(0.0)
    assert [b.observed.of for b in found.bins] == [100, 100], "equal scores stay in one bin"
    assert calibration(y, [1.0 - v for v in p]).ece == pytest.approx(0.6)


def test_bins_hold_equal_numbers() -> None:
    p = np.linspace(0, 1, 1000)
    assert [b.observed.of for b in calibration(p > 0.5, p).bins] == pytest.approx([100] * 10, abs=1)


def test_live_figures_match_the_planning_example() -> None:
    # Domain facts, section 6: recall 90%, specificity 97%, 10 of 1,200: 45 alerts a day at 20% precision.
    live = metrics.live_figures(rate(900, 1000), rate(30, 1000), 10 / 1200, 1200)
    assert live["alerts_a_day"]["value"] == pytest.approx(45, abs=0.5)
    assert live["precision"]["value"] == pytest.approx(0.20, abs=0.005)
    for figure in live.values():
        assert figure["low"] is not None
        assert figure["value"] is not None
        assert figure["high"] is not None
        assert figure["low"] < figure["value"] < figure["high"]


def test_live_figures_without_a_class_are_not_measured() -> None:
    assert metrics.live_figures(rate(0, 0), rate(1, 2), 0.01, 100)["precision"]["value"] is None


def test_a_probability_is_moved_to_another_prevalence_and_back() -> None:
    p = np.array([0.0, 0.3, 0.9, 1.0])
    there = metrics.shift_prevalence(p, 0.4, 0.008)
    assert there[1] < 0.01
    assert metrics.shift_prevalence(there, 0.008, 0.4) == pytest.approx(p)


def test_mcnemar_is_exact_and_counts_only_the_differences() -> None:
    found = metrics.mcnemar([1, 1, 0, 0, 0, 0, 0, 1], [0, 1, 1, 1, 1, 1, 1, 1])
    assert (found.only_first_wrong, found.only_second_wrong) == (1, 5)
    assert found.p_value == pytest.approx(2 * (1 + 6) / 2**6)
    assert metrics.mcnemar([1, 0], [1, 0]).p_value is None
