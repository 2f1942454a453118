"""From the findings of an audit to a review file, and from the reviewed file to a corrected set.

In: findings, then the same file, or an export of Label Studio, with a person's decisions in it. Out: `review.csv`; later
the corrected records with both labels and a log of who changed what and why. Without a person's decision no label
changes. No file holds a narrative.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stalkscreen.dataset.problems import Problem, RefusedFileError, data_error, shown
from stalkscreen.dataset.sources import inspect
from stalkscreen.dataset.writing import inert
from stalkscreen.schema import LabelledIncident
from training.label_audit import Audit
from training.label_studio import read_export

REVIEW_COLUMNS = (
    "rank",
    "incident_id",
    "finding",
    "current_stalking",
    "suggested_stalking",
    "probability",
    "matters",
    "recorded_offence",
    "similar_to",
    "reviewed_stalking",
    "reviewer",
    "reason",
)
"""Columns of the review file; the last three are empty and for the reviewer."""
NEEDED = ("incident_id", "reviewed_stalking", "reviewer", "reason")
"""Columns that must come back."""
BEFORE = "stalking_before_review"
"""Field of a corrected set: the label before its first review, on reviewed records only."""
MAX_REASON = 300
"""Longest reason, in characters: a reason, not a retelling."""
QUOTED_WORDS = 8
"""So many words of the narrative in a row are a quotation: the change log goes where narratives must not."""

_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_FROM_DECISION = ("tier", "stalking_basis", "history_check", "stratum")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reviewer decided about one record: `row` in the set, the label, who and why."""

    row: int
    stalking: bool
    reviewer: str
    reason: str


def review_csv(audit: Audit) -> str:
    """The review file: one line a finding, what matters most first. No narrative."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(REVIEW_COLUMNS)
    for rank, finding in enumerate(audit.findings, 1):
        cells = [
            str(rank),
            finding.incident_id,
            "|".join(finding.kinds),
            _word(finding.current),
            _word(finding.suggested),
            f"{finding.probability:.4f}",
            f"{finding.matters:.4f}",
            finding.recorded_offence or "",
            "|".join(finding.similar_to),
            *[""] * 3,
        ]
        writer.writerow([inert(cell) for cell in cells])
    return buffer.getvalue()


def _word(value: bool) -> str:
    return "true" if value else "false"


def read_review(path: Path, records: Sequence[LabelledIncident]) -> list[Decision]:
    """Read a reviewed file. Rows without a reviewed label are passed over.

    Raises:
        DataError: Anything in the file is wrong; every problem is listed, by row.
    """
    try:
        rows, problems = read_export(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    except RefusedFileError as refused:
        raise data_error([refused.problem]) from None
    place = {r.incident_id: row for row, r in enumerate(records)}
    trimmed = _trimmed(place)
    first: dict[str, int] = {}
    decisions: list[Decision] = []
    for number, row in rows:
        incident_id = _meant(row["incident_id"], place, trimmed)
        found = list(_row_problems(row, incident_id, place, first, records))
        problems += [Problem(str(path), number, field, wrong, allowed) for field, wrong, allowed in found]
        first.setdefault(incident_id, number)
        if row["reviewed_stalking"] and not found:
            decided = _FLAGS[row["reviewed_stalking"].lower()]
            decisions.append(Decision(place[incident_id], decided, row["reviewer"], row["reason"]))
    if not problems and not decisions:
        problems.append(
            Problem(str(path), None, "reviewed_stalking", "no row has a decision", "true or false in at least one row")
        )
    if problems:
        raise data_error(sorted(problems, key=lambda problem: problem.row or 0))
    return decisions


def _csv_rows(path: Path) -> tuple[list[tuple[int, dict[str, str]]], list[Problem]]:
    """Rows by number, blank ones left out, and what is wrong with the others.

    Raises:
        RefusedFileError: It is no review file.
        DataError: Columns are missing.
    """
    source = inspect(path)
    if source.suffix != ".csv":
        raise RefusedFileError(
            path, f"the suffix is {source.suffix!r}", "the reviewed file as .csv or Label Studio's .json"
        )
    with path.open(encoding=source.encoding, newline="") as stream:
        text = stream.read()
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error:
        wrong = "a quote is left open or not doubled"
        raise RefusedFileError(path, wrong, "CSV as it was written, with decisions filled in") from None
    names = [name.strip() for name in rows[0]]
    if missing := [name for name in NEEDED if name not in names]:
        allowed = f"the columns {', '.join(NEEDED)}"
        raise data_error([Problem(str(path), None, name, "the column is missing", allowed) for name in missing])
    problems: list[Problem] = []
    if len(set(names)) < len(names):
        problems.append(Problem(str(path), None, None, "a column name occurs twice", "each column name once"))
    found: list[tuple[int, dict[str, str]]] = []
    for number, cells in enumerate(rows[1:], 1):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) == len(names):
            row = dict(zip(names, cells, strict=True))
            found.append(
                (number, {name: cell if name == "incident_id" else cell.strip() for name, cell in row.items()})
            )
        else:
            wrong = f"the row has {len(cells)} cells"
            problems.append(Problem(str(path), number, None, wrong, f"{len(names)}, as many as column names"))
    return found, problems


def _trimmed(ids: Collection[str]) -> dict[str, str]:
    """Ids by what is left of them without white space around, where that is of one id alone."""
    counts = Counter(name.strip() for name in ids)
    return {name.strip(): name for name in ids if counts[name.strip()] == 1}


def _meant(cell: str, known: Container[str], trimmed: Mapping[str, str]) -> str:
    """The id of the data that a cell means; the cell, trimmed, where it means none.

    White space around an id belongs to it, though a spreadsheet may have taken some away or put some there. The apostrophe
    that `review_csv` put before an id that starts like a formula does not.
    """
    for written in (cell, cell.removeprefix("'")):
        if written in known:
            return written
    bare = cell.strip()
    return trimmed.get(bare) or trimmed.get(bare.removeprefix("'").strip()) or bare


def _row_problems(
    row: Mapping[str, str],
    incident_id: str,
    place: Mapping[str, int],
    first: Mapping[str, int],
    records: Sequence[LabelledIncident],
) -> list[tuple[str, str, str]]:
    """What is wrong with one row: field, what, and what is allowed."""
    found: list[tuple[str, str, str]] = []
    record = records[place[incident_id]] if incident_id in place else None
    if record is None:
        wrong = "is missing" if not incident_id else "is not an id of the data"
        found.append(("incident_id", wrong, "an incident_id of --data, exactly as written there (mind leading zeros)"))
    elif incident_id in first:
        found.append(("incident_id", f"is the same as in row {first[incident_id]}", "each id once"))
    given = row["reviewed_stalking"]
    if not given:
        return found
    if given.lower() not in _FLAGS:
        found.append(("reviewed_stalking", f"is {shown(given)}", "true, false, 1, 0, yes or no; blank: not reviewed"))
    if not row["reviewer"]:
        found.append(("reviewer", "is missing though there is a decision", "the reviewer's name or number"))
    elif len(row["reviewer"]) > 100:
        found.append(("reviewer", "is too long", "at most 100 characters"))
    was = _FLAGS.get(row.get("current_stalking", "").lower())
    if record is not None and was is not None and was != record.stalking:
        found.append(
            (
                "current_stalking",
                f"is {_word(was)}, but the data now say {_word(record.stalking)}",
                "the file that was audited; run the audit again if the data have changed",
            )
        )
    reason = row["reason"]
    if record is not None and given.lower() in _FLAGS and _FLAGS[given.lower()] != record.stalking and not reason:
        found.append(("reason", "is missing though the label changes", "why, in a few words of the reviewer's own"))
    if len(reason) > MAX_REASON:
        found.append(("reason", f"has {len(reason):,} characters", f"at most {MAX_REASON}"))
    elif record is not None and _quotes(reason, record.narrative):
        found.append(("reason", "quotes the narrative", f"own words; fewer than {QUOTED_WORDS} of its words in a row"))
    return found


def _quotes(reason: str, narrative: str) -> bool:
    words, text = (re.findall(r"\w+", t.lower()) for t in (reason, narrative))
    whole = f" {' '.join(text)} "
    runs = (" ".join(words[k : k + QUOTED_WORDS]) for k in range(len(words) - QUOTED_WORDS + 1))
    return any(f" {run} " in whole for run in runs)


def corrected(
    records: Sequence[LabelledIncident], decisions: Sequence[Decision], when: datetime | None = None
) -> tuple[list[LabelledIncident], list[dict[str, Any]]]:
    """The set with the decisions in it, and the log of them.

    A reviewed record carries `stalking_before_review`. Where the label changes, labels that follow from it would
    contradict it: `offence_family` becomes `stalking` or unknown, `case_stalking` false becomes unknown when the
    incident is stalking, tier, basis, history check and stratum become unknown. The log names each of them.

    Args:
        records: The set as read; not changed.
        decisions: From `read_review`.
        when: Time in the log; now if not given.

    Returns:
        All records in order, and one plain object a decision: `when`, `who`, `incident_id`, `from`, `to`, `reason` and
        `also` (field to its value before and after).
    """
    stamp = (when or datetime.now(UTC)).isoformat(timespec="seconds")
    out = list(records)
    log: list[dict[str, Any]] = []
    for decision in decisions:
        record = records[decision.row]
        update: dict[str, Any] = {"stalking": decision.stalking}
        if decision.stalking != record.stalking:
            for name in _FROM_DECISION:
                if getattr(record, name) is not None:
                    update[name] = None
            if record.offence_family is not None:
                update["offence_family"] = "stalking" if decision.stalking else None
            if decision.stalking and record.case_stalking is False:
                update["case_stalking"] = None
        log.append(
            {
                "when": stamp,
                "who": decision.reviewer,
                "incident_id": record.incident_id,
                "from": record.stalking,
                "to": decision.stalking,
                "reason": decision.reason,
                "also": {name: [getattr(record, name), new] for name, new in update.items() if name != "stalking"},
            }
        )
        before = (record.model_extra or {}).get(BEFORE) or _word(record.stalking)
        out[decision.row] = record.model_copy(update=update | {BEFORE: before})
    return out, log
