"""Hand-written passages: from writers' sheets into `passages.jsonl`, and from there into simulated histories.

In: sheets in short form, one JSON object a line with `n` number · `text` with placeholders for the two people · `role` ·
`act` · `register` · `again` (tells of repetition) · `ties` it fits · `ev` list of [indicator, exact quote, "n" or "o" when
negated or another person's]. Out: `data/synthetic/passages.jsonl`, rows with `text` and never `narrative`, where evidence
is character offsets into `text` as written, placeholders included; and the folder's manifest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from stalkscreen.dataset import write_manifest
from stalkscreen.errors import DataError
from stalkscreen.schema import Evidence, Relationship, SourceType
from stalkscreen.synthesis.anachronisms import FIRST_YEAR, LAST_YEAR, too_early
from stalkscreen.synthesis.wording import PLACEHOLDER, Piece, neutral_safe, parse, shouting
from stalkscreen.taxonomy import load_taxonomy

Role = Literal["open", "context", "scene", "benign", "effect", "negation", "close"]
View = Literal["first", "third", "neutral"]

ANY_TIE = "any"
BENIGN_ACTS = frozenset(
    (
        *("noise", "boundary", "debt", "customer", "workplace", "domestic_row", "handover"),
        *("theft", "damage", "welfare", "coincidence"),
    )
)
"""What goes on in cases that are not stalking."""
OTHER_ACTS = frozenset(("admin", "order", "unmoved"))
"""Acts of context, effect and administration that are not indicators."""

_STATUS = {"n": "negated", "o": "other_person"}
_TIES = frozenset((*get_args(Relationship), ANY_TIE))
_FIRST_PERSON = re.compile(r"\b(?:i|i'm|im|i've|ive|me|my|mine|myself)\b", re.IGNORECASE)
_VICTIM_SLOTS = frozenset(("she", "her", "their", "She", "Their"))


class PassageRow(BaseModel):
    """One line of `passages.jsonl`.

    Attributes:
        passage_id: `pas-<writer>-<number>`, unique.
        writer: The voice; all passages of one incident are by one writer.
        source_type: Under the name `register` in the file: the kind of record that the text is written for.
        again: Whether the text itself says that it happened before or keeps happening.
        ties: Relationships that the text fits, or `any`.
        evidence: Offsets into `text` with its placeholders; none begins or ends inside one.
    """

    model_config = ConfigDict(hide_input_in_errors=True, extra="forbid", frozen=True)

    passage_id: Annotated[str, Field(min_length=1, max_length=100)]
    writer: Annotated[str, Field(min_length=1)]
    text: Annotated[str, Field(min_length=2, max_length=600)]
    role: Role
    act: str
    source_type: Annotated[SourceType, Field(alias="register")]
    again: bool
    ties: Annotated[tuple[str, ...], Field(min_length=1)]
    evidence: tuple[Evidence, ...]

    @field_validator("ties")
    @classmethod
    def _known_ties(cls, ties: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(ties) - _TIES:
            raise ValueError(f"{sorted(unknown)} unknown; allowed: {', '.join(sorted(_TIES))}")
        return ties

    @model_validator(mode="after")
    def _holds_together(self) -> PassageRow:
        indicators = frozenset(load_taxonomy().indicator_names)
        acts = {"scene": indicators, "benign": BENIGN_ACTS}.get(self.role, indicators | OTHER_ACTS)
        if self.act not in acts:
            raise ValueError(f"act {self.act!r} is not one of a {self.role} passage: {', '.join(sorted(acts))}")
        parse(self.text)  # names any unknown placeholder
        for mark in self.evidence:
            if mark.indicator not in indicators:
                raise ValueError(f"evidence names {mark.indicator!r}, which the taxonomy does not have")
            if mark.end > len(self.text):
                raise ValueError(f"evidence for {mark.indicator} ends at {mark.end}, after the text")
            for slot in PLACEHOLDER.finditer(self.text):
                if slot.start() < mark.start < slot.end() or slot.start() < mark.end < slot.end():
                    raise ValueError(f"evidence for {mark.indicator} begins or ends inside a placeholder")
        present = {mark.indicator for mark in self.evidence if mark.status == "present"}
        if self.role == "scene" and self.act not in present:
            raise ValueError(f"a scene of {self.act} without evidence of it")
        if self.role in ("open", "close") and self.evidence:
            raise ValueError("opening and closing passages carry no evidence")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """A passage ready for use: the row, and what is worked out from its text once.

    Attributes:
        pieces: The text cut at its placeholders, for `wording.fill`.
        slots: Names of the placeholders in it.
        present: Indicators it shows.
        negated: Indicators it denies.
        view: Whose voice: the victim's (I), about the victim, or neither to be seen.
        capitals: Whether it is typed in capitals, and what is filled in must be too.
        neutral: Whether "they" can stand in it.
        since: First day on which everything that it names existed (`anachronisms.toml`), to the year.
    """

    row: PassageRow
    pieces: tuple[Piece, ...]
    slots: frozenset[str]
    present: frozenset[str]
    negated: frozenset[str]
    view: View
    capitals: bool
    neutral: bool
    since: date

    @classmethod
    def of(cls, row: PassageRow) -> Passage:
        """Work out the rest from a row."""
        pieces = parse(row.text)
        slots = frozenset(piece.slot for piece in pieces if piece.slot)
        view: View = "neutral"
        if slots & _VICTIM_SLOTS:
            view = "third"
        elif _FIRST_PERSON.search(PLACEHOLDER.sub("", row.text)):
            view = "first"
        years = (date(year, 1, 1) for year in range(FIRST_YEAR, LAST_YEAR + 1))
        return cls(
            row=row,
            pieces=pieces,
            slots=slots,
            present=frozenset(m.indicator for m in row.evidence if m.status == "present"),
            negated=frozenset(m.indicator for m in row.evidence if m.status == "negated"),
            view=view,
            capitals=shouting(pieces),
            neutral=neutral_safe(pieces),
            since=next((day for day in years if not any(too_early(row.text, day))), date(LAST_YEAR, 1, 1)),
        )

    def fits(self, tie: str) -> bool:
        """Whether it can be said of two people with this tie."""
        return ANY_TIE in self.row.ties or tie in self.row.ties


def read_passages(path: Path) -> list[Passage]:
    """Read and check `passages.jsonl`.

    Raises:
        DataError: The file is missing or empty, or any row is wrong: every problem by line, field and reason, never
            the text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise DataError(
            f"{path}: there is no such file. Simulated histories are put together from written passages; "
            "`python -m stalkscreen.synthesis.passages SHEET.jsonl … FILE` makes it from writers' sheets.",
            file=str(path),
        ) from None
    rows, problems, seen = [], [], set[str]()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = PassageRow.model_validate_json(line)
        except (ValidationError, ValueError, TypeError) as error:
            problems.append(f"{path.name} line {number}: {_reason(error)}")
            continue
        if row.passage_id in seen:
            problems.append(f"{path.name} line {number}: passage_id {row.passage_id} occurs twice")
        seen.add(row.passage_id)
        rows.append(row)
    if problems or not rows:
        raise DataError(
            "\n".join(problems) or f"{path}: there are no passages in it", file=str(path), problems=problems
        )
    return [Passage.of(row) for row in rows]


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'row'}: {e['msg']}" for e in error.errors())
    return "not a JSON object" if not isinstance(error, KeyError) else f"{error} is missing"


def read_passage_sheet(path: Path) -> list[PassageRow]:
    """Turn one writer's sheet (`<writer>.jsonl`) into rows with offsets.

    Raises:
        DataError: Every row that cannot be read; names writer, row number and field, never the text.
    """
    rows, problems = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path.name} line {number}"
        try:
            sheet = json.loads(line)
            where = f"{path.name} n={sheet['n']}"
            rows.append(
                PassageRow.model_validate(
                    {
                        "passage_id": f"pas-{path.stem}-{int(sheet['n']):03d}",
                        "writer": path.stem,
                        "evidence": [_mark(sheet["text"], *quote) for quote in sheet["ev"]],
                        **{name: sheet[name] for name in ("text", "role", "act", "register", "again", "ties")},
                    }
                )
            )
        except KeyError as error:
            problems.append(f"{where}: {error} is missing")
        except (ValidationError, ValueError, TypeError) as error:
            said = isinstance(error, ValidationError) or not str(error).startswith("a quote")
            problems.append(f"{where}: {_reason(error) if said else error}")
    if problems:
        raise DataError("\n".join(problems), problems=problems)
    return rows


def _mark(text: str, indicator: str, quote: str, status: str = "") -> Evidence:
    if text.count(quote) != 1:
        raise ValueError(f"a quote for {indicator} is found {text.count(quote)} times")
    start = text.index(quote)
    return Evidence.model_validate(
        {"indicator": indicator, "start": start, "end": start + len(quote), "status": _STATUS.get(status, "present")}
    )


def add_passages(sheets: Iterable[Path], path: Path) -> int:
    """Put writers' sheets into the passages file, in place of whatever it held of the same writers.

    Args:
        sheets: Files named after their writers.
        path: `passages.jsonl`; made when missing, replaced in one step; the folder's manifest follows.

    Returns:
        Passages the file then holds.

    Raises:
        DataError: A sheet or the file is wrong, or two passages have the same text; nothing is written.
    """
    added = [row for sheet in sheets for row in read_passage_sheet(sheet)]
    writers = {row.writer for row in added}
    kept = [p.row for p in read_passages(path) if p.row.writer not in writers] if path.exists() else []
    rows = sorted([*kept, *added], key=lambda row: row.passage_id)
    first: dict[str, str] = {}
    problems = [
        f"{row.passage_id}: the same text as {first[row.text]}"
        for row in rows
        if first.setdefault(row.text, row.passage_id) != row.passage_id
    ]
    if problems:
        raise DataError("\n".join(problems), problems=problems)
    temporary = path.with_name(f".{path.name}.tmp")
    lines = (json.dumps(row.model_dump(mode="json", by_alias=True), ensure_ascii=False) + "\n" for row in rows)
    temporary.write_text("".join(lines), encoding="utf-8", newline="\n")
    temporary.replace(path)
    write_manifest(path.parent)
    return len(rows)


if __name__ == "__main__":
    import sys

    if len(sys.argv) < 3:
        sys.exit("Usage: python -m stalkscreen.synthesis.passages SHEET.jsonl … data/synthetic/passages.jsonl")
    *paths, target = map(Path, sys.argv[1:])
    try:
        sys.stdout.write(f"{add_passages(paths, target):,} passages in {target}\n")
    except DataError as error:
        sys.exit(error.message)
