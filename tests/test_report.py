from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation import charts, report, sentences
from evaluation.evaluate import DatasetInfo, ThresholdInfo, evaluate
from evaluation.explorer import Explorer, Stream
from evaluation.flow_chart import flow_chart
from evaluation.report import render_report
from stalkscreen.schema import Assessment, LabelledIncident
from stalkscreen.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
NASTY = "<script>alert(1)</script>"
SECRET = "zqxjkv"
GATES = [
    {"name": "recall_floor", "status": "pass", "sentence": "Recall is high enough."},
    {"name": "near_miss", "status": "fail", "sentence": "Too many near misses are flagged."},
    {"name": "against_released", "status": "not_applicable", "sentence": "Nothing is released yet."},
]


def assessed(number: int, probability: float) -> Assessment:
    flag = probability >= 0.5
    rest = (1 - probability) / 8
    return Assessment.model_validate(
        {
            "incident_id": f"i{number}{NASTY}",
            "stalking": {
                "probability": probability,
                "prevalence": 0.4,
                "probability_at_live": 0.1,
                "live_prevalence": 0.008,
                "flag": flag,
                "band": "medium" if flag else "low",
                "history_check": False,
            },
            "offence_family": {
                "top": "stalking" if flag else "dispute",
                "probabilities": {n: probability if n == "stalking" else rest for n in TAXONOMY.family_names},
            },
            "tier": {"hint": "s2A" if flag else "not_applicable", "probability_s4A": 0.2},
            "four": dict.fromkeys(("fixated", "obsessive", "unwanted", "repeated"), 0.5),
            "indicators": [
                {
                    "name": n,
                    "title": TAXONOMY.indicator(n).title,
                    "probability": 0.1,
                    "present": False,
                    "evidence": [],
                }
                for n in TAXONOMY.indicator_names
            ],
            "context": {"domestic": 0.5, "cyber": 0.5, "relationship": "unknown"},
            "against": [],
            "not_stated": [],
            "considerations": [],
            "model": {"version": "3", "kind": "linear", "stage": "linear", "data_hash": "ab"},
        }
    )


def made(name: str, *, recorded: bool = True, synthetic: bool = True, seen: bool = False) -> dict[str, Any]:
    records = [
        LabelledIncident(
            incident_id=f"i{i}{NASTY}",
            narrative=f"Something happened {SECRET}",
            stalking=i % 3 == 0,
            recorded_offence=(f"Harassment {NASTY}", "Stalking")[i % 2] if recorded else None,
            writer=f"w{i % 3}{NASTY}",
            offence_family="stalking" if i % 3 == 0 else "dispute",
            tier="s2A" if i % 3 == 0 else None,
            indicators=("loitering",) if i % 3 == 0 else (),
            pair_id=f"p{i // 2}",
            pair_kind="contrast",
        )
        for i in range(30)
    ]
    scores = [0.9 if (i % 3 == 0) != (i % 7 == 0) else 0.2 for i in range(30)]
    return evaluate(
        records,
        [assessed(i, p) for i, p in enumerate(scores)],
        threshold=ThresholdInfo(review=0.5, high=0.8, prevalence=0.4),
        dataset=DatasetInfo(name, ["cd" * 32], synthetic, "by case", f"A note {NASTY}"),
        seen_in_training=seen,
    )


@pytest.fixture(scope="module")
def part() -> dict[str, Any]:
    return made("Made-up set")


@pytest.fixture(scope="module")
def page(part: dict[str, Any]) -> str:
    return render_report([part, made("Second set", recorded=False, synthetic=False)], part["model"], GATES)


class Page(HTMLParser):
    """Tags in order with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_page_asks_for_nothing_from_outside_and_runs_one_script_known_by_its_hash(page: str) -> None:
    tags = Page(page).tags
    names = {tag for tag, _ in tags}
    assert not names & {"link", "iframe", "object", "embed", "img", "image", "base", "form"}
    for _, attributes in tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith("#")
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = next(a for t, a in tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    rules = (policy["content"] or "").split("; ")
    assert "default-src 'none'" in rules
    assert f"script-src 'sha256-{digest}'" in rules
    assert "unsafe-eval" not in page
    assert "url(http" not in page
    assert "@import" not in page


def test_the_script_writes_text_only_and_evaluates_nothing() -> None:
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "fetch("):
        assert word not in SCRIPT


def test_text_from_data_is_escaped_and_no_narrative_is_in_the_page(page: str) -> None:
    assert "alert(1)" in page
    assert NASTY not in page
    assert SECRET not in page


def test_ids_are_unique_and_every_reference_leads_somewhere(page: str) -> None:
    tags = Page(page).tags
    ids = Counter(a["id"] for _, a in tags if "id" in a)
    assert [name for name, times in ids.items() if times > 1] == []
    for _, attributes in tags:
        for name in (attributes.get("aria-labelledby") or "").split():
            assert name in ids
        if (attributes.get("href") or "").startswith("#"):
            assert (attributes["href"] or "")[1:] in ids


def test_the_page_has_the_marks_that_assistive_technology_needs(page: str) -> None:
    tags = Page(page).tags
    assert next(a for t, a in tags if t == "html")["lang"] == "en-GB"
    levels = [int(t[1]) for t, _ in tags if re.fullmatch(r"h[1-6]", t)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    count = Counter(t for t, _ in tags)
    assert count["table"] == count["caption"] > 10
    assert all(a.get("scope") in ("row", "col") for t, a in tags if t == "th")
    drawings = [a for t, a in tags if t == "svg"]
    assert len(drawings) > 4
    assert all(a["role"] == "img" and a["aria-labelledby"] for a in drawings)
    assert next(a for t, a in tags if t == "a")["class"] == "skip"
    assert next(a for t, a in tags if t == "main")["id"] == "main"


def test_the_first_screen_says_what_it_is_and_gives_the_headlines(page: str, part: dict[str, Any]) -> None:
    text = Page(page[: page.index('id="contents"')]).text
    for words in (
        "Proof of concept",
        "a person reviews them",
        "No flag means nothing",
        "Synthetic: not police records",
        "Not marked as synthetic",
        "Stalking missed: as recorded (simulated)",
        "Stalking missed: model",
        "once the flagged are reviewed",
        "0.500 or more",
        "0.8% are stalking",
    ):
        assert words in text
    missed = next(w for w in part["misidentification"]["same_rows"] if w["way"] == "model")["missed"]
    assert f"{missed['n']} of {missed['of']}" in text


def test_not_recorded_is_said_and_never_shown_as_zero() -> None:
    metrics = made("Set", recorded=False)
    text = Page(render_report([metrics], metrics["model"])).text
    assert "Not recorded" in text
    assert "the force's own share is unknown" in text
    assert "As recorded, once the flagged" not in text


def test_the_share_of_stalking_stands_beside_what_a_reviewer_is_shown(part: dict[str, Any]) -> None:
    text = Page(render_report([part], part["model"])).text
    said = text.split("truly stalking: ")[1].split("From true family")[0]
    assert "where 33.3% of all records are stalking, as in this set" in said
    assert "At a live prevalence of 0.8% far fewer are" in said
    live = {**part, "live": {**part["live"], "prevalence": 0.4}}
    assert "far fewer are" not in Page(render_report([live], live["model"])).text


def test_the_text_says_that_recording_in_a_synthetic_set_is_simulated(part: dict[str, Any]) -> None:
    real = made("Set", synthetic=False)
    said = "recorded as something else (recording is simulated"
    assert said in Page(render_report([part], part["model"])).text
    assert said not in Page(render_report([real], real["model"])).text


def test_history_check_says_among_which_records(page: str) -> None:
    assert "only where a record is not stalking): recall" in Page(page).text


def test_a_cut_list_of_gaps_says_of_how_many(part: dict[str, Any]) -> None:
    assert "; the first" not in Page(render_report([part], part["model"])).text
    division = next(d for d in part["slices"] if d["slice"] == "narrative_length")
    rate = {"n": 30, "of": 60, "value": 0.5, "low": 0.377, "high": 0.623}
    worse = {
        **{f"{kind}{figure}": rate for figure in ("recall", "false_flag") for kind in ("", "rest_")},
        "recall_difference": {"value": -0.1, "low": -0.2, "high": -0.01}, "recall_gap": "gap",
        "false_flag_difference": {"value": None, "low": None, "high": None}, "false_flag_gap": "not_measured",
    }  # fmt: skip
    wide = {**division, "values": 50, "parts": [{**division["parts"][0], **worse, "value": f"p{i}"} for i in range(40)]}
    text = Page(render_report([{**part, "slices": [wide]}], part["model"])).text
    assert "; the first 30 of 40" in text
    assert "40 of 40 differences are beyond chance" in text
    assert "Rates by part: Length of the narrative; the 40 largest of 50" in text


def test_a_judge_that_cannot_flag_as_few_as_the_model_is_said_to_be_not_measured(part: dict[str, Any]) -> None:
    records, assessments = drawn(120)
    flags = [assessed(i, 0.9 if i % 2 else 0.1) for i in range(120)]
    metrics = figures(records, assessments, baselines={"keyword": flags})
    text = Page(render_report([metrics], metrics["model"])).text
    assert "no threshold with as few false flags as the model" in text
    assert "Recall where 5% of the rest is flagged is not compared" in text


def test_gates_are_told_apart_by_words(page: str) -> None:
    text = Page(page).text
    assert "1 of 3 gates failed" in text
    for word in ("Passed", "Failed", "Not applicable", "Too many near misses are flagged."):
        assert word in text


def test_gates_that_were_not_run_are_said_not_to_have_been(part: dict[str, Any]) -> None:
    first = Page(render_report([part], part["model"], None).split('id="contents"')[0]).text
    assert "Gates not run" in first


def test_gates_in_the_figures_are_shown_in_the_first_screen_and_not_applicable_is_not_passed(
    part: dict[str, Any],
) -> None:
    results = [{**GATES[0], "title": "Recall", "reason": "As wanted."}, {**GATES[2], "title": "Old", "reason": "Why."}]
    page = render_report([{**part, "gates": {"results": results}}], part["model"])
    first = Page(page.split('id="contents"')[0]).text
    assert "No gate failed, not all passed" in first
    assert "0 of 2 gates failed, 1 passed, 1 not applicable (not measured, which is not passed)." in first
    assert "As wanted." in Page(page).text


def test_records_seen_in_training_are_called_that_on_the_first_screen() -> None:
    metrics = made("Set", seen=True)
    text = Page(render_report([metrics], metrics["model"]).split('id="contents"')[0]).text
    assert "Used in training" in text


def test_each_set_is_a_part_of_its_own(page: str) -> None:
    headings = re.findall(r'<h2 id="part\d">([^<]+)</h2>', page)
    assert headings == ["Made-up set", "Second set"]


def test_the_page_can_be_made_from_the_written_json(part: dict[str, Any]) -> None:
    again = json.loads(json.dumps(part))
    assert render_report([again], again["model"]) == render_report([part], part["model"])


@pytest.mark.parametrize("model", [{"version": "7", "kind": "encoder", "data_hash": "x", "more": 1}, {}])
def test_any_description_of_the_model_will_do(part: dict[str, Any], model: dict[str, Any]) -> None:
    assert ("encoder" in render_report([part], model)) == bool(model)


def test_a_set_without_stalking_still_makes_a_page() -> None:
    record = LabelledIncident(incident_id=f"i1{NASTY}", narrative="x", stalking=False)
    metrics = evaluate(
        [record],
        [assessed(1, 0.1)],
        threshold=ThresholdInfo(0.5, 0.8, 0.4),
        dataset=DatasetInfo("One record", [], False, "none"),
        seen_in_training=False,
    )
    text = Page(render_report([metrics], metrics["model"])).text
    assert "no true stalking" in text
    assert "alerts are not measured" in text


def test_a_report_without_parts_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least one data set"):
        render_report([], {})
    with pytest.raises(ValueError, match="status must be one of"):
        render_report([part], {}, [{"name": "x", "status": "ok", "sentence": ""}])


def test_a_missing_figure_is_an_error_and_not_a_blank(part: dict[str, Any]) -> None:
    damaged = copy.deepcopy(part)
    del damaged["presumption"]["with"]
    with pytest.raises(Exception, match="with"):
        render_report([damaged], {})


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


SCRIPT = (Path(report.__file__).parent / "templates" / "report.js").read_text(encoding="utf-8")
CSS = (Path(report.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
NAMED = dict(re.findall(r"--(\w+): (#\w{6})", CSS))


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        *((NAMED[name], "#ffffff") for name in ("ink", "grey", "blue", "red", "green")),
        *((NAMED[name], NAMED["pale"]) for name in ("ink", "grey")),
        ("#ffffff", NAMED["red"]),
        ("#144e81", "#ffffff"),
        *((colour, "#ffffff") for colour in (charts.INK, charts.BLUE, charts.RED, charts.GREEN, charts.GREY)),
    ],
)
def test_text_stands_out_from_its_ground(ink: str, paper: str) -> None:
    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_every_colour_used_is_one_of_those_checked() -> None:
    used = set(re.findall(r"(?<![-\w])(?:color|background): ([^;]+);", CSS))
    assert used <= {"#fff", "#144e81", "inherit", "none", *(f"var(--{name})" for name in NAMED)}


def test_there_are_styles_for_paper() -> None:
    assert "@media print" in CSS


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        ({"n": 0, "of": 0, "value": None, "low": None, "high": None}, "not measured (0 of 0)"),
        (
            {"n": 1234, "of": 2000, "value": 0.617, "low": 0.6, "high": 0.64},
            "61.7% (1,234 of 2,000; 95% interval 60.0% to 64.0%)",
        ),
    ],
)
def test_a_rate_in_a_sentence_has_counts_and_interval(rate: dict[str, Any], expected: str) -> None:
    assert sentences.counted(rate) == expected


def test_a_chart_without_figures_is_none() -> None:
    empty = {"n": 0, "of": 0, "value": None, "low": None, "high": None}
    assert charts.dots([("a", empty)], "x", "t", "a", "d") is None
    assert charts.calibration([], "x", "t", "d") is None
    assert charts.thresholds([], 0.5, "x", "t", "d") is None


def drawn(
    count: int, seed: int = 0, *, strata: bool = True, labels: str = "both", recorded: bool = True
) -> tuple[list[LabelledIncident], list[Assessment]]:
    """Records with few labels and scores that tell the classes apart more often than not."""
    rng = np.random.default_rng(seed)
    records, assessments = [], []
    for i in range(count):
        stalking = {"both": bool(rng.random() < 0.4), "stalking": True, "other": False}[labels]
        kind = "stalking" if stalking else ("ordinary", "near_miss")[int(rng.random() < 0.3)]
        records.append(
            LabelledIncident(
                incident_id=f"i{i}{NASTY}",
                narrative=f"Text {i} of {SECRET}",
                stalking=stalking,
                stratum=kind if strata else None,
                recorded_offence=("Stalking", "Harassment", None)[i % 3] if recorded else None,
                domestic=(True, False, None)[i % 3] if recorded else None,
            )
        )
        assessments.append(assessed(i, float(np.clip(rng.normal(0.65 if stalking else 0.3, 0.2), 0, 1))))
    return records, assessments


def figures(records: list[LabelledIncident], assessments: list[Assessment], **more: Any) -> dict[str, Any]:
    return evaluate(
        records,
        assessments,
        threshold=ThresholdInfo(review=0.5, high=0.8, prevalence=0.4),
        dataset=DatasetInfo("A set", [], False, "by case"),
        seen_in_training=False,
        **more,
    )


@pytest.mark.parametrize("near_miss", [None, 0.1, 0.35])
def test_the_control_reckons_what_follows_from_the_records_themselves(near_miss: float | None) -> None:
    records, assessments = drawn(400)
    explorer = Explorer(figures(records, assessments))
    truth = np.array([r.stalking for r in records])
    near = np.array([r.stratum == "near_miss" for r in records])
    score = np.array([a.stalking.probability for a in assessments])
    stream = Stream(prevalence=0.02, volume=900, minutes=7, near_miss=near_miss, capacity=60)
    for index in (0, explorer.review, len(explorer.edges) - 5):
        now = explorer.at(index, stream)
        flag = score >= explorer.edges[index]
        assert (now["recall"]["n"], now["recall"]["of"]) == ((flag & truth).sum(), truth.sum())
        assert (now["falsely_flagged"]["n"], now["specificity"]["n"]) == ((flag & ~truth).sum(), (~flag & ~truth).sum())
        false = flag[~truth].mean()
        if near_miss is not None:
            false = (1 - near_miss) * flag[~truth & ~near].mean() + near_miss * flag[near].mean()
        found = 900 * 0.02 * flag[truth].mean()
        alerts = found + 900 * 0.98 * false
        assert now["alerts_a_day"]["value"] == pytest.approx(alerts)
        assert now["hours"]["value"] == pytest.approx(alerts * 7 / 60)
        assert now["missed_a_day"] == pytest.approx(18 - found)
        assert now["live_precision"]["value"] == pytest.approx(found / alerts)
        queue = explorer.queue(index, stream)
        inside = [band for band in queue if band["in_queue"]]
        assert sum(band["a_day"] for band in inside) == pytest.approx(alerts)
        assert queue[-1]["read"] == pytest.approx(900)
        assert queue[-1]["caught"] == pytest.approx(1)
        assert sum(band["rows"] for band in queue) == 400


def test_the_threshold_that_fills_the_capacity_is_the_lowest_that_does_not_overfill_it() -> None:
    explorer = Explorer(figures(*drawn(400)))
    index = explorer.to_fill()
    assert index is not None
    assert explorer.at(index)["alerts_a_day"]["value"] <= explorer.start.capacity
    assert explorer.at(index - 1)["alerts_a_day"]["value"] > explorer.start.capacity
    assert explorer.to_fill(replace(explorer.start, capacity=10**6)) == 0


def test_records_without_a_kind_leave_the_mix_as_in_the_set() -> None:
    explorer = Explorer(figures(*drawn(100, strata=False)))
    assert not explorer.can_mix
    assert explorer.start.near_miss is None
    assert explorer.totals["unknown"] > 0


EDGES = {
    "no record": {"count": 0},
    "five records": {"count": 5},
    "stalking only": {"count": 40, "labels": "stalking"},
    "no stalking": {"count": 40, "labels": "other"},
    "no optional label": {"count": 60, "strata": False, "recorded": False},
}


@pytest.mark.parametrize("case", EDGES.values(), ids=EDGES)
def test_a_page_at_the_edges_is_whole_and_says_nothing_untrue(case: dict[str, Any]) -> None:
    records, assessments = drawn(**case)
    metrics = json.loads(json.dumps(figures(records, assessments)))
    text = Page(render_report([metrics], metrics["model"])).text
    assert not re.search(r"\b(None|nan|NaN|inf|undefined|Undefined)\b%?(?! of)", text.replace("None.", ""))
    stalking = sum(r.stalking for r in records)
    if not stalking or stalking == len(records):
        assert "the set lacks one of the two classes" in text
        assert "Not measured: the set lacks one of the two classes." in text
    if 0 < stalking < 30:
        assert f"Only {stalking} records are truly stalking" in text
    if not case.get("recorded", True):
        assert "Not recorded" in text


def test_what_a_model_does_not_know_is_not_covered(part: dict[str, Any]) -> None:
    known = copy.deepcopy(part)
    known["indicators"]["each"][0]["covered"] = False
    known["indicators"]["each"][0]["recall"] = known["indicators"]["each"][0]["precision"] = dict.fromkeys(
        ("n", "of", "value", "low", "high"), None
    )
    assert "not covered by this model" in Page(render_report([known], known["model"])).text


def test_figures_of_an_earlier_version_are_shown_with_what_they_lack_said(part: dict[str, Any]) -> None:
    old = {k: v for k, v in part.items() if k not in ("score_bins", "slice_gaps", "equalised", "earliness", "gates")}
    old["ranking"] = {k: v for k, v in part["ranking"].items() if k != "recall_at"}
    text = Page(render_report([old], old["model"])).text
    assert "these figures hold nothing on earliness" in text
    assert "What a threshold means" not in text


def test_narratives_are_in_the_page_only_when_handed_in_and_then_it_says_so_on_screen_and_on_paper() -> None:
    records, assessments = drawn(60)
    metrics = figures(records, assessments)
    plain = render_report([metrics], metrics["model"])
    assert SECRET not in plain
    assert "Contains narrative text" not in plain
    texts = {record.incident_id: record.narrative for record in records}
    marked = render_report([metrics, metrics], metrics["model"], texts=texts)
    wrong = metrics["errors"]["missed"]["count"] + metrics["errors"]["falsely_flagged"]["count"]
    assert marked.count(SECRET) == wrong > 0
    assert NASTY not in marked
    assert Page(marked).text.count("Contains narrative text") >= 3
    assert re.search(r"\.strip \{ display: block; position: fixed;", marked)


def test_quoted_evidence_is_marked_in_a_narrative_that_is_shown(part: dict[str, Any]) -> None:
    shown = copy.deepcopy(part)
    worst = shown["errors"]["missed"]["worst"][0]
    worst["evidence"] = [
        {"indicator": "loitering", "start": 3, "end": 6},
        {"indicator": "loitering", "start": 5, "end": 8},
    ]
    page = render_report([shown], shown["model"], texts={worst["incident_id"]: "He sat here"})
    assert "He <mark>sat h</mark>ere" in page


def test_the_flow_diagram_holds_every_group_with_its_number() -> None:
    metrics = figures(*drawn(90))
    flow = metrics["misidentification"]["flows"][0]
    groups = {row["group"]: row["title"] for row in metrics["misidentification"]["recorded_groups"]}
    svg = flow_chart(flow, groups, "x", "Flow", "What it shows")
    assert svg is not None
    words = Page(svg).words
    for group in groups:
        assert f"{groups[group]} {sum(c['n'] for c in flow['cells'] if c['recorded'] == group)}" in words
    assert flow_chart({**flow, "cells": []}, groups, "x", "Flow", "") is None


def test_a_large_set_makes_a_small_page(part: dict[str, Any]) -> None:
    large = copy.deepcopy(part)
    for kind in ("missed", "falsely_flagged"):
        row = large["errors"][kind]["worst"][0]
        large["errors"][kind]["worst"] = [{**row, "incident_id": f"{kind}-{i:06d}"} for i in range(250)]
    assert len(render_report([large, large], large["model"]).encode()) < 6_000_000
