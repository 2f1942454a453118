"""What the encoder reads: clauses as word pieces, packed into windows, with nothing cut off.

A case goes in as its incidents in order. Every clause keeps the offsets of the narrative it came from, so that what is
learnt or scored on a clause is evidence with exact offsets. Where a case has several incidents, a mark such as "report
2, 12 days later" stands before each, so that the pattern over time can be learnt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stalkscreen.classifiers.passages import Range
from stalkscreen.schema import Case
from stalkscreen.text import Clause, clauses, spelled_out, without_accents

Ints = NDArray[np.int64]

_WORD = re.compile(r"[A-Za-z]+(?:[/'’-][A-Za-z]+)*/?|\d[\d:./-]*\w*|[^\w\s]|\w", re.UNICODE)
_LONG_NUMBER = re.compile(r"\d{5,}")


@dataclass(frozen=True, slots=True)
class EncodedCase:
    """A case as word pieces.

    Attributes:
        pieces: Word-piece ids of each clause or mark, in reading order; none is empty.
        places: `(incident, clause)` of each, aligned with `pieces`; clause None for a mark.
        rows: Which of the case's clauses each is, counted over all its incidents; -1 for a mark.
    """

    pieces: list[list[int]]
    places: list[tuple[int, Clause | None]]
    rows: list[int]

    @property
    def tokens(self) -> int:
        """Word pieces in all."""
        return sum(map(len, self.pieces))

    def within(self, passage: Range) -> Ints:
        """Which of `pieces` belong to a passage; all of them where its clauses have no word piece at all."""
        rows = np.array(self.rows, dtype=np.int64)
        found = np.flatnonzero((rows >= passage[0]) & (rows < passage[1]))
        return found if len(found) else np.arange(max(1, len(rows)))


@dataclass(frozen=True, slots=True)
class Batch:
    """Several cases as a rectangle of windows.

    Attributes:
        ids: `(windows, width)` word-piece ids, 0 where padded.
        mask: `(windows, width)` 1 for a real piece.
        clause: `(windows, width)` index of the clause a piece belongs to, counted over the whole batch; -1 for the
            window's own marks and padding.
        owner: `(clauses,)` index of the case that a clause belongs to, ascending.
        cases: Number of cases.
    """

    ids: Ints
    mask: Ints
    clause: Ints
    owner: Ints
    cases: int


def plain(text: str) -> str:
    """The clause as the encoder reads it: shorthand spelled out, long numbers as "number", all else as written."""
    words: list[str] = []
    for match in _WORD.finditer(without_accents(text).replace("’", "'")):
        word = match.group()
        if word[0].isalpha():
            word = spelled_out(word.lower())
        elif _LONG_NUMBER.search(word):
            word = "number"
        words.append(word)
    return " ".join(words)


def mark(case: Case, index: int) -> str:
    """The words put before an incident of a case of several: its place in the row and the days since the one before."""
    if index == 0:
        return f"report 1 of {len(case.incidents)} ."
    now, before = (case.incidents[i].occurred_at for i in (index, index - 1))
    if now is None or before is None:
        return f"report {index + 1} ."
    days = abs(now - before).days
    return f"report {index + 1} , {days} days later ." if days else f"report {index + 1} , the same day ."


def encode(
    cases: Sequence[Case], tokenizer: Any, rewordings: Sequence[Callable[[str], str]] | None = None
) -> list[EncodedCase]:
    """Cut, spell out and tokenise.

    Args:
        cases: Any number.
        tokenizer: A `tokenizers.Tokenizer` without truncation or padding.
        rewordings: One a case, to vary its wording in training.
    """
    texts: list[str] = []
    places: list[tuple[int, int, int, Clause | None]] = []
    for number, case in enumerate(cases):
        row = 0
        for i, incident in enumerate(case.incidents):
            if len(case.incidents) > 1:
                texts.append(mark(case, i))
                places.append((number, i, -1, None))
            for clause in clauses(incident.narrative):
                text = plain(incident.narrative[clause.start : clause.end])
                texts.append(rewordings[number](text) if rewordings else text)
                places.append((number, i, row, clause))
                row += 1
    encoded = [EncodedCase([], [], []) for _ in cases]
    for (number, i, row, place), found in zip(
        places, tokenizer.encode_batch(texts, add_special_tokens=False), strict=True
    ):
        if found.ids:
            encoded[number].pieces.append(found.ids)
            encoded[number].places.append((i, place))
            encoded[number].rows.append(row)
    return encoded


def collate(cases: Sequence[EncodedCase], width: int, first: int, last: int) -> Batch:
    """Pack clauses into windows of at most `width` pieces; a window ends between clauses wherever it can.

    Args:
        cases: What `encode` gave.
        width: Most pieces in a window, its own two marks included.
        first: Id of the piece that opens a window ([CLS]).
        last: Id of the piece that closes it ([SEP]).
    """
    room = width - 2
    rows: list[tuple[list[int], list[int]]] = []
    owner: list[int] = []
    for number, case in enumerate(cases):
        ids: list[int] = []
        belongs: list[int] = []
        for pieces in case.pieces or [[last]]:
            index = len(owner)
            owner.append(number)
            if ids and len(ids) + len(pieces) > room:
                rows.append((ids, belongs))
                ids, belongs = [], []
            for at in range(0, len(pieces), room):
                part = pieces[at : at + room]
                if ids and len(ids) + len(part) > room:
                    rows.append((ids, belongs))
                    ids, belongs = [], []
                ids, belongs = ids + part, belongs + [index] * len(part)
        rows.append((ids, belongs))
    longest = max(len(ids) for ids, _ in rows) + 2
    out = np.zeros((len(rows), longest), dtype=np.int64)
    mask, clause = np.zeros_like(out), np.full_like(out, -1)
    for row, (ids, belongs) in enumerate(rows):
        n = len(ids)
        out[row, 0], out[row, 1 : n + 1], out[row, n + 1] = first, ids, last
        mask[row, : n + 2] = 1
        clause[row, 1 : n + 1] = belongs
    return Batch(out, mask, clause, np.array(owner, dtype=np.int64), len(cases))
