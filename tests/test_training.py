from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from stalkscreen.classifiers.linear import LinearSettings
from stalkscreen.config import CHECKOUT, Settings, ThresholdSettings, TrainConfig
from stalkscreen.dataset import write_labelled
from stalkscreen.errors import ConfigError, DataError, LeakageError
from stalkscreen.metrics import choose_review_threshold
from stalkscreen.schema import LabelledIncident
from stalkscreen.trained_on import short_hashes
from stalkscreen.workflow.training import train_and_register
from training import splits, thresholds
from training.train import check_histories, fit


def record(number: int, text: str, stalking: bool = True, **fields: object) -> LabelledIncident:
    return LabelledIncident.model_validate(
        {"incident_id": f"r{number}", "narrative": text, "stalking": stalking, **fields}
    )


class TestGroups:
    def test_case_writer_pair_and_near_duplicates_belong_together(self) -> None:
        long = "the caller says that a man was outside the shop at noon with a grey dog and a blue van"
        rows = [
            record(0, "alpha beta gamma", case_id="c1"),
            record(1, "delta epsilon zeta", case_id="c1", writer="w1"),
            record(2, "eta theta iota", writer="w1", pair_id="p1"),
            record(3, "kappa lambda mu", pair_id="p1"),
            record(4, long),
            record(5, long.replace("noon", "one")),
            record(6, "nothing like the others at all"),
        ]
        group, grouping = splits.groups(rows)
        assert len(set(group[:4].tolist())) == 1
        assert group[4] == group[5]
        assert len(set(group.tolist())) == 3
        assert grouping == "writer, case, pair and near-duplicate text"

    def test_a_set_without_writers_or_cases_just_works(self) -> None:
        rows = [record(i, f"text number {i} about thing {i * 7}") for i in range(6)]
        group, grouping = splits.groups(rows)
        assert len(set(group.tolist())) == 6
        assert grouping == "near-duplicate text"

    def test_folds_keep_groups_whole(self, records: list[LabelledIncident]) -> None:
        group, _ = splits.groups(records, near_duplicate=0.9)
        fold = splits.folds(records, group, wanted=5, seed=0)
        for number in set(group.tolist()):
            assert len(set(fold[group == number].tolist())) == 1

    def test_one_group_cannot_be_validated(self) -> None:
        rows = [record(i, f"text {i}", stalking=i % 2 == 0, writer="w") for i in range(6)]
        with pytest.raises(DataError, match="at least two groups"):
            splits.folds(rows, np.zeros(6, dtype=np.intp), 5, 0)

    def test_a_supplied_split_that_leaks_is_refused_by_id(self) -> None:
        train = [record(0, "alpha beta gamma delta", writer="w1"), record(1, "epsilon zeta eta theta")]
        with pytest.raises(LeakageError, match="r9"):
            splits.check_holdout(train, [record(9, "iota kappa lambda mu", writer="w1")])
        splits.check_holdout(train, [record(8, "nu xi omicron pi", writer="w2")])
        with pytest.raises(LeakageError, match=r"1 held-out records .*same incident_id.*: r1\. ") as caught:
            splits.check_holdout(train, [record(1, "rho sigma tau upsilon", writer="w2")])
        assert caught.value.context["incident_ids"] == ["r1"]

    def test_near_duplicates_are_those_of_enough_shared_word_pairs_and_hardly_any_is_missed(self) -> None:
        rng = np.random.default_rng(0)
        found, alike = 0, 0
        for number in range(200):
            words = [f"a{number}b{k}" for k in range(100)]
            changed = list(words)
            for place in rng.choice(100, size=int(rng.integers(8, 20)), replace=False).tolist():
                changed[place] = f"c{number}d{place}"
            texts = [" ".join(words), " ".join(changed)]
            one, other = map(splits.word_pairs, texts)
            enough = len(one & other) >= 0.6 * len(one | other)
            pairs = splits.near_duplicates(texts, 0.6)
            assert enough or not pairs
            alike += enough
            found += len(pairs)
        assert 50 < alike < 150
        assert found >= 0.97 * alike

    def test_reports_that_share_half_their_words_as_boilerplate_are_not_one_group(self) -> None:
        form = " ".join(f"form{k}" for k in range(50))
        rows = [record(i, f"{form} {' '.join(f'own{i}word{k}' for k in range(22))}") for i in range(60)]
        group, _ = splits.groups(rows)
        assert len(set(group.tolist())) == len(rows)

    @pytest.mark.parametrize(("stalking", "name"), [(True, "stalking"), (False, "not stalking")])
    def test_a_class_that_one_case_holds_whole_is_refused(self, stalking: bool, name: str) -> None:
        rows = [record(i, f"text {i}", stalking, case_id="c") for i in range(6)]
        rows += [record(i, f"text {i}", not stalking, case_id=f"c{i}") for i in range(6, 30)]
        group, _ = splits.groups(rows, 0.9)
        with pytest.raises(DataError, match=rf"All 6 records labelled {name} fall .* belong to 1 writer, case"):
            splits.folds(rows, group, 5, 0)

    def test_folds_that_stay_empty_have_no_number(self) -> None:
        sizes = [
            (1, 3),
            (5, 0),
            (1, 3),
            (0, 5),
            (0, 3),
        ]  # stalking and not, a group; sklearn leaves one of five folds empty
        group = np.repeat(np.arange(len(sizes)), [a + b for a, b in sizes])
        labels = [stalking for a, b in sizes for stalking in [True] * a + [False] * b]
        fold = splits.folds([record(i, f"text {i}", label) for i, label in enumerate(labels)], group, 5, 0)
        assert np.bincount(fold).tolist() == [3, 4, 4, 10]


class TestThresholds:
    def test_calibration_is_left_out_where_labels_are_few_or_the_order_is_wrong(self) -> None:
        few = np.array([1.0, 0.0, np.nan])
        assert thresholds.fit_platt(np.array([0.9, 0.1, 0.5]), few) is None
        truth = np.tile([0.0, 1.0], 50)
        assert thresholds.fit_platt(1 - truth * 0.8, truth) is None

    def test_calibration_fits_known_probabilities(self) -> None:
        rng = np.random.default_rng(0)
        p = rng.uniform(0.05, 0.95, 4000)
        truth = (rng.uniform(size=4000) < p).astype(float)
        platt = thresholds.fit_platt(p, truth)
        assert platt is not None
        assert platt.slope == pytest.approx(1, abs=0.1)
        assert platt.intercept == pytest.approx(0, abs=0.1)

    def test_the_best_f1_cut_separates_what_can_be_separated(self) -> None:
        truth = np.array([0.0] * 20 + [1.0] * 20)
        p = np.concatenate([np.linspace(0.1, 0.4, 20), np.linspace(0.6, 0.9, 20)])
        assert 0.4 < thresholds.best_f1_cut(p, truth) <= 0.6
        assert thresholds.best_f1_cut(p, np.full(40, np.nan)) == 0.5
        assert thresholds.best_f1_cut(p, np.ones(40)) == 0.5  # nothing to part them from

    def test_the_recall_aimed_at_moves_the_shortfall_and_not_the_threshold(self) -> None:
        p, y, strata = [0.9, 0.8, 0.1], [0, 1, 0], ["ordinary", "stalking", "ordinary"]
        wanted = {target: choose_review_threshold(p, y, strata, target_recall=target) for target in (0.5, 0.97)}
        assert {target: chosen.shortfall for target, chosen in wanted.items()} == {0.5: 0.5, 0.97: 0.97}
        assert wanted[0.5].threshold == wanted[0.97].threshold


CONFIG = Path(__file__).parents[1] / "training" / "configs" / "linear.toml"


class TestFit:
    def test_every_record_is_assessed_by_a_model_that_saw_none_of_its_group(
        self, records: list[LabelledIncident]
    ) -> None:
        config = TrainConfig(kind="linear", validation={"folds": 3, "near_duplicate": 0.9})
        result = fit(records, config, data_hash="abc")
        assert [a.incident_id for a in result.cross_validated] == [r.incident_id for r in records]
        assert result.model.data_hash == "abc"
        assert result.model.prevalence == 0.5
        assert result.model.info.provenance.grouping == result.grouping
        again = fit(records, config, data_hash="abc")
        assert again.cross_validated == result.cross_validated
        assert result.model.trained_on is not None
        assert result.model.trained_on.tolist() == short_hashes(r.narrative for r in records).tolist()

    def test_labels_that_are_absent_are_left_out_not_read_as_no(self, records: list[LabelledIncident]) -> None:
        bare = [
            LabelledIncident(incident_id=r.incident_id, narrative=r.narrative, stalking=r.stalking, writer=r.writer)
            for r in records
        ]
        config = TrainConfig(kind="linear", validation={"folds": 3, "near_duplicate": 0.9})
        result = fit(bare, config)
        assert result.model.info.indicator_names == ()
        assert result.cross_validated[0].indicators == []

    def test_the_version_number_is_asked_for_once_all_fits_are_done(self, records: list[LabelledIncident]) -> None:
        said: list[str] = []

        def next_version() -> str:
            said.append("asked for the version")
            return "3"

        config = TrainConfig(kind="keyword", validation={"folds": 3, "near_duplicate": 0.9})
        result = fit(records, config, next_version=next_version, progress=lambda what, *_: said.append(what))
        assert [what for what in said if what.startswith(("fitted", "asked"))][-1] == "asked for the version"
        assert said.count("asked for the version") == 1
        assert result.model.version == "3"

    def test_the_recall_aimed_at_is_the_configs(self, records: list[LabelledIncident]) -> None:
        kept = {"kind": "keyword", "validation": {"folds": 3, "near_duplicate": 0.9}}
        shortfall = {
            target: fit(records, TrainConfig(**kept, thresholds={"target_recall": target})).review.shortfall
            for target in (0.01, 1.0)
        }
        assert shortfall[0.01] == 0
        assert shortfall[1.0] is not None
        assert shortfall[1.0] > 0

    @pytest.mark.parametrize("beside", ["data", "holdout"])
    def test_what_is_said_of_the_files_is_read_before_the_fit(
        self,
        beside: str,
        records: list[LabelledIncident],
        settings: Settings,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def too_late(*_: object, **__: object) -> None:
            raise AssertionError("fitted before everything was read")

        monkeypatch.setattr("training.train.fit", too_late)
        # No writer, case or text is in both.
        for name, rows in (("data", records[:90]), ("holdout", [record(1, "alpha beta gamma", stalking=False)])):
            (tmp_path / name).mkdir()
            write_labelled(rows, tmp_path / name / "set.jsonl")
        (tmp_path / beside / "dataset.toml").write_text("synthetic = true")
        with pytest.raises(ConfigError, match="name: Field required"):
            train_and_register(
                [tmp_path / "data" / "set.jsonl"], CONFIG, settings, holdout=[tmp_path / "holdout" / "set.jsonl"]
            )

    def test_histories_are_refused_for_a_kind_that_does_not_learn_from_them(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigError, match="'linear' does not learn from case histories"):
            train_and_register([tmp_path / "set.jsonl"], CONFIG, settings, histories=[tmp_path / "histories.jsonl"])
        check_histories(TrainConfig(kind="encoder"))
        with pytest.raises(ConfigError, match="history_weight"):
            check_histories(TrainConfig(kind="encoder", classifier={"history_weight": 0}))

    def test_the_summary_names_labels_that_are_missing_and_a_fold_of_most_records(
        self, records: list[LabelledIncident], settings: Settings, tmp_path: Path
    ) -> None:
        kept = {"incident_id", "narrative", "stalking", "domestic"}
        rows = [
            LabelledIncident(**r.model_dump(include=kept), case_id="one" if i % 10 < 7 else f"c{i}")
            for i, r in enumerate(records)
        ]
        write_labelled(rows, tmp_path / "set.jsonl")
        config = tmp_path / "c.toml"
        config.write_text("kind = 'keyword'\n[validation]\nfolds = 3\nnear_duplicate = 0.9\n")
        summary = train_and_register([tmp_path / "set.jsonl"], config, settings).summary
        (missing,) = [line for line in summary.splitlines() if line.startswith("No labels for")]
        assert "history_check, four_fixated, four_obsessive, four_unwanted, four_repeated:" in missing
        assert "domestic" not in missing
        (warning,) = [line for line in summary.splitlines() if line.startswith("Warning")]
        assert re.search(r"fold holds \d\d% of the records and the largest group, kept whole, 70%", warning)

    def test_one_class_only_is_refused(self, records: list[LabelledIncident]) -> None:
        with pytest.raises(DataError, match="records labelled stalking and records labelled not stalking"):
            fit([r for r in records if r.stalking], TrainConfig(kind="linear"))

    def test_a_setting_the_kind_does_not_have_is_refused(self, records: list[LabelledIncident]) -> None:
        with pytest.raises(ConfigError, match=r"\[linear\]"):
            fit(records, TrainConfig(kind="linear", classifier={"depth": 3}, validation={"near_duplicate": 0.9}))


class TestConfig:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("kind = 'oracle'", "allowed: keyword, encoder, linear"),
            ("kind = 'linear'\nspeed = 3", "speed"),
            ("kind = 'linear'\n[validation]\nfolds = 1", "validation.folds"),
            ("kind = 'linear'\n[classifier]\nc = 2", r"\[classifier\] is no table .* belong in \[linear\]"),
            ("kind = 'linear'\n[thresholds]\ntier_unclear = [0.6, 0.4]", "tier_unclear: .* the lower first"),
            ("kind = 'linear'\n[thresholds]\ntier_unclear = [-0.1, 0.4]", "from 0 to 1"),
            ("kind = 'linear'\n[thresholds]\ntier_unclear = [0.4, 1.5]", "from 0 to 1"),
            ("kind = 'linear'\n[thresholds]\ntier_unclear = [nan, 0.5]", "from 0 to 1"),
            ("kind = ", "not valid TOML"),
            ("seed = 1", "kind is None"),
        ],
    )
    def test_a_wrong_config_says_where(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "c.toml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            TrainConfig.read(path)

    @pytest.mark.parametrize("ends", [(0.0, 1.0), (0.5, 0.5)])
    def test_the_unclear_tier_may_be_everything_or_one_point(self, ends: tuple[float, float]) -> None:
        assert ThresholdSettings(tier_unclear=ends).tier_unclear == ends

    def test_every_committed_config_is_valid(self) -> None:
        for path in CONFIG.parent.glob("*.toml"):
            TrainConfig.read(path)

    def test_a_missing_config_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"nowhere\.toml"):
            TrainConfig.read(tmp_path / "nowhere.toml")

    @pytest.mark.parametrize("text", ["0", "1", "often", "nan"])
    def test_a_live_prevalence_outside_its_range_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match="between 0 and 1"):
            Settings.from_env({"STALKSCREEN_LIVE_PREVALENCE": text})


def test_the_demo_trains_the_linear_model_as_it_is_but_for_its_folds() -> None:
    kept, demo = (TrainConfig.read(CHECKOUT / "training" / "configs" / f"{name}.toml") for name in ("linear", "demo"))
    assert LinearSettings(**demo.classifier) == LinearSettings(**kept.classifier)
    same = {"classifier", "validation"}
    assert demo.model_dump(exclude=same) == kept.model_dump(exclude=same)
    assert demo.validation == kept.validation.model_copy(update={"folds": 2})
