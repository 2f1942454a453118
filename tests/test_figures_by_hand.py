"""The report's numbers, worked out again with nothing but the labelled file, `errors.csv` and a spreadsheet's means."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from evaluation.answers import Answers
from evaluation.behaviour import behaviour_tests
from evaluation.columns import read_columns
from evaluation.comparison import others_of
from evaluation.earliness import earliness
from evaluation.error_list import errors_csv
from evaluation.evaluate import DatasetInfo, ThresholdInfo, evaluate
from stalkscreen.model import ScreeningModel, keyword_model
from stalkscreen.schema import Case, LabelledIncident
from stalkscreen.taxonomy import OVERT_INDICATORS, load_taxonomy

SCHEMA = Draft202012Validator(
    json.loads((Path(__file__).parents[1] / "evaluation" / "metrics.schema.json").read_text(encoding="utf-8"))
)
OPTIONAL = (
    "stratum", "offence_family", "tier", "history_check", "four_fixated", "four_obsessive", "four_unwanted",
    "four_repeated", "indicators", "evidence", "domestic", "cyber", "relationship", "recorded_offence", "case_id",
    "writer", "label_version",
)  # fmt: skip


def measured(records: list[LabelledIncident], model: ScreeningModel, **more: Any) -> dict[str, Any]:
    answers = Answers.of(model.assess([Case.of_one(r) for r in records]))
    keyword = Answers.of(keyword_model().assess([Case.of_one(r) for r in records]))
    found = evaluate(
        records,
        answers,
        threshold=ThresholdInfo(model.thresholds.review, model.thresholds.high, model.prevalence),
        dataset=DatasetInfo("made up", ["ab"], True, "by case"),
        seen_in_training=True,
        baselines={"keyword": keyword},
        behaviour=behaviour_tests(records, model, seen_in_training=True, sample=8),
        earliness=earliness(records, model, seen_in_training=True, sample=8),
        **more,
    )
    taxonomy = load_taxonomy()
    others = others_of(read_columns(records, answers, taxonomy), {"keyword": keyword})
    found["csv"] = list(csv.DictReader(io.StringIO(errors_csv(records, answers, model.thresholds.review, others))))
    return found


@pytest.fixture(scope="module")
def noisy(records: list[LabelledIncident]) -> list[LabelledIncident]:
    """The shared records with every seventh label turned round, so that there are errors, and recorded offences mixed."""
    titles = ("harassment", "stalking", None, "criminal damage")
    return [
        r.model_copy(update={"stalking": r.stalking != (i % 7 == 0), "recorded_offence": titles[i % 4]})
        for i, r in enumerate(records)
    ]


def test_every_headline_count_follows_from_the_file_of_errors(
    noisy: list[LabelledIncident], model: ScreeningModel
) -> None:
    found = measured(noisy, model)
    by_id = {r.incident_id: r for r in noisy}
    missed = {row["incident_id"] for row in found["csv"] if row["error"] == "missed"}
    false = {row["incident_id"] for row in found["csv"] if row["error"] == "falsely_flagged"}
    stalking = {r.incident_id for r in noisy if r.stalking}
    assert missed <= stalking
    assert not false & stalking
    assert missed
    assert false
    flagged = (stalking - missed) | false
    at = found["at_threshold"]
    assert at["recall"]["n"] == len(stalking - missed)
    assert at["recall"]["of"] == len(stalking)
    assert at["false_flag"]["n"] == len(false)
    assert at["precision"]["value"] == pytest.approx(len(stalking - missed) / len(flagged))
    assert found["errors"]["missed"]["count"] == len(missed)
    assert sum(r["missed"] for r in found["errors"]["reasons"]) == len(missed)
    assert sum(r["falsely_flagged"] for r in found["errors"]["reasons"]) == len(false)

    bins = found["score_bins"]
    above = Counter()
    for row in bins["counts"]:
        above[row["stalking"]] += sum(row["n"][bins["review"] :])
    assert above == {True: len(stalking - missed), False: len(false)}

    flow = found["misidentification"]["flows"][0]
    elsewhere = {i for i in stalking if by_id[i].recorded_offence not in (None, "stalking")}
    assert (flow["recovered"]["n"], flow["recovered"]["of"]) == (len(elsewhere - missed), len(elsewhere))
    recorded = {i for i in stalking if by_id[i].recorded_offence == "stalking"}
    assert (flow["newly_lost"]["n"], flow["newly_lost"]["of"]) == (len(recorded & missed), len(recorded))
    assert sum(c["n"] for c in flow["cells"] if c["screened"] == "flagged") == len(flagged)

    domestic = next(s for s in found["slices"] if s["slice"] == "domestic")
    for part in domestic["parts"]:
        inside = {r.incident_id for r in noisy if r.domestic is (part["value"] == "domestic")}
        assert (part["recall"]["n"], part["recall"]["of"]) == (len(inside & stalking - missed), len(inside & stalking))
        assert part["false_flag"]["n"] == len(inside & false)

    overt = {i for i, r in by_id.items() if {*(r.indicators or ())} & OVERT_INDICATORS}
    told, untold = sorted(
        next(s for s in found["slices"] if s["slice"] == "overt_act")["parts"], key=lambda p: p["value"]
    )
    for part, inside in ((told, overt), (untold, {*by_id} - overt)):
        assert (part["recall"]["n"], part["recall"]["of"]) == (len(inside & stalking - missed), len(inside & stalking))

    for row in found["comparison"]:
        name = row["baseline"]
        lost = {r["incident_id"] for r in found["csv"] if name in r["newly_missed_against"].split("|")}
        gained = {r["incident_id"] for r in found["csv"] if name in r["newly_found_against"].split("|")}
        assert set(row["newly_missed"]["ids"]) == lost
        assert set(row["newly_found"]["ids"]) == gained
        judged = len(stalking) if name == "keyword" else len(elsewhere | recorded)
        assert row["paired"]["recall"]["value"] == pytest.approx((len(gained) - len(lost)) / judged)
        assert row["mcnemar"]["stalking"]["only_model_wrong"] == len(lost)
        assert row["mcnemar"]["stalking"]["only_baseline_wrong"] == len(gained)


def test_live_precision_follows_from_bayes_rule_at_the_prevalence_written_beside_it(
    noisy: list[LabelledIncident], model: ScreeningModel
) -> None:
    found = measured(noisy, model, live_prevalence=0.02, daily_volume=500)
    assert (found["live"]["prevalence"], found["live"]["daily_volume"]) == (0.02, 500)
    r, f = found["at_threshold"]["recall"]["value"], found["at_threshold"]["false_flag"]["value"]
    live = found["at_threshold"]["live"][0]
    assert live["precision"]["value"] == pytest.approx(0.02 * r / (0.02 * r + 0.98 * f))
    assert live["alerts_a_day"]["value"] == pytest.approx(500 * (0.02 * r + 0.98 * f))


@pytest.mark.parametrize(
    "shape", ["no record", "one record", "five records", "stalking only", "none stalking", "bare labels"]
)
def test_the_edges_keep_the_schema_and_say_what_is_not_measured(
    shape: str, records: list[LabelledIncident], model: ScreeningModel
) -> None:
    chosen = {
        "no record": [],
        "one record": records[:1],
        "five records": records[:3] + records[-2:],
        "stalking only": [r for r in records if r.stalking][:20],
        "none stalking": [r for r in records if not r.stalking][:20],
        "bare labels": [r.model_copy(update=dict.fromkeys(OPTIONAL)) for r in records[::5]],
    }[shape]
    found = measured(chosen, model)
    del found["csv"]
    SCHEMA.validate(json.loads(json.dumps(found, allow_nan=False)))
    if shape == "bare labels":
        assert found["misidentification"]["same_rows"] == []
        assert found["misidentification"]["flows"][0]["recovered"]["value"] is None
        assert {c["recorded"] for c in found["misidentification"]["flows"][0]["cells"]} == {"not_recorded"}
        assert [row["baseline"] for row in found["comparison"]] == ["keyword"]
        assert found["worst_slice"]["recall"] is None or found["worst_slice"]["recall"]["slice"] == "narrative_length"
    if shape == "none stalking":
        assert found["at_threshold"]["recall"]["value"] is None
        assert found["earliness"]["prefixes"] is None
        assert found["comparison"][-1]["paired"]["recall"]["value"] is None
    if shape == "five records":
        assert all(part["few"] for s in found["slices"] for part in s["parts"])


def test_a_model_that_knows_fewer_indicators_is_measured_on_those(
    records: list[LabelledIncident], model: ScreeningModel
) -> None:
    assessed = model.assess([Case.of_one(r) for r in records])
    fewer = [a.model_copy(update={"indicators": a.indicators[:4]}) for a in assessed]
    answers = Answers.of(fewer)
    found = evaluate(
        records,
        answers,
        threshold=ThresholdInfo(0.5, 0.8, 0.5),
        dataset=DatasetInfo("made up", ["ab"], True, "by case"),
        seen_in_training=False,
    )
    SCHEMA.validate(json.loads(json.dumps(found, allow_nan=False)))
    covered = [row["indicator"] for row in found["indicators"]["each"] if row["covered"]]
    assert covered == [i.name for i in assessed[0].indicators[:4]]


def test_columns_of_answers_hold_what_the_assessments_said(
    records: list[LabelledIncident], model: ScreeningModel
) -> None:
    assessed = model.assess([Case.of_one(r) for r in records[:30]])
    answers = Answers.of(iter(assessed))
    names = load_taxonomy().indicator_names
    for row, a in enumerate(assessed):
        assert answers.probability[row] == a.stalking.probability
        assert load_taxonomy().family_names[answers.family[row]] == a.offence_family.top
        assert answers.four[row].tolist() == [a.four.fixated, a.four.obsessive, a.four.unwanted, a.four.repeated]
        quoted = [(i.name, s.start, s.end) for i in a.indicators if i.present for s in i.evidence]
        assert [(names[i], s, e) for i, s, e in answers.quoted_in(row).tolist()] == quoted
        assert answers.against_in(row).tolist() == [[s.start, s.end] for s in a.against]
