from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from evaluation.behaviour import behaviour_tests
from evaluation.earliness import case_histories, earliness, prefix
from evaluation.perturbations import PERTURBATIONS, wordings
from stalkscreen.schema import Assessment, Case, LabelledIncident

CHANGE = {p.name: p.change for p in PERTURBATIONS}


class Words:
    """Flags a case whose texts hold a word, and quotes the last sentence as evidence."""

    def __init__(self, word: str = "van", times: int = 1) -> None:
        self.word, self.times = word, times

    def assess(self, cases: Sequence[Case]) -> list[Assessment]:
        out = []
        for case in cases:
            text = " ".join(i.narrative for i in case.incidents)
            flag = text.count(self.word) >= self.times
            at = text.rstrip(".").rfind(".") + 1
            span = SimpleNamespace(start=at, end=len(text))
            found = SimpleNamespace(present=flag, evidence=[span] if flag else [])
            out.append(
                SimpleNamespace(
                    stalking=SimpleNamespace(flag=flag, probability=0.9 if flag else 0.1), indicators=[found]
                )
            )
        return cast(list[Assessment], out)


def record(number: int, text: str, stalking: bool = True, **more: Any) -> LabelledIncident:
    return LabelledIncident(incident_id=f"i{number}", narrative=text, stalking=stalking, **more)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("He followed her to her car and told her to stop.", "She followed him to his car and told him to stop."),
        ("His ex-wife rang. The car is his.", "Her ex-husband rang. The car is hers."),
        ("MALE SENT HER 40 TEXTS TO HER WORK", "FEMALE SENT HIM 40 TEXTS TO HIS WORK"),
        ("Mr Obi saw him", "Ms Obi saw her"),
        ("The theme of the hearing", "The theme of the hearing"),
    ],
)
def test_pronouns_and_the_nouns_of_a_sex_are_exchanged(before: str, after: str) -> None:
    assert CHANGE["pronouns"](before, rng()) == after


def test_a_name_becomes_the_same_other_name_each_time() -> None:
    text = CHANGE["names"]("Sarah Jones rang. Sarah says James waits for Sarah.", rng())
    new = text.split()[0]
    assert "Sarah" not in text
    assert "Jones" not in text
    assert text.count(new) == 3
    assert CHANGE["names"]("Sarah Jones rang.", rng()) == CHANGE["names"]("Sarah Jones rang.", rng())


def test_towns_and_nationalities_change_and_other_words_stay() -> None:
    assert CHANGE["region"]("Seen in Bristol and again in Bristol.", rng()).count("Bristol") == 0
    assert CHANGE["ethnicity"]("A Polish man, polished shoes.", rng()) == "A Nigerian man, polished shoes."


@pytest.mark.parametrize("perturbation", [p for p in PERTURBATIONS if p.adds], ids=lambda p: p.name)
def test_added_sentences_leave_the_text_itself_whole(perturbation: Any) -> None:
    text = "He waited outside. He came back. She rang police"
    changed = perturbation.change(text, rng())
    kept = changed
    for sentence in wordings()["sentences"][perturbation.adds]:
        kept = kept.replace(sentence, " ")
    assert kept.split() == text.split() or kept.split() == f"{text}.".split()


def test_a_sample_is_capped_balanced_and_the_same_each_time() -> None:
    records = [record(i, f"A van waited {i} times outside her place.", i % 4 == 0) for i in range(80)]
    first = behaviour_tests(records, Words(), seen_in_training=True, sample=20)
    assert first == behaviour_tests(records, Words(), seen_in_training=True, sample=20)
    rows = {row["perturbation"]: row for row in first["perturbations"]}
    assert rows["padding"]["n"] == 20
    assert first["sample"]["seen_in_training"]
    assert 20 <= first["sample"]["records"] <= 80
    assert rows["names"]["n"] == 0
    assert rows["names"]["failures"]["value"] is None, "a change that applies to no text is not measured"


def test_failures_are_changed_flags_with_examples_by_id_and_quoted_sentences_are_counted() -> None:
    records = [record(i, f"A van waited outside her place. It was there {i} times.", True) for i in range(8)]
    found = behaviour_tests(records, Words(), seen_in_training=False)
    rows = {row["perturbation"]: row for row in found["perturbations"]}
    assert (rows["capitals"]["failures"]["n"], rows["capitals"]["n"]) == (8, 8)
    assert rows["capitals"]["mean_change"] == pytest.approx(0.8)
    assert len(rows["capitals"]["examples"]) == 5
    assert rows["negation"]["failures"]["n"] == 0
    assert rows["negation"]["quoted"]["n"] == 8, "the last sentence, which was added, is quoted"
    assert rows["capitals"]["quoted"] is None
    noise = [row for row in found["perturbations"] if row["kind"] == "noise"]
    assert found["by_kind"]["noise"]["of"] == sum(row["n"] for row in noise)
    assert "cut_off" not in found["by_kind"], "a changed flag may be right there"


def test_a_prefix_ends_at_a_word() -> None:
    text = "  One two  three four five six seven eight nine ten."
    assert prefix(text, 0.3) == "  One two  three"
    assert prefix(text, 0.01) == "  One"
    assert prefix(text, 1.0) == text


def test_the_share_of_text_needed_is_found() -> None:
    words = ["w"] * 10
    early = record(1, " ".join(["van", *words[1:]]))
    late = record(2, " ".join([*words[:6], "van", *words[7:]]))
    missed = record(3, " ".join(words))
    found = earliness([early, late, missed, record(4, "van", False)], Words(), seen_in_training=False)["prefixes"]
    assert (found["sample"], found["flagged_whole"]) == (3, 2)
    assert [row["flagged"]["n"] for row in found["shares"]] == [1, 1, 1, 1, 1, 1, 2, 2, 2, 2]
    assert found["median_share"] == pytest.approx(0.4)
    assert found["flag_lost_later"]["n"] == 0


def history(case: str, texts: Sequence[str], **more: Any) -> list[LabelledIncident]:
    return [
        record(
            hash((case, i)) % 10**9, text, i == len(texts) - 1, case_id=case, occurred_at=f"2024-0{i + 1}-01", **more
        )
        for i, text in enumerate(texts)
    ]


def test_a_history_is_read_alone_and_together_in_order_of_time() -> None:
    cases = history("a", ["a van", "a van", "a van"]) + history("b", ["van van", "x"]) + history("c", ["x", "x"])
    found = earliness(cases[::-1], Words(times=2), seen_in_training=False)["histories"]
    assert (found["cases"], found["incidents"]) == (3, 7)
    assert found["together"]["at"] == [{"incident": 1, "cases": 1}, {"incident": 2, "cases": 1}]
    assert found["alone"]["at"] == [{"incident": 1, "cases": 1}]
    assert (found["alone"]["never"], found["together"]["never"]) == (2, 1)
    assert (found["earlier_together"], found["earlier_alone"], found["same"]) == (1, 0, 2)


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([], id="no record"),
        pytest.param([record(1, "x", case_id="a", occurred_at="2024-01-01")], id="one incident"),
        pytest.param(history("a", ["x", "y"], pair_id="p", pair_kind="contrast"), id="variants of one text"),
        pytest.param([record(1, "x", case_id="a"), record(2, "y", case_id="a")], id="undated"),
        pytest.param(
            [record(i, "x", False, case_id="a", occurred_at="2024-01-01") for i in (1, 2)], id="no stalking in it"
        ),
    ],
)
def test_what_is_no_history_is_said_to_be_not_measured(records: list[LabelledIncident]) -> None:
    assert case_histories(records) == []
    found = earliness(records, Words(), seen_in_training=False)
    assert found["histories"] is None
    assert found["histories_note"].startswith("Not measured")
