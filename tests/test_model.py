from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from stalkscreen.classifiers import Targets
from stalkscreen.classifiers.base import ScoredSpan
from stalkscreen.cli import readable
from stalkscreen.errors import ModelFormatError
from stalkscreen.model import ScreeningModel, keyword_model
from stalkscreen.model_format import FORMAT_VERSION, Platt
from stalkscreen.schema import Assessment, Case, Incident, LabelledIncident
from stalkscreen.taxonomy import load_taxonomy
from training.train import not_learnt, without_evidence

STALKING_TEXT = "He waits by the bus stop every evening. She keeps ringing from new numbers after being blocked. No threats were made."
PLAIN_TEXT = "Wallet handed in at the front counter. Two men argued about a parking space and shouted."


def assess(model: ScreeningModel, text: str, **fields: object) -> Assessment:
    return model.assess([Case.of_one(Incident.model_validate({"incident_id": "A1", "narrative": text, **fields}))])[0]


def test_an_assessment_has_the_contracts_fields_in_its_order(model: ScreeningModel) -> None:
    data = assess(model, STALKING_TEXT).to_json_dict()
    assert list(data) == [
        "incident_id", "stalking", "offence_family", "tier", "four", "indicators", "context", "against", "not_stated",
        "considerations", "recorded_offence", "possible_misidentification", "model",
    ]  # fmt: skip
    assert list(data["stalking"]) == [
        "probability", "prevalence", "probability_at_live", "live_prevalence", "flag", "band", "history_check",
    ]  # fmt: skip
    assert list(data["indicators"][0]) == ["name", "title", "probability", "present", "evidence"]
    assert list(data["model"]) == ["name", "version", "kind", "stage", "label_version", "data_hash"]


@pytest.mark.parametrize(
    "text", [STALKING_TEXT, PLAIN_TEXT, "?", "x" * 20_000, "Ünïcode 🙂 he waits\n\n by the bus stop"]
)
def test_every_quoted_text_is_what_its_offsets_say(model: ScreeningModel, text: str) -> None:
    answer = assess(model, text)
    for span in [*answer.against, *(s for i in answer.indicators for s in i.evidence)]:
        assert text[span.start : span.end] == span.text


@pytest.mark.parametrize("text", [STALKING_TEXT, PLAIN_TEXT, "?"])
def test_the_answers_agree_with_each_other(model: ScreeningModel, text: str) -> None:
    answer = assess(model, text)
    assert [i.name for i in answer.indicators] == list(model.info.indicator_names)
    assert all(bool(i.evidence) == i.present and len(i.evidence) <= 3 for i in answer.indicators)
    assert sum(answer.offence_family.probabilities.values()) == pytest.approx(1)
    assert answer.offence_family.probabilities["stalking"] == pytest.approx(answer.stalking.probability)
    assert (answer.stalking.band == "low") == (not answer.stalking.flag)
    assert (answer.tier.hint == "not_applicable") == (not answer.stalking.flag)
    present = {i.name for i in answer.indicators if i.present}
    assert not present & set(answer.not_stated)


def test_stalking_is_flagged_and_plain_crime_is_not(model: ScreeningModel) -> None:
    assert assess(model, STALKING_TEXT).stalking.flag
    assert not assess(model, PLAIN_TEXT).stalking.flag


def test_what_the_text_negates_is_not_called_unstated(model: ScreeningModel) -> None:
    answer = assess(model, STALKING_TEXT)
    assert "No threats were made." in [s.text for s in answer.against]
    assert "threats_to_victim" not in answer.not_stated


@pytest.mark.parametrize(
    ("text", "recorded", "expected"),
    [
        (STALKING_TEXT, "harassment", True),
        (STALKING_TEXT, "Stalking", False),
        (STALKING_TEXT, None, None),
        (PLAIN_TEXT, "theft", False),
        (PLAIN_TEXT, "stalking", False),
    ],
)
def test_possible_misidentification(
    model: ScreeningModel, text: str, recorded: str | None, expected: bool | None
) -> None:
    assert assess(model, text, recorded_offence=recorded).possible_misidentification is expected


def test_what_was_recorded_and_who_is_concerned_never_move_a_score(model: ScreeningModel) -> None:
    bare = assess(model, STALKING_TEXT)
    full = assess(
        model, STALKING_TEXT, recorded_offence="stalking", force="Kent", source_type="call_log", case_id="C9",
        victim={"surname": "Bell"}, suspect={"forename": "Ash"}, anything_else="ignored",
    )  # fmt: skip
    assert bare.stalking == full.stalking
    assert bare.indicators == full.indicators


def test_considerations_start_with_consider_and_never_decide(model: ScreeningModel) -> None:
    for line in assess(model, STALKING_TEXT, recorded_offence="harassment").considerations:
        assert line.startswith("Consider")
        assert not any(word in line.lower() for word in ("arrest", "charge", "no crime", "credib"))


def test_a_live_prevalence_moves_only_the_probability_at_live(model: ScreeningModel) -> None:
    rare = ScreeningModel(model.classifier, model.info, live_prevalence=0.001)
    common = ScreeningModel(model.classifier, model.info, live_prevalence=0.5)
    a, b = assess(rare, STALKING_TEXT).stalking, assess(common, STALKING_TEXT).stalking
    assert (a.probability, a.flag, a.band) == (b.probability, b.flag, b.band)
    assert a.probability_at_live < b.probability_at_live == pytest.approx(b.probability)


def test_a_case_of_several_names_the_incident_of_every_span(model: ScreeningModel) -> None:
    incidents = [Incident(incident_id=f"A{i}", narrative=t) for i, t in enumerate([PLAIN_TEXT, STALKING_TEXT])]
    data = model.assess([Case(incidents)])[0].to_json_dict()
    assert data["incident_ids"] == ["A0", "A1"]
    assert "incident_id" not in data
    spans = [s for i in data["indicators"] for s in i["evidence"]]
    assert spans
    texts = {i.incident_id: i.narrative for i in incidents}
    assert all(texts[s["incident_id"]][s["start"] : s["end"]] == s["text"] for s in spans)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"incident_id": "  "}, "is blank"),
        ({"incident_id": "a\0b"}, "control character"),
        ({"incident_id": "a\ud800"}, "(?i)surrogate|unicode"),
        ({"narrative": "He waits \udcff outside."}, "surrogate"),
        ({"occurred_at": 1700000000}, "is a number"),
        ({"reported_at": " 1700000000.5 "}, "is a number"),
    ],
)
def test_what_files_refuse_is_refused_everywhere(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Incident.model_validate({"incident_id": "A1", "narrative": PLAIN_TEXT, **fields})


def test_blank_fields_are_absent_and_a_source_type_may_be_in_capitals() -> None:
    record = Incident.model_validate(
        {
            "incident_id": "A1", "narrative": PLAIN_TEXT, "recorded_offence": "  ", "force": "", "case_id": " ",
            "source_type": " Call_Log ", "occurred_at": "2025-03-07",
        }
    )  # fmt: skip
    assert (record.recorded_offence, record.force, record.case_id) == (None, None, None)
    assert record.source_type == "call_log"
    assert record.occurred_at is not None


def test_no_case_gives_no_answer_and_a_case_needs_an_incident(model: ScreeningModel) -> None:
    assert model.assess([]) == []
    with pytest.raises(ValueError, match="at least one"):
        Case([])


def test_each_record_is_judged_alone(model: ScreeningModel, records: list[LabelledIncident]) -> None:
    cases = [Case.of_one(r) for r in records[:10]]
    assert model.assess(cases)[7] == model.assess(cases[7:8])[0]


def test_a_threat_to_kill_is_also_a_threat(
    fitted: Callable[..., ScreeningModel], records: list[LabelledIncident]
) -> None:
    spoken = [
        r.model_copy(update={
            "indicators": ("threats_to_victim", "threats_to_kill", "threats_to_others"),
            "evidence": tuple(
                e.model_copy(update={"indicator": "threats_to_kill"}) for e in r.evidence or () if e.status == "present"
            ),
        })
        if r.stalking else r
        for r in records
    ]  # fmt: skip
    answer = assess(fitted(spoken), STALKING_TEXT)
    present = {i.name for i in answer.indicators if i.present}
    assert "threats_to_kill" in present
    assert present & {"threats_to_victim", "threats_to_others"}


def test_quoted_are_the_strongest_stretch_and_others_likelier_than_not(
    model: ScreeningModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stretch that rather speaks against its indicator is not quoted for it, however high it ranks."""
    names = model.info.indicator_names
    place = names.index("loitering")
    texts = ("He was there. ", "He waited. ", "He did not wait. ", "She slept. ", "He stood about.")
    narrative, strengths, against = "".join(texts), (0.8, 0.6, 0.9, 0.4, 0.5), (0.0, 0.55, 0.95, 0.0, 0.0)
    case = Case((Incident(incident_id="A1", narrative=narrative),))
    scores = model.classifier.predict([case])
    scores.indicators[0, place] = 1.0
    scores.spans[0][:] = [
        ScoredSpan(
            0, narrative.index(t), narrative.index(t) + len(t.strip()), np.eye(len(names))[place] * x, a, np.zeros(0)
        )
        for t, x, a in zip(texts, strengths, against, strict=True)
    ]
    monkeypatch.setattr(model.classifier, "predict", lambda cases: scores)
    answer = {i.name: i for i in model.assess([case])[0].indicators}["loitering"]
    assert [e.text for e in answer.evidence] == ["He was there.", "He waited.", "He stood about."]


def test_what_was_never_labelled_is_answered_as_not_known(
    model: ScreeningModel, records: list[LabelledIncident]
) -> None:
    bare = [
        LabelledIncident(incident_id=r.incident_id, narrative=r.narrative, stalking=r.stalking, cyber=False)
        for r in records
    ]
    unknown = not_learnt(Targets.of(bare, load_taxonomy()))
    assert unknown == tuple(
        sorted([
            "history_check", "tier_s4a", "domestic", "cyber", "relationship", "family",
            "four_fixated", "four_obsessive", "four_unwanted", "four_repeated",
        ])
    )  # fmt: skip
    assert "family" not in not_learnt(Targets.of(records, load_taxonomy()))
    blank = ScreeningModel(model.classifier, model.info.model_copy(update={"not_learnt": unknown}))
    for text in (STALKING_TEXT, PLAIN_TEXT):
        known, answer = assess(model, text), assess(blank, text)
        assert answer.stalking.probability == known.stalking.probability
        assert answer.tier.hint == ("unclear" if answer.stalking.flag else "not_applicable")
        assert not answer.stalking.history_check
        assert (answer.context.domestic, answer.context.cyber, answer.context.relationship) == (0.5, 0.5, "unknown")
        assert set(answer.four.model_dump().values()) == {0.5}
        assert len({p for name, p in answer.offence_family.probabilities.items() if name != "stalking"}) == 1
        assert not any("non-domestic" in line for line in answer.considerations)
        assert "likeliest family: not learnt" in readable(answer)


def test_an_indicator_whose_words_were_never_marked_is_not_called_present(
    model: ScreeningModel, records: list[LabelledIncident]
) -> None:
    shown = {i.name for i in assess(model, STALKING_TEXT).indicators if i.present}
    assert shown
    unmarked = tuple(f"evidence:{name}" for name in shown)
    blank = ScreeningModel(model.classifier, model.info.model_copy(update={"not_learnt": unmarked}))
    answer = assess(blank, STALKING_TEXT)
    assert not any(i.present or i.evidence for i in answer.indicators if i.name in shown)
    names = load_taxonomy().indicator_names
    present = Targets.of(records, load_taxonomy()).indicators
    marked = {e.indicator for r in records for e in r.evidence or () if e.status == "present"}
    bare = [r.model_copy(update={"evidence": None}) for r in records]
    assert not {f"evidence:{n}" for n in marked} & set(without_evidence(records, present, names))
    assert {f"evidence:{n}" for n in marked} <= set(without_evidence(bare, present, names))


def test_a_calibration_is_undone_by_its_inverse() -> None:
    platt = Platt(slope=1.7, intercept=-0.4)
    for probability in (0.01, 0.356, 0.9):
        assert platt(np.array([platt.inverse(probability)]))[0] == pytest.approx(probability)


class TestFolder:
    def test_a_saved_model_answers_exactly_as_before(self, model: ScreeningModel, model_folder: Path) -> None:
        again = ScreeningModel.load(model_folder)
        assert assess(again, STALKING_TEXT) == assess(model, STALKING_TEXT)

    def test_it_is_small_and_holds_no_pickle(self, model_folder: Path) -> None:
        files = [p for p in model_folder.rglob("*") if p.is_file()]
        assert sum(p.stat().st_size for p in files) < 20_000_000
        assert {p.suffix for p in files} <= {".json", ".npz"}

    def test_a_failed_save_leaves_nothing(
        self, model: ScreeningModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(folder: Path) -> None:
            (folder / "half").write_text("x")
            raise OSError("disk full")

        monkeypatch.setattr(model.classifier, "save", fail)
        with pytest.raises(OSError, match="disk full"):
            model.save(tmp_path / "new")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda f: (f / "model.json").unlink(), "has no model.json"),
            (lambda f: (f / "model.json").write_text("{"), "cannot be read as JSON"),
            (lambda f: (f / "classifier" / "weights.npz").write_bytes(b"x"), "was changed"),
            (lambda f: (f / "classifier" / "terms.json").unlink(), "is missing"),
            (lambda f: _edit(f, format_version=99), f"this release reads {FORMAT_VERSION}"),
            (lambda f: _edit(f, kind="oracle"), "unknown"),
            (lambda f: (f / "classifier" / "more.json").write_text("{}"), "was added"),
            (lambda f: _edit(f, files={}), "was added"),
            (lambda f: _edit(f, prevalence=7), "damaged at: prevalence"),
            (lambda f: _edit(f, thresholds={"review": float("nan"), "high": 0.9}), r"damaged at: thresholds\.review"),
            (lambda f: _edit(f, surprise=1), "damaged at: surprise"),
        ],
    )
    def test_a_damaged_folder_says_what_is_wrong(
        self, model: ScreeningModel, tmp_path: Path, change: Callable[[Path], object], message: str
    ) -> None:
        folder = tmp_path / "m"
        model.save(folder)
        change(folder)
        with pytest.raises(ModelFormatError, match=message):
            ScreeningModel.load(folder)

    def test_no_folder_is_no_model(self, tmp_path: Path) -> None:
        with pytest.raises(ModelFormatError, match="is not a model folder") as caught:
            ScreeningModel.load(tmp_path / "nowhere")
        assert caught.value.code == "model_not_found"


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_calibration_by_default_changes_nothing_and_keeps_the_order() -> None:
    import numpy as np

    raw = np.array([0.0, 0.2, 0.5, 1.0])
    assert Platt()(raw) == pytest.approx(raw, abs=1e-5)
    assert (np.diff(Platt(slope=2.0, intercept=-1.0)(raw)) > 0).all()


def test_the_keyword_baseline_takes_the_same_path() -> None:
    model = keyword_model()
    assert assess(model, "He keeps stalking her.").stalking.flag
    assert not assess(model, "Wallet handed in.").stalking.flag
    assert [i.name for i in assess(model, "x").indicators] == list(model.info.indicator_names)
    assert set(model.info.indicator_names) >= set(load_taxonomy().indicator_names_in("1.0"))
