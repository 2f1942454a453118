"""The corpus as data: its hard checks hold, its files are those of the manifests, and the checks can fail."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from stalkscreen.dataset import check_manifest
from stalkscreen.errors import DataError
from stalkscreen.schema import LabelledIncident
from stalkscreen.synthesis import corpus_checks
from stalkscreen.synthesis.agreement import measure
from stalkscreen.synthesis.anachronisms import date_checks, too_early
from stalkscreen.synthesis.checking import FULL_SIZE, Check, as_frame, render, scaled, worst, write_section
from stalkscreen.synthesis.corpus_checks import Corpus, all_checks, load_corpus
from stalkscreen.synthesis.evidence_checks import evidence_checks
from stalkscreen.synthesis.leak_probes import probe_auc
from stalkscreen.synthesis.overlap import near_duplicates, overlap_checks
from stalkscreen.synthesis.quotas import length_limits, quota_checks
from stalkscreen.taxonomy import load_taxonomy

ROOT = Path(__file__).parents[1]
FOLDER, PUBLIC = ROOT / "data" / "synthetic", ROOT / "data" / "public_cases"


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus(FOLDER, PUBLIC / "public_cases.jsonl")


@pytest.fixture(scope="module")
def checks(corpus: Corpus) -> list[Check]:
    return all_checks(corpus)


# The committed data


def test_every_hard_check_of_the_corpus_passes(checks: list[Check]) -> None:
    failed = {f"{c.name}: {c.measured} (limit {c.limit})": c.offenders for c in checks if c.hard and not c.passes}
    assert not failed


def test_every_check_was_measured_and_says_why(checks: list[Check]) -> None:
    assert not [c.name for c in checks if c.measured is None]
    assert not [c.name for c in checks if not c.reason and c.limit != "none"]
    assert len({(c.group, c.name) for c in checks}) == len(checks)


@pytest.mark.parametrize("folder", [FOLDER, PUBLIC], ids=lambda p: p.name)
def test_the_files_are_those_of_the_manifest(folder: Path) -> None:
    assert check_manifest(folder)


def test_ids_are_unique_over_the_corpus_and_the_public_cases(corpus: Corpus) -> None:
    counts = Counter(r.incident_id for r in (*corpus.records, *corpus.public))
    assert not [name for name, n in counts.items() if n > 1]
    assert len(corpus.public) == 61


def test_all_source_types_families_and_strata_are_there(corpus: Corpus) -> None:
    assert len({r.source_type for r in corpus.records}) == 6
    assert {r.offence_family for r in corpus.records} == set(load_taxonomy().family_names)
    assert {r.stratum for r in corpus.records} == {"stalking", "near_miss", "ordinary"}


@pytest.mark.parametrize("name", load_taxonomy().indicator_names_in("1.0"))
def test_every_indicator_is_present_and_negated_or_another_persons(corpus: Corpus, name: str) -> None:
    status = {
        (s.status == "present", r.stalking) for r in corpus.records for s in r.evidence or () if s.indicator == name
    }
    assert len(status) == 4, "in stalking and in other texts alike"


def test_the_datasheet_was_written_from_this_corpus(corpus: Corpus) -> None:
    page = (FOLDER / "DATASHEET.md").read_text(encoding="utf-8")
    assert corpus.sha256 in page, "run `make data-report`"
    assert measure(FOLDER) in page, "run `python -m stalkscreen.synthesis.agreement --write`"


def test_a_fifth_of_every_writer_was_labelled_twice_and_every_difference_decided(corpus: Corpus) -> None:
    twice = {row.incident_id for row in corpus.second}
    written, again = (
        Counter(r.writer for r in corpus.records if r.incident_id in ids or not ids) for ids in ((), twice)
    )
    assert len(again) == len(written) == len(corpus.writers)
    assert len(twice) / len(corpus.records) > 0.2
    assert min(again[w] / written[w] for w in written) > 0.15
    assert len(corpus.adjudications) > 1000


# The checks themselves


def test_a_check_passes_within_its_limits_only() -> None:
    check = Check("g", "n", 0.5, 0.4, 0.6, "r")
    assert check.passes
    assert check.limit == "0.4 to 0.6"
    assert Check("g", "n", 0.61, 0.4, 0.6, "r").verdict == "misses"
    assert Check("g", "n", 1, None, 0, "r", hard=True).verdict == "FAILS"
    assert Check("g", "n", None, None, 0, "r").verdict == "not measured"
    assert Check("g", "n", 3, None, None, "r").verdict == "reported"


def test_worst_names_all_outside_and_measures_the_furthest() -> None:
    check = worst("g", "n", {"a": 0.1, "b": 0.5, "c": 0.9}, 0.2, 0.6, "r")
    assert check.measured == 0.9
    assert check.offenders == ("c (0.9)", "a (0.1)")


def test_counts_asked_for_scale_down_and_never_up() -> None:
    assert scaled(120, FULL_SIZE // 2) == 60
    assert scaled(120, FULL_SIZE * 2) == 120


def test_near_duplicates_are_found_across_cases_only() -> None:
    long = "he parked the van by the chip shop and looked up at the second floor for an hour"
    texts = [long, long.replace("hour", "evening"), "somebody took a bicycle from outside the library on monday"]
    assert [hit[:2] for hit in near_duplicates(texts, ["a", "b", "c"])] == [(0, 1)]
    assert not near_duplicates(texts, ["a", "a", "c"])


@pytest.mark.parametrize(
    ("text", "when", "early"),
    [
        ("found an AirTag in the lining", date(2020, 5, 1), ["AirTag"]),
        ("found an AirTag in the lining", date(2021, 6, 1), []),
        ("pictures made with AI", date(2022, 5, 1), ["AI images and voices"]),
        ("he said ai, that's right", date(2016, 5, 1), []),
        ("filmed it for tiktok", date(2017, 5, 1), ["TikTok"]),
        ("asked her to ring him", date(2015, 1, 1), []),
    ],
)
def test_things_named_before_they_existed_are_found(text: str, when: date, early: list[str]) -> None:
    assert list(too_early(text, when)) == early


def damaged(record: LabelledIncident, **changes: object) -> LabelledIncident:
    return record.model_copy(update=changes)


def test_each_kind_of_damage_is_caught(corpus: Corpus) -> None:
    first, second = corpus.records[0], corpus.records[1]
    table = as_frame([first, damaged(second, incident_id="copy", case_id="copy", narrative=first.narrative)])
    assert failing(overlap_checks(table)) >= {"pairs of texts sharing over 20% of the shorter one's 5-word runs"}
    assert failing(overlap_checks(as_frame([first]), [("public", first.narrative)])) >= {"texts alike a public case"}

    broken = [damaged(r, indicators=()) for r in corpus.records if r.indicators][:1]
    assert failing(evidence_checks(broken)) == {"records whose indicators are not those of their present spans"}
    span = next(s for s in second.evidence or () if second.narrative[s.start + 1].isalnum())
    moved = damaged(second, evidence=(span.model_copy(update={"start": span.start + 1}),))
    assert "spans that start or end inside a word or on white space" in failing(evidence_checks([moved]))
    called = damaged(first, narrative=first.narrative + " Rang 0161 555 0199. Mail joe@post.co.uk, M14 5AB.")
    assert len(failing(evidence_checks([called]))) == 3
    drama = damaged(first, narrative=first.narrative + " Rang 07700 900123.")
    assert not failing(evidence_checks([drama]))

    unknown = quota_checks(as_frame([damaged(r, writer="w00") for r in corpus.records]), corpus.writers)
    assert "writers not in writers.toml" in failing(unknown)
    late = [damaged(first, narrative="It began on 3 May 2025.", occurred_at=first.occurred_at.replace(year=2018))]  # type: ignore[union-attr]
    assert "dates in the text long after the record's own" in failing(date_checks(as_frame(late)))


def failing(checks: list[Check]) -> set[str]:
    return {c.name for c in checks if c.hard and not c.passes and c.group != "Size and shares"} | {
        c.name for c in checks if c.name.startswith("writers not") and not c.passes
    }


def test_a_probe_sees_a_planted_leak_and_none_in_noise() -> None:
    random = np.random.default_rng(0)
    y = random.random(400) < 0.4
    writers = [f"w{i % 10}" for i in range(400)]
    told = [{"mark": 1.0 if label else 0.0} for label in y]
    noise = [{"mark": float(value)} for value in random.random(400)]
    for dense in (True, False):
        assert (probe_auc(told, y, writers, dense) or 0) > 0.99
        assert abs((probe_auc(noise, y, writers, dense) or 0) - 0.5) < 0.1
    assert probe_auc(noise, y, ["one"] * 400, True) is None


def test_small_sets_get_wider_length_limits(corpus: Corpus) -> None:
    table = as_frame(corpus.records)
    assert length_limits(table) == (0.44, 0.56)
    assert length_limits(table.head(60))[1] > 0.6


def test_the_report_lands_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "D.md"
    page.write_text("a\n<!-- checks:begin -->\nold\n<!-- checks:end -->\nz\n", encoding="utf-8")
    for _ in range(2):
        write_section(page, "checks", render([Check("g", "n", 3, None, 1, "why", offenders=("x",))]))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("a\n<!-- checks:begin -->\n\n**g**")
    assert text.endswith("- n: x\n\n<!-- checks:end -->\nz\n")
    with pytest.raises(DataError, match="markers"):
        write_section(page, "agreement", "x")


def test_the_command_exits_1_when_a_hard_check_fails(tmp_path: Path, corpus: Corpus, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(corpus_checks, "all_checks", lambda _: [Check("g", "n", 1, None, 0, "r", hard=True)])
    monkeypatch.setattr(corpus_checks, "load_corpus", lambda _: corpus)
    done = CliRunner().invoke(corpus_checks.main, ["--folder", str(tmp_path)])
    assert done.exit_code == 1
    assert "FAILS" in done.output
