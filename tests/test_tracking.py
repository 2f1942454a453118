"""Train, register, promote, load: the whole path over a small set, in stores of its own."""

from __future__ import annotations

import json
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import training.train
from evaluation.gates import Gates, run_gates
from evaluation.release import promote
from stalkscreen import demo
from stalkscreen.config import Settings
from stalkscreen.dataset import write_labelled
from stalkscreen.errors import GateFailedError, ModelFormatError, UnknownNameError
from stalkscreen.model import ScreeningModel
from stalkscreen.model_format import file_sha256
from stalkscreen.references import load_model, released_folder, resolve
from stalkscreen.schema import Case, Incident, LabelledIncident
from stalkscreen.tracking import registry
from stalkscreen.tracking.store import NAME, mlflow_at
from stalkscreen.workflow.evaluating import About
from stalkscreen.workflow.training import Trained, train_and_register

CANARY = "zebracrossingcanary"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("store")
    return Settings.from_env(
        {
            "STALKSCREEN_MODELS": str(folder / "models"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "STALKSCREEN_ARTIFACTS": str(folder / "artifacts"),
        }
    )


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "c.toml"
    path.write_text("kind = 'linear'\n[validation]\nfolds = 3\nnear_duplicate = 0.9\n")
    return path


@pytest.fixture(scope="module")
def data(records: list[LabelledIncident], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "set.jsonl"
    first = records[0].model_copy(update={"narrative": records[0].narrative + f" {CANARY}."})
    write_labelled([first, *records[1:]], path)
    return path


@pytest.fixture(scope="module")
def trained(store: Settings, data: Path, config: Path) -> Trained:
    held_out = data.with_name("held_out.jsonl")
    texts = ("He writes to her from new accounts since she blocked him.", "A parcel was taken from the step at noon.")
    made = [
        LabelledIncident(incident_id=f"h{i}", narrative=f"{texts[i % 2]} Entry {i}.", stalking=i % 2 == 0)
        for i in range(24)
    ]
    write_labelled(made, held_out)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("training.train", "training.out_of_fold"):
            patch.setattr(f"{module}.curves_of", lambda _: [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
        return train_and_register([data], config, store, holdout=[held_out])


def test_a_run_is_registered_as_candidate_with_its_figures(trained: Trained, store: Settings) -> None:
    (listed,) = registry.versions(store)
    assert listed.version == trained.version == "1"
    assert listed.aliases == ("candidate",)
    assert listed.headline["cv.auc"] == pytest.approx(trained.metrics["ranking"]["auc"]["value"])


def test_the_run_holds_data_hashes_config_environment_and_report(trained: Trained, store: Settings) -> None:
    import mlflow

    run = mlflow.MlflowClient().get_run(trained.run_id)
    assert run.data.tags["data_hash"] == trained.model.data_hash
    assert len(next(v for k, v in run.data.tags.items() if k.startswith("data_sha256."))) == 64
    assert run.data.params["validation.folds"] == "3"
    assert run.inputs.dataset_inputs
    names = {p.name for p in registry.download_evaluation(trained.run_id, store).iterdir()}
    assert names == {"metrics.json", "errors.csv", "report.html", "cv_scores.csv"}


def test_the_run_holds_the_curve_of_every_fit(trained: Trained, store: Settings) -> None:
    client = mlflow_at(store).MlflowClient()
    for fit in ("fit", "fold-1", "fold-2", "fold-3"):
        history = client.get_metric_history(trained.run_id, f"{fit}.loss")
        assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.25)]


def test_no_narrative_text_is_in_the_store_or_in_any_artefact(trained: Trained, store: Settings) -> None:
    database = Path(store.tracking_uri.removeprefix("sqlite:///"))
    assert CANARY.encode() not in database.read_bytes()
    with sqlite3.connect(database) as connection:
        assert CANARY not in "\n".join(connection.iterdump())
    for path in store.artifacts.rglob("*"):
        # Single words of the corpus are the model's vocabulary; whole narratives are nowhere.
        if path.is_file() and path.name != "terms.json":
            assert CANARY.encode() not in path.read_bytes(), path
            assert b"His van stayed behind me all the way home again. A tag" not in path.read_bytes(), path


def test_nothing_logged_is_a_pickle(trained: Trained, store: Settings) -> None:
    assert not [p for p in store.artifacts.rglob("*") if p.suffix in {".pkl", ".pickle", ".joblib"}]


def test_the_pyfunc_the_folder_and_the_model_in_memory_give_identical_assessments(
    trained: Trained, store: Settings, records: list[LabelledIncident]
) -> None:
    import mlflow
    import pandas as pd

    registry.versions(store)
    incidents = [
        Incident(incident_id=r.incident_id, narrative=r.narrative, recorded_offence=r.recorded_offence)
        for r in records[::10]
    ]
    expected = [a.to_json_dict() for a in trained.model.assess([Case.of_one(i) for i in incidents])]
    from_registry = load_model("1", store).assess([Case.of_one(i) for i in incidents])
    assert [a.to_json_dict() for a in from_registry] == expected
    pyfunc = mlflow.pyfunc.load_model("models:/stalkscreen@candidate")
    frame = pd.DataFrame(
        [
            {"incident_id": i.incident_id, "narrative": i.narrative, "recorded_offence": i.recorded_offence}
            for i in incidents
        ]
    )
    table = pyfunc.predict(frame)
    assert [json.loads(a) for a in table["assessment"]] == expected
    assert table["flag"].tolist() == [e["stalking"]["flag"] for e in expected]


def test_the_pyfunc_says_no_narrative_in_its_errors(trained: Trained, store: Settings) -> None:
    import mlflow
    import pandas as pd

    registry.versions(store)
    pyfunc = mlflow.pyfunc.load_model("models:/stalkscreen/1")
    for frame in (pd.DataFrame({"text": [CANARY]}), pd.DataFrame({"narrative": [CANARY + "\0"], "incident_id": ["a"]})):
        with pytest.raises(Exception, match=r"(?i)narrative|column|schema") as caught:
            pyfunc.predict(frame)
        assert CANARY not in str(caught.value)


def test_promotion_writes_the_folder_the_card_and_the_alias(trained: Trained, store: Settings) -> None:
    done = promote("1", store)
    assert released_folder(store) == done.folder
    assert done.folder.name.startswith("linear-")
    # Every cut is in model.json, whose digest ends the folder's name.
    about = done.folder / "model.json"
    kept = about.read_text(encoding="utf-8")
    about.write_text(kept.replace('"review": 0.', '"review": 0.9'), encoding="utf-8")
    with pytest.raises(ModelFormatError, match="was changed since the model was released"):
        released_folder(store)
    with pytest.raises(ModelFormatError, match=r"changed since.* Nothing was promoted.*delete \S+RELEASED"):
        promote("1", store)
    about.write_text(kept, encoding="utf-8")
    card = done.folder / "MODEL_CARD.md"
    assert card.read_text(encoding="utf-8").startswith("# Model card")
    # The set kept out of training, in figures, card and record.
    (other,) = trained.metrics["other_sets"]
    assert (other["name"], other["rows"]) == ("held_out.jsonl", 24)
    assert {row["figure"] for row in other["figures"]} >= {"Ranking (AUC)", "Recall at the review threshold"}
    assert "How it did elsewhere: held_out.jsonl\n\n24 records it was not trained on." in card.read_text(
        encoding="utf-8"
    )
    assert "held_out.jsonl: Ranking (AUC)" in (done.folder / "TRANSPARENCY.md").read_text(encoding="utf-8")
    record = json.loads((done.folder / "transparency.json").read_text(encoding="utf-8"))
    assert record["model"]["folder"] == done.folder.name
    assert record["fields_to_fill"] == done.fields_to_fill > 0
    page = done.folder / "TRANSPARENCY.md"
    assert done.folder.name in page.read_text(encoding="utf-8")
    page.write_text("filled in", encoding="utf-8")
    (done.folder / "MODEL_CARD.md").unlink()
    assert "champion" in registry.versions(store)[0].aliases
    assert resolve("models:/stalkscreen@champion", store).joinpath("model.json").is_file()
    assert ScreeningModel.load(done.folder).version == "1"
    again = promote("1", store)
    assert again.folder == done.folder
    assert again.kept == ["TRANSPARENCY.md"]
    assert "TRANSPARENCY.md.new" in str(again)
    assert page.read_text(encoding="utf-8") == "filled in"
    assert done.folder.name in page.with_name("TRANSPARENCY.md.new").read_text(encoding="utf-8")
    assert card.is_file()
    # What nobody has touched is written anew, here after an older version of the software had written it.
    card.write_text("an older card", encoding="utf-8")
    listed = done.folder / "written.json"
    old = json.loads(listed.read_text(encoding="utf-8")) | {"MODEL_CARD.md": file_sha256(card)}
    listed.write_text(json.dumps(old), encoding="utf-8")
    assert "MODEL_CARD.md" not in promote("1", store).kept
    assert card.read_text(encoding="utf-8").startswith("# Model card")
    # The text beside what was changed may be filled in and put in its place: neither is lost.
    beside = page.with_name("TRANSPARENCY.md.new")
    beside.write_text("filled in too", encoding="utf-8")
    assert promote("1", store).kept == ["TRANSPARENCY.md"]
    assert beside.read_text(encoding="utf-8") == "filled in too"
    # A folder from before hashes were kept: what is as today's text counts as untouched, all else as somebody's.
    listed.unlink()
    page.unlink()
    card.write_text("an older card", encoding="utf-8")
    assert promote("1", store).kept == ["MODEL_CARD.md"]
    card.with_name("MODEL_CARD.md.new").replace(card)
    assert promote("1", store).kept == []


def test_a_worse_model_is_not_promoted_and_nothing_changes(
    trained: Trained, store: Settings, records: list[LabelledIncident], config: Path, tmp_path: Path
) -> None:
    promote("1", store)
    before = released_folder(store)
    muddled = [
        r.model_copy(update={"stalking": i % 3 == 0, "tier": None, "offence_family": None})
        for i, r in enumerate(records)
    ]
    path = tmp_path / "muddled.jsonl"
    write_labelled(muddled, path)
    asked_more = tmp_path / "asked_more.toml"
    asked_more.write_text(config.read_text() + "[thresholds]\ntarget_recall = 0.97\n")
    worse = train_and_register([path], asked_more, store)
    assert " short of 0.970" in worse.summary
    with pytest.raises(GateFailedError, match="ranking") as caught:
        promote(worse.version, store)
    assert caught.value.exit_code == 1
    assert f"Version {worse.version} was not promoted and nothing was changed: " in caught.value.message
    assert "Could not be applied, which is neither passed nor failed: " in caught.value.message
    assert released_folder(store) == before


@pytest.mark.parametrize("reference", ["99", "models:/stalkscreen@nobody", "no/such/folder"])
def test_an_unknown_reference_says_what_is_allowed(trained: Trained, store: Settings, reference: str) -> None:
    with pytest.raises(UnknownNameError, match=r"stalkscreen models"):
        load_model(reference, store)


def test_training_opens_no_outside_socket(
    store: Settings, data: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    def refuse(self: socket.socket, address: object) -> None:
        tried.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: refuse(socket.socket(), a))
    train_and_register([data], config, store)
    assert tried == []


def test_after_a_number_was_taken_by_another_run_the_same_command_works(
    tmp_path: Path, data: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.from_env(
        {
            "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
            "STALKSCREEN_ARTIFACTS": str(tmp_path / "artifacts"),
        }
    )
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(registry, "next_version", lambda settings: "7")
        with pytest.raises(UnknownNameError, match="got 1 and expected 7; run it again"):
            train_and_register([data], config, settings)
    assert registry.versions(settings) == []
    assert train_and_register([data], config, settings).version == "2"


def test_a_version_that_another_run_registers_during_the_fit_takes_nothing_from_this_one(
    settings: Settings, data: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_folds = training.train.cross_fit

    def while_another_registers(*args: Any, **kwargs: Any) -> Any:
        client = mlflow_at(settings).MlflowClient()
        client.create_registered_model(NAME)
        client.create_model_version(NAME, source="file:///elsewhere")
        return fit_folds(*args, **kwargs)

    monkeypatch.setattr(training.train, "cross_fit", while_another_registers)
    trained = train_and_register([data], config, settings)
    assert trained.version == trained.model.version == "2"


def test_training_files_of_any_name_even_the_same_are_recorded_each_with_its_hash(
    settings: Settings, records: list[LabelledIncident], config: Path, tmp_path: Path
) -> None:
    files = [tmp_path / "force" / "R&D, July (1).jsonl", tmp_path / "made_up" / "R&D, July (1).jsonl"]
    for path, rows in zip(files, (records[::2], records[1::2]), strict=True):
        path.parent.mkdir()
        write_labelled(rows, path)
    (tmp_path / "made_up" / "dataset.toml").write_text("name = 'Made up'\nsynthetic = true\n")
    trained = train_and_register(files, config, settings)
    run = mlflow_at(settings).MlflowClient().get_run(trained.run_id)
    hashes = {file_sha256(path) for path in files}
    assert len(hashes) == 2
    assert {value for tag, value in run.data.tags.items() if tag.startswith("data_sha256.")} == hashes
    (used,) = run.inputs.dataset_inputs
    assert all(digest in used.dataset.source for digest in hashes)
    # The force's own file has nothing beside it that calls it made up.
    dataset = trained.metrics["dataset"]
    assert (dataset["name"], dataset["synthetic"]) == ("R&D, July (1).jsonl and Made up", False)


def test_the_demo_logs_its_report_and_not_what_it_screened(
    trained: Trained, store: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "OUT", tmp_path / "demo")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "screened.jsonl").write_text("evidence of the run before")
    results = run_gates(trained.metrics, trained.scores, None, Gates.read())
    report = demo.write_report(trained, trained.metrics, results, store)
    assert "<html" in report.read_text(encoding="utf-8")
    logged = registry.download_evaluation(trained.run_id, store, "evaluation-demo")
    assert {path.name for path in logged.rglob("*")} == {"report.html", "public_metrics.json"}


def test_the_demo_learns_from_whole_writers_of_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "OUT", tmp_path / "demo")
    part = demo.part_of_corpus()
    with part.open(encoding="utf-8") as kept, demo.CORPUS.open(encoding="utf-8") as whole:
        kept_lines, lines = list(kept), list(whole)
    writers, everyone = ({json.loads(line)["writer"] for line in found} for found in (kept_lines, lines))
    assert len(writers) == -(-len(everyone) // demo.ONE_IN)
    assert kept_lines == [line for line in lines if json.loads(line)["writer"] in writers]
    about = About.read([part])
    assert about.synthetic
    assert "one writer in 3" in about.name
