"""Reading, checking and writing labelled sets and incident files."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stalkscreen import taxonomy
from stalkscreen.dataset import (
    Columns,
    check_manifest,
    cross_rules,
    flatten,
    read_incidents,
    read_labelled,
    rules,
    stream_incidents,
    unflatten,
    write_labelled,
    write_manifest,
    write_rejects,
)
from stalkscreen.dataset.fields import FIELDS, FLAT_FIELDS
from stalkscreen.dataset.writing import inert
from stalkscreen.errors import DataError, UnknownNameError
from stalkscreen.schema import LONDON, PERSON_FIELDS, Evidence, Incident, LabelledIncident, Person
from stalkscreen.taxonomy import load_taxonomy

SECRET = "Zebedee waited by the quarry"
"""Stands for a narrative: none of its words may be in any message."""
SECRET_WORDS = re.compile("zebedee|quarry|waited|mulligan", re.IGNORECASE)
NAMES = load_taxonomy().indicator_names


def csv_text(*rows: list[str], header: str = "incident_id,narrative,stalking", delimiter: str = ",") -> str:
    quoted = (delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    lines = [header.replace(",", delimiter), *quoted]
    return "\n".join(lines) + "\n"


def labelled_csv(folder: Path, name: str = "set.csv", **cells: str) -> Path:
    """A labelled set of one row with these cells beside the good ones."""
    row = {"incident_id": "A1", "narrative": SECRET, "stalking": "true"} | cells
    path = folder / name
    path.write_text(csv_text(list(row.values()), header=",".join(row)), encoding="utf-8")
    return path


def labelled_jsonl(folder: Path, *rows: dict[str, Any], name: str = "set.jsonl") -> Path:
    good = {"incident_id": "A1", "narrative": SECRET, "stalking": True}
    path = folder / name
    path.write_text("".join(json.dumps(good | row) + "\n" for row in rows), encoding="utf-8")
    return path


def refused(path: Any, columns: Columns | None = None, *, incidents: bool = False) -> DataError:
    """The error of reading, which must not hold any word of the narrative."""
    with pytest.raises(DataError) as caught:
        (read_incidents if incidents else read_labelled)(path, columns)
    error = caught.value
    assert not SECRET_WORDS.search(error.message)
    assert not SECRET_WORDS.search(repr(error.context))
    assert error.__cause__ is None
    return error


# --- columns


def test_columns_map_a_forces_names_onto_ours(tmp_path: Path) -> None:
    path = tmp_path / "force.csv"
    path.write_text("URN,FREE_TEXT,IS_STALKING,V_SURNAME\n007,some text,yes,Mulligan\n")
    columns = Columns.parse("narrative=FREE_TEXT, incident_id=URN,stalking=IS_STALKING,victim_surname=V_SURNAME")
    (record,) = read_labelled(path, columns).records
    assert (record.incident_id, record.narrative, record.stalking) == ("007", "some text", True)
    assert record.victim == Person(surname="Mulligan")
    assert record.model_extra == {}


def test_columns_map_the_names_of_json_lines_too(tmp_path: Path) -> None:
    path = tmp_path / "force.jsonl"
    path.write_text('{"URN": 12, "TEXT": "some text", "SURNAME": "Mulligan", "beat": 4}\n')
    found = read_incidents(path, Columns.parse("incident_id=URN,narrative=TEXT,suspect_surname=SURNAME"))
    (record,) = found.records
    assert record == Incident(incident_id="12", narrative="some text", suspect=Person(surname="Mulligan"), beat=4)  # type: ignore[call-arg]


def test_a_column_name_with_a_comma_can_be_quoted() -> None:
    assert Columns.parse('"narrative=TEXT, FREE",incident_id=URN').theirs == {
        "narrative": "TEXT, FREE",
        "incident_id": "URN",
    }
    assert Columns.parse("").theirs == {}


def test_a_mapped_column_wins_over_the_files_own_column_of_that_name(tmp_path: Path) -> None:
    path = tmp_path / "force.csv"
    path.write_text("incident_id,narrative,FULL\nA,short,the long one\n")
    found = read_incidents(path, Columns.parse("narrative=FULL"))
    assert found.records[0].narrative == "the long one"
    assert found.records[0].model_extra == {}
    assert any("left out" in note for note in found.notes)


def test_an_unknown_field_in_columns_is_answered_with_the_allowed_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"'story'.*incident_id, narrative") as caught:
        Columns.parse("story=TEXT")
    assert caught.value.context["allowed"] == list(FLAT_FIELDS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("narrative", "allowed: our field, '='"),
        ("narrative=", "allowed: our field, '='"),
        ("stalking=", "allowed: our field, '='"),
        ("narrative=A,narrative=B", "maps 'narrative' twice"),
        ("tier=A,tier=", "maps 'tier' twice"),
        ("narrative=A,incident_id=A", "'A' to two of our fields"),
    ],
)
def test_columns_that_make_no_sense_are_refused(text: str, says: str) -> None:
    with pytest.raises(DataError, match=re.escape(says)) as caught:
        Columns.parse(text)
    assert caught.value.code == "columns_invalid"


def test_a_missing_column_is_answered_with_the_files_columns(tmp_path: Path) -> None:
    path = tmp_path / "force.csv"
    path.write_text(csv_text(["A", SECRET, "true"], header="URN,FREE_TEXT,stalking"))
    message = refused(path, Columns.parse("incident_id=URN")).message
    assert "narrative: the file has no column 'narrative'" in message
    assert "'URN', 'FREE_TEXT', 'stalking'" in message
    message = refused(path, Columns.parse("incident_id=URN,narrative=FREETEXT")).message
    assert "no column 'FREETEXT' (from --columns)" in message


@pytest.mark.parametrize("name", ["force.csv", "force.jsonl", "force.parquet"])
def test_a_mapped_column_that_is_not_there_is_refused_in_every_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_labelled([LabelledIncident(incident_id="A", narrative=SECRET, stalking=True)], path)
    assert "no column 'DIV' (from --columns)" in refused(path, Columns.parse("force=DIV")).message


def test_a_file_without_column_names_does_not_have_its_first_record_repeated(tmp_path: Path) -> None:
    path = tmp_path / "bare.csv"
    for first in (
        f'A1,"{SECRET}. He is known.",true',
        f"A1,{SECRET} daily,K3",
        "CR1234/24,Mulligan,K3",
        "A1,Mulligan,31/05/2024",
        "A1,Zebedee Mulligan of the quarry,K3",
        "K,Zebedee waited,stalking",
    ):
        path.write_text(f"{first}\nA2,text,false\n")
        message = refused(path).message
        assert "--columns incident_id=YOURS where yours differ; it has 3 columns, and its first line may be" in message
        assert "A1" not in message
        assert "CR1234" not in message


def test_column_names_of_three_short_words_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "force.csv"
    path.write_text("URN,Free text notes,addr_line_1,V1.surname,Beat/Ward,_id\nA,text,,,,\n")
    message = refused(path, Columns.parse("incident_id=URN")).message
    assert "'URN', 'Free text notes', 'addr_line_1', 'V1.surname', 'Beat/Ward', '_id'" in message


# --- files as a whole

NOT_WHAT_IT_SAYS: list[tuple[str, bytes, str]] = [
    ("empty.csv", b"", "the file is empty"),
    ("empty.jsonl", b"", "the file is empty"),
    ("empty.parquet", b"", "the file is empty"),
    ("names.csv", b"incident_id,narrative,stalking\n", "the file has no rows"),
    ("blank.jsonl", b"\n\n", "the file has no rows"),
    ("book.csv", b"PK\x03\x04 waited", "a zip archive (an Excel workbook is one)"),
    ("book.jsonl", b"\xd0\xcf\x11\xe0 waited", "an old Excel or Outlook file"),
    ("packed.csv", b"\x1f\x8b waited", "a gzip archive"),
    ("table.csv", b"PAR1 waited", "a Parquet file"),
    ("array.jsonl", b'[{"incident_id": "A", "narrative": "waited"}]', "one JSON array"),
    ("pretty.jsonl", b'{\n "incident_id": "A", "narrative": "waited"}', "JSON spread over several lines"),
    ("table.jsonl", b"incident_id,narrative\nA,waited\n", "needs the suffix .csv"),
    ("lines.csv", b'{"incident_id": "A", "narrative": "waited"}\n', "its content is JSON"),
    ("table.parquet", b"incident_id,narrative\nA,waited\n", "its content is not Parquet"),
    ("cut.parquet", b"PAR1 waited", "it is damaged"),
    ("page.csv", b"<!DOCTYPE html><p>waited", "HTML or XML"),
    ("wide.csv", "incident_id,narrative\nA,waited\n".encode("utf-16"), "UTF-16 text"),
    ("wide2.csv", "incident_id,narrative\nA,waited\n".encode("utf-16-le"), "UTF-16 text"),
    ("book.xlsx", b"PK\x03\x04", "the suffix is '.xlsx'; allowed: .jsonl, .csv, .parquet"),
    ("zip.csv.gz", b"\x1f\x8b", "the suffix is '.gz'"),
    ("nosuffix", b"a", "the file name has no suffix"),
    ("same.csv", b"incident_id,narrative,narrative\nA,waited,waited\n", "columns 2 and 3 have the same name"),
    ("mixed.csv", b"incident_id,narrative\nA,caf\xc3\xa9\nB,caf\xe9\n", "mixes UTF-8 with other bytes"),
    ("bytes.csv", b"incident_id,narrative\nA,waited \x81\n", "belongs neither to UTF-8 nor to Windows-1252"),
    ("quote.csv", b'"incident_id,narrative\nA,waited\n', "the line of column names cannot be read"),
]


@pytest.mark.parametrize(("name", "content", "says"), NOT_WHAT_IT_SAYS, ids=[row[0] for row in NOT_WHAT_IT_SAYS])
def test_a_file_that_is_not_what_it_should_be_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    error = refused(path, incidents=True)
    assert says in error.message
    assert error.context["total"] == 1
    with pytest.raises(DataError, match=re.escape(says)):
        list(stream_incidents(path))


def test_a_directory_and_a_missing_file_are_refused_with_what_to_do(tmp_path: Path) -> None:
    assert "it is a directory; allowed: the files in it" in refused(tmp_path).message
    assert "there is no such file" in refused(tmp_path / "none.csv").message


def test_no_file_at_all_and_a_file_named_twice_are_refused(tmp_path: Path) -> None:
    path = labelled_csv(tmp_path)
    assert "no file was named" in refused([]).message
    assert "named twice" in refused([path, path]).message


def test_every_file_is_checked_before_the_error_is_raised(tmp_path: Path) -> None:
    bad_row = labelled_csv(tmp_path, "one.csv", tier="s9")
    error = refused([tmp_path / "none.csv", bad_row, tmp_path])
    assert [(Path(p["file"]).name, p["row"], p["field"]) for p in error.context["problems"]] == [
        ("none.csv", None, None),
        (tmp_path.name, None, None),
        ("one.csv", 1, "tier"),
    ]


def test_files_carry_their_hashes_and_the_set_a_hash_over_them(tmp_path: Path) -> None:
    one = labelled_csv(tmp_path, "one.csv")
    two = labelled_jsonl(tmp_path, {"incident_id": "B1"}, name="two.jsonl")
    found = read_labelled([one, two])
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (one, two)]
    assert found.files == [
        {"name": "one.csv", "sha256": sums[0], "rows": 1},
        {"name": "two.jsonl", "sha256": sums[1], "rows": 1},
    ]
    assert found.data_hash == hashlib.sha256("".join(sums).encode()).hexdigest()
    assert [r.incident_id for r in found.records] == ["A1", "B1"]
    assert read_labelled([two, one]).data_hash != found.data_hash


# --- encodings, delimiters, quotes


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize(("encoding", "noted"), [("utf-8", False), ("utf-8-sig", False), ("cp1252", True)])
def test_text_is_read_in_each_encoding(tmp_path: Path, suffix: str, encoding: str, noted: bool) -> None:
    text = "Owes £50 – “café” quarry"
    path = tmp_path / f"set{suffix}"
    if suffix == ".csv":
        path.write_text(csv_text(["A1", text, "1"]), encoding=encoding)
    else:
        record = {"incident_id": "A1", "narrative": text, "stalking": 1}
        path.write_text(json.dumps(record, ensure_ascii=False), encoding=encoding)
    found = read_labelled(path)
    assert found.records[0].narrative == text
    assert bool(found.notes) is noted
    assert all("Windows-1252" in note and not SECRET_WORDS.search(note) for note in found.notes)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_delimiters_are_found_and_quoted_line_breaks_kept(tmp_path: Path, delimiter: str, ending: str) -> None:
    text = 'Said "no";\r\n\r\ntwice,\tthen left\n'
    path = tmp_path / "set.csv"
    body = f'incident_id{delimiter}narrative{ending}A{delimiter}"{text.replace(chr(34), chr(34) * 2)}"{ending}'
    path.write_bytes(body.encode())
    assert read_incidents(path).records == [Incident(incident_id="A", narrative=text)]


def test_a_narrative_full_of_other_delimiters_in_one_column_files_does_not_mislead(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    path.write_text("incident_id,narrative,a;b;c;d\nA,text;more;and;more,x\n")
    assert read_incidents(path).records[0].narrative == "text;more;and;more"


def test_rows_that_cannot_be_parsed_are_listed_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    path.write_text(
        'incident_id,narrative\nA,fine\nB,waited,quarry\n\nC\nD,"waited "here" quarry"\nE,good\nF,"waited\n'
    )
    error = refused(path, incidents=True)
    assert [(p["row"], p["wrong"]) for p in error.context["problems"]] == [
        (2, "the row has 3 cells"),
        (4, "the row has 1 cells"),
        (5, "lines 6 to 6 of the file cannot be read: a quote is left open or not doubled"),
        (7, "lines 8 to 8 of the file cannot be read: a quote is left open or not doubled"),
    ]
    (chunk,) = stream_incidents(path)
    assert [r.incident_id for r in chunk.incidents] == ["A", "E"]
    assert chunk.rows == 6


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"incident_id": "B", "narrative": "waited', "the line is not valid JSON"),
        ('["waited"]', "the line is not a JSON object"),
        ("waited", "the line is not valid JSON (character 1)"),
        ('{"a": ' * 5000, "the line is not valid JSON"),
        ('{"incident_id": "B", "narrative": "waited \\ud800"}', "the line is not valid JSON"),
    ],
)
def test_a_line_that_is_not_json_is_listed_with_its_line_number(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"incident_id": "A", "narrative": "fine"}\n\n' + line + "\n")
    error = refused(path, incidents=True)
    (problem,) = error.context["problems"]
    assert problem["row"] == 3
    assert problem["wrong"].startswith(says)


def test_integer_like_ids_are_kept_as_written(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    path.write_text("incident_id,narrative,case_id,victim_phone\n007,text,12,07700900123\n8.0,text,,\n")
    one, two = read_incidents(path).records
    assert (one.incident_id, one.case_id, one.victim) == ("007", "12", Person(phone="07700900123"))
    assert (two.incident_id, two.case_id, two.victim) == ("8.0", None, None)
    pq.write_table(pa.table({"incident_id": [7, 8], "narrative": ["a", "b"]}), tmp_path / "set.parquet")
    assert [r.incident_id for r in read_incidents(tmp_path / "set.parquet").records] == ["7", "8"]


def test_decimal_ids_in_parquet_are_a_problem_because_what_was_written_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    pq.write_table(pa.table({"incident_id": [7.0], "narrative": [SECRET]}), path)
    assert "incident_id: is not text or a whole number; allowed: text" in refused(path, incidents=True).message


def test_parquet_of_another_make_is_read(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    table = pa.table(
        {
            "incident_id": ["A"],
            "narrative": ["text"],
            "occurred_at": pa.array([datetime(2024, 7, 1, 12, 0)], pa.timestamp("ns")),
            "source_type": pa.array(["call_log"]).dictionary_encode(),
            "victim": [{"surname": "M", "dob": date(1980, 1, 2)}],
            "stalking": [1.0],
            "indicators": [["weapon"]],
            "evidence": [[{"indicator": "weapon", "start": 0, "end": 4, "status": None}]],
            "confidence": [2.0],
            "label_version": [1.0],
            "seen": [date(2024, 1, 2)],
            "score": [float("nan")],
        }
    )
    pq.write_table(table, path)
    (record,) = read_labelled(path).records
    assert record.occurred_at == datetime(2024, 7, 1, 11, 0, tzinfo=UTC)
    assert record.victim == Person(surname="M", dob="1980-01-02")
    assert (record.stalking, record.confidence, record.label_version) == (True, 2, "1.0")
    assert record.evidence == (Evidence(indicator="weapon", start=0, end=4),)
    assert record.model_extra == {"seen": "2024-01-02"}


# --- cells


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("true", "TRUE", "True", "1", "1.0", "yes", "Yes", " YES ")),
        *((text, False) for text in ("false", "FALSE", "0", "0.0", "no", "No")),
    ],
)
def test_flags_are_read_in_any_case(tmp_path: Path, text: str, value: bool) -> None:
    assert read_labelled(labelled_csv(tmp_path, stalking=text)).records[0].stalking is value


def test_absent_labels_are_unknown_and_none_is_looked_for(tmp_path: Path) -> None:
    (record,) = read_labelled(labelled_csv(tmp_path, indicators="", tier=" ", domestic="", evidence="")).records
    assert (record.indicators, record.tier, record.domestic, record.evidence) == (None, None, None, None)
    assert "indicators" not in record.model_fields_set
    (record,) = read_labelled(
        labelled_csv(tmp_path, indicators="none", indicators_assessed="weapon| loitering")
    ).records
    assert record.indicators == ()
    assert record.indicators_assessed == ("weapon", "loitering")
    assert read_labelled(labelled_jsonl(tmp_path, {"indicators": []})).records[0].indicators == ()


def test_label_values_are_read_in_any_case(tmp_path: Path) -> None:
    (record,) = read_labelled(
        labelled_csv(tmp_path, tier="S4a", relationship=" Ex_Partner", indicators="Weapon")
    ).records
    assert (record.tier, record.relationship, record.indicators) == ("s4A", "ex_partner", ("weapon",))


def test_times_without_an_offset_are_london_time_and_digits_are_no_seconds(tmp_path: Path) -> None:
    (record,) = read_labelled(labelled_csv(tmp_path, occurred_at="2024-07-01T12:00", reported_at="20240702")).records
    assert record.occurred_at == datetime(2024, 7, 1, 12, tzinfo=LONDON)
    assert record.reported_at == datetime(2024, 7, 2, tzinfo=LONDON)


def test_nested_and_flat_people_are_both_read_and_never_twice(tmp_path: Path) -> None:
    path = labelled_jsonl(tmp_path, {"victim": {"surname": "M"}, "victim_forename": "A", "suspect": {}})
    (record,) = read_labelled(path).records
    assert record.victim == Person(forename="A", surname="M")
    assert record.suspect is None
    path = labelled_jsonl(tmp_path, {"victim": {"surname": "Mulligan"}, "victim_surname": "Mulligan"})
    assert "gives surname, which the row gives again as victim_surname" in refused(path).message


def test_label_columns_of_an_incident_file_pass_through_unread(tmp_path: Path) -> None:
    (record,) = read_incidents(labelled_csv(tmp_path, tier="whatever", team="north")).records
    assert type(record) is Incident
    assert record.model_extra == {"stalking": "true", "tier": "whatever", "team": "north"}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_forces_own_column_named_like_ours_can_ride_along(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"force{suffix}"
    row = {
        "URN": "A",
        "narrative": SECRET,
        "stalking": "yes",
        "tier": "Gold",
        "victim": "MULLIGAN, J",
        "input_tier": "x",
    }
    if suffix == ".csv":
        path.write_text(csv_text(list(row.values()), header=",".join(row)))
    elif suffix == ".jsonl":
        path.write_text(json.dumps(row) + "\n")
    else:
        pq.write_table(pa.Table.from_pylist([row]), path)
    assert refused(path, Columns.parse("incident_id=URN")).context["total"] == 2
    columns = Columns.parse("incident_id=URN,tier=,victim=")
    (record,) = read_labelled(path, columns).records
    assert (record.tier, record.victim) == (None, None)
    assert record.model_extra == {"input_tier": "x", "input_input_tier": "Gold", "input_victim": "MULLIGAN, J"}
    again = write_labelled([record], tmp_path / f"again{suffix}")
    assert read_labelled(again).records == [record]
    assert read_incidents(path, columns).records[0].model_extra == (record.model_extra | {"stalking": "yes"})


def test_nan_in_an_extra_is_absent_in_json_too(tmp_path: Path) -> None:
    path = labelled_jsonl(
        tmp_path, {"score": float("nan"), "beat": 4}, {"incident_id": "A2", "extra_json": '{"x": NaN}'}
    )
    one, two = read_labelled(path).records
    assert (one.model_extra, two.model_extra) == ({"beat": 4}, {})
    assert read_labelled(write_labelled([one, two], tmp_path / "again.jsonl")).records == [one, two]


LONG = SECRET + " " * 20 + "x" * 20_000
BAD_CELLS: list[tuple[dict[str, Any], str, str]] = [
    ({"incident_id": ""}, "incident_id", "is missing; allowed: text of 1 to 200 characters"),
    ({"incident_id": "quarry" * 50}, "incident_id", "has 300 characters"),
    ({"narrative": ""}, "narrative", "is empty; allowed: text of 1 to 20,000 characters"),
    ({"narrative": " \n\t "}, "narrative", "is empty"),
    ({"narrative": LONG}, "narrative", f"has {len(LONG):,} characters; allowed: at most 20,000"),
    ({"narrative": SECRET + "\0"}, "narrative", "has a control character (such as NUL)"),
    ({"narrative": SECRET + "\x1b"}, "narrative", "has a control character"),
    ({"occurred_at": "31/05/2024"}, "occurred_at", "is not a date and time; allowed: ISO 8601, year first"),
    ({"occurred_at": "quarry"}, "occurred_at", "is not a date and time"),
    ({"source_type": "quarry"}, "source_type", "is not one of the values; allowed: call_log, crime_report"),
    ({"victim": "Mulligan"}, "victim", "is not an object; allowed: forename, surname"),
    ({"stalking": ""}, "stalking", "is missing; allowed: true, false, 1, 0, yes or no in any case"),
    ({"stalking": "maybe"}, "stalking", "is 'maybe', not true or false"),
    ({"stalking": SECRET}, "stalking", "is a text of 28 characters, not true or false"),
    ({"cyber": "2"}, "cyber", "is '2', not true or false"),
    ({"tier": "s9"}, "tier", "is 's9', not one of the values; allowed: s2A, s4A"),
    (
        {"offence_family": "murder"},
        "offence_family",
        "is 'murder', not one of the values; allowed: stalking, controlling",
    ),
    ({"offence_family": "x" * 41}, "offence_family", "is a text of 41 characters, not one"),
    ({"offence_family": "harassment"}, "offence_family", "contradicts stalking"),
    ({"stalking": "false", "offence_family": "stalking"}, "offence_family", "contradicts stalking"),
    ({"stalking": "false", "tier": "s2A"}, "tier", "is given though stalking is false"),
    ({"stalking": "no", "stalking_basis": "behavioural"}, "stalking_basis", "is given though stalking is false"),
    ({"case_stalking": "0"}, "case_stalking", "is false though this incident is stalking"),
    ({"relationship": "friend"}, "relationship", "is 'friend', not one of the values; allowed: current_partner"),
    ({"confidence": "4"}, "confidence", "is 4, not one of the values; allowed: 1, 2, 3"),
    ({"confidence": "2.5"}, "confidence", "is '2.5', not one of the values"),
    ({"stratum": "odd"}, "stratum", "is 'odd', not one of the values; allowed: stalking, near_miss, ordinary"),
    (
        {"indicators": "weapon|lurking"},
        "indicators",
        f"names 'lurking', which the taxonomy does not have; allowed: {NAMES[0]}",
    ),
    ({"indicators": "weapon|none"}, "indicators", "names 'none'"),
    ({"indicators_assessed": SECRET}, "indicators_assessed", "names a text of 28 characters"),
    ({"evidence": "quarry"}, "evidence", "is not a list of spans; allowed: a list of {indicator, start, end, status}"),
    ({"evidence": '[{"indicator": "weapon"}]'}, "evidence", "is not a list of spans"),
    ({"evidence": '[{"indicator": "weapon", "start": 4, "end": 4}]'}, "evidence", "is not a list of spans"),
    ({"evidence": '[{"indicator": "weapon", "start": -1, "end": 4}]'}, "evidence", "is not a list of spans"),
    (
        {"evidence": '[{"indicator": "weapon", "start": 0, "end": 4, "status": "odd"}]'},
        "evidence",
        "is not a list of spans",
    ),
    ({"evidence": '[{"indicator": "weapon", "start": 0, "end": 29}]'}, "evidence", "the span of 'weapon' ends beyond"),
    ({"evidence": '[{"indicator": "lurking", "start": 0, "end": 4}]'}, "evidence", "names 'lurking'"),
    (
        {"evidence": '[{"indicator": "weapon", "start": 0, "end": 4}]', "indicators": "none"},
        "evidence",
        "marks 'weapon' as present, which indicators does not name",
    ),
    (
        {"label_version": "draft"},
        "label_version",
        "is 'draft', not a version of the labelling guide that is known here; allowed: 1.0, or blank",
    ),
    ({"label_version": "9.9"}, "label_version", "is '9.9', not a version"),
    ({"label_version": "0.9"}, "label_version", "is '0.9', not a version"),
    ({"label_version": SECRET}, "label_version", "is a text of 28 characters, not a version"),
    ({"people": "quarry"}, "people", "is not an object"),
    ({"extra_json": '{"narrative": "quarry"}'}, "extra_json", "is not a JSON object of extra values"),
    ({"extra_json": "quarry"}, "extra_json", "is not a JSON object of extra values"),
]


@pytest.mark.parametrize(
    ("cells", "field", "says"), BAD_CELLS, ids=[f"{row[1]}-{i}" for i, row in enumerate(BAD_CELLS)]
)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_bad_cell_is_listed_with_its_row_its_field_and_what_is_allowed(
    tmp_path: Path, suffix: str, cells: dict[str, Any], field: str, says: str
) -> None:
    good = {"incident_id": "A0", "narrative": "fine", "stalking": "true"}
    row = good | {"incident_id": "A1", "narrative": SECRET} | cells
    rows = [dict.fromkeys(row, "") | good, row]
    path = tmp_path / f"set{suffix}"
    if suffix == ".csv":
        path.write_text(csv_text(*([r[k] for k in row] for r in rows), header=",".join(row)), encoding="utf-8")
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    error = refused(path)
    (problem,) = error.context["problems"]
    assert (problem["file"], problem["row"], problem["field"]) == (str(path), 2, field)
    assert f"{problem['wrong']}; allowed: {problem['allowed']}".startswith(says)
    assert f"{path}, row 2, {field}: {says}" in error.message


def test_wrong_types_in_json_are_listed(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"narrative": 5},
        {"narrative": [SECRET], "incident_id": {"a": SECRET}},
        {"incident_id": True, "force": [SECRET]},
        {"incident_id": 10**400},
        {"incident_id": "a", "victim": {"nickname": "Mulligan"}},
        {"incident_id": "b", "victim": {"surname": ["Mulligan"]}},
        {"incident_id": "c", "indicators": [1], "confidence": True, "stalking": {"a": 1}},
        {"incident_id": "d", "evidence": [SECRET], "occurred_at": 1700000000, "people": [SECRET]},
        {"incident_id": "e", "confidence": 10**300, "cyber": 10**300},
    ]
    error = refused(labelled_jsonl(tmp_path, *rows))
    found = {(p["row"], p["field"]) for p in error.context["problems"]}
    assert found == {
        (1, "narrative"),
        (2, "narrative"),
        (2, "incident_id"),
        (3, "incident_id"),
        (3, "force"),
        (4, "incident_id"),
        (5, "victim"),
        (6, "victim_surname"),
        (7, "indicators"),
        (7, "confidence"),
        (7, "stalking"),
        (8, "evidence"),
        (8, "occurred_at"),
        (8, "people"),
        (9, "confidence"),
        (9, "cyber"),
    }


def test_duplicate_ids_are_listed_with_both_rows_within_and_over_files(tmp_path: Path) -> None:
    one = labelled_jsonl(tmp_path, {"incident_id": "A"}, {"incident_id": "B"}, {"incident_id": "A"}, name="one.jsonl")
    two = labelled_jsonl(tmp_path, {"incident_id": "B"}, name="two.jsonl")
    message = refused([one, two]).message
    assert f"{one}, row 3, incident_id: is the same as in row 1; allowed" in message
    assert f"{two}, row 1, incident_id: is the same as in row 2 of {one}; allowed" in message


@pytest.fixture
def grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The taxonomy with one more indicator, `dog_harmed`, since label version 1.1."""
    shutil.copytree(Path(taxonomy.__file__).parent, tmp_path / "taxonomy")
    entries = tmp_path / "taxonomy" / "indicators"
    text = (entries / "weapon.toml").read_text(encoding="utf-8")
    for old, new in [
        ('name = "weapon"', 'name = "dog_harmed"'),
        ("order = 14", f"order = {len(NAMES) + 1}"),
        ('since = "1.0"', 'since = "1.1"'),
    ]:
        assert old in text
        text = text.replace(old, new)
    (entries / "dog_harmed.toml").write_text(text, encoding="utf-8")
    more = load_taxonomy(tmp_path / "taxonomy")
    for module in (rules, cross_rules):
        monkeypatch.setattr(module, "load_taxonomy", lambda: more)
    for cached in (cross_rules.cross_rules, cross_rules.rules_for):
        cached.cache_clear()
    yield
    for cached in (cross_rules.cross_rules, cross_rules.rules_for):
        cached.cache_clear()


@pytest.mark.usefixtures("grown")
@pytest.mark.parametrize("stated", ["1.0", ""])
def test_an_indicator_newer_than_the_label_version_is_listed(tmp_path: Path, stated: str) -> None:
    error = refused(labelled_csv(tmp_path, indicators="weapon|dog_harmed", label_version=stated))
    (problem,) = error.context["problems"]
    assert (problem["row"], problem["field"]) == (1, "indicators")
    taken = "" if stated else " (taken where none is stated)"
    assert problem["wrong"] == f"names 'dog_harmed', which label_version 1.0{taken} does not have"
    assert "name it in indicators_assessed as well" in problem["allowed"]


@pytest.mark.usefixtures("grown")
@pytest.mark.parametrize(
    "cells",
    [
        {"indicators": "dog_harmed", "label_version": "1.1"},
        {"indicators": "dog_harmed", "label_version": "1.0", "indicators_assessed": "weapon|dog_harmed"},
        {"indicators": "weapon", "label_version": "1.0"},
    ],
)
def test_an_indicator_that_was_looked_for_may_be_named(tmp_path: Path, cells: dict[str, str]) -> None:
    (record,) = read_labelled(labelled_csv(tmp_path, **cells)).records
    assert record.indicators == (cells["indicators"],)


@pytest.mark.usefixtures("grown")
def test_a_label_version_between_the_oldest_and_the_newest_is_allowed(tmp_path: Path) -> None:
    error = refused(labelled_csv(tmp_path, label_version="1.2"))
    assert "label_version: is '1.2', not a version" in error.message
    assert "allowed: two numbers with a dot, 1.0 to 1.1, or blank" in error.message


def test_the_first_fifty_problems_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    path = labelled_jsonl(tmp_path, *({"incident_id": f"A{i}", "tier": "s9"} for i in range(73)))
    error = refused(path)
    assert "73 problems found; nothing was used (the first 50 are shown)" in error.message
    assert error.message.count("\n") == 50
    assert len(error.context["problems"]) == error.context["total"] == 73


def test_the_column_that_is_missing_stands_before_the_rows_that_lack_it(tmp_path: Path) -> None:
    path = labelled_jsonl(tmp_path, *({"incident_id": f"A{i}"} for i in range(73)))
    error = refused(path, Columns.parse("narrative=FREETEXT"))
    assert "no column 'FREETEXT' (from --columns)" in error.message.split("\n")[1]
    assert error.context["total"] == 74


# --- the two ways of running the rules, and of making records


def rich_records(count: int) -> list[LabelledIncident]:
    return [
        LabelledIncident(
            incident_id=f"A{i:05}",
            narrative=f"{SECRET} number {i}.\r\nThen left, “café”.",
            occurred_at=datetime(2024, 1 + i % 12, 2, 3, 4, 5),
            reported_at=datetime(2024, 7, 2, tzinfo=UTC) if i % 3 else None,
            source_type="call_log" if i % 2 else None,
            recorded_offence="-harassment" if i % 5 else None,
            case_id=f"{i // 3:04}",
            victim=Person(surname="Mulligan", phone="+447700900123") if i % 4 else None,
            stalking=bool(i % 2),
            tier="s2A" if i % 4 == 1 else None,
            offence_family="stalking" if i % 2 else "harassment",
            four_fixated=None if i % 3 else True,
            indicators=(NAMES[i % 26],) if i % 5 else (),
            indicators_assessed=NAMES if i % 7 else None,
            evidence=(Evidence(indicator=NAMES[i % 26], start=0, end=7, status="negated"),) if i % 6 else None,
            confidence=(1, 2, 3)[i % 3],
            people={"victim": {"sex": "f", "age": i}} if i % 2 else None,
            team="north",  # type: ignore[call-arg]
            score=i / 2,
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_record_as_read_equals_the_validated_one_in_every_respect(tmp_path: Path, suffix: str) -> None:
    path = write_labelled(rich_records(60), tmp_path / f"set{suffix}")
    for read, record in zip(read_labelled(path).records, rich_records(60), strict=True):
        checked = LabelledIncident.model_validate(unflatten(flatten(record)))
        assert read == checked == record
        assert read.model_fields_set == checked.model_fields_set
        assert list(read.__dict__) == list(checked.__dict__)
        assert read.__dict__ == checked.__dict__
        assert read.model_dump_json() == checked.model_dump_json()
        assert read.model_copy(update={"force": "x"}).force == "x"
        assert type(read.victim) is type(checked.victim)
        if read.victim is not None and checked.victim is not None:
            assert read.victim.model_fields_set == checked.victim.model_fields_set
        for span, other in zip(read.evidence or (), checked.evidence or (), strict=True):
            assert span.model_fields_set == {"indicator", "start", "end", "status"}
            assert span.__dict__ == other.__dict__


def test_every_field_of_the_schema_has_a_kind_and_every_person_field_is_flat() -> None:
    people = [f"{who}_{part}" for who in ("victim", "suspect") for part in PERSON_FIELDS]
    assert set(FLAT_FIELDS) == (set(LabelledIncident.model_fields) - {"victim", "suspect"}) | set(people)
    assert {FIELDS[name].kind for name in FLAT_FIELDS} == {
        *("id", "narrative", "text", "time", "choice", "flag", "whole", "names", "evidence", "object")
    }


def test_the_same_rules_fail_with_pandera_and_without(tmp_path: Path) -> None:
    good = {"incident_id": "A0", "narrative": "fine", "source_type": "", "victim_surname": ""}
    rows = [good, good | {"narrative": "", "source_type": "odd"}, good | {"incident_id": "x" * 300, "narrative": "\0"}]
    path = tmp_path / "set.csv"
    path.write_text(csv_text(*(list(row.values()) for row in rows), header=",".join(good)))
    plain = refused(path, incidents=True).context["problems"]
    text = path.read_text()
    header, _, body = text.partition("\n")
    path.write_text(header + ",stalking\n" + body.replace('"\n', '","1"\n'))
    assert [p for p in refused(path).context["problems"] if p["field"] != "stalking"] == plain
    assert len(plain) == 5


def test_an_incident_file_is_read_without_pandera_and_mlflow(tmp_path: Path) -> None:
    path = labelled_csv(tmp_path)
    code = (
        "import sys; from stalkscreen.dataset import *; "
        f"read_incidents({str(path)!r}); list(stream_incidents({str(path)!r})); "
        "print(sorted({'pandera', 'pandas', 'mlflow', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_thirty_thousand_rows_are_read_whole_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    with path.open("w") as stream:
        for i in range(30_000):
            stream.write(json.dumps({"incident_id": str(i), "narrative": SECRET * 20, "stalking": i % 2}) + "\n")
    found = read_labelled(path)
    assert [r.incident_id for r in found.records] == [str(i) for i in range(30_000)]
    assert found.files[0]["rows"] == 30_000


# --- streaming


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_stream_gives_good_incidents_and_sets_bad_rows_aside(tmp_path: Path, suffix: str) -> None:
    rows = [{"incident_id": str(i), "narrative": f"{SECRET} {i}"} for i in range(25)]
    rows[4]["narrative"] = " "
    rows[11]["incident_id"] = "3"
    rows[24]["narrative"] = "x" * 20_001
    path = tmp_path / f"set{suffix}"
    if suffix == ".csv":
        path.write_text(csv_text(*(list(r.values()) for r in rows), header="incident_id,narrative"))
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    chunks = list(stream_incidents(path, chunk_rows=10))
    assert [chunk.rows for chunk in chunks] == [10, 10, 5]
    assert [r.incident_id for chunk in chunks for r in chunk.incidents] == [
        str(i) for i in range(25) if i not in (4, 11, 24)
    ]
    rejects = [problem for chunk in chunks for problem in chunk.rejects]
    assert [(p.row, p.field, p.incident_id) for p in rejects] == [
        (5, "narrative", "4"),
        (12, "incident_id", "3"),
        (25, "narrative", "24"),
    ]
    assert "is the same as in row 4" in rejects[1].reason
    assert not any(SECRET_WORDS.search(str(problem)) for problem in rejects)


def test_a_stream_carries_the_files_name_hash_and_notes(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    path.write_bytes(b"incident_id,narrative\nA,caf\xe9\n")
    stream = stream_incidents(path)
    assert (stream.name, stream.sha256) == ("set.csv", hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(list(stream)) == 1
    assert "Windows-1252" in stream.notes[0]
    with pytest.raises(ValueError, match="chunk_rows"):
        stream_incidents(path, chunk_rows=0)


def test_a_stream_refuses_a_file_without_the_needed_columns_at_the_call(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"incident_id": "A", "text": "waited"}\n')
    with pytest.raises(DataError, match="no column 'narrative'") as caught:
        stream_incidents(path)
    assert not SECRET_WORDS.search(caught.value.message)


@pytest.mark.parametrize("name", ["rejects.csv", "rejects.jsonl"])
def test_rejects_are_written_with_row_and_reason_and_no_narrative(tmp_path: Path, name: str) -> None:
    path = labelled_jsonl(tmp_path, {"incident_id": "=1+1", "narrative": SECRET + "\0", "source_type": SECRET})
    (chunk,) = stream_incidents(path)
    out = tmp_path / name
    assert write_rejects(out, iter(chunk.rejects)) == 2
    text = out.read_text(encoding="utf-8-sig")
    assert not SECRET_WORDS.search(text)
    if name.endswith(".csv"):
        first = next(csv.DictReader(text.splitlines()))
        assert first["incident_id"] == "'=1+1"
    else:
        first = json.loads(text.splitlines()[0])
        assert first["incident_id"] == "=1+1"
    assert list(first) == ["incident_id", "row", "field", "reason"]
    assert (str(first["row"]), first["field"]) == ("1", "narrative")
    assert "tabs and line breaks only" in first["reason"]
    with pytest.raises(DataError, match=re.escape("allowed: .csv, .jsonl")):
        write_rejects(tmp_path / "rejects.txt", [])


# --- writing

any_text = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
words = any_text.filter(lambda text: bool(text.strip()))
starts = st.sampled_from(["", "=", "+", "-", "@", "'", "'=", "''-", "\t=", "\r", "＝", " =", "\u00a0－"])
narratives = st.builds(
    lambda a, b, c: a + b + c, starts, words, st.sampled_from(["", "\r\n", "\n", ' "x"', ",;|", "\u2028"])
)
times = st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)) | st.datetimes(
    datetime(1990, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(any_text, inner, max_size=2),
    max_leaves=4,
)
extra_names = st.sampled_from(
    ["team", "div code", "=sum", "Ünit", "a|b", "copy", " x ", "_fields_set", "2nd", "beat.4"]
)
people = st.dictionaries(st.sampled_from(PERSON_FIELDS), words, min_size=1, max_size=3).map(lambda d: Person(**d))


@st.composite
def labelled(draw: st.DrawFn, incident_id: str) -> LabelledIncident:
    narrative = draw(narratives)
    stalking = draw(st.booleans())
    values: dict[str, Any] = {"incident_id": incident_id, "narrative": narrative, "stalking": stalking}
    choices: dict[str, st.SearchStrategy[Any]] = {
        "occurred_at": times,
        "recorded_offence": narratives,
        "force": words,
        "case_id": st.sampled_from(["007", "1.0", "-5"]),
        "source_type": st.sampled_from(FIELDS["source_type"].choices),
        "victim": people,
        "suspect": people,
        "four_repeated": st.booleans(),
        "indicators": st.lists(st.sampled_from(NAMES), max_size=3),
        "indicators_assessed": st.lists(st.sampled_from(NAMES), max_size=3),
        "evidence": st.lists(
            st.builds(
                Evidence,
                indicator=st.sampled_from(NAMES),
                start=st.just(0),
                end=st.integers(1, len(narrative)),
                status=st.sampled_from(["negated", "other_person"]),
            ),
            max_size=2,
        ),
        "confidence": st.sampled_from([1, 2, 3]),
        "annotator": words,
        "people": st.dictionaries(any_text, json_values, max_size=2),
    }
    for name in draw(st.sets(st.sampled_from(sorted(choices)))):
        values[name] = draw(choices[name])
    extras = draw(st.dictionaries(extra_names, json_values | narratives, max_size=3))
    return LabelledIncident.model_validate(values | extras)


sets = st.integers(1, 4).flatmap(lambda n: st.tuples(*(labelled(f"A{i}") for i in range(n)))).map(list)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(records=sets)
def test_json_lines_to_csv_to_parquet_and_back_changes_nothing(tmp_path: Path, records: list[LabelledIncident]) -> None:
    read = records
    for suffix in (".jsonl", ".csv", ".parquet", ".jsonl"):
        path = write_labelled(read, tmp_path / f"set{suffix}")
        found = read_labelled(path)
        assert found.notes == []
        read = found.records
        assert read == records
    for record in records:
        assert LabelledIncident.model_validate(unflatten(flatten(record))) == record


def test_the_second_hour_when_the_clocks_go_back_keeps_its_offset(tmp_path: Path) -> None:
    late = datetime(2024, 10, 27, 1, 30, fold=1, tzinfo=LONDON)
    record = LabelledIncident(incident_id="A", narrative="x", stalking=True, occurred_at=late)
    path = write_labelled([record], tmp_path / "set.csv")
    (read,) = read_labelled(path).records
    assert read.occurred_at is not None
    assert read.occurred_at.astimezone(UTC) == late.astimezone(UTC)


@pytest.mark.parametrize("sign", list("=+-@＝＋－＠"))
@pytest.mark.parametrize("before", ["", " ", "  ", "\u00a0", "\t", "\n"])
def test_a_cell_that_looks_like_a_formula_is_made_inert(sign: str, before: str) -> None:
    assert inert(f"{before}{sign}1") == f"'{before}{sign}1"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("\nx", "'\nx"),
        ("A-1", "A-1"),
        (" x", " x"),
        ("'=", "'="),
        ("", ""),
        (None, ""),
    ],
)
def test_a_cell_that_starts_with_a_break_is_made_inert_and_any_other_left_alone(
    cell: str | None, expected: str
) -> None:
    assert inert(cell) == expected


def test_csv_cells_that_look_like_formulas_are_guarded_and_come_back(tmp_path: Path) -> None:
    starts = ["=1+1", "+447", "-a", "@a", "\tb", " =1", "'=kept", "plain"]
    records = [LabelledIncident(incident_id=f"A{i}", narrative=s, stalking=True, team=s) for i, s in enumerate(starts)]  # type: ignore[call-arg]
    path = write_labelled(records, tmp_path / "set.csv")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["narrative"] for row in rows] == ["'=1+1", "'+447", "'-a", "'@a", "'\tb", "' =1", "'=kept", "plain"]
    assert [row["guarded_cells"] for row in rows] == ["narrative|team"] * 6 + ["", ""]
    assert read_labelled(path).records == records


def test_a_forces_own_apostrophes_are_left_alone(tmp_path: Path) -> None:
    (record,) = read_labelled(labelled_csv(tmp_path, narrative="'=not ours")).records
    assert record.narrative == "'=not ours"


def test_written_files_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    for suffix in (".jsonl", ".csv", ".parquet"):
        one = write_labelled(rich_records(5), tmp_path / f"one{suffix}").read_bytes()
        assert one == write_labelled(rich_records(5), tmp_path / f"two{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"set{suffix}"
    path.write_text("old")
    good = LabelledIncident(incident_id="A", narrative=SECRET, stalking=True)
    bad = LabelledIncident(incident_id="B", narrative=SECRET, stalking=True, seen={1: {SECRET}})  # type: ignore[call-arg]
    with pytest.raises(DataError, match="a value cannot be written") as caught:
        write_labelled([good, bad], path)
    assert not SECRET_WORDS.search(caught.value.message)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_is_refused_with_what_to_do(tmp_path: Path) -> None:
    record = LabelledIncident(incident_id="A", narrative=SECRET, stalking=True)
    clash = LabelledIncident(incident_id="A", narrative=SECRET, stalking=True, victim_surname="x")  # type: ignore[call-arg]
    for records, path, says in [
        ([record], tmp_path / "set.xlsx", "allowed: .jsonl, .csv, .parquet"),
        ([record], tmp_path / "no" / "set.csv", "there is no folder"),
        ([], tmp_path / "set.csv", "no records to write"),
        ([record, record], tmp_path / "set.csv", "occurs twice"),
        ([clash], tmp_path / "set.csv", "'victim_surname' has a name that files use"),
    ]:
        with pytest.raises(DataError, match=re.escape(says)):
            write_labelled(records, path)
    (tmp_path / "set.csv").mkdir()
    with pytest.raises(DataError, match="it is a directory"):
        write_labelled([record], tmp_path / "set.csv")


# --- manifests


@pytest.fixture
def published(tmp_path: Path) -> Path:
    write_labelled(rich_records(3), tmp_path / "one.jsonl")
    records = [r.model_copy(update={"label_version": "1.0"}) for r in rich_records(4)]
    write_labelled(records, tmp_path / "two.csv")
    write_labelled(records, tmp_path / "three.parquet")
    (tmp_path / "README.md").write_text("not data")
    write_manifest(tmp_path)
    return tmp_path


def test_a_manifest_describes_each_data_file(published: Path) -> None:
    entries = {entry["name"]: entry for entry in check_manifest(published)}
    assert list(entries) == ["one.jsonl", "three.parquet", "two.csv"]
    assert [(e["rows"], e["label_version"]) for e in entries.values()] == [(3, None), (4, "1.0"), (4, "1.0")]
    assert entries["two.csv"]["bytes"] == (published / "two.csv").stat().st_size


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "two.csv").unlink(), "two.csv: the file is missing"),
        (lambda folder: (folder / "four.jsonl").write_text("{}\n"), "four.jsonl: the file is not in the manifest"),
        (lambda folder: (folder / "one.jsonl").write_text('{"a": 1}\n'), "one.jsonl: rows is 1, the manifest says 3"),
        (lambda folder: write_labelled(rich_records(4), folder / "three.parquet"), "three.parquet: sha256 is"),
    ],
)
def test_a_folder_that_differs_from_its_manifest_is_refused(published: Path, change: Any, says: str) -> None:
    change(published)
    with pytest.raises(DataError, match=re.escape(says)) as caught:
        check_manifest(published)
    assert caught.value.code == "manifest_mismatch"
    assert says.split(":")[0] in caught.value.context["problems"][0]


def test_a_missing_or_damaged_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data file"):
        write_manifest(tmp_path)
    with pytest.raises(DataError, match="not a manifest") as caught:
        check_manifest(tmp_path)
    assert caught.value.code == "manifest_invalid"
    (tmp_path / "manifest.json").write_text('{"format": 2, "files": []}')
    with pytest.raises(DataError, match="not a manifest of format 1"):
        check_manifest(tmp_path)
    with pytest.raises(DataError, match="there is no such folder"):
        write_manifest(tmp_path / "none")
