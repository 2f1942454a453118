from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from evaluation.case_ranking import case_ranking
from stalkscreen.schema import Case, LabelledIncident


class Counting:
    """Scores a case by how many of its incidents say "again", an incident by nothing."""

    def assess(self, cases: list[Case]) -> list[Any]:
        return [
            SimpleNamespace(
                stalking=SimpleNamespace(
                    probability=0.1 * sum("again" in i.narrative for i in case.incidents)
                    if len(case.incidents) > 1
                    else 0.5
                )
            )
            for case in cases
        ]


def case(number: int, stalking: bool, single: bool = False) -> list[LabelledIncident]:
    text = "He came again." if stalking else "A bicycle was taken."
    start = datetime(2024, 1, 1)
    return [
        LabelledIncident(
            incident_id=f"{number}-{i}",
            narrative=text,
            case_id=str(number),
            occurred_at=start + timedelta(days=i),
            stalking=single and i == 0,
            case_stalking=stalking,
        )
        for i in range(3)
    ]


def test_cases_are_ranked_by_their_incidents_together() -> None:
    records = [r for n in range(6) for r in case(n, stalking=n < 3, single=n == 0)]
    found = case_ranking(records, Counting())
    assert found is not None
    assert found["incidents"] == 18
    assert found["all"]["cases"] == 6
    assert found["all"]["stalking"] == 3
    assert found["all"]["together"]["value"] == 1
    assert found["all"]["highest_alone"]["value"] == 0.5
    assert found["no_incident_stalking_by_itself"]["stalking"] == 2  # the case with a stalking incident is left out
    assert found["no_incident_stalking_by_itself"]["cases"] == 5


def test_cases_too_few_for_an_interval_are_shown_without_one() -> None:
    from evaluation.sentences import ranged

    found = case_ranking([r for n in range(6) for r in case(n, stalking=n < 3)], Counting())
    assert found is not None
    assert found["all"]["together"]["low"] is None
    assert ranged(found["all"]["together"], 3) == "1.000"


def test_one_kind_of_case_only_is_not_measured() -> None:
    assert case_ranking(case(1, stalking=True), Counting()) is None
    assert case_ranking([r.model_copy(update={"case_stalking": None}) for r in case(1, True)], Counting()) is None
