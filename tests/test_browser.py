"""The report in a real browser. Skipped on a laptop without one; in CI a missing browser is a failure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stalkscreen.cli import main
from stalkscreen.dataset import write_labelled
from stalkscreen.schema import LabelledIncident

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
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
    yield made
    made.quit()


@pytest.fixture(scope="module")
def report(records: list[LabelledIncident], model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_labelled(records, folder / "set.jsonl")
    done = CliRunner().invoke(
        main,
        ["evaluate", "--data", str(folder / "set.jsonl"), "--model", str(model_folder), "--out", str(folder / "out")],
    )
    assert done.exit_code == 0, done.output
    return folder / "out" / "report.html"


def test_the_report_opens_from_a_file_with_its_sections_and_no_error(browser: Any, report: Path) -> None:
    browser.get(report.as_uri())
    assert browser.execute_script("return document.documentElement.lang") == "en-GB"
    assert len(browser.find_elements("css selector", "h1")) == 1
    text = browser.find_element("css selector", "body").text
    assert "No flag means nothing" in text
    assert len(browser.find_elements("css selector", "svg")) >= 3
    assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


def test_the_report_asks_for_nothing_else(browser: Any, report: Path) -> None:
    import json

    browser.get_log("performance")
    browser.get(report.as_uri())
    asked = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"}
    assert {u for u in urls if not u.startswith("data:")} <= {report.as_uri()}


def test_the_report_reads_on_a_narrow_screen_without_sideways_scrolling(browser: Any, report: Path) -> None:
    browser.set_window_size(500, 900)
    browser.get(report.as_uri())
    width, page = browser.execute_script("return [window.innerWidth, document.documentElement.scrollWidth]")
    assert page <= width + 1
