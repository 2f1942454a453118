from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import assembly, recorded
from benchmarks.assembly import _encoder_alone, _ratios
from benchmarks.clock import percentile, throughput
from benchmarks.corpus import Corpus, quick_sample
from benchmarks.intervals import differences, figures, micro_f1
from benchmarks.plot import draw
from benchmarks.recorded import OutOfFold, kept_folds, released_cascade, released_encoder, through_cascade
from benchmarks.results import Results, key_of
from benchmarks.rows import ROWS, row_class, source_digest
from benchmarks.sample import Sample
from benchmarks.sections import ROUNDS, SECTIONS, operations, straightness
from benchmarks.table import markdown, write
from benchmarks.targets import targets
from stalkscreen.config import CHECKOUT, TrainConfig
from stalkscreen.errors import UnknownNameError
from stalkscreen.model_format import Cascade, ModelInfo, Platt, Thresholds
from stalkscreen.schema import LabelledIncident
from training import splits
from training.kept_folds import KeptFolds
from training.out_of_fold import cross_fit

RNG = np.random.default_rng(0)
N = 400
TRUTH = (RNG.random(N) < 0.4).astype(np.int64)
GROUP = np.arange(N) // 10
NOISE = RNG.normal(size=N)
GOOD, POOR = TRUTH * 2.0 + NOISE, TRUTH * 0.5 + NOISE


class TestIntervals:
    def test_recall_is_taken_at_the_share_of_false_flags_it_names(self) -> None:
        found = figures(np.array([1, 1, 0, 0, 0, 0]), np.array([0.9, 0.4, 0.5, 0.3, 0.2, 0.1]), np.arange(6))
        assert found["recall_at_0.01"]["value"] == 0.5
        assert found["recall_at_0.10"]["n"] == 1
        assert found["auc"]["value"] == pytest.approx(7 / 8)

    def test_the_better_row_leads_and_a_row_does_not_differ_from_itself(self) -> None:
        gaps = differences(TRUTH, {"good": GOOD, "same": GOOD.copy(), "poor": POOR}, "good", GROUP, resamples=300)
        assert set(gaps) == {"same", "poor"}
        for figure in ("average_precision", "recall"):
            assert gaps["same"][figure] == {"value": 0, "low": None, "high": None}
            assert 0 < gaps["poor"][figure]["low"] < gaps["poor"][figure]["value"] < gaps["poor"][figure]["high"]

    def test_the_difference_is_that_of_the_figures_in_the_table(self) -> None:
        gap = differences(TRUTH, {"good": GOOD, "poor": POOR}, "good", GROUP, resamples=200)["poor"]
        good, poor = figures(TRUTH, GOOD, GROUP), figures(TRUTH, POOR, GROUP)
        for of_gap, of_figures in (("average_precision", "average_precision"), ("recall", "recall_at_0.05")):
            assert gap[of_gap]["value"] == pytest.approx(good[of_figures]["value"] - poor[of_figures]["value"])

    def test_fewer_groups_widen_the_interval(self) -> None:
        def width(group: Any) -> float:
            gap = differences(TRUTH, {"good": GOOD, "poor": POOR}, "good", group, resamples=300)["poor"]
            return float(gap["average_precision"]["high"] - gap["average_precision"]["low"])

        clumped = np.argsort(np.argsort(NOISE)) // (N // 16)
        assert width(clumped) > 1.5 * width(np.arange(N))

    def test_unknown_indicators_are_left_out_and_unlearnt_ones_count_as_missed(self) -> None:
        truth = np.array([[1.0, 1.0], [0.0, np.nan]] * 12)
        right = np.array([[0.9, np.nan], [0.1, np.nan]] * 12)
        assert micro_f1(truth[:, :1], right[:, :1]) == {"f1": 1, "precision": 1, "recall": 1}
        found = micro_f1(truth, right)
        assert found is not None
        assert (found["precision"], found["recall"]) == (1, 0.5)
        assert micro_f1(truth[:, 1:], right[:, 1:]) is None


class TestMeasuring:
    def test_the_percentile_is_a_value_that_was_measured(self) -> None:
        assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
        assert percentile([float(i) for i in range(300)], 0.99) == 297

    def test_no_text_is_read_twice_for_throughput(self) -> None:
        read: list[str] = []
        texts = [str(i) for i in range(1200)]
        rate, count = throughput(read.extend, texts)
        assert count == 1200
        assert read[8:] == texts
        assert rate > 0

    def test_a_straight_line_has_power_one_and_a_square_two(self) -> None:
        sizes = [100, 200, 400, 800, 1600]
        line, square = (straightness([[n, (n / 100) ** p] for n in sizes]) for p in (1, 2))
        assert line == {"r2": pytest.approx(1), "power": pytest.approx(1)}
        assert square["power"] == pytest.approx(2)
        assert square["r2"] < 0.98

    def test_operations_grow_by_the_matrices_and_by_the_square_of_the_attention(self) -> None:
        assert operations(1) == 6 * (2 * (4 * 384**2 + 2 * 384 * 1536) + 4 * 384)
        assert operations(200) > 2 * operations(100)
        assert operations(1, layers=3, width=768) == 3 * (2 * (4 * 768**2 + 2 * 768 * 3072) + 4 * 768)

    def test_a_quick_run_learns_from_few_writers_and_is_judged_on_others(self) -> None:
        rows = [
            LabelledIncident(incident_id=f"{w}-{i}", narrative="x", writer=f"w{w:02d}", stalking=i % 2 == 0)
            for w in range(14)
            for i in range(60)
        ]
        learn, judged = quick_sample(rows)
        assert len(learn) == 160
        assert len(judged) == 61
        assert not {r.writer for r in learn} & {r.writer for r in judged}


class TestResults:
    def test_a_result_is_reused_only_under_its_own_key(self, tmp_path: Path) -> None:
        results = Results(tmp_path / "bench")
        results.put("tfidf/fold-0", key_of("texts", {"C": 1}), {"scores": [0.5]})
        assert results.get("tfidf/fold-0", key_of("texts", {"C": 1})) == {"scores": [0.5]}
        assert results.get("tfidf/fold-0", key_of("texts", {"C": 2})) is None
        assert results.get("tfidf/fold-1", key_of("texts", {"C": 1})) is None

    def test_a_new_run_goes_on_and_a_fresh_one_forgets(self, tmp_path: Path) -> None:
        Results(tmp_path).put("a", "k", 1)
        assert Results(tmp_path).get("a", "k") == 1
        assert Results(tmp_path, fresh=True).get("a", "k") is None

    def test_a_half_written_result_counts_as_none(self, tmp_path: Path) -> None:
        results = Results(tmp_path)
        (tmp_path / "a.json").write_text('{"key": "k", "val', encoding="utf-8")
        assert results.get("a", "k") is None

    def test_why_something_is_missing_is_kept_until_it_is_there(self, tmp_path: Path) -> None:
        results = Results(tmp_path)
        assert results.missing("row") == "not measured yet"
        results.set_missing("row", "not installed")
        assert results.missing("row") == "not installed"
        results.set_missing("row", None)
        assert results.missing("row") == "not measured yet"


class TestRecorded:
    def test_the_cascade_takes_the_first_stage_below_its_cut_and_the_encoder_elsewhere(self) -> None:
        found = OutOfFold(np.array([0.9, 0.8, 0.1]), np.array([0.05, 0.7, 0.2]), None, None)
        info = ModelInfo(
            kind="encoder",
            indicator_names=(),
            family_names=(),
            prevalence=0.4,
            thresholds=Thresholds(review=0.5, high=0.9),
            calibration={"stalking": Platt(slope=1, intercept=1)},
            cascade=Cascade(
                cut=0.1, thresholds=Thresholds(review=0.5, high=0.9), stated_loss=0.01, stalking=2, lost=1,
                lost_upper=0.9, below_cut=0.5,
            ),
        )  # fmt: skip
        mixed = through_cascade(found, info)
        assert mixed is not None
        raised = 1 / (1 + np.exp(-(np.log(4) + 1)))
        np.testing.assert_allclose(mixed[:2], [0.05, raised])
        assert through_cascade(found, info.model_copy(update={"cascade": None})) is None

    def test_folds_of_other_data_are_not_taken(
        self, records: list[LabelledIncident], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = TrainConfig.read(CHECKOUT / "training" / "configs" / "linear.toml")
        group, _ = splits.groups(records, 0.9)
        fold = splits.folds(records, group, 2, 0)
        digest = hashlib.sha256(b"sha of the file").hexdigest()
        corpus = Corpus(Sample(records, group), fold, Sample(records, group), digest, "k", quick=False)
        about = {"files": ["sha of the file"], "config": config.model_dump(mode="json")}
        monkeypatch.setattr(recorded, "FOLDS", tmp_path / "folds")
        assert kept_folds("linear", corpus) is None
        fitted = cross_fit(records, config, fold, final=False, kept=KeptFolds(tmp_path / "folds", about))
        found = kept_folds("linear", corpus)
        assert found is not None
        for part in fitted.folds:
            np.testing.assert_allclose(found.scores[part.rows], part.scores.stalking)
        assert found.indicators is not None
        assert found.indicators.shape == (len(records), 26)
        assert kept_folds("encoder", corpus) is None
        assert kept_folds("linear", replace(corpus, data_hash="other")) is None

    def test_the_cascade_is_taken_from_the_released_evaluation(
        self, records: list[LabelledIncident], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus = Corpus(
            Sample(records, np.arange(len(records))),
            np.zeros(0, int),
            Sample([], np.zeros(0, int)),
            "d",
            "k",
            quick=False,
        )
        about = ModelInfo(
            kind="encoder", version="1", indicator_names=[], family_names=[], prevalence=0.4,
            thresholds=Thresholds(review=0.5, high=0.9),
            cascade=Cascade(
                cut=0.1, thresholds=Thresholds(review=0.5, high=0.9), stated_loss=0.01, stalking=2, lost=1,
                lost_upper=0.9, below_cut=0.5,
            ),
        )  # fmt: skip
        known: list[ModelInfo | None] = [about]
        monkeypatch.setattr(recorded, "kept_model", lambda _: tmp_path)
        monkeypatch.setattr(recorded, "kept_on_this_corpus", lambda *_: known[0])
        assert released_cascade(corpus) is None  # no evaluation beside it
        lines = [f"{r.incident_id},{int(r.stalking)},0.{i:03d}" for i, r in enumerate(records)]
        evaluation = tmp_path / "evaluation"
        evaluation.mkdir()
        (evaluation / "cv_scores.csv").write_text("\n".join(["incident_id,stalking,probability", *reversed(lines)]))
        together = {"precision": {"value": 0.6}, "recall": {"value": 0.3}}
        (evaluation / "metrics.json").write_text(json.dumps({"indicators": {"all_together": together}}))
        found = released_cascade(corpus)
        assert found is not None
        np.testing.assert_allclose(found[0], np.arange(len(records)) / 1000)
        assert found[1]["f1"] == pytest.approx(0.4)
        assert released_encoder(corpus) is None  # written before the encoder's own scores were kept
        lines = [f"{line},0.5" for line in lines]
        (evaluation / "cv_scores.csv").write_text(
            "\n".join(["incident_id,stalking,probability,without_cascade", *lines])
        )
        np.testing.assert_allclose(released_encoder(corpus), np.full(len(records), 0.5))  # type: ignore[arg-type]
        known[0] = about.model_copy(update={"cascade": None})
        assert released_cascade(corpus) is None
        known[0] = None
        assert released_cascade(corpus) is None

    def test_the_encoder_alone_is_compared_on_the_texts_of_the_folds_it_was_fitted_for(
        self, records: list[LabelledIncident], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        n = len(records)
        sample = Sample(records, np.arange(n))
        corpus = Corpus(sample, np.arange(n) % 2, Sample([], np.zeros(0, int)), "d", "k", quick=False)
        results = Results(tmp_path)
        monkeypatch.setattr(assembly, "row_key", lambda *_: "key")
        other = np.where(sample.stalking == 1, 0.2, 0.8)
        assert _encoder_alone(results, corpus, {"linear": other}) is None
        odd = corpus.fold == 1
        results.put("encoder/fold-1", "key", {
            "train_seconds": 60.0, "train_texts": int((~odd).sum()), "scores": sample.stalking[odd].tolist(),
            "indicators": np.full((int(odd.sum()), 26), np.nan).tolist(),
        })  # fmt: skip
        found = _encoder_alone(results, corpus, {"linear": other})
        assert found is not None
        assert (found["folds"], found["texts"]) == (1, odd.sum())
        assert found["rows"]["encoder"]["auc"]["value"] == 1
        assert found["rows"]["linear"]["auc"]["value"] == 0
        assert found["differences"]["linear"]["average_precision"]["value"] > 0
        assert _encoder_alone(results, corpus, {"encoder": other}) is None
        made = report()
        made["rows"].append(row("encoder", "Encoder", None, None))
        page = markdown(made | {"encoder_alone": found})
        assert f"for 1 of 5 folds (1 minutes for {int((~odd).sum())} texts)" in page


class TestRows:
    def test_an_unknown_row_is_refused_by_name(self) -> None:
        with pytest.raises(UnknownNameError, match="tfidf"):
            row_class("bert")

    @pytest.mark.parametrize("name", ROWS)
    def test_every_row_names_itself_and_its_settings(self, name: str) -> None:
        module, attribute = ROWS[name].split(":")
        found = getattr(__import__(module, fromlist=[attribute]), attribute)
        assert found.title
        assert found.settings
        assert len(source_digest(name)) == 12

    @pytest.mark.parametrize("name", ["tfidf", "keyword"])
    def test_a_row_answers_the_same_after_saving_and_loading(
        self, name: str, records: list[LabelledIncident], tmp_path: Path
    ) -> None:
        found = row_class(name)
        group = np.array([int((r.writer or "w0")[1:]) for r in records], dtype=np.intp)
        row = found().fit(Sample(records, group))
        texts = [r.narrative for r in records[:12]]
        row.save(tmp_path)
        np.testing.assert_allclose(found.load(tmp_path).score(texts), row.score(texts), atol=1e-6)
        assert sum(p.stat().st_size for p in found.files(tmp_path)) > 0


def row(name: str, title: str, scores: Any, speed: float | None) -> dict[str, Any]:
    costs = {} if speed is None else {"narratives_a_second": speed, "p50_ms": 1.0, "p99_ms": 2.0, "load_seconds": 0.5}
    return {
        "name": name,
        "title": title,
        "settings": {"C": "4"},
        "note": None if scores is not None else "not installed: x",
        "unseen": None if scores is None else figures(TRUTH, scores, GROUP),
        "public": None,
        "indicators_unseen": {"f1": 0.7, "precision": 0.7, "recall": 0.7} if name == "linear" else None,
        "costs": costs,
    }


def report(measured: bool = True) -> dict[str, Any]:
    sections: dict[str, Any] = {name: {"missing": "not measured yet"} for name in SECTIONS}
    if measured:
        sections["machine"] = {"processor": "P", "cores_used": 2, "limit_gflops": {"fp32": 200.0, "bf16": 400.0}}
        for i in range(ROUNDS):
            sections[f"ratio/peer-{i}"] = {"narratives_a_second": 20.0, "gflops": 50.0, "batch": 32}
            sections[f"ratio/ours-{i}"] = {
                "narratives_a_second": 40.0 + i, "scores_a_second": 50.0, "gflops": 100.0,
            }  # fmt: skip
        points = [[250, 0.01], [500, 0.02], [1000, 0.04], [2000, 0.08]]
        sections["growth/linear"] = {axis: {"points": points, **straightness(points)} for axis in ("length", "rows")}
        sections["service"] = {
            "kind": "linear", "http_p50_ms": 3.0, "http_p99_ms": 9.0, "model_p50_ms": 1.0, "model_p99_ms": 2.0,
            "all_processes_mib": 350.0, "largest_process_mib": 250.0, "ready_seconds": 4.0,
        }  # fmt: skip
    made: dict[str, Any] = {
        "quick": False,
        "corpus": {"texts": N, "stalking": int(TRUTH.sum()), "writers": 40, "folds": 5},
        "judged": {"name": "public cases", "texts": 61, "stalking": 28},
        "rows": [
            row("linear", "Linear (ours)", GOOD if measured else None, 100.0),
            row("tfidf", "TF-IDF", POOR if measured else None, 500.0),
            row("setfit", "SetFit", None, None),
        ],
        "best": "linear" if measured else None,
        "encoder_alone": None,
        "differences": {},
        "sections": sections,
    }
    if measured:
        made["differences"]["unseen"] = differences(
            TRUTH, {"linear": GOOD, "tfidf": POOR}, "linear", GROUP, resamples=200
        )
    made["ratios"] = _ratios(sections)
    made["targets"] = targets(made)
    return made


class TestReport:
    def test_a_peer_without_a_threshold_that_flags_so_few_is_compared_by_precision(self) -> None:
        made = report()
        made["rows"] = [r for r in made["rows"] if r["name"] != "setfit"]
        gap = made["differences"]["unseen"]["tfidf"]
        gap["recall"]["value"] = None
        assert targets(made)[0]["measured"] == gap["average_precision"]["value"]

    def test_ratios_are_medians_over_rounds_and_shares_of_the_limit(self) -> None:
        ratios = report()["ratios"]
        assert ratios["encoder"]["rounds"] == [2.0, 2.05, 2.1]
        assert ratios["encoder"]["answers"] == 2.05
        assert ratios["limit_ours"] == {"fp32": 0.5, "bf16": 0.25}

    def test_targets_say_met_missed_and_not_measured(self) -> None:
        met = {t["what"].split(",")[0]: t["met"] for t in report()["targets"]}
        assert met["serving encoder"] is True
        assert met["cascade"] is None
        assert met["p99 of a single narrative over HTTP"] is False
        assert met["linear: power of text length in the cost"] is True
        assert not any(t["met"] for t in report(measured=False)["targets"])

    def test_the_page_holds_every_row_with_its_figures_or_why_there_are_none(self) -> None:
        made = report()
        page = markdown(made)
        ap = made["rows"][0]["unseen"]["average_precision"]
        assert f"{ap['value']:.3f} ({ap['low']:.3f} to {ap['high']:.3f})" in page
        assert "- SetFit: not installed: x." in page
        assert "| SetFit | – | – | – | – | – | – |" in page
        assert "**no**" in page

    def test_every_table_has_as_many_cells_a_row_as_its_head(self) -> None:
        for block in markdown(report()).split("\n\n"):
            widths = {line.count("|") for line in block.splitlines() if line.startswith("|")}
            assert len(widths) <= 1, block[:80]

    def test_a_run_with_nothing_measured_still_makes_a_page(self) -> None:
        page = markdown(report(measured=False))
        assert "not measured yet" in page
        assert "minus every other row" not in page

    def test_files_are_written_and_the_plot_is_svg(self, tmp_path: Path) -> None:
        pytest.importorskip("altair")
        made = report()
        write(made, tmp_path)
        assert draw(made, tmp_path / "benchmark.svg")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["benchmark.json", "benchmark.md", "benchmark.svg"]
        root = xml.etree.ElementTree.parse(tmp_path / "benchmark.svg").getroot()
        assert root.tag.endswith("svg")
        assert not draw(report(measured=False), tmp_path / "none.svg")
