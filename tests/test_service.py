"""The HTTP contract: exact answers, one error shape, nothing of what was sent in any error or log."""

import asyncio
import contextvars
import json
import logging
import os
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from starlette.testclient import TestClient

from serving.errors import BY_STATUS
from serving.loading import EXAMPLE
from serving.middleware import DRAIN, MIB, ROUTES, OneErrorShape, arrived
from serving.parsing import MAX_BATCH
from serving.service import AT_ONCE, GRACE_SECONDS, TIMEOUT_SECONDS, Screening, _assess, loaded
from stalkscreen.classifiers import classifier_class
from stalkscreen.model import ScreeningModel
from stalkscreen.model_format import ModelInfo, Thresholds
from stalkscreen.references import RELEASED
from stalkscreen.schema import MAX_NARRATIVE_CHARS, Case, Incident, LabelledIncident
from stalkscreen.taxonomy import load_taxonomy

ROOT = Path(__file__).parents[1]
CANARY = "zebrafish"
JSON = {"content-type": "application/json"}

STALKING = (
    "He was parked by her gate again and followed her car into town.",
    "Her former husband keeps texting after she told him to stop.",
    "She found a tracker under the wheel arch and is frightened.",
    "He has sat outside my office in his van every day this week.",
    "Notes left on her windscreen each morning by her ex-boyfriend.",
    "He follows her to the gym and writes from new numbers when blocked.",
)
OTHER = (
    "Shed lock forced overnight and a mower taken.",
    "Two drivers argued over a parking bay, nobody hurt.",
    "Shop reports a bottle of wine stolen from the shelf.",
    "Loud music from the flat upstairs since midnight.",
    "A bicycle was taken from the rack at the station.",
    "Windows broken at the school over the weekend.",
)


def labelled(narrative: str, number: int, stalking: bool) -> LabelledIncident:
    return LabelledIncident(
        incident_id=f"T{number}",
        narrative=narrative,
        stalking=stalking,
        offence_family="stalking" if stalking else "other_crime",
        indicators=("loitering",) if stalking else (),
        domestic=stalking,
        relationship="ex_partner" if stalking else "stranger",
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one tiny released linear model."""
    taxonomy = load_taxonomy()
    records = [labelled(text, i, True) for i, text in enumerate(STALKING * 2)]
    records += [labelled(text, i + 50, False) for i, text in enumerate(OTHER * 2)]
    classifier = classifier_class("linear")().fit(records, taxonomy)
    info = ModelInfo(
        kind="linear",
        version="7",
        indicator_names=classifier.indicator_names,
        family_names=taxonomy.family_names,
        prevalence=0.5,
        thresholds=Thresholds(review=0.5, high=0.9),
        headline={"recall": {"value": 0.75}},
    )
    folder: Path = tmp_path_factory.mktemp("models")
    ScreeningModel(classifier, info).save(folder / "linear-tiny")
    (folder / RELEASED).write_text("linear-tiny\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STALKSCREEN_MODELS", str(models))
        patch.delenv("STALKSCREEN_MODEL", raising=False)
        with TestClient(Screening.to_asgi(), raise_server_exceptions=False) as made:  # type: ignore[attr-defined]
            loaded.start().join()
            yield made


def incident(**fields: Any) -> dict[str, Any]:
    return {"incident_id": "A1", "narrative": f"{CANARY} sat in his van outside my work again."} | fields


def check_error(response: Any, status: int, code: str, field: str | None = None) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    assert list(body["error"]) == ["code", "message", "field"]
    assert body["error"]["code"] == code
    assert body["error"]["field"] == field
    assert len(body["error"]["message"]) > 10
    assert CANARY not in response.text


def test_screen_answers_exactly_what_the_model_says(client: TestClient, models: Path) -> None:
    sent = incident(recorded_offence="harassment", some_other_column=3)
    expected = ScreeningModel.load(models / "linear-tiny").assess([Case.of_one(Incident(**sent))])[0]
    response = client.post("/v1/screen", json=sent)
    assert response.status_code == 200
    assert response.json() == expected.to_json_dict()
    assert list(response.json()) == list(expected.to_json_dict())


def test_a_batch_answers_each_as_if_alone_and_in_order(client: TestClient) -> None:
    sent = [incident(incident_id=f"B{i}", narrative=text) for i, text in enumerate([*OTHER, *STALKING] * 3)]
    response = client.post("/v1/screen_batch", json={"incidents": sent})
    assert response.status_code == 200
    answers = response.json()["assessments"]
    assert [a["incident_id"] for a in answers] == [i["incident_id"] for i in sent]
    assert answers[7] == client.post("/v1/screen", json=sent[7]).json()
    assert client.post("/v1/screen_batch", json={"incidents": [incident()]}).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_model_says_what_it_is_and_what_it_is_not_for(client: TestClient, method: str) -> None:
    answer = client.request(method, "/v1/model").json()
    assert answer["version"] == "7"
    assert answer["kind"] == "linear"
    assert answer["thresholds"]["review"] == 0.5
    assert answer["headline"] == {"recall": {"value": 0.75}}
    assert answer["prevalence"] == 0.5
    assert answer["live_prevalence"] == 0.008
    assert len(answer["indicators"]) == 26
    assert "review" in answer["intended_use"]
    assert "absence of a flag" in answer["prohibited_use"]


BAD_JSON: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "malformed_json"),
    "broken": (b'{"incident_id": "A1", "narrative": "zebrafish', "malformed_json"),
    "bad escape": (b'{"narrative": "zebrafish \\q"}', "malformed_json"),
    "raw control character": (b'{"incident_id": "A1", "narrative": "zebrafish\x00"}', "malformed_json"),
    "not a number": (b'{"incident_id": "A1", "narrative": "zebrafish", "x": NaN}', "malformed_json"),
    "infinity": (b'{"incident_id": "A1", "narrative": "zebrafish", "x": -Infinity}', "malformed_json"),
    "long number": (b'{"incident_id": "A1", "narrative": "zebrafish", "x": ' + b"9" * 6000 + b"}", "malformed_json"),
    "lone surrogate": (b'{"incident_id": "A1", "narrative": "zebrafish \\ud800"}', "malformed_json"),
    "deep": (b'{"zebrafish":' * 50_000, "malformed_json"),
    "deep but closed": (b'{"incident_id": "A1", "x": ' + b"[" * 500 + b"]" * 500 + b"}", "malformed_json"),
    "two keys": (b'{"incident_id": "A1", "narrative": "zebrafish", "narrative": "b"}', "duplicate_key"),
    "latin-1": ('{"incident_id": "A1", "narrative": "zebrafish café"}'.encode("latin-1"), "not_utf8"),
    "utf-16": ('{"incident_id": "A1", "narrative": "zebrafish"}'.encode("utf-16"), "not_utf8"),
}


@pytest.mark.parametrize("route", ["/v1/screen", "/v1/screen_batch"])
@pytest.mark.parametrize("name", BAD_JSON)
def test_malformed_json_is_a_400(client: TestClient, route: str, name: str) -> None:
    body, code = BAD_JSON[name]
    check_error(client.post(route, content=body, headers=JSON), 400, code)


BAD_FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"narrative": CANARY * 3000}, "narrative_too_long", "narrative"),
    ({"narrative": " \n\t "}, "narrative_empty", "narrative"),
    ({"narrative": f"{CANARY}\x00"}, "narrative_control_character", "narrative"),
    ({"narrative": None}, "field_type", "narrative"),
    ({"narrative": [CANARY]}, "field_type", "narrative"),
    ({"narrative": {CANARY: CANARY}}, "field_type", "narrative"),
    ({"incident_id": 17}, "field_type", "incident_id"),
    ({"incident_id": ""}, "value_not_allowed", "incident_id"),
    ({"incident_id": CANARY * 50}, "value_not_allowed", "incident_id"),
    ({"source_type": CANARY}, "value_not_allowed", "source_type"),
    ({"occurred_at": CANARY}, "value_not_allowed", "occurred_at"),
    ({"occurred_at": True}, "field_type", "occurred_at"),
    ({"recorded_offence": [CANARY]}, "field_type", "recorded_offence"),
    ({"victim": CANARY}, "field_type", "victim"),
    ({"victim": {CANARY: CANARY}}, "field_unknown", "victim"),
    ({"suspect": {"surname": [CANARY]}}, "field_type", "suspect.surname"),
]


@pytest.mark.parametrize(("fields", "code", "field"), BAD_FIELDS)
def test_a_wrong_field_is_a_422_that_names_it(
    client: TestClient, fields: dict[str, Any], code: str, field: str
) -> None:
    check_error(client.post("/v1/screen", json=incident(**fields)), 422, code, field)
    batch = {"incidents": [incident(incident_id="ok"), incident(**fields)]}
    check_error(client.post("/v1/screen_batch", json=batch), 422, code, f"incidents[1].{field}")


def test_a_missing_field_and_a_wrong_body_are_422(client: TestClient) -> None:
    check_error(client.post("/v1/screen", json={"incident_id": "A1"}), 422, "field_missing", "narrative")
    for body in (b"[]", b"null", b"3", b'"zebrafish"'):
        check_error(client.post("/v1/screen", content=body, headers=JSON), 422, "field_type")
        check_error(client.post("/v1/screen_batch", content=body, headers=JSON), 422, "field_type")
    check_error(client.post("/v1/screen_batch", json={"incident": []}), 422, "field_missing", "incidents")
    check_error(client.post("/v1/screen_batch", json={"incidents": CANARY}), 422, "field_type", "incidents")
    check_error(client.post("/v1/screen_batch", json={"incidents": [3]}), 422, "field_type", "incidents[0]")


def test_a_batch_holds_1_to_256_incidents_with_their_own_ids(client: TestClient) -> None:
    many = [incident(incident_id=str(i)) for i in range(MAX_BATCH + 1)]
    check_error(client.post("/v1/screen_batch", json={"incidents": []}), 422, "batch_size", "incidents")
    check_error(client.post("/v1/screen_batch", json={"incidents": many}), 422, "batch_size", "incidents")
    twice = {"incidents": [incident(), incident()]}
    check_error(client.post("/v1/screen_batch", json=twice), 422, "incident_id_duplicate", "incidents[1].incident_id")
    assert client.post("/v1/screen_batch", json={"incidents": many[1:]}).status_code == 200


def test_the_longest_narrative_counts_after_trimming(client: TestClient) -> None:
    text = "ab c." * (MAX_NARRATIVE_CHARS // 5)
    assert client.post("/v1/screen", json=incident(narrative=f"  {text}\n")).status_code == 200
    check_error(client.post("/v1/screen", json=incident(narrative=text + "d")), 422, "narrative_too_long", "narrative")


def test_a_byte_order_mark_and_a_charset_are_accepted(client: TestClient) -> None:
    body = json.dumps(incident(narrative="café £5 😀"), ensure_ascii=False).encode("utf-8-sig")
    for kind in (
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/json;charset=UTF-8; x=y",
        "application/json; profile=latin-1",
    ):
        assert client.post("/v1/screen", content=body, headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json; x=utf-8; charset=latin-1"},
        {"content-type": "application/vnd.bentoml+pickle"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {},
    ],
)
def test_what_is_not_json_is_a_415(client: TestClient, headers: dict[str, str]) -> None:
    body = json.dumps(incident()).encode()
    check_error(client.post("/v1/screen", content=body, headers=headers), 415, "not_json")


@pytest.mark.parametrize("route", ["/v1/screen", "/v1/screen_batch", "/v1/model"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_its_limit_is_a_413_with_or_without_its_length(
    client: TestClient, route: str, chunked: bool
) -> None:
    size = ROUTES[route].limit + 1

    def pieces() -> Iterator[bytes]:
        for _ in range(0, size, MIB // 2):
            yield b" " * (MIB // 2)

    body: Any = pieces() if chunked else b" " * size
    check_error(client.post(route, content=body, headers=JSON), 413, "body_too_large")
    if route == "/v1/screen":
        padded = json.dumps(incident()).encode()
        padded += b" " * (ROUTES[route].limit - len(padded))
        assert client.post(route, content=padded, headers=JSON).status_code == 200


def test_reading_stops_when_there_is_no_end_to_it() -> None:
    from serving.middleware import _read

    given = 0

    async def receive() -> dict[str, Any]:
        nonlocal given
        given += MIB
        return {"type": "http.request", "body": b" " * MIB, "more_body": True}

    assert asyncio.run(_read(receive, MIB)) is None
    assert given <= DRAIN + MIB


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/screen", 405, "method_not_allowed"),
        ("PUT", "/v1/screen_batch", 405, "method_not_allowed"),
        ("DELETE", "/v1/model", 405, "method_not_allowed"),
        ("POST", "/livez", 405, "method_not_allowed"),
        ("ZEBRAFISH", "/v1/screen", 405, "method_not_allowed"),
        ("GET", f"/v1/{CANARY}", 404, "not_found"),
        ("POST", "/v1/screen/", 404, "not_found"),
        ("GET", "/static_content/index.html", 404, "not_found"),
    ],
)
def test_other_addresses_and_methods_have_the_same_shape(
    client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    response = client.request(method, path)
    check_error(response, status, code)
    if status == 405:
        assert response.headers["allow"]


@pytest.mark.parametrize(
    ("forwarded", "logged"),
    [
        (("10.1.2.3", 4711), ("10.1.2.3", 4711)),
        (("2001:db8::7", 0), ("2001:db8::7", 0)),
        (("fe80::1%" + CANARY, 5), ("fe80::1", 5)),
        (("10.1.2.3", 7_700_900_123), ("10.1.2.3", 0)),
        ((f"{CANARY} followed her home", 0), None),
        (("", 0), None),
        (None, None),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_only_an_ip_address_goes_on_as_the_callers_address(kind: str, forwarded: Any, logged: Any) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"])

    async def unused(*_: Any) -> Any:
        raise AssertionError

    scope = {"type": kind, "path": "/v1/screen", "method": "POST", "client": forwarded}
    asyncio.run(OneErrorShape(app, loaded)(scope, unused, unused))
    assert seen == [logged]


def test_health_and_docs_answer(client: TestClient) -> None:
    assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
    assert client.get("/", follow_redirects=False).headers["location"] == "docs.json"
    assert client.get("/schema.json").status_code == 200


def test_the_openapi_examples_are_real(client: TestClient) -> None:
    docs = client.get("/docs.json").json()
    assert docs["openapi"] == "3.1.0"
    for path, item in docs["paths"].items():
        if not path.startswith("/v1/"):
            continue
        for operation in item.values():
            contents = [r["content"]["application/json"] for r in operation["responses"].values()]
            if "requestBody" in operation:
                contents.append(operation["requestBody"]["content"]["application/json"])
                assert set(operation["responses"]) == {"200", *map(str, BY_STATUS)} - {"404"}
            else:
                assert set(operation["responses"]) == {"200", "405", "413", "429", "500", "503", "504"}
            for content in contents:
                schema = {**content["schema"], "components": docs["components"]}
                jsonschema.validate(content["example"], schema)
    ready = docs["paths"]["/readyz"]["get"]["responses"]
    assert set(ready) == {"200", "503"}
    assert ready["503"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
    call = docs["paths"]["/v1/screen"]["post"]
    sent = call["requestBody"]["content"]["application/json"]["example"]
    assert sent["narrative"] == EXAMPLE.narrative
    answer = client.post("/v1/screen", json=sent).json()
    assert answer == call["responses"]["200"]["content"]["application/json"]["example"]


def test_without_a_model_it_lives_but_is_not_ready(
    client: TestClient, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / RELEASED).write_text("gone\n", encoding="utf-8")
    settings = [
        ({"STALKSCREEN_MODELS": str(tmp_path / "none")}, "no_released_model"),
        ({"STALKSCREEN_MODELS": str(broken)}, "no_released_model"),
        ({"STALKSCREEN_MODEL": str(tmp_path)}, "model_not_found"),
        ({"STALKSCREEN_MODEL": "models:/stalkscreen@champion"}, "config_invalid"),
        ({"STALKSCREEN_LIVE_PREVALENCE": "lots"}, "config_invalid"),
    ]
    try:
        for environment, code in settings:
            with monkeypatch.context() as patch:
                for name, value in environment.items():
                    patch.setenv(name, value)
                loaded.start().join()
            assert client.get("/livez").status_code == 200
            for response in (
                client.get("/readyz"),
                client.post("/v1/screen", json=incident()),
                client.get("/v1/model"),
            ):
                check_error(response, 503, code)
                assert "stalkscreen promote" in response.json()["error"]["message"]
        loaded._forget()
        check_error(client.get("/readyz"), 503, "model_loading")
        assert client.get("/docs.json").status_code == 200
    finally:
        monkeypatch.setenv("STALKSCREEN_MODELS", str(models))
        loaded.start().join()
    assert client.get("/readyz").status_code == 200


def test_only_a_damaged_model_is_said_to_be_copied_again(
    client: TestClient, models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> Any:
        raise PermissionError(CANARY)

    monkeypatch.setenv("STALKSCREEN_MODELS", str(models))
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("serving.loading.load_model", fail)
            loaded.start().join()
        check_error(client.get("/readyz"), 503, "model_unusable")
    finally:
        loaded.start().join()
    assert "PermissionError while loading" in caplog.text
    assert "again" not in caplog.text
    assert CANARY not in caplog.text


def test_a_failure_inside_says_where_but_never_what(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(cases: Any) -> Any:
        raise ValueError(f"cannot read {CANARY}")

    monkeypatch.setattr(loaded.get(), "assess", fail)
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)
    check_error(client.post("/v1/screen", json=incident()), 500, "internal_error")
    check_error(client.post("/v1/screen_batch", json={"incidents": [incident()]}), 500, "internal_error")
    assert "ValueError at fail" in caplog.text
    assert CANARY not in caplog.text


def test_bentoml_limits_are_set_and_answered_in_the_one_shape() -> None:
    from bentoml._internal.server.http.traffic import MaxConcurrencyMiddleware, TimeoutMiddleware

    assert Screening.config["traffic"] == {"timeout": 30.0, "max_concurrency": 32}  # type: ignore[attr-defined]
    assert Screening.config["threads"] == 4  # type: ignore[attr-defined]

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(5)

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError(CANARY)

    full = MaxConcurrencyMiddleware(slow, max_concurrency=1)
    full._semaphore = asyncio.Semaphore(0)
    for app, status, code in (
        (TimeoutMiddleware(slow, timeout=0.05), 504, "timeout"),
        (full, 429, "too_many_requests"),
        (fails, 500, "internal_error"),
    ):
        check_error(TestClient(OneErrorShape(app, loaded)).post("/v1/screen"), status, code)


def test_a_batch_past_its_time_stops(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.service.TIMEOUT_SECONDS", -2)
    check_error(client.post("/v1/screen_batch", json={"incidents": [incident()]}), 504, "timeout")


@pytest.mark.parametrize(
    ("lengths", "chunks"),
    [
        ([20] * 20, [16, 4]),
        ([10_000] * 5, [2, 2, 1]),
        ([19_999, 19_999, 20], [1, 1, 1]),
        ([20, 20_000, 20], [1, 1, 1]),
        ([20_000], [1]),
    ],
)
def test_long_incidents_are_assessed_fewer_at_a_time_and_answered_in_order(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, lengths: list[int], chunks: list[int]
) -> None:
    seen: list[int] = []
    brief = loaded.get().assess([Case.of_one(EXAMPLE)])[0]

    def assess(cases: list[Case]) -> Any:
        seen.append(len(cases))
        return [brief.model_copy(update={"incident_id": case.incidents[0].incident_id}) for case in cases]

    monkeypatch.setattr(loaded.get(), "assess", assess)
    sent = [incident(incident_id=f"B{i}", narrative="x" * length) for i, length in enumerate(lengths)]
    answers = client.post("/v1/screen_batch", json={"incidents": sent}).json()["assessments"]
    assert [a["incident_id"] for a in answers] == [i["incident_id"] for i in sent]
    assert seen == chunks


def test_an_assessment_that_nobody_waits_for_keeps_its_place_until_it_stops(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BentoML's own limit forgets it with the 504; here it is called past BentoML."""
    going_on = threading.Event()
    under_way = threading.Semaphore(0)
    assess = loaded.get().assess

    def slow(cases: Any) -> Any:
        under_way.release()
        assert going_on.wait(20)
        return assess(cases)

    def assess_since(came: float) -> Any:
        context = contextvars.copy_context()
        context.run(arrived.set, came)
        return context.run(_assess, [EXAMPLE])

    monkeypatch.setattr(loaded.get(), "assess", slow)
    with ThreadPoolExecutor(AT_ONCE + 1) as pool:
        try:
            forgotten = [pool.submit(assess_since, time.monotonic()) for _ in range(AT_ONCE)]
            assert all(under_way.acquire(timeout=20) for _ in range(AT_ONCE))
            with pytest.raises(TimeoutError):
                assess_since(time.monotonic() - TIMEOUT_SECONDS - GRACE_SECONDS + 0.1)
            assert not under_way.acquire(blocking=False)
            waiting = pool.submit(assess_since, time.monotonic())
        finally:
            going_on.set()
        assert [len(done.result(20)) for done in [*forgotten, waiting]] == [1] * (AT_ONCE + 1)
    assert client.post("/v1/screen", json=incident()).status_code == 200


def test_the_time_of_a_call_runs_from_when_it_came_in(client: TestClient) -> None:
    context = contextvars.copy_context()
    context.run(arrived.set, time.monotonic() - TIMEOUT_SECONDS - GRACE_SECONDS - 1)
    with pytest.raises(TimeoutError):
        context.run(_assess, [EXAMPLE])


def test_serving_a_linear_model_imports_nothing_heavy(models: Path, tmp_path: Path) -> None:
    heavy = ["mlflow", "torch", "transformers", "training", "evaluation"]
    for name in ("torch", "transformers"):  # importable decoys: whoever tries them is found out
        (tmp_path / f"{name}.py").write_text("", encoding="utf-8")
    code = (
        "import sys; import serving.service\n"
        f"heavy = {heavy}\n"
        "print([m for m in [*heavy, 'pandas', 'sklearn'] if m in sys.modules])\n"
        "serving.service.loaded.start().join(); serving.service.loaded.get()\n"
        "print([m for m in heavy if m in sys.modules])\n"
    )
    environment = {**os.environ, "STALKSCREEN_MODELS": str(models), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.split("\n")[-3:-1] == ["[]", "[]"]


def test_the_bento_installs_what_pyproject_names_and_resolves_nothing() -> None:
    bento = yaml.safe_load((ROOT / "bentofile.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert bento["python"]["packages"] == project["dependencies"] + project["optional-dependencies"]["serve"]
    assert bento["python"]["lock_packages"] is False
    assert bento["service"] == "serving.service:Screening"
    assert bento["name"] != "stalkscreen"
