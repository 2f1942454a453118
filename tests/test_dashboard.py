"""The live page over several evaluations, and what a run in MLflow keeps for it."""

from __future__ import annotations

import csv
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from evaluation.dashboard.app import HEADERS, dashboard
from evaluation.dashboard.figures import PAIRED, SEPARATE, compared, difference, side
from evaluation.dashboard.pages import policy
from evaluation.dashboard.sources import Catalogue
from evaluation.dashboard.state import State, place_of
from evaluation.explorer import Explorer
from stalkscreen.cli import main
from stalkscreen.config import Settings
from stalkscreen.dataset import write_labelled
from stalkscreen.errors import UnknownNameError
from stalkscreen.metrics import difference_interval, rate, recall_at_false_flag, recall_by_false_flag
from stalkscreen.run_figures import charts, evaluation_figures, read_scores, recall_at_few_false_flags
from stalkscreen.schema import LabelledIncident
from stalkscreen.tracking.registry import download_evaluation
from stalkscreen.tracking.runs import VIEW, complete_run
from stalkscreen.tracking.store import NAME, mlflow_at
from stalkscreen.workflow.training import Trained, train_and_register

CANARY = "zebracrossingcanary"


@dataclass
class Store:
    """Everything the page is tried on: two folders of `evaluate`, one of them marked, and two runs."""

    settings: Settings
    reports: Path
    runs: list[Trained]


@pytest.fixture(scope="module")
def store(records: list[LabelledIncident], model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("dashboard")
    settings = Settings.from_env(
        {
            "STALKSCREEN_MODELS": str(folder / "models"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "STALKSCREEN_ARTIFACTS": str(folder / "artifacts"),
        }
    )
    canary = records[0].model_copy(update={"narrative": f"{records[0].narrative} {CANARY}."})
    turned = [
        r
        if i % 9
        else r.model_copy(
            update={
                "stalking": not r.stalking,
                "stratum": "ordinary" if r.stalking else "stalking",
                **dict.fromkeys(("offence_family", "tier", "history_check")),
            }
        )
        for i, r in enumerate([canary, *records[1:]])
    ]
    reports = folder / "reports"
    for name, rows, more in (("march", turned, ["--with-text"]), ("april", turned[:60], [])):
        write_labelled(rows, folder / f"{name}.jsonl")
        done = CliRunner().invoke(
            main,
            ["evaluate", "--data", str(folder / f"{name}.jsonl"), "--model", str(model_folder), "--out", str(reports / name), *more],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
    (reports / "torn").mkdir()
    (reports / "torn" / "metrics.json").write_text("{")
    runs = []
    for kind in ("linear", "keyword"):
        config = folder / f"{kind}.toml"
        config.write_text(f"kind = '{kind}'\n[validation]\nfolds = 2\nnear_duplicate = 0.9\n")
        runs.append(train_and_register([folder / "march.jsonl"], config, settings))
    return Store(settings, reports, runs)


@pytest.fixture(scope="module")
def catalogue(store: Store) -> Catalogue:
    return Catalogue([store.reports], store.settings)


@pytest.fixture(scope="module")
def client(catalogue: Catalogue) -> TestClient:
    return TestClient(dashboard(catalogue), base_url="http://127.0.0.1")


def folder_key(name: str) -> str:
    return f"folder/reports/{name}/metrics.json"


def run_key(trained: Trained) -> str:
    return f"run/{trained.run_id}/evaluation/metrics.json"


def test_a_run_holds_recall_at_5_percent_and_the_figures_of_every_slice(store: Store) -> None:
    run = mlflow_at(store.settings).MlflowClient().get_run(store.runs[0].run_id)
    logged = run.data.metrics
    truth, score = np.array(list(store.runs[0].scores.values())).T
    assert logged["cv.recall_at_5pct"] == pytest.approx(recall_at_false_flag(truth, score, 0.05)[1].value)
    divisions = {d["slice"]: d for d in store.runs[0].metrics["slices"]}
    for part in divisions["relationship"]["parts"]:
        name = f"slice.relationship.{part['value'].replace(' ', '_')}"
        assert logged[f"{name}.recall"] == pytest.approx(part["recall"]["value"])
        assert logged[f"{name}.stalking"] == part["recall"]["of"]
    assert not [name for name in logged if name.startswith(("slice.recorded_offence", "slice.writer"))]
    assert run.inputs.dataset_inputs


def test_a_run_holds_every_chart_of_its_report_as_a_file_that_stands_alone(store: Store) -> None:
    folder = download_evaluation(store.runs[0].run_id, store.settings, "plots")
    report = download_evaluation(store.runs[0].run_id, store.settings) / "report.html"
    plots = sorted(folder.iterdir())
    assert len(plots) == report.read_text(encoding="utf-8").count('<div class="chart"') > 5
    for plot in plots:
        assert ElementTree.fromstring(plot.read_text(encoding="utf-8")).tag == "{http://www.w3.org/2000/svg}svg"
    assert "part1-thresholds.svg" in {plot.name for plot in plots}


def test_the_experiment_keeps_the_view_of_unseen_writers_and_its_search_finds_the_runs(store: Store) -> None:
    client = mlflow_at(store.settings).MlflowClient()
    experiment = client.get_experiment_by_name(NAME)
    view = json.loads(experiment.tags[f"mlflow.sharedViewState.{VIEW}"])
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    found = client.search_runs([experiment.experiment_id], view["searchFilter"], order_by=[order])
    values = [run.data.metrics["cv.recall_at_5pct"] for run in found]
    assert {run.info.run_id for run in found} == {run.run_id for run in store.runs}
    assert values == sorted(values, reverse=True)


def test_a_run_from_before_these_figures_can_be_given_them(store: Store) -> None:
    client = mlflow_at(store.settings).MlflowClient()
    bare = client.create_run(client.get_experiment_by_name(NAME).experiment_id).info.run_id
    full = store.runs[0].run_id
    client.log_artifacts(bare, str(download_evaluation(full, store.settings)), "evaluation")
    complete_run(bare, store.settings)
    metrics, expected = (client.get_run(run_id).data.metrics for run_id in (bare, full))
    assert metrics["cv.recall_at_5pct"] == expected["cv.recall_at_5pct"]
    assert set(metrics) == {name for name in expected if name.startswith("slice.") or name == "cv.recall_at_5pct"}
    plots = download_evaluation(bare, store.settings, "plots")
    assert plots.is_dir()
    with pytest.raises(UnknownNameError, match="has no folder"):
        complete_run("0" * 32, store.settings)


def test_recall_at_5_percent_is_not_measured_where_a_class_is_missing() -> None:
    for y, p in (([1, 1], [0.2, 0.9]), ([0, 0], [0.2, 0.9]), ([], [])):
        found = recall_by_false_flag(y, p)
        assert {row["recall"]["value"] for row in found} == {None}
        assert recall_at_few_false_flags({"ranking": {"recall_at": found}}).value is None
    resampled = {"n": 7, "of": 10, "value": 0.7, "low": 0.2, "high": 0.9}
    kept = recall_at_few_false_flags({"ranking": {"recall_at": [{"false_flag": 0.05, "recall": resampled}]}})
    assert kept.to_json_dict() == resampled, "the interval that was written, not another"
    assert recall_at_few_false_flags({}).value is None
    assert evaluation_figures({"slices": []}) == {}


def test_a_page_without_charts_has_none_to_keep() -> None:
    assert charts("<div class='other'><svg></svg></div>") == []


def test_the_list_names_runs_and_folders_the_best_on_unseen_writers_first(
    client: TestClient, catalogue: Catalogue, store: Store
) -> None:
    page = client.get("/")
    assert page.status_code == 200
    keys = [evaluation.key for evaluation in catalogue.all()]
    assert set(keys) == {folder_key("march"), folder_key("april"), *map(run_key, store.runs)}
    assert set(keys[:2]) == set(map(run_key, store.runs))
    recalls = [catalogue.get(key).recall_at.value or 0 for key in keys[:2]]  # type: ignore[union-attr]
    assert recalls == sorted(recalls, reverse=True)
    assert "Folder reports/torn: metrics.json cannot be read (it is damaged, or not what evaluate writes)." in page.text
    assert str(store.reports.parent) not in page.text


def test_every_answer_has_the_headers_no_cookie_and_no_address_of_another_host(client: TestClient) -> None:
    for path in ("/", f"/view?e={folder_key('march')}", "/view?e=none", "/nothing", "/figures.csv?e=../../etc/passwd"):
        answer = client.get(path)
        assert answer.headers["content-security-policy"] == policy()
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert "set-cookie" not in answer.headers
        assert "http://" not in answer.text.replace("http://www.w3.org/", "")
    assert "unsafe-eval" not in policy()
    assert client.get("/", headers={"host": "somewhere.example"}).status_code == 400
    assert client.post("/").status_code == 405


def test_no_narrative_is_anywhere_even_of_a_folder_whose_report_holds_some(client: TestClient, store: Store) -> None:
    assert CANARY in (store.reports / "march" / "report.html").read_text(encoding="utf-8")
    query = State(e=folder_key("march"), w=folder_key("april")).query()
    page = client.get(f"/view?{query}")
    assert "The report.html of this folder holds narratives." in page.text
    for path in ("/", f"/view?{query}", f"/report?{query}", f"/figures.csv?{query}"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert CANARY not in answer.text
        assert "His van stayed behind me" not in answer.text


def test_the_whole_report_is_there_without_text_and_its_script_is_allowed(client: TestClient) -> None:
    page = client.get(f"/report?e={folder_key('march')}")
    assert "Stalking screening: evaluation report" in page.text
    digest = unescape(page.text).split("script-src ")[1].split(";")[0]
    assert digest in policy()


def test_the_figures_as_csv_are_those_of_metrics_json(client: TestClient, store: Store) -> None:
    metrics = json.loads((store.reports / "march" / "metrics.json").read_text(encoding="utf-8"))
    answer = client.get(f"/figures.csv?{State(e=folder_key('march'), part='relationship').query()}")
    assert answer.headers["content-disposition"] == 'attachment; filename="stalkscreen-figures.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    by_name = {(row["figure"], row["part"]): row for row in rows}
    at = metrics["at_threshold"]
    for name, figure in (
        ("recall", at["recall"]),
        ("falsely_flagged", at["false_flag"]),
        ("precision", at["precision"]),
    ):
        row = by_name[name, ""]
        assert (int(row["n"]), int(row["of"])) == (figure["n"], figure["of"])
        assert [float(row[end]) for end in ("value", "low", "high")] == [
            figure[end] for end in ("value", "low", "high")
        ]
    assert float(by_name["auc", ""]["value"]) == metrics["ranking"]["auc"]["value"]
    (division,) = [d for d in metrics["slices"] if d["slice"] == "relationship"]
    for part in division["parts"]:
        assert int(by_name["relationship.recall", part["value"]]["n"]) == part["recall"]["n"]


def test_a_chart_comes_as_png_and_an_unknown_one_is_refused(client: TestClient) -> None:
    query = State(e=folder_key("march"), w=folder_key("april")).query()
    for name in ("figures", "parts", "thresholds"):
        answer = client.get(f"/chart.png?{query}&chart={name}")
        assert answer.headers["content-type"] == "image/png"
        assert answer.content.startswith(b"\x89PNG")
    refused = client.get(f"/chart.png?{query}&chart=secret")
    assert refused.status_code == 404
    assert "there are figures, parts, thresholds" in refused.text


def test_two_runs_on_the_same_records_are_compared_record_by_record(catalogue: Catalogue, store: Store) -> None:
    one, two = (catalogue.get(run_key(run)) for run in store.runs)
    assert one is not None
    assert two is not None
    rows = {row["key"]: row for row in compared(one, two, State())}
    assert next(iter(rows)) == "recall_at"
    assert rows["recall_at"]["how"] == PAIRED.format(100)
    a, b = (recall_at_false_flag(*np.array(list(read_scores(e.scores).values())).T, 0.05)[1] for e in (one, two))  # type: ignore[arg-type]
    assert a.value is not None
    assert b.value is not None
    found = rows["recall_at"]["difference"]
    assert found["value"] == pytest.approx(a.value - b.value)
    assert found["low"] <= found["value"] <= found["high"]
    assert rows["alerts_a_day"]["difference"]["low"] is None


def test_a_difference_is_always_that_of_the_two_figures_beside_it(catalogue: Catalogue, store: Store) -> None:
    one, two = (catalogue.get(run_key(run)) for run in store.runs)
    assert one is not None
    assert two is not None
    for t, u in ((None, None), (0.3, 0.3), (0.5, None)):
        for row in compared(one, two, State(t=t, u=u)):
            if row["difference"]["value"] is not None:
                gap = row["first"]["value"] - row["second"]["value"]
                assert row["difference"]["value"] == pytest.approx(
                    gap, abs=2e-5 if row["key"] == "average_precision" else 1e-9
                )


def test_folders_without_scores_are_compared_as_separate_samples(catalogue: Catalogue) -> None:
    one, two = catalogue.get(folder_key("march")), catalogue.get(folder_key("april"))
    assert one is not None
    assert two is not None
    row = next(row for row in compared(one, two, State()) if row["key"] == "recall")
    assert row["how"] == SEPARATE
    a, b = (
        rate(e.metrics["at_threshold"]["recall"]["n"], e.metrics["at_threshold"]["recall"]["of"]) for e in (one, two)
    )
    assert (row["difference"]["low"], row["difference"]["high"]) == pytest.approx(difference_interval(a, b))


def test_a_difference_of_what_was_not_measured_is_not_zero() -> None:
    none = rate(0, 0).to_json_dict()
    assert difference(none, rate(3, 4).to_json_dict()) == {"value": None, "low": None, "high": None}


def test_a_threshold_gives_what_the_counts_by_score_give(catalogue: Catalogue) -> None:
    one = catalogue.get(folder_key("march"))
    assert one is not None
    explorer = Explorer(one.metrics)
    state = State.read({"t": "0.31", "p": "2", "v": "500", "n": "set"})
    now = explorer.at(place_of(explorer, 0.31), state.stream(explorer))
    found = side(one, state.t, state)
    assert found["recall"] == now["recall"]
    assert found["alerts_a_day"] == now["alerts_a_day"]


def test_an_address_gives_back_the_state_it_was_made_from_and_leaves_nonsense_out() -> None:
    state = State(e="run/a b/c", w="folder/é", part="era", t=0.31, u=0.5, p=2.5, v=900, m=3, n="set", c=40)
    assert State.read(dict(pairs_of(state.query()))) == state
    nonsense = State.read({"t": "2", "u": "x", "p": "nan", "v": "-1", "n": "101", "c": "inf"})
    assert nonsense == State()
    assert len(nonsense.refused) == 6
    assert nonsense.refused[0] == "Threshold of the first: '2' is no number from 0 to 1; its default is shown."
    assert State.read({"t": "0.31", "u": ""}).refused == ()


def pairs_of(query: str) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl

    return parse_qsl(query)


def test_without_a_store_or_folders_the_list_says_that_there_is_none(tmp_path: Path) -> None:
    settings = Settings.from_env({"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'none.db'}"})
    page = TestClient(dashboard(Catalogue([tmp_path], settings)), base_url="http://127.0.0.1").get("/")
    assert "There is none yet." in page.text
    assert list(tmp_path.iterdir()) == []


def test_figures_of_an_earlier_version_are_shown_at_the_models_own_threshold(store: Store, tmp_path: Path) -> None:
    metrics = json.loads((store.reports / "april" / "metrics.json").read_text(encoding="utf-8"))
    for key in ("score_bins", "slice_gaps", "worst_slice", "equalised"):
        metrics.pop(key)
    for division in metrics["slices"]:
        for part in division["parts"]:
            part.pop("recall_difference")
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    client = TestClient(dashboard(Catalogue([tmp_path], None)), base_url="http://127.0.0.1")
    page = client.get(f"/view?{State(e=f'folder/{tmp_path.name}/metrics.json', t=0.2).query()}")
    assert page.status_code == 200
    assert "written by an earlier version" in page.text


# In a real browser. Skipped on a laptop without one; in CI a missing browser is a failure.


@pytest.fixture(scope="module")
def address(catalogue: Catalogue) -> Iterator[str]:
    import uvicorn

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(dashboard(catalogue), host="127.0.0.1", port=port, log_level="warning", access_log=False)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 60
    while not server.started and time.monotonic() < until:
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=60)


def settled(browser: Any, what: Callable[[], bool]) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60).until(lambda _: what())


def violations(browser: Any) -> list[str]:
    axe = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
    found = browser.execute_async_script("axe.run(document, {}).then((r) => arguments[0](r.violations));")
    return [f"{v['id']}: {node['target']}" for v in found for node in v["nodes"]]


def shown(browser: Any, name: str) -> str:
    return str(browser.find_element("css selector", f'#part1-explore [data-out="{name}"]').text)


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 1280])
def test_the_pages_load_without_error_or_sideways_scrolling_and_axe_finds_nothing_wrong(
    browser: Any, address: str, store: Store, width: int
) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    one, two = map(run_key, store.runs)
    paths = ("/", f"/view?{State(e=folder_key('march')).query()}", f"/view?{State(e=one, w=two, part='era').query()}", "/view?e=x")  # fmt: skip
    for path in paths:
        browser.get_log("performance")
        browser.get(address + path)
        assert browser.execute_script("return document.documentElement.lang") == "en-GB"
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert violations(browser) == [], path
        wrong = [
            e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE" and "404" not in e["message"]
        ]
        assert wrong == []
        sent = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
        urls = {m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"}
        assert not [url for url in urls if not url.startswith((address, "data:"))]


@pytest.mark.browser
def test_what_is_chosen_in_the_form_is_shown_with_the_figures_of_metrics_json(
    browser: Any, address: str, store: Store
) -> None:
    from selenium.webdriver.support.ui import Select

    browser.get(f"{address}/view?{State(e=folder_key('march')).query()}")
    Select(browser.find_element("id", "choice-w")).select_by_value(folder_key("april"))
    Select(browser.find_element("id", "choice-part")).select_by_value("relationship")
    browser.find_element("css selector", ".choice button").click()
    settled(browser, lambda: "part=relationship" in browser.current_url)
    for place, name in enumerate(("march", "april"), start=2):
        metrics = json.loads((store.reports / name / "metrics.json").read_text(encoding="utf-8"))
        figures = {
            "recall_at": recall_at_few_false_flags(metrics).to_json_dict(),
            "recall": metrics["at_threshold"]["recall"],
            "falsely_flagged": metrics["at_threshold"]["false_flag"],
            "precision": metrics["at_threshold"]["precision"],
        }
        for key, figure in figures.items():
            cell = browser.find_element("css selector", f'tr[data-row="{key}"] > :nth-child({place})')
            assert f"{figure['n']} of {figure['of']}" in cell.text
            assert float(cell.get_attribute("data-v")) == pytest.approx(figure["value"])
        (division,) = [d for d in metrics["slices"] if d["slice"] == "relationship"]
        for part in division["parts"]:
            row = browser.find_element("css selector", f'tr[data-part="{part["value"]}"]')
            assert (
                f"{part['recall']['n']} of {part['recall']['of']}"
                in row.find_elements("tag name", "td")[place - 2].text
            )
    assert "different records" in browser.find_element("tag name", "main").text


@pytest.mark.browser
def test_the_control_moves_the_address_and_the_links_and_the_address_brings_it_back(
    browser: Any, address: str, store: Store
) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{address}/view?{State(e=folder_key('march')).query()}")
    for key, value in (("t", "0.31"), ("v", "2400")):
        field = browser.find_element("css selector", f"#part1-in-{key}")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(value, Keys.TAB)
    settled(browser, lambda: "t=0.31" in browser.current_url and "v=2400" in browser.current_url)
    assert "#" not in browser.current_url
    link = browser.find_element("css selector", "a[href*='figures.csv']").get_attribute("href")
    assert "t=0.31" in link
    assert "v=2400" in link
    figures = {name: shown(browser, name) for name in ("threshold", "recall-of", "alerts", "hours")}
    assert figures["threshold"] == "0.310"
    kept = browser.current_url
    browser.get("about:blank")
    browser.get(kept)
    settled(browser, lambda: shown(browser, "threshold") == "0.310")
    assert {name: shown(browser, name) for name in figures} == figures
    explorer = Explorer(json.loads((store.reports / "march" / "metrics.json").read_text(encoding="utf-8")))
    now = explorer.at(place_of(explorer, 0.31))
    said = browser.find_element("css selector", '.figures [data-row="recall"]').text
    assert f"{now['recall']['n']} of {now['recall']['of']}" in said
    assert figures["recall-of"].startswith(f"{now['recall']['n']} of {now['recall']['of']};")


@pytest.mark.browser
def test_it_prints_without_its_controls(browser: Any, address: str) -> None:
    browser.get(f"{address}/view?{State(e=folder_key('march')).query()}")
    assert browser.find_element("css selector", "[data-print]").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        for part in (".choice", ".keep", ".controls"):
            assert not browser.find_element("css selector", part).is_displayed()
        assert browser.execute_cdp_cmd("Page.printToPDF", {})["data"].startswith("JVBERi")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
