"""The model named in `models/RELEASED`, with today's code: long reports, and the public cases it was never trained on."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from stalkscreen.config import Settings
from stalkscreen.dataset import read_labelled
from stalkscreen.model import ScreeningModel
from stalkscreen.references import load_model
from stalkscreen.schema import MAX_NARRATIVE_CHARS, Assessment, Case, Incident

ROOT = Path(__file__).parents[1]
REPORTS = tomllib.loads((ROOT / "tests" / "long_reports.toml").read_text(encoding="utf-8"))["reports"]


@pytest.fixture(scope="module")
def released() -> ScreeningModel:
    return load_model(None, Settings.from_env({}))


def judged(model: ScreeningModel, text: str) -> Assessment:
    (answer,) = model.assess([Case.of_one(Incident(incident_id="1", narrative=text))])
    return answer


def quoted(answer: Assessment, text: str) -> list[str]:
    return [text[span.start : span.end] for indicator in answer.indicators for span in indicator.evidence]


@pytest.mark.parametrize("report", REPORTS, ids=[r["name"] for r in REPORTS])
def test_a_long_report_of_something_else_is_not_flagged(released: ScreeningModel, report: dict[str, str]) -> None:
    text = report["text"].replace("[...]\n\n", "")
    assert len(text.split()) > 650
    assert not judged(released, text).stalking.flag


@pytest.mark.parametrize("about", REPORTS, ids=[r["name"] for r in REPORTS])
@pytest.mark.parametrize("told", REPORTS, ids=["tyres and card", "kitchen fitter", "spaniel"])
def test_what_one_paragraph_in_the_middle_of_700_words_tells_is_found_and_quoted(
    released: ScreeningModel, told: dict[str, str], about: dict[str, str]
) -> None:
    text = about["text"].replace("[...]", told["middle"])
    answer = judged(released, text)
    assert answer.stalking.flag
    assert sum(quote in told["middle"] for quote in quoted(answer, text)) >= 3


def test_it_is_found_in_the_middle_of_the_longest_text_allowed(released: ScreeningModel) -> None:
    report = REPORTS[0]
    before, after = report["text"].split("[...]")
    around = (MAX_NARRATIVE_CHARS - len(report["middle"])) // 2
    start, end = ((before + after) * 5)[-around:], ((after + before) * 5)[:around]
    text = start + report["middle"] + end
    assert MAX_NARRATIVE_CHARS - 1 <= len(text) <= MAX_NARRATIVE_CHARS
    answer = judged(released, text)
    assert answer.stalking.flag
    assert sum(quote in report["middle"] for quote in quoted(answer, text)) >= 3


def test_the_public_cases_are_told_apart_as_its_card_says(released: ScreeningModel) -> None:
    records = read_labelled([ROOT / "data" / "public_cases" / "public_cases.jsonl"]).records
    answers = released.assess([Case.of_one(record) for record in records])
    truth = np.array([bool(r.stalking) for r in records])
    flags = np.array([a.stalking.flag for a in answers])
    assert roc_auc_score(truth, [a.stalking.probability for a in answers]) >= 0.95
    assert flags[truth].mean() >= 0.90
    assert flags[~truth].mean() <= 0.12
