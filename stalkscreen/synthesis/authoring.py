"""From a writer's sheet to corpus records.

Writers quote their evidence instead of counting characters, and use short names; this module finds the offsets,
spells the names out, numbers the records and has the recorder put an offence title on each. It adds no word to any
narrative. The short form, one JSON object a line:

`n` number on the sheet · `st` stratum · `src` source type · `at` date · `force` · `narrative` · `fam` offence family ·
`basis` · `hc` history check · `tier` · `four` letters of FOUR shown · `dom` · `cyber` · `rel` relationship · `conf` ·
`v`, `s` victim and suspect ("f34 British Pakistani") · `ev` list of [indicator, exact quote, "n" or "o" when negated
or another person's] · for pair mates `pair_of`, `pair` and `kind` · `origin` invented, retold or edited, unknown where
left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stalkscreen.dataset import read_labelled, write_labelled, write_manifest
from stalkscreen.errors import DataError
from stalkscreen.schema import LabelledIncident
from stalkscreen.synthesis.recorder import Recorder
from stalkscreen.taxonomy import LABEL_VERSION, load_taxonomy

_STATUS = {"n": "negated", "o": "other_person"}
_SEX = {"f": "female", "m": "male", "x": "non-binary"}
_FOUR = {"F": "four_fixated", "O": "four_obsessive", "U": "four_unwanted", "R": "four_repeated"}


def read_sheet(path: Path, recorder: Recorder) -> list[LabelledIncident]:
    """Turn one writer's sheet (`<writer>.jsonl`) into records.

    Raises:
        DataError: Every row that cannot be read: not JSON, a field missing, a quote that is not in the narrative
            exactly once. Names writer, row number and field, never the text.
    """
    rows, problems = [], []
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if text.strip():
            try:
                rows.append(json.loads(text))
            except ValueError:
                problems.append(f"{path.name} line {line}: not JSON")
    pairs = {row["pair_of"]: row for row in rows if "pair_of" in row}
    records = []
    for row in rows:
        try:
            records.append(_record(row, path.stem, pairs, recorder))
        except (KeyError, ValueError) as error:
            problems.append(f"{path.name} n={row.get('n')}: {error}")
    if problems:
        raise DataError("\n".join(problems), problems=problems)
    return sorted(records, key=lambda r: r.incident_id)


def _record(row: dict[str, Any], writer: str, pairs: dict[int, dict[str, Any]], recorder: Recorder) -> LabelledIncident:
    number, stalking = int(row["n"]), row["fam"] == "stalking"
    mate = row if "pair_of" in row else pairs.get(number)
    evidence = list(_evidence(row["narrative"], row["ev"]))
    present = {e["indicator"] for e in evidence if e["status"] == "present"}
    fields: dict[str, Any] = {
        "incident_id": f"syn-{writer}-{number:03d}",
        "narrative": row["narrative"],
        "occurred_at": row["at"] if "T" in row["at"] else f"{row['at']}T12:00",
        "source_type": row["src"],
        "force": row["force"],
        "case_id": f"syn-{writer}-{row.get('pair_of', number):03d}",
        "stalking": stalking,
        "stalking_basis": row["basis"] if stalking else None,
        # The guide (section 2) asks for it only where two occasions are not in the text; elsewhere it stays unknown.
        "history_check": None if stalking else row["hc"],
        "offence_family": row["fam"],
        "tier": row["tier"] if stalking else None,
        **{name: letter in row["four"] for letter, name in _FOUR.items()},
        "indicators": [n for n in load_taxonomy().indicator_names if n in present],
        "evidence": evidence,
        "domestic": row["dom"],
        "cyber": row["cyber"],
        "relationship": row["rel"],
        "label_version": LABEL_VERSION,
        "annotator": writer,
        "confidence": row["conf"],
        "writer": writer,
        "stratum": row["st"],
        "origin": row.get("origin"),
        "pair_id": f"syn-{writer}-{mate['pair']}" if mate else None,
        "pair_kind": mate["kind"] if mate else None,
        "people": {"victim": _person(row["v"]), "suspect": _person(row["s"])},
    }
    record = LabelledIncident(**fields)
    return record.model_copy(update={"recorded_offence": recorder.title(record)})


def _evidence(narrative: str, quotes: Iterable[list[str]]) -> Iterator[dict[str, Any]]:
    for indicator, quote, *status in quotes:
        if narrative.count(quote) != 1:
            raise ValueError(f"a quote for {indicator} is found {narrative.count(quote)} times")
        start = narrative.index(quote)
        yield {
            "indicator": indicator,
            "start": start,
            "end": start + len(quote),
            "status": _STATUS[status[0]] if status else "present",
        }


def _person(text: str) -> dict[str, Any]:
    """`f34 British Pakistani` as sex, age and background, each only where given."""
    match = re.fullmatch(r"([mfxu])(\d{1,2})?(?: (.+))?", text)
    if match is None:
        raise ValueError("victim or suspect is not like 'f34 background'")
    sex, age, background = match.groups()
    known = {"sex": _SEX.get(sex), "age": int(age) if age else None, "background": background}
    return {key: value for key, value in known.items() if value is not None}


def add_sheets(sheets: Iterable[Path], corpus: Path) -> int:
    """Put writers' sheets into a corpus file, in place of whatever it held of the same writers.

    Args:
        sheets: Files named after their writers.
        corpus: `narratives.jsonl`; made when missing, replaced in one step; the folder's manifest follows.

    Returns:
        Records the corpus then holds.
    """
    recorder = Recorder()
    added = [record for sheet in sheets for record in read_sheet(sheet, recorder)]
    writers = {record.writer for record in added}
    kept = [r for r in read_labelled([corpus]).records if r.writer not in writers] if corpus.exists() else []
    records = sorted([*kept, *added], key=lambda r: r.incident_id)
    write_labelled(records, corpus)
    write_manifest(corpus.parent)
    return len(records)


if __name__ == "__main__":
    import sys

    if len(sys.argv) < 3:
        sys.exit("Usage: python -m stalkscreen.synthesis.authoring SHEET.jsonl … data/synthetic/narratives.jsonl")
    *paths, target = map(Path, sys.argv[1:])
    try:
        sys.stdout.write(f"{add_sheets(paths, target):,} records in {target}\n")
    except DataError as error:
        sys.exit(error.message)
