"""What is wrong with a file, row by row, and the one error that carries it.

A problem names the place, what is wrong and what is allowed. It never quotes a narrative or a person's details;
`shown` decides what may be quoted of a label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stalkscreen.errors import DataError

SHOWN_PROBLEMS = 50
"""How many problems an error message lists; all are counted and all are in its context (contract, section 1)."""

_LABEL_LIKE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}|[+-]?\d{1,3}(\.\d{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one file or row.

    Attributes:
        file: The path as it was given.
        row: Data row from 1 (in a spreadsheet, the line below the column names is 1); in JSONL the line number. None
            when the whole file is meant.
        field: Our name of the field, or None when the whole row or file is meant.
        wrong: What is wrong, following on from the field's name. No narrative text.
        allowed: What would be right, or what to do.
        incident_id: The row's id where it could be read. Not part of any message.
    """

    file: str
    row: int | None
    field: str | None
    wrong: str
    allowed: str
    incident_id: str | None = None

    @property
    def reason(self) -> str:
        """What is wrong and what is allowed, without the place."""
        return f"{self.wrong}; allowed: {self.allowed}"

    def __str__(self) -> str:
        row = "" if self.row is None else f", row {self.row}"
        field = "" if self.field is None else f", {self.field}"
        return f"{self.file}{row}{field}: {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """Plain facts for `DataError.context["problems"]`."""
        return {
            "file": self.file,
            "row": self.row,
            "field": self.field,
            "wrong": self.wrong,
            "allowed": self.allowed,
        }


class RefusedFileError(Exception):
    """A whole file cannot be read. Caught in this package, which turns it into a `DataError` with all the others.

    Args:
        path: The file as it was given.
        wrong: What is wrong.
        allowed: What would be right.
        field: Our field, for a missing column.
    """

    def __init__(self, path: object, wrong: str, allowed: str, field: str | None = None) -> None:
        super().__init__(wrong)
        self.problem = Problem(file=str(path), row=None, field=field, wrong=wrong, allowed=allowed)


def data_error(problems: Sequence[Problem]) -> DataError:
    """The error for these problems: the first 50 in its message, all in `context["problems"]`.

    What is wrong with a whole file stands first: it is often the cause of what is wrong with its rows.

    Args:
        problems: At least one.
    """
    problems = sorted(problems, key=lambda problem: problem.row is not None)
    total = len(problems)
    files = list(dict.fromkeys(problem.file for problem in problems))
    heading = f"{total:,} problem{'' if total == 1 else 's'} found; nothing was used"
    if total > SHOWN_PROBLEMS:
        heading += f" (the first {SHOWN_PROBLEMS} are shown)"
    lines = [f"  {problem}" for problem in problems[:SHOWN_PROBLEMS]]
    return DataError(
        "\n".join([heading + ":", *lines]),
        problems=[problem.to_dict() for problem in problems],
        total=total,
        files=files,
    )


def shown(value: Any) -> str:
    """How a wrong label may be quoted: one short word or number as it is, anything else by its kind and length.

    A column mapped by mistake can put a narrative where a label belongs, so nothing with a space in it, nothing longer
    than 40 characters and no long number is ever quoted.
    """
    if isinstance(value, str):
        return repr(value) if _LABEL_LIKE.fullmatch(value) else f"a text of {len(value):,} characters"
    if isinstance(value, bool | int | float) and abs(value) < 1000 and _LABEL_LIKE.fullmatch(str(value)):
        return str(value)
    return f"a value of type {type(value).__name__}"
