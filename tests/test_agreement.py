"""Agreement is measured between first and second labels, and every difference is decided, told and carried."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import cohen_kappa_score

from stalkscreen.dataset import write_labelled
from stalkscreen.errors import DataError
from stalkscreen.schema import LabelledIncident
from stalkscreen.synthesis.adjudication import adjudication_checks, adjudication_report, first_labels
from stalkscreen.synthesis.agreement import compare, measure, report
from stalkscreen.synthesis.second_labels import (
    ADJUDICATIONS_FILE,
    PLAIN,
    SECOND_FILE,
    Adjudication,
    SecondLabels,
    all_labels,
    read_adjudications,
    read_second,
    value_of,
)
from stalkscreen.taxonomy import load_taxonomy

TEXT = "He stood by the chip shop on two nights and then he rang her from a new number about the dog."


def text(number: int, **changes: Any) -> LabelledIncident:
    """A labelled narrative; every second one is stalking."""
    stalking = number % 2 == 0
    labels: dict[str, Any] = {
        "incident_id": f"t{number:03}",
        "narrative": f"{TEXT} Note {number}.",
        "stalking": stalking,
        "offence_family": "stalking" if stalking else "dispute",
        "tier": "s2A" if stalking else None,
        "relationship": "neighbour",
        **{name: stalking for name in PLAIN if name.startswith("four_") or name in ("domestic", "cyber")},
        "indicators": ["loitering", "unwanted_contact"] if stalking else ["victim_fear"],
    }
    return LabelledIncident(**{**labels, **changes})


def again(record: LabelledIncident, **changes: Any) -> SecondLabels:
    """The same labels by a second hand, apart from the changes."""
    labels = {name: getattr(record, name) for name in PLAIN}
    return SecondLabels(
        **{"incident_id": record.incident_id, **labels, "indicators": list(record.indicators or ()), **changes}
    )


def decision(ident: str, label: str, corpus: object, second: object, value: object, reason: str = "section 5") -> Any:
    return Adjudication.model_validate(
        {
            "incident_id": ident,
            "label": label,
            "corpus": corpus,
            "second": second,
            "decision": value,
            "reason": reason,
        }
    )


RECORDS = [text(n) for n in range(60)]


def by_id(records: list[LabelledIncident]) -> dict[str, LabelledIncident]:
    return {record.incident_id: record for record in records}


# First labels


def test_the_first_values_are_put_back_where_a_difference_was_decided() -> None:
    decided = text(0, four_obsessive=True, tier=None, indicators=["unwanted_contact", "escalation"])
    rows = [
        decision("t000", "four_obsessive", False, True, True),
        decision("t000", "tier", "s2A", None, None),
        decision("t000", "indicator:loitering", True, False, False),
        decision("t000", "indicator:escalation", False, True, True),
        decision("t000", "indicator:unwanted_contact", True, False, True),
    ]
    first = first_labels([decided, text(1)], rows)
    assert first["t000"].four_obsessive is False
    assert first["t000"].tier == "s2A"
    assert set(first["t000"].indicators or ()) == {"loitering", "unwanted_contact"}
    assert first["t001"] == text(1)
    assert decided.tier is None, "the corpus itself keeps the decision"


def test_kappa_compares_first_labels_although_the_corpus_carries_the_decisions() -> None:
    """Ten texts where the second labeller was followed would otherwise look like agreement."""
    turned = [r.incident_id for r in RECORDS[:20:2]]
    corpus = [r.model_copy(update={"four_obsessive": False}) if r.incident_id in turned else r for r in RECORDS]
    second = [again(r) for r in corpus]
    rows = [decision(i, "four_obsessive", True, False, False) for i in turned]
    kappa = {a.label: a.kappa for a in compare(first_labels(corpus, rows), second)}
    expected = cohen_kappa_score([r.four_obsessive for r in RECORDS], [r.four_obsessive for r in second])
    assert kappa["four_obsessive"] == pytest.approx(expected)
    assert kappa["four_obsessive"] < 0.8
    assert {a.label: a.kappa for a in compare(by_id(corpus), second)}["four_obsessive"] == 1.0


def test_the_mate_of_an_invariance_pair_takes_its_first_value_from_the_other_one() -> None:
    pair = {"pair_id": "p", "pair_kind": "invariance", "case_id": "t000", "four_repeated": True}
    mates = [text(0, **pair), text(2, **pair)]
    contrast = [text(4, **{**pair, "pair_id": "q", "pair_kind": "contrast"}), text(6, **{**pair, "pair_id": "q"})]
    rows = [decision(i, "four_repeated", False, True, True) for i in ("t000", "t004")]
    first = first_labels([*mates, *contrast], rows)
    assert [first[i].four_repeated for i in ("t000", "t002", "t004", "t006")] == [False, False, False, True]


# Agreement


def test_equal_labels_give_kappa_one_and_no_difference() -> None:
    found = compare(by_id(RECORDS), [again(r) for r in RECORDS])
    assert {a.kappa for a in found} <= {1.0, None}
    assert not [pair for a in found for pair in a.differ]
    assert len(found) == len(PLAIN) + len(load_taxonomy().indicator_names)


def test_differences_lower_kappa_and_give_an_interval_around_it() -> None:
    turned = {r.incident_id for r in RECORDS[:6]}
    second = [again(r, **({"domestic": not r.domestic} if r.incident_id in turned else {})) for r in RECORDS]
    found = {a.label: a for a in compare(by_id(RECORDS), second)}
    domestic = found["domestic"]
    assert {pair[0] for pair in domestic.differ} == turned
    assert domestic.raw == pytest.approx(0.9)
    assert domestic.kappa == pytest.approx(
        cohen_kappa_score([r.domestic for r in RECORDS], [r.domestic for r in second])
    )
    assert domestic.low is not None
    assert domestic.high is not None
    assert domestic.low < (domestic.kappa or 0) < domestic.high
    page = report(list(found.values()), len(second))
    assert "| domestic | 60 | 30 (50%) | 90.0% | 0.80 |" in page
    assert TEXT[:30] not in page


def test_the_tier_is_compared_only_where_both_say_stalking() -> None:
    second = [again(RECORDS[0], tier=None), again(RECORDS[2], stalking=False, offence_family="dispute", tier=None)]
    tier = next(a for a in compare(by_id(RECORDS), second) if a.label == "tier")
    assert tier.differ == (("t000", "s2A", "unclear"),)
    assert tier.n == 1


def test_no_second_labelling_is_said(tmp_path: Path) -> None:
    assert "No second labelling yet" in measure(tmp_path)


def test_the_section_is_measured_from_the_three_files_of_a_folder(tmp_path: Path) -> None:
    decided = RECORDS[0].model_copy(update={"relationship": "stranger"})
    write_labelled([decided, *RECORDS[1:]], tmp_path / "narratives.jsonl")
    second = [again(decided), *(again(r) for r in RECORDS[1:40])]
    (tmp_path / SECOND_FILE).write_text("\n".join(r.model_dump_json() for r in second), encoding="utf-8")
    row = decision("t000", "relationship", "neighbour", "stranger", "stranger", "unclear rule: seen once (section 7)")
    (tmp_path / ADJUDICATIONS_FILE).write_text(row.model_dump_json(), encoding="utf-8")
    page = measure(tmp_path)
    assert "| relationship | 40 |  | 97.5% |" in page
    assert "| relationship | 1 | 0 | 1 | 0 |" in page
    assert "| relationship | neighbour | stranger | 1 |" in page
    assert "section 7 in 1" in page
    assert "In 1 the guide did not decide" in page


# Decisions


def names_of_failing(corpus: list[LabelledIncident], second: list[SecondLabels], rows: list[Any]) -> set[str]:
    checks = adjudication_checks(corpus, second, rows)
    assert all(check.hard for check in checks)
    return {check.name for check in checks if not check.passes}


def test_a_decided_carried_and_reasoned_difference_passes_every_check() -> None:
    corpus = [text(0, cyber=False), text(1)]
    second = [again(corpus[0], cyber=False), again(corpus[1])]
    assert not names_of_failing(corpus, second, [decision("t000", "cyber", True, False, False)])
    assert adjudication_checks(corpus, [], []) == []


def test_each_kind_of_fault_in_the_decisions_fails_its_own_check() -> None:
    corpus = [text(0), text(1)]
    second = [again(corpus[0], cyber=False), again(corpus[1])]
    kept = decision("t000", "cyber", True, False, True)
    assert names_of_failing(corpus, second, []) == {"differences without an adjudication"}
    assert names_of_failing(corpus, second, [kept, decision("t001", "cyber", False, True, False)]) == {
        "adjudications of what is no difference"
    }
    assert names_of_failing(corpus, second, [decision("t000", "cyber", True, False, False)]) == {
        "decisions that the corpus does not carry"
    }
    copied = decision("t000", "cyber", True, False, True, "because then he RANG HER, from a new number")
    assert names_of_failing(corpus, second, [copied]) == {"reasons with over 5 words running of their text"}
    mention = decision("t000", "cyber", True, False, True, "he rang her from a telephone: device used")
    assert not names_of_failing(corpus, second, [mention])


def test_an_invariance_mate_may_carry_the_decision_of_the_other_text() -> None:
    pair = {"pair_id": "p", "pair_kind": "invariance", "case_id": "t000", "cyber": False}
    corpus = [text(0, **pair), text(2, **pair)]
    second = [again(corpus[0], cyber=False), again(corpus[1], cyber=False)]
    rows = [decision("t000", "cyber", True, False, False), decision("t002", "cyber", True, False, True)]
    assert not names_of_failing(corpus, second, rows)
    alone = [corpus[0], text(2, cyber=False)]
    assert names_of_failing(alone, second, rows) == {"decisions that the corpus does not carry"}


def test_decisions_are_counted_for_the_first_the_second_and_a_third_value() -> None:
    rows = [
        decision("t000", "relationship", "neighbour", "stranger", "neighbour"),
        decision("t002", "relationship", "neighbour", "stranger", "stranger"),
        decision("t004", "relationship", "neighbour", "stranger", "unknown"),
        decision("t000", "indicator:loitering", True, False, True),
    ]
    page = adjudication_report(RECORDS, [again(r) for r in RECORDS[:30]], rows)
    assert "| relationship | 3 | 1 | 1 | 1 |  |  |  |" in page
    assert "| indicator:loitering | 1 | 1 | 0 | 0 | 50.0% | 50.0% | 50.0% |" in page
    assert page.count("| relationship | neighbour |") == 2


# Files


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('{"incident_id": "nobody", "stalking": true}', "not in the corpus"),
        ('{"incident_id": "t001", "indicators": ["staring"]}', "unknown indicators: staring"),
        ('{"incident_id": "t001", "narrative": "secret words"}', "narrative"),
        ('{"incident_id": "t001", "tier": "s9"}', "must be s2A"),
        ('{"incident_id": "t000"}', "incident_id t000 is there twice"),
        ("{", "not JSON"),
    ],
)
def test_a_wrong_row_is_named_by_line_and_never_quoted(tmp_path: Path, row: str, says: str) -> None:
    path = tmp_path / SECOND_FILE
    path.write_text(f'{{"incident_id": "t000"}}\n{row}\n', encoding="utf-8")
    with pytest.raises(DataError, match=says) as error:
        read_second(path, RECORDS)
    assert "line 2" in error.value.message
    assert "secret words" not in error.value.message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"label": "indicator:staring"}, "must be one of"),
        ({"reason": ""}, "reason"),
        ({"incident_id": "nobody"}, "not in the corpus"),
        ({"decision": 3.5}, "decision"),
        ({"note": "x"}, "note"),
        ({}, "t000 cyber is there twice"),
    ],
)
def test_a_wrong_decision_is_named_by_line(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    row = json.loads(decision("t000", "cyber", True, False, True).model_dump_json())
    path = tmp_path / ADJUDICATIONS_FILE
    path.write_text(f"{json.dumps(row)}\n{json.dumps({**row, **changes})}\n", encoding="utf-8")
    with pytest.raises(DataError, match=says) as error:
        read_adjudications(path, RECORDS)
    assert "line 2" in error.value.message


def test_every_label_has_a_value_in_both_forms() -> None:
    for label in all_labels():
        assert value_of(RECORDS[0], label) == value_of(again(RECORDS[0]), label)
