"""Shared by the tests: a small made-up labelled set, a model fitted on it, and stores in a temporary folder."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stalkscreen.classifiers import classifier_class
from stalkscreen.config import Settings
from stalkscreen.model import ScreeningModel
from stalkscreen.model_format import ModelInfo, Provenance, Thresholds
from stalkscreen.schema import Evidence, LabelledIncident
from stalkscreen.taxonomy import load_taxonomy

_PURSUIT = [
    ("He waits by the bus stop every evening", "loitering"),
    ("She keeps ringing from new numbers after being blocked", "unwanted_contact"),
    ("His van stayed behind me all the way home again", "following_surveillance"),
    ("A tag was taped under the bumper of the car", "tracking_device"),
    ("I am too frightened to sleep at night", "victim_fear"),
]
_PLAIN = [
    ("Bicycle taken from outside the library, lock cut", None),
    ("A window was broken during the football match", "property_damage"),
    ("Two men argued about a parking space and shouted", None),
    ("Wallet handed in at the front counter", None),
    ("He punched the doorman once and ran off", "physical_violence"),
]
_TAILS = [
    "No threats were made.",
    "Officer to call back.",
    "Reported at the desk.",
    "Neighbour spoken to.",
    "CCTV asked for.",
]


def make_record(
    number: int, stalking: bool, first: tuple[str, str | None], second: tuple[str, str | None], tail: str
) -> LabelledIncident:
    """One labelled record from two sentences and a tail, with exact evidence offsets."""
    text = f"{first[0]}. {second[0]}. {tail} Note {number}."
    evidence = []
    for sentence, indicator in (first, second):
        if indicator is not None:
            start = text.index(sentence)
            evidence.append(Evidence(indicator=indicator, start=start, end=start + len(sentence)))
    if tail.startswith("No threats"):
        start = text.index(tail)
        evidence.append(Evidence(indicator="threats_to_victim", start=start, end=start + len(tail), status="negated"))
    names = {e.indicator for e in evidence if e.status == "present"}
    return LabelledIncident(
        incident_id=f"R{number:03d}",
        narrative=text,
        case_id=f"C{number:03d}",
        writer=f"w{number % 7}",
        stalking=stalking,
        stratum="stalking" if stalking else "ordinary" if number % 2 else "near_miss",
        offence_family="stalking" if stalking else "other_crime",
        tier=("s4A" if number % 2 else "s2A") if stalking else None,
        history_check=stalking,
        four_fixated=stalking,
        four_obsessive=stalking and number % 2 == 0,
        four_unwanted=stalking,
        four_repeated=stalking,
        indicators=tuple(n for n in load_taxonomy().indicator_names if n in names),
        evidence=tuple(evidence),
        domestic=number % 3 == 0,
        cyber=stalking and number % 3 == 1,
        relationship="ex_partner" if number % 3 == 0 else "stranger",
        recorded_offence="harassment" if stalking else "theft",
        label_version="1.0",
    )


@pytest.fixture(scope="session")
def records() -> list[LabelledIncident]:
    """100 labelled records of two kinds, by seven writers."""
    made = []
    for stalking, sentences in ((True, _PURSUIT), (False, _PLAIN)):
        pairs = list(itertools.permutations(sentences, 2))
        for i, (first, second) in enumerate(pairs * 3):
            if i < 50:
                made.append(make_record(len(made), stalking, first, second, _TAILS[(i * 3 + i // 20) % 5]))
    return made


def fit_model(records: list[LabelledIncident], kind: str = "linear", version: str = "1") -> ScreeningModel:
    """A model of any kind fitted on the records, with plain cuts and no calibration."""
    taxonomy = load_taxonomy()
    classifier = classifier_class(kind)().fit(records, taxonomy)
    info = ModelInfo(
        kind=kind,
        version=version,
        indicator_names=classifier.indicator_names,
        family_names=taxonomy.family_names,
        prevalence=0.5,
        thresholds=Thresholds(review=0.5, high=0.8, indicators=dict.fromkeys(classifier.indicator_names, 0.3)),
        provenance=Provenance(data_hash="test"),
    )
    return ScreeningModel(classifier, info)


@pytest.fixture(scope="session")
def model(records: list[LabelledIncident]) -> ScreeningModel:
    """A linear model fitted on `records`."""
    return fit_model(records)


@pytest.fixture(scope="session")
def model_folder(model: ScreeningModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, saved."""
    folder = tmp_path_factory.mktemp("models") / "linear-test"
    model.save(folder)
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Empty stores of their own."""
    return Settings.from_env(
        {
            "STALKSCREEN_MODELS": str(tmp_path / "models"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
            "STALKSCREEN_ARTIFACTS": str(tmp_path / "artifacts"),
        }
    )


@pytest.fixture
def fitted() -> Callable[..., ScreeningModel]:
    """`fit_model` for tests that need another kind or another set."""
    return fit_model


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium, for the tests marked `browser`."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        if os.environ.get("CI"):
            pytest.fail("CI needs chromium and chromedriver")
        pytest.skip("no chromium here")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-sync",
        "--no-first-run",
    ):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    made.set_page_load_timeout(300)
    made.set_script_timeout(300)
    yield made
    made.quit()
