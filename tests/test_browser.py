"""The report in a real browser. Skipped on a laptop without one; in CI a missing browser is a failure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from evaluation.explorer import Explorer
from stalkscreen.cli import main
from stalkscreen.dataset import write_labelled
from stalkscreen.model import ScreeningModel
from stalkscreen.schema import Case, LabelledIncident

pytestmark = pytest.mark.browser


def evaluated(records: list[LabelledIncident], model_folder: Path, folder: Path, *more: str) -> Path:
    write_labelled(records, folder / "set.jsonl")
    done = CliRunner().invoke(
        main,
        [
            "evaluate",
            "--data",
            str(folder / "set.jsonl"),
            "--model",
            str(model_folder),
            "--out",
            str(folder / "out"),
            *more,
        ],
    )
    assert done.exit_code == 0, done.output
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def harder(records: list[LabelledIncident]) -> list[LabelledIncident]:
    """The set with every ninth label turned, so that there are errors to list."""
    unknown = dict.fromkeys(("offence_family", "tier", "history_check"))
    return [
        r
        if i % 9
        else r.model_copy(
            update={"stalking": not r.stalking, "stratum": "ordinary" if r.stalking else "stalking", **unknown}
        )
        for i, r in enumerate(records)
    ]


@pytest.fixture(scope="module")
def report(harder: list[LabelledIncident], model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(harder, model_folder, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def marked(harder: list[LabelledIncident], model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(harder, model_folder, tmp_path_factory.mktemp("marked"), "--with-text")


AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def violations(browser: Any) -> list[str]:
    """What axe-core finds wrong in the open page, as rule and element."""
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE})
    browser.set_script_timeout(300)
    found = browser.execute_async_script("axe.run(document, {}).then((r) => arguments[0](r.violations));")
    return [f"{v['id']}: {node['target']}" for v in found for node in v["nodes"]]


def sized(browser: Any, width: int, height: int = 900) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def opened(browser: Any, report: Path, state: str = "") -> None:
    """Open afresh: a change of the part after # alone would not load the page again."""
    browser.get("about:blank")
    browser.get(report.as_uri() + state)


def out(browser: Any, name: str) -> str:
    return str(browser.find_element("css selector", f'#part1-explore [data-out="{name}"]').text)


def enter(browser: Any, key: str, value: str) -> None:
    """Type into a field of the control and leave it, as a person at the keyboard does."""
    from selenium.webdriver.common.keys import Keys

    field = browser.find_element("css selector", f"#part1-in-{key}")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(value, Keys.TAB)


def settled(browser: Any, what: Callable[[], bool]) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 10).until(lambda _: what())


def test_the_report_opens_from_a_file_with_its_sections_and_no_error(browser: Any, report: Path) -> None:
    browser.get(report.as_uri())
    assert browser.execute_script("return document.documentElement.lang") == "en-GB"
    assert len(browser.find_elements("css selector", "h1")) == 1
    text = browser.find_element("css selector", "body").text
    assert "No flag means nothing" in text
    assert len(browser.find_elements("css selector", "svg")) >= 3
    assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


def test_the_report_asks_for_nothing_else(browser: Any, report: Path) -> None:
    browser.get_log("performance")
    browser.get(report.as_uri())
    asked = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"}
    assert {u for u in urls if not u.startswith("data:")} <= {report.as_uri()}


@pytest.mark.parametrize("width", [320, 500, 1280])
def test_the_report_reads_on_any_screen_without_sideways_scrolling(browser: Any, report: Path, width: int) -> None:
    sized(browser, width)
    opened(browser, report)
    shown, page = browser.execute_script("return [window.innerWidth, document.documentElement.scrollWidth]")
    assert shown == width
    assert page <= width


@pytest.mark.parametrize("width", [320, 1280])
def test_axe_finds_nothing_wrong(browser: Any, report: Path, width: int) -> None:
    sized(browser, width)
    opened(browser, report)
    browser.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; });")
    assert violations(browser) == []


def test_axe_finds_nothing_wrong_in_a_report_with_narratives(browser: Any, marked: Path) -> None:
    sized(browser, 1280)
    opened(browser, marked)
    assert violations(browser) == []


def test_the_figures_before_and_after_the_script_are_the_same(browser: Any, report: Path) -> None:
    sized(browser, 1280)
    places = "return [...document.querySelectorAll('[data-out], [data-queue] td, [data-queue] th')].map((e) => e.textContent)"
    opened(browser, report)
    with_script = browser.execute_script(places)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(browser, report)
        text = browser.find_element("css selector", "#part1-explore").text
        assert "Scripts are off" in text
        assert not browser.find_element("css selector", "#part1-in-t").is_displayed()
        shown = browser.execute_script(places)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert shown == with_script


def test_moving_the_controls_gives_what_the_records_and_scores_give(
    browser: Any, report: Path, harder: list[LabelledIncident], model_folder: Path
) -> None:
    opened(browser, report)
    answers = ScreeningModel.load(model_folder).assess([Case.of_one(record) for record in harder])
    score = np.array([answer.stalking.probability for answer in answers])
    truth = np.array([record.stalking for record in harder])
    near = np.array([record.stratum == "near_miss" for record in harder])
    for threshold, share, volume, minutes, near_share in (
        (0.3, 2.5, 900, 7, 25),
        (0.62, 0.5, 3000, 4, 0),
        (0.08, 8, 50, 1, 100),
    ):
        for key, value in (("t", threshold), ("p", share), ("v", volume), ("m", minutes), ("n", near_share)):
            enter(browser, key, str(value))
        flag = score >= threshold
        false = (1 - near_share / 100) * flag[~truth & ~near].mean() + near_share / 100 * flag[near].mean()
        found = volume * share / 100 * flag[truth].mean()
        alerts = found + volume * (1 - share / 100) * false
        assert out(browser, "threshold") == f"{threshold:.3f}"
        assert out(browser, "recall") == f"{100 * flag[truth].mean():.1f}%"
        assert out(browser, "recall-of").startswith(f"{(flag & truth).sum()} of {truth.sum()};")
        assert out(browser, "missed-of").startswith(f"{(~flag & truth).sum()} of {truth.sum()};")
        assert out(browser, "false-of").startswith(f"{(flag & ~truth).sum()} of {(~truth).sum()};")
        assert out(browser, "precision-of").startswith(f"{(flag & truth).sum()} of {flag.sum()};")
        assert out(browser, "specificity-of").startswith(f"{(~flag & ~truth).sum()} of {(~truth).sum()};")
        for name, value in (
            ("alerts", alerts),
            ("found-a-day", found),
            ("missed-a-day", volume * share / 100 - found),
            ("false-a-day", alerts - found),
            ("hours", alerts * minutes / 60),
        ):
            said = out(browser, name)
            assert (said == "under 0.1") == (0 < value < 0.05)
            assert said == "under 0.1" or float(said.replace(",", "")) == pytest.approx(value, abs=0.0501)
        assert float(out(browser, "right").rstrip("%")) == pytest.approx(100 * found / alerts, abs=0.0501)


def test_the_capacity_says_what_is_caught_and_sets_the_threshold(browser: Any, report: Path) -> None:
    opened(browser, report)
    metrics = json.loads((report.parent / "metrics.json").read_text(encoding="utf-8"))
    explorer = Explorer(metrics)
    stream = replace(explorer.start, capacity=150)
    index = explorer.to_fill(stream)
    assert index is not None
    now = explorer.at(index, stream)
    enter(browser, "c", "150")
    said = out(browser, "capacity")
    assert f"the threshold is {now['threshold']:.3f}: {now['alerts_a_day']['value']:.1f} alerts a day" in said
    assert f"catch {now['found_a_day']:.1f} of 9.6" in said
    browser.find_element("css selector", "#part1-explore [data-do=fill]").click()
    assert out(browser, "threshold") == f"{now['threshold']:.3f}"
    cells = browser.execute_script(
        "return [...document.querySelectorAll('#part1-explore [data-queue] tr')].map((r) => [...r.cells].map((c) => c.textContent))"
    )
    bands = explorer.queue(index, stream)
    assert [row[2] for row in cells] == [str(band["rows"]) for band in bands]
    assert [row[1] == "in the queue" for row in cells] == [band["in_queue"] for band in bands]


def test_the_control_moves_by_keyboard_is_announced_and_can_be_linked(browser: Any, report: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(browser, report)
    before = out(browser, "threshold")
    slider = browser.find_element("css selector", "#part1-in-range")
    slider.send_keys(Keys.ARROW_RIGHT)
    moved = out(browser, "threshold")
    assert moved > before
    assert slider.get_attribute("aria-valuetext") == moved
    summary = browser.find_element("css selector", '#part1-explore [data-out="summary"]')
    assert summary.get_attribute("role") == "status"
    settled(browser, lambda: f"At a threshold of {moved}" in summary.text)
    enter(browser, "v", "2400")
    settled(browser, lambda: "part1.v=2400" in browser.current_url)
    state = browser.current_url[browser.current_url.index("#") :]
    figures = [out(browser, name) for name in ("threshold", "alerts", "hours")]
    opened(browser, report, state)
    assert [out(browser, name) for name in ("threshold", "alerts", "hours")] == figures


def test_a_wrong_entry_is_named_and_changes_nothing(browser: Any, report: Path) -> None:
    opened(browser, report)
    before = out(browser, "alerts")
    enter(browser, "p", "250")
    assert browser.find_element("css selector", "#part1-err-p").text == "Enter a number from 0.01 to 99."
    assert browser.find_element("css selector", "#part1-in-p").get_attribute("aria-invalid") == "true"
    assert out(browser, "alerts") == before


@pytest.mark.parametrize("state", ["#part1.t=abc&part1.p=-4&part1.v=1e99", "#part1.t=<b>x</b>", "#nonsense=%E0%A4%A"])
def test_a_spoilt_link_opens_at_the_start(browser: Any, report: Path, state: str) -> None:
    opened(browser, report)
    before = out(browser, "alerts")
    opened(browser, report, state)
    assert out(browser, "alerts") == before


def test_tables_sort_and_filter(browser: Any, report: Path) -> None:
    opened(browser, report)
    column = """return [...document.querySelectorAll('#part1-errors')][0].closest('table')
        .querySelectorAll('tbody tr:not([hidden])').length"""
    total = browser.execute_script(column)
    head = browser.find_element("xpath", "//caption[@id='part1-errors']/..//th[3]")
    probabilities = (
        "return [...document.querySelectorAll('#part1-errors ~ tbody tr')].map((r) => Number(r.cells[2].dataset.v))"
    )
    head.find_element("tag name", "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    rising = browser.execute_script(probabilities)
    assert rising == sorted(rising)
    head.find_element("tag name", "button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert browser.execute_script(probabilities) == rising[::-1]
    field = browser.find_element("css selector", "#part1-errors-filter")
    field.send_keys("falsely")
    metrics = json.loads((report.parent / "metrics.json").read_text(encoding="utf-8"))
    false = len(metrics["errors"]["falsely_flagged"]["worst"])
    assert 0 < false < total
    assert browser.execute_script(column) == false
    status = field.find_element("xpath", "following-sibling::*[@role='status']")
    assert status.text == f"{false} of {total} rows shown"


def test_every_printed_sheet_of_a_report_with_narratives_is_marked(browser: Any, marked: Path, report: Path) -> None:
    strip = "const style = getComputedStyle(document.querySelector('.strip')); return [style.display, style.position];"
    opened(browser, marked)
    assert "Contains narrative text" in browser.find_element("css selector", ".marking").text
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        # An element that is fixed is drawn on every sheet.
        assert browser.execute_script(strip) == ["block", "fixed"]
        assert not browser.find_element("css selector", ".controls").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    opened(browser, report)
    assert browser.find_elements("css selector", ".marking, .strip") == []
