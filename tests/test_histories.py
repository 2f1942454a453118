from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from stalkscreen.dataset import check_manifest, read_labelled
from stalkscreen.errors import ConfigError, DataError
from stalkscreen.schema import LabelledIncident, Person
from stalkscreen.synthesis.histories import PASSAGES, Simulator, histories, synthesise
from stalkscreen.synthesis.history_settings import read_settings
from stalkscreen.synthesis.passages import Passage, add_passages, read_passages
from stalkscreen.synthesis.wording import fill, neutral_safe, parse, plural, shouting

REGISTERS = ("call_log", "crime_report", "officer_notes", "victim_statement", "online_report", "partner_referral")
BY_VICTIM = ("victim_statement", "online_report")


def stock() -> Iterator[tuple[str, dict[str, Any]]]:
    """Two writers a register, with a few marked passages of everything; the words name writer and number."""
    settings = read_settings()
    scenes = sorted({act for phase in settings.phases.values() for act in phase} | {"breach_of_order"})
    benign = sorted(
        {a for k in settings.kinds.values() if not k.stalking for a in k.acts}
        - {a for phase in settings.phases.values() for a in phase}
    )
    for n, register in enumerate(REGISTERS * 2):
        writer, tag = f"w{n + 1:02d}", f"W{n + 1:02d}"
        who = "me" if register in BY_VICTIM else "{her}"
        row: dict[str, Any]
        for act in scenes:
            for again in (False, False, True):
                quote = f"{{He}} was at it with {who}, {act.replace('_', ' ')}"
                ev = [[act, quote]]
                if act == "threats_to_kill":
                    ev.append(["threats_to_victim", f"with {who}"])
                row = {"text": f"{quote}, and {{suspect}} has {{his}} reasons {tag}.", "role": "scene", "act": act}
                yield writer, row | {"register": register, "again": again, "ties": ["any"], "ev": ev}
        for act in benign:
            for again in (False, True):
                text = f"There was {act.replace('_', ' ')} and {{he}} has said sorry {tag}."
                row = {"text": text, "role": "benign", "act": act, "register": register, "again": again}
                yield writer, row | {"ties": ["any"], "ev": []}
        for role, act, text, ev in (
            (
                "context",
                "recent_separation",
                f"They parted in spring {tag}.",
                [["recent_separation", "parted in spring"]],
            ),
            ("context", "order", f"{{He}} is under an order {tag}.", []),
            ("context", "order", f"{{He}} broke it before {tag}.", [["breach_of_order", "broke it before"]]),
            ("effect", "victim_fear", f"Much afraid {tag}.", [["victim_fear", "Much afraid"]]),
            ("effect", "impact_daily_life", f"Sleeps elsewhere {tag}.", [["impact_daily_life", "Sleeps elsewhere"]]),
            ("effect", "unmoved", f"Not afraid {tag}.", [["victim_fear", "Not afraid", "n"]]),
            ("negation", "threats_to_victim", f"No threats {tag}.", [["threats_to_victim", "No threats", "n"]]),
            ("open", "admin", f"Came in by phone {tag}.", []),
            ("close", "admin", f"Log closed {tag}.", []),
        ):
            row = {"text": text, "role": role, "act": act, "register": register, "again": False}
            yield writer, row | {"ties": ["ex_partner"] if act == "recent_separation" else ["any"], "ev": ev}


@pytest.fixture(scope="module")
def passages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("passages")
    sheets: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for writer, row in stock():
        number = len(sheets[writer]) + 1
        sheets[writer].append({"n": number, **row, "text": row["text"].replace(" W", f" no {number} W")})
    paths = []
    for writer, rows in sheets.items():
        paths.append(folder / f"{writer}.jsonl")
        paths[-1].write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    (folder / "corpus").mkdir()
    made = folder / "corpus" / "passages.jsonl"
    assert add_passages(paths, made) == sum(map(len, sheets.values()))
    return made


@pytest.fixture(scope="module")
def made(passages: Path) -> list[LabelledIncident]:
    return list(histories(250, 4, passages=passages))


@pytest.fixture(scope="module")
def cases(made: list[LabelledIncident]) -> dict[str, list[LabelledIncident]]:
    found: dict[str, list[LabelledIncident]] = defaultdict(list)
    for record in made:
        found[str(record.case_id)].append(record)
    return found


def extra(record: LabelledIncident, name: str) -> Any:
    return (record.model_extra or {})[name]


class TestPassages:
    def test_rows_have_text_never_narrative_and_the_manifest_counts_them(self, passages: Path) -> None:
        rows = [json.loads(line) for line in passages.read_text(encoding="utf-8").splitlines()]
        assert all("text" in row and "narrative" not in row and row["register"] in REGISTERS for row in rows)
        assert len({row["passage_id"] for row in rows}) == len(rows)
        assert rows[0]["passage_id"] == "pas-w01-001"
        assert check_manifest(passages.parent)[0]["rows"] == len(rows)

    def test_adding_a_writer_again_replaces_that_writer_only(self, tmp_path: Path) -> None:
        row = {"n": 1, "text": "{He} rang.", "role": "scene", "act": "unwanted_contact", "register": "call_log",
               "again": False, "ties": ["any"], "ev": [["unwanted_contact", "{He} rang"]]}  # fmt: skip
        a, b, target = tmp_path / "w01.jsonl", tmp_path / "w02.jsonl", tmp_path / "passages.jsonl"
        a.write_text(json.dumps(row))
        b.write_text(json.dumps({**row, "text": "{He} rang off."}))
        assert add_passages([a, b], target) == 2
        a.write_text(json.dumps({**row, "text": "{He} rang me."}))
        assert add_passages([a], target) == 2
        assert {p.row.text for p in read_passages(target)} == {"{He} rang me.", "{He} rang off."}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"ev": [["unwanted_contact", "secret words"]]}, "found 0 times"),
            ({"ev": []}, "without evidence"),
            ({"ev": [["unwanted_contact", "e} rang"]]}, "inside a placeholder"),
            ({"text": "{He} rang {them}."}, "unknown placeholder"),
            ({"ties": ["uncle"]}, "uncle"),
            ({"act": "noise"}, "not one of a scene"),
            ({"register": "diary"}, "register"),
        ],
    )
    def test_a_wrong_row_is_named_without_its_text(self, tmp_path: Path, change: dict[str, Any], message: str) -> None:
        row = {"n": 7, "text": "{He} rang.", "role": "scene", "act": "unwanted_contact", "register": "call_log",
               "again": False, "ties": ["any"], "ev": [["unwanted_contact", "{He} rang"]]}  # fmt: skip
        path = tmp_path / "w01.jsonl"
        path.write_text(json.dumps({**row, **change}))
        with pytest.raises(DataError, match=message) as caught:
            add_passages([path], tmp_path / "passages.jsonl")
        assert "n=7" in caught.value.message
        assert "secret words" not in caught.value.message
        assert not (tmp_path / "passages.jsonl").exists()

    def test_missing_or_thin_passages_are_said(self, tmp_path: Path, passages: Path) -> None:
        with pytest.raises(DataError, match="no such file"):
            Simulator(1, tmp_path / "passages.jsonl")
        thin = tmp_path / "thin.jsonl"
        lines = passages.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if '"loitering"' not in line and "online_report" not in line]
        thin.write_text("\n".join(kept), encoding="utf-8")
        with pytest.raises(DataError, match=r"act loitering: 0 passages(.|\n)*register online_report"):
            Simulator(1, thin)

    def test_the_committed_passages_can_be_used(self) -> None:
        if not PASSAGES.exists():
            pytest.skip("no committed passages in this checkout yet")
        for record in islice(histories(40, 2), 100):
            assert all(record.narrative[e.start : e.end].strip() for e in record.evidence or ())
            assert not re.search(r"[{}]", record.narrative)


class TestWording:
    @pytest.mark.parametrize(
        ("text", "suspect", "victim", "filled"),
        [
            ("{He} was by {his} van, {she} saw {him}.", "f", "m", "She was by her van, he saw her."),
            ("{He} was by {his} van, {she} saw {him}.", "x", "f", "They were by their van, she saw them."),
            ("{he} still watches {her} from {their} wall", "x", "m", "they still watch him from his wall"),
            (
                "A friend of {his}, {She} says, and {he}'s back.",
                "f",
                "x",
                "A friend of hers, They say, and she's back.",
            ),
            ("{He}'s been told", "x", "m", "They've been told"),
            ("{she} doesn't know that {he} STILL BRINGS it", "x", "x", "they don't know that they STILL BRING it"),
            ("A MATE OF {his} TOLD {her} SO.", "f", "f", "A MATE OF HERS TOLD HER SO."),
            ("{suspect} rang. {Suspect} rang.", "m", "f", "Her ex rang. Her ex rang."),
            ("She saw {suspect}.", "m", "f", "She saw her ex."),
        ],
    )
    def test_pronouns_and_verbs_agree(self, text: str, suspect: str, victim: str, filled: str) -> None:
        pieces = parse(text)
        said, _ = fill(pieces, (), {"suspect": suspect, "victim": victim}, "her ex", capitals=shouting(pieces))
        assert said == filled

    @pytest.mark.parametrize(
        ("verb", "form"),
        [("carries", "carry"), ("watches", "watch"), ("keeps", "keep"), ("WAS", "WERE"), ("told", "told"),
         ("always", "always"), ("hasn't", "haven't"), ("misses", "miss"), ("does", "do")],
    )  # fmt: skip
    def test_only_verbs_that_must_change_do(self, verb: str, form: str) -> None:
        assert plural(verb) == form

    def test_a_second_verb_further_on_rules_a_passage_out_for_they(self) -> None:
        assert not neutral_safe(parse("{He} waits and watches."))
        assert neutral_safe(parse("{He} waited and watched."))

    @pytest.mark.parametrize("sexes", [(a, b) for a in "fmx" for b in "fmx"])
    def test_every_offset_still_marks_the_same_words(self, passages: Path, sexes: tuple[str, str]) -> None:
        who = {"suspect": sexes[0], "victim": sexes[1]}
        for passage in read_passages(passages)[::7]:
            said, marks = fill(passage.pieces, passage.row.evidence, who, "an old friend", capitals=False, at=9)
            for old, new in zip(passage.row.evidence, marks, strict=True):
                quote = passage.row.text[old.start : old.end]
                pattern = ".+?".join(re.escape(part) for part in re.split(r"\{\w+\} (?:was|has|is)|\{\w+\}", quote))
                assert re.fullmatch(pattern, said[new.start - 9 : new.end - 9])
            assert "{" not in said


class TestHistories:
    def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(self, tmp_path: Path, passages: Path) -> None:
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            synthesise(30, seed, tmp_path / name, passages=passages, live_prevalence=0.4)
        for file in ("histories.jsonl", "manifest.json"):
            a, b, c = ((tmp_path / n / file).read_bytes() for n in "abc")
            assert a == b != c

    @pytest.mark.parametrize("live", [None, 0.2])
    def test_one_more_case_changes_none_before_it(self, passages: Path, live: float | None) -> None:
        simulator = Simulator(3, passages)
        few, more = list(simulator.histories(12, live)), list(simulator.histories(13, live))
        assert more[: len(few)] == few

    def test_it_streams_and_holds_one_case_at_a_time(self, passages: Path) -> None:
        endless = histories(10**9, 1, passages=passages)
        assert len(list(islice(endless, 50))) == 50

    def test_what_is_written_reads_back_without_a_problem(self, tmp_path: Path, passages: Path) -> None:
        said = synthesise(60, 5, tmp_path / "h", passages=passages)
        read = read_labelled([tmp_path / "h" / "histories.jsonl"])
        assert f"{len(read.records):,} incidents" in said
        assert list(read.records) == list(histories(60, 5, passages=passages))
        assert check_manifest(tmp_path / "h")[0]["rows"] == len(read.records)
        assert "synthetic = true" in (tmp_path / "h" / "dataset.toml").read_text()

    def test_cases_are_in_time_order_and_reports_follow_the_acts(
        self, cases: dict[str, list[LabelledIncident]]
    ) -> None:
        for case in cases.values():
            times = [r.occurred_at for r in case]
            assert times == sorted(times)  # type: ignore[type-var]
            assert all(r.reported_at and r.occurred_at and r.reported_at > r.occurred_at for r in case)
            assert all(2014 <= r.occurred_at.year <= 2026 for r in case if r.occurred_at)

    def test_a_folder_with_something_in_it_is_left_alone(self, tmp_path: Path, passages: Path) -> None:
        (tmp_path / "keep.txt").write_text("mine")
        with pytest.raises(ConfigError, match="not an empty folder"):
            synthesise(3, 0, tmp_path, passages=passages)
        assert [p.name for p in tmp_path.iterdir()] == ["keep.txt"]

    def test_a_failure_leaves_nothing_behind(self, tmp_path: Path) -> None:
        with pytest.raises(DataError):
            synthesise(3, 0, tmp_path / "out", passages=tmp_path / "none.jsonl")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("live", [0.02, 0.3, 0.5])
    def test_the_live_prevalence_is_reached(self, passages: Path, live: float) -> None:
        share = Counter(bool(r.case_stalking) for r in histories(60, 6, passages=passages, live_prevalence=live))
        assert share[True] / share.total() == pytest.approx(live, rel=0.1)

    def test_a_live_prevalence_out_of_range_is_refused(self, passages: Path) -> None:
        with pytest.raises(ConfigError, match="live-prevalence"):
            list(histories(1, 1, passages=passages, live_prevalence=0.9))

    def test_kinds_come_in_their_shares(self, passages: Path) -> None:
        simulator = Simulator(9, passages)
        kinds = Counter(simulator._cast(f"9:{i}", None).story.kind for i in range(4000))
        total = sum(kind.share for kind in simulator.settings.kinds.values())
        for name, kind in simulator.settings.kinds.items():
            assert kinds[name] / 4000 == pytest.approx(kind.share / total, abs=0.02)

    def test_an_unknown_key_in_the_settings_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "histories.toml"
        path.write_text("colour = 3")
        with pytest.raises(ConfigError, match="colour"):
            read_settings(path)


class TestText:
    def test_every_narrative_is_of_one_writer_and_one_register(
        self, made: list[LabelledIncident], passages: Path
    ) -> None:
        by_id = {p.row.passage_id: p.row for p in read_passages(passages)}
        for record in made:
            rows = [by_id[name] for name in extra(record, "passages")]
            assert {row.writer for row in rows} == {record.writer}
            assert {row.source_type for row in rows} == {record.source_type}
            assert len(set(re.findall(r"\bW\d\d\b", record.narrative))) == 1
            assert 1 <= sum(row.role in ("scene", "benign") for row in rows) <= 3

    def test_evidence_marks_the_words_of_its_passage(self, made: list[LabelledIncident], passages: Path) -> None:
        by_id = {p.row.passage_id: p for p in read_passages(passages)}
        words = {"victim_fear": "afraid", "impact_daily_life": "Sleeps elsewhere"}
        for record in made:
            wanted = Counter(
                (mark.indicator, mark.status) for name in extra(record, "passages") for mark in by_id[name].row.evidence
            )
            assert Counter((e.indicator, e.status) for e in record.evidence or ()) == wanted
            for span in record.evidence or ():
                quote = record.narrative[span.start : span.end]
                assert quote == quote.strip()
                assert words.get(span.indicator, "") in quote

    def test_nothing_is_denied_that_is_shown(self, made: list[LabelledIncident]) -> None:
        for record in made:
            spans = record.evidence or ()
            shown, denied = ({e.indicator for e in spans if e.status == s} for s in ("present", "negated"))
            assert not shown & denied
            assert shown == set(record.indicators or ())

    def test_dates_stand_before_acts_of_stalking_and_of_other_matters_alike(
        self, made: list[LabelledIncident], passages: Path
    ) -> None:
        by_id = {p.row.passage_id: p.row for p in read_passages(passages)}
        several = {True: 0, False: 0}
        for record in made:
            if sum(by_id[n].role in ("scene", "benign") for n in extra(record, "passages")) > 1:
                several[record.stalking] += 1
        assert min(several.values()) > 10


class TestLabels:
    def test_an_incident_is_stalking_only_by_its_own_text(self, made: list[LabelledIncident], passages: Path) -> None:
        by_id: dict[str, Passage] = {p.row.passage_id: p for p in read_passages(passages)}
        kinds = read_settings().labels
        for record in made:
            told = [by_id[name] for name in extra(record, "passages")]
            scenes = [p for p in told if p.row.role == "scene"]
            again = any(p.row.again for p in scenes)
            breach = any(p.row.role == "context" and "breach_of_order" in p.present for p in told)
            if record.stalking:
                assert scenes
                assert again or len(scenes) > 1 or breach or set(record.indicators or ()) & kinds.continuing_acts
                assert record.offence_family == "stalking"
            else:
                assert not (again and any(p.present & kinds.stalking_acts for p in scenes if p.row.again))
                assert record.tier is None
                assert record.stalking_basis is None
                assert record.history_check is not None

    def test_a_case_is_stalking_by_any_incident_or_by_two_days_of_acts(
        self, cases: dict[str, list[LabelledIncident]]
    ) -> None:
        acts = read_settings().labels.stalking_acts
        for case in cases.values():
            assert len({r.case_stalking for r in case}) == 1
            if any(r.stalking for r in case):
                assert case[0].case_stalking
            if not case[0].case_stalking and extra(case[0], "case_kind").startswith("stalking"):
                assert sum(bool(set(r.indicators or ()) & acts) for r in case) < 2
            if not extra(case[0], "case_kind").startswith("stalking"):
                assert not case[0].case_stalking

    def test_some_histories_are_stalking_though_no_single_incident_is(
        self, cases: dict[str, list[LabelledIncident]]
    ) -> None:
        whole = [case for case in cases.values() if case[0].case_stalking]
        hidden = sum(not any(r.stalking for r in case) for case in whole) / len(whole)
        assert 0.25 < hidden < 0.6
        assert any(not case[0].case_stalking and len(case) > 2 for case in cases.values())

    def test_effect_on_daily_life_makes_it_s4a_and_its_absence_leaves_the_tier_open(
        self, made: list[LabelledIncident]
    ) -> None:
        for record in made:
            if record.stalking and "impact_daily_life" in (record.indicators or ()):
                assert record.tier == "s4A"

    def test_the_tie_is_unknown_where_the_text_does_not_show_it(self, made: list[LabelledIncident]) -> None:
        for record in made:
            assert (record.relationship == "unknown") == (record.domestic is None)
        shown = Counter(r.relationship for r in made)
        assert set(shown) > {"ex_partner", "acquaintance", "neighbour", "colleague", "stranger", "family"}


class TestPeople:
    def test_phones_are_from_the_range_kept_for_drama_and_mail_and_plates_are_nobodys(
        self, made: list[LabelledIncident]
    ) -> None:
        for record in made:
            for person in filter(None, (record.victim, record.suspect)):
                if person.phone:
                    assert re.fullmatch(r"(0|\+44 )7700 ?900\d{3}", person.phone)
                if person.email:
                    assert person.email.endswith("@example.org")
                if person.vehicle_vrm:
                    assert "Q" in person.vehicle_vrm.upper()
                if person.postcode:
                    assert re.search(r"[CIKMOV][A-Z]$", person.postcode.upper())
            assert not re.search(r"\d{9}", record.narrative)

    def test_the_same_person_is_written_differently_yet_can_be_matched(
        self, cases: dict[str, list[LabelledIncident]]
    ) -> None:
        pairs = different = matched = 0
        for case in cases.values():
            people = [r.victim for r in case if r.victim]
            for a, b in pairwise(people):
                pairs += 1
                different += a != b
                matched += alike(a, b)
        assert pairs > 200
        assert different / pairs > 0.8
        assert matched / pairs > 0.95

    def test_strangers_of_two_cases_seldom_match(self, cases: dict[str, list[LabelledIncident]]) -> None:
        people = [case[0].victim for case in cases.values() if case[0].victim]
        hits = sum(alike(a, b) for a, b in pairwise(people))
        assert hits / len(people) < 0.05

    def test_some_cases_have_a_look_alike_of_another_case(self, passages: Path) -> None:
        seen: dict[tuple[str, str], set[str]] = defaultdict(set)
        for record in histories(400, 8, passages=passages):
            for person in filter(None, (record.victim, record.suspect)):
                if person.surname and person.forename and person.dob and re.match(r"\d{4}", person.dob):
                    seen[f"{person.forename} {person.surname}".lower(), person.dob[:4]].add(str(record.case_id))
        assert sum(len(found) > 1 for found in seen.values()) >= 3

    def test_sexes_ages_and_backgrounds_do_not_depend_on_the_kind_of_case(self, passages: Path) -> None:
        simulator = Simulator(2, passages)
        casts = [simulator._cast(f"2:{i}", None) for i in range(4000)]
        for stalking in (True, False):
            part = [c for c in casts if c.story.stalking is stalking]
            women = sum(c.victim.sex == "f" for c in part) / len(part)
            assert women == pytest.approx(0.54, abs=0.04)
            ages = [c.victim.age(c.story.events[0].at.date()) for c in part]
            assert sum(ages) / len(ages) == pytest.approx(37, abs=2)
            assert 12 <= min(ages) <= 15
            assert 80 <= max(ages) <= 91
            assert len({c.victim.background for c in part}) > 12


def alike(a: Person, b: Person) -> bool:
    """Two of name, date of birth, phone and address agree, small differences allowed."""
    found = 0
    for name in ("surname", "forename", "dob", "phone", "address"):
        one, two = ((getattr(p, name) or "").lower().replace("+44 ", "0").replace(" ", "") for p in (a, b))
        if name == "dob":
            one, two = ("".join(sorted(re.sub(r"\D", "", d))) for d in (one, two))
        found += bool(one and two) and SequenceMatcher(None, one, two).ratio() > 0.8
    return found >= 2 or (found == 1 and bool(a.phone and b.phone and a.phone[-6:] == b.phone[-6:]))
