from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stalkscreen.classifiers import KINDS, Targets, classifier_class
from stalkscreen.errors import ModelFormatError, UnknownNameError
from stalkscreen.schema import Case, Incident, LabelledIncident
from stalkscreen.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()


QUICK = {"encoder": {"epochs": 1, "batch_pieces": 512}}
"""Settings under which a kind that takes long is fitted here."""


@pytest.fixture(scope="module", params=sorted(KINDS))
def classifier(request: pytest.FixtureRequest, records: list[LabelledIncident]):
    return classifier_class(request.param)(**QUICK.get(request.param, {})).fit(records, TAXONOMY)


@pytest.fixture(scope="module")
def cases(records: list[LabelledIncident]) -> list[Case]:
    return [Case.of_one(r) for r in records[::9]] + [Case(records[:3])]


def test_every_score_is_a_probability_of_the_promised_shape(classifier, cases: list[Case]) -> None:
    scores = classifier.predict(cases)
    n, k = len(cases), len(classifier.indicator_names)
    shapes = {
        "stalking": (n,), "history_check": (n,), "family": (n, 9), "tier_s4a": (n,), "four": (n, 4),
        "indicators": (n, k), "domestic": (n,), "cyber": (n,), "relationship": (n, 10),
    }  # fmt: skip
    for name, shape in shapes.items():
        values = getattr(scores, name)
        assert values.shape == shape, name
        assert np.all((values >= 0) & (values <= 1)), name
    assert np.allclose(scores.family.sum(axis=1), 1)
    assert np.allclose(scores.relationship.sum(axis=1), 1)
    assert len(scores.spans) == n


def test_spans_lie_inside_their_narratives(classifier, cases: list[Case]) -> None:
    for case, spans in zip(cases, classifier.predict(cases).spans, strict=True):
        for span in spans:
            assert 0 <= span.start < span.end <= len(case.incidents[span.incident].narrative)
            assert span.indicators.shape == span.mentioned.shape == (len(classifier.indicator_names),)


def test_a_case_scores_the_same_alone_and_in_company(classifier, cases: list[Case]) -> None:
    together, alone = classifier.predict(cases), classifier.predict(cases[-1:])
    assert together.stalking[-1] == pytest.approx(alone.stalking[0], abs=1e-6)
    assert together.indicators[-1] == pytest.approx(alone.indicators[0], abs=1e-6)


def test_a_saved_classifier_scores_as_before(classifier, cases: list[Case], tmp_path: Path) -> None:
    classifier.save(tmp_path)
    again = type(classifier).load(tmp_path)
    assert again.indicator_names == classifier.indicator_names
    before, after = classifier.predict(cases), again.predict(cases)
    for name in ("stalking", "family", "indicators", "four"):
        assert np.array_equal(getattr(before, name), getattr(after, name)), name


def test_nothing_saved_is_a_pickle(classifier, tmp_path: Path) -> None:
    classifier.save(tmp_path)
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        head = path.read_bytes()[:2]
        assert head[:1] != b"\x80", path
        assert path.suffix in {".json", ".npz", ".safetensors", ".onnx", ".txt"}


def test_a_damaged_folder_is_a_format_error(classifier, tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError):
        type(classifier).load(tmp_path)


def test_odd_texts_are_scored(classifier) -> None:
    texts = [".", "🙂", "a" * 20_000, "?!\n\n…", "ﬁne ½ İ"]
    scores = classifier.predict([Case.of_one(Incident(incident_id=str(i), narrative=t)) for i, t in enumerate(texts)])
    assert np.all(np.isfinite(scores.stalking))


def test_records_with_only_the_stalking_label_are_enough(records: list[LabelledIncident]) -> None:
    bare = [LabelledIncident(incident_id=r.incident_id, narrative=r.narrative, stalking=r.stalking) for r in records]
    for kind in KINDS:
        fitted = classifier_class(kind)().fit(bare, TAXONOMY)
        scores = fitted.predict([Case.of_one(bare[0])])
        assert scores.family.shape == (1, 9)
        if kind == "linear":
            assert fitted.indicator_names == ()


def test_linear_refuses_arrays_of_objects(records: list[LabelledIncident], tmp_path: Path) -> None:
    classifier_class("linear")().fit(records, TAXONOMY).save(tmp_path)
    with np.load(tmp_path / "weights.npz") as stored:
        arrays = {n: stored[n] for n in stored.files}
    arrays["text_bias"] = np.array([{"code": "object"}], dtype=object)
    np.savez(tmp_path / "weights.npz", **arrays)
    with pytest.raises(ModelFormatError):
        classifier_class("linear").load(tmp_path)


def test_an_unknown_kind_names_those_allowed() -> None:
    with pytest.raises(UnknownNameError, match="keyword, encoder, linear"):
        classifier_class("oracle")


class TestTargets:
    def test_absent_labels_are_unknown_and_unlisted_indicators_are_absent(self) -> None:
        rows = [
            LabelledIncident(incident_id="a", narrative="x", stalking=True),
            LabelledIncident(
                incident_id="b", narrative="x", stalking=False, indicators=("weapon",), label_version="1.0"
            ),
            LabelledIncident(
                incident_id="c",
                narrative="x",
                stalking=False,
                indicators=(),
                indicators_assessed=("weapon", "loitering"),
            ),
        ]
        targets = Targets.of(rows, TAXONOMY)
        weapon = TAXONOMY.indicator_names.index("weapon")
        assert np.isnan(targets.indicators[0]).all()
        assert targets.indicators[1, weapon] == 1
        assert np.nansum(targets.indicators[1]) == 1
        first = [TAXONOMY.indicator_names.index(n) for n in TAXONOMY.indicator_names_in("1.0")]
        assert not np.isnan(targets.indicators[1, first]).any()
        assert np.isfinite(targets.indicators[2]).sum() == 2
        assert np.isnan(targets.family).all()

    def test_a_tier_counts_only_for_stalking(self) -> None:
        rows = [
            LabelledIncident(incident_id="a", narrative="x", stalking=True, tier="s4A"),
            LabelledIncident(incident_id="b", narrative="x", stalking=False, tier="s4A"),
        ]
        assert Targets.of(rows, TAXONOMY).tier_s4a.tolist()[0] == 1
        assert np.isnan(Targets.of(rows, TAXONOMY).tier_s4a[1])


def test_the_keyword_baseline_hears_a_negation(records: list[LabelledIncident]) -> None:
    keyword = classifier_class("keyword")()
    texts = ["He made threats.", "No threats were made."]
    scores = keyword.predict([Case.of_one(Incident(incident_id=t, narrative=t)) for t in texts])
    threats = keyword.indicator_names.index("threats_to_victim")
    assert scores.indicators[0, threats] > 0.5 > scores.indicators[1, threats]
    assert scores.spans[1][0].against > 0.5


def test_words_of_records_without_a_writer_are_learnt_beside_those_of_many_writers() -> None:
    corpus = [
        LabelledIncident(
            incident_id=f"c{i}", narrative=f"He rang her again on day {i}.", stalking=i % 2 == 0, writer=f"w{i}"
        )
        for i in range(12)
    ]
    own = [
        LabelledIncident(incident_id=f"o{i}", narrative=f"Ringback logged on beat {i}.", stalking=i % 2 == 0)
        for i in range(6)
    ]
    fitted: Any = classifier_class("linear")().fit([*corpus, *own], load_taxonomy())
    assert "ringback" in fitted._vectorisers["words"].vocabulary_
