from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evaluation.columns import Columns
from evaluation.comparison import MAX_IDS, Other, comparison, newly, others_of
from evaluation.flows import flows, group_of, title_groups
from evaluation.operating import ThresholdInfo, score_bins
from stalkscreen.schema import LabelledIncident
from stalkscreen.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()


def columns(
    truth: list[int], p: list[float], titles: list[str | None] | None = None, cut: float = 0.5, **more: Any
) -> Columns:
    recorded = np.array(titles if titles is not None else [None] * len(truth), dtype=object)
    probability = np.array(p, dtype=float)
    return Columns(
        stalking=np.array(truth, dtype=float),
        probability=probability,
        flag=probability >= cut,
        recorded=recorded,
        recorded_stalking=np.array([t is not None and TAXONOMY.is_stalking_title(t) for t in recorded], dtype=bool),
        stratum=np.array(more.get("stratum", [None] * len(truth)), dtype=object),
        group=np.arange(len(truth)),
    )


def incidents(truth: list[int], **labels: list[Any]) -> list[LabelledIncident]:
    return [
        LabelledIncident(
            incident_id=f"i{i}", narrative="x", stalking=bool(y), **{key: values[i] for key, values in labels.items()}
        )
        for i, y in enumerate(truth)
    ]


@pytest.mark.parametrize(
    ("title", "group"),
    [
        ("Stalking involving fear of violence", "stalking"),
        ("8/66", "stalking"),
        ("HARASSMENT_WITHOUT_VIOLENCE", "harassment"),
        ("Breach of stalking protection order", "breach_of_order"),
        ("breach of non-molestation order", "breach_of_order"),
        ("Engage in controlling or coercive behaviour", "controlling_or_coercive"),
        ("domestic incident (non-crime)", "domestic_incident"),
        ("Burglary residential", "burglary_theft_fraud"),
        ("concern for welfare", "non_crime"),
        ("Keeping a dog out of control", "other"),
        (None, "not_recorded"),
    ],
)
def test_a_recorded_title_falls_into_one_group(title: str | None, group: str) -> None:
    assert group_of(title, TAXONOMY) == group
    assert group in title_groups()


TRUTH = [1, 1, 1, 1, 0, 0, 0, 0]
P = [0.9, 0.2, 0.3, 0.9, 0.1, 0.7, 0.1, 0.8]
TITLES = ["Harassment", "Stalking", "Criminal damage", None, "Stalking", "Burglary", "Harassment", None]


def test_flows_count_every_record_once_and_keep_not_recorded_apart() -> None:
    records = incidents(
        TRUTH,
        offence_family=["stalking"] * 4 + ["harassment", "other_crime", None, "dispute"],
        domestic=[True, True, False, None, True, False, False, None],
        relationship=["ex_partner", "ex_partner", "neighbour", None, "ex_partner", "stranger", "stranger", None],
    )
    found = flows(records, columns(TRUTH, P, TITLES), TAXONOMY)
    parts = {(part["part"], part["value"]): part for part in found["flows"]}
    whole = parts["all", None]
    assert sum(cell["n"] for cell in whole["cells"]) == whole["rows"] == 8
    assert (whole["recovered"]["n"], whole["recovered"]["of"]) == (1, 2)
    assert (whole["still_missed"]["n"], whole["still_missed"]["of"]) == (1, 2)
    assert (whole["newly_lost"]["n"], whole["newly_lost"]["of"]) == (1, 1)
    assert (whole["not_recorded"]["stalking"]["n"], whole["not_recorded"]["stalking"]["of"]) == (1, 1)
    assert (whole["over_recorded"]["n"], whole["over_recorded"]["of"]) == (1, 3)
    assert (whole["newly_called"]["n"], whole["newly_called"]["of"]) == (1, 2)
    assert [c["recorded"] for c in whole["cells"] if c["family"] == "unknown"] == ["harassment"]
    assert parts["domestic", "domestic"]["rows"] == 3
    assert parts["relationship", "ex partner"]["rows"] == 3
    assert found["recorded_groups"][-1]["group"] == "not_recorded"


def test_without_recorded_offences_no_rate_of_the_force_is_given() -> None:
    found = flows(incidents([1, 0]), columns([1, 0], [0.9, 0.1]), TAXONOMY)["flows"]
    assert len(found) == 1
    assert found[0]["recovered"]["value"] is None
    assert found[0]["over_recorded"]["value"] is None
    assert {cell["recorded"] for cell in found[0]["cells"]} == {"not_recorded"}


def test_newly_missed_and_newly_found_are_named_by_id_with_a_cap() -> None:
    n = MAX_IDS + 20
    truth, p = [1] * n + [1, 0, 0], [0.1 + 0.0001 * i for i in range(n)] + [0.9, 0.9, 0.1]
    cols = columns(truth, p)
    other = Other(
        "released", np.array([True] * n + [False, False, True]), np.full(n + 3, 0.4), np.ones(n + 3, dtype=bool)
    )
    row = comparison([f"i{i}" for i in range(n + 3)], cols, [other], 0.008)[0]
    assert row["newly_missed"]["count"] == n
    assert row["newly_missed"]["ids"][:2] == ["i0", "i1"], "the least likely first"
    assert len(row["newly_missed"]["ids"]) == MAX_IDS
    assert row["newly_found"] == {"count": 1, "ids": [f"i{n}"]}
    assert (row["newly_flagged"]["count"], row["no_longer_flagged"]["count"]) == (1, 1)
    assert row["mcnemar"]["stalking"]["only_model_wrong"] == n
    assert newly(cols, other)["newly_missed"].sum() == n


def test_a_judge_that_flags_more_than_the_model_or_nothing_has_no_recall_at_the_models_false_flags() -> None:
    truth, p = [1] * 20 + [0] * 20, [0.9] * 20 + [0.8] + [0.1] * 19
    two = np.array([0.9] * 15 + [0.1] * 5 + [0.9] * 4 + [0.1] * 16)
    cols = columns(truth, p)
    other = Other("keyword", two > 0.5, two, np.ones(40, dtype=bool))
    row = comparison([f"i{i}" for i in range(40)], cols, [other], 0.008)[0]
    assert row["other"]["false_flag"]["n"] > row["model"]["false_flag"]["n"]
    assert row["recall_at_the_models_false_flag"] is None
    assert row["paired"]["recall_at_5_percent"]["value"] is None
    fine = comparison([f"i{i}" for i in range(40)], columns(truth, p, cut=0.05), [other], 0.008)[0]
    assert fine["recall_at_the_models_false_flag"]["n"] == 20


def test_what_was_recorded_is_called_simulated_in_a_synthetic_set() -> None:
    cols = columns(TRUTH, P, TITLES)
    for synthetic, title in ((True, "As recorded (simulated)"), (False, "As recorded")):
        row = comparison([f"i{i}" for i in range(8)], cols, others_of(cols, {}), 0.008, synthetic=synthetic)[0]
        assert row["title"] == title


def test_what_was_recorded_is_compared_only_where_something_was() -> None:
    cols = columns(TRUTH, P, TITLES)
    row = comparison([f"i{i}" for i in range(8)], cols, others_of(cols, {}), 0.008)[0]
    assert (row["baseline"], row["rows"], row["paired"]["rows"]) == ("recorded", 6, 6)
    assert row["paired"]["average_precision"]["value"] is None
    assert row["newly_found"]["ids"] == ["i0"]
    assert row["newly_missed"]["ids"] == ["i1"]


def test_score_bins_give_the_counts_at_every_edge_exactly() -> None:
    rng = np.random.default_rng(0)
    p = [*rng.random(500).tolist(), 0.0, 1.0, 0.37, 0.37]
    truth = [int(v > rng.random()) for v in p]
    stratum = [
        ("stalking" if y else str(rng.choice(["near_miss", "ordinary"]))) if rng.random() < 0.8 else None for y in truth
    ]
    found = score_bins(columns(truth, p, cut=0.3712345678, stratum=stratum), ThresholdInfo(0.3712345678, 0.8, 0.4))
    assert found["edges"][found["review"]] == 0.3712345678
    assert found["edges"][found["high"]] == 0.8
    assert found["agrees_with_flags"]
    assert sum(sum(row["n"]) for row in found["counts"]) == len(p)
    for i, edge in enumerate(found["edges"][:-1]):
        for row in found["counts"]:
            name = None if row["stratum"] == "unknown" else row["stratum"]
            mine = [
                v >= edge for v, y, s in zip(p, truth, stratum, strict=True) if bool(y) == row["stalking"] and s == name
            ]
            assert sum(row["n"][i:]) == sum(mine)


def test_flags_taken_at_another_threshold_are_said_to_disagree() -> None:
    found = score_bins(columns([1, 0], [0.6, 0.4], cut=0.7), ThresholdInfo(0.5, 0.8, 0.4))
    assert not found["agrees_with_flags"]
