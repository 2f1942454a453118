from __future__ import annotations

import copy
import json
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from evaluation import charts, report
from evaluation.evaluate import DatasetInfo, ThresholdInfo, evaluate
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
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_page_asks_for_nothing_from_outside_and_runs_no_script(page: str) -> None:
    tags = Page(page).tags
    names = {tag for tag, _ in tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "img", "image", "base", "form"}
    for _, attributes in tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith("#")
    policy = next(a for t, a in tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert "url(http" not in page
    assert "@import" not in page


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
        "Not synthetic",
        "Stalking missed: as recorded by the force",
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


def test_gates_are_told_apart_by_words(page: str) -> None:
    text = Page(page).text
    assert "1 of 3 gates failed" in text
    for word in ("Passed", "Failed", "Not applicable", "Too many near misses are flagged."):
        assert word in text


def test_without_gates_there_is_no_section_on_them(part: dict[str, Any]) -> None:
    assert "Release gates" not in render_report([part], part["model"], None)


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
    assert used <= {"#fff", "#144e81", *(f"var(--{name})" for name in NAMED)}


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
    assert report.counted(rate) == expected


def test_a_chart_without_figures_is_none() -> None:
    empty = {"n": 0, "of": 0, "value": None, "low": None, "high": None}
    assert charts.dots([("a", empty)], "x", "t", "a", "d") is None
    assert charts.calibration([], "x", "t", "d") is None
    assert charts.thresholds([], 0.5, "x", "t", "d") is None
