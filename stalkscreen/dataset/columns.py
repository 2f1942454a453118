"""A force's own column names, mapped onto ours (`--columns narrative=FREE_TEXT,incident_id=URN`)."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from stalkscreen.dataset.fields import FLAT_FIELDS, PEOPLE
from stalkscreen.dataset.problems import RefusedFileError
from stalkscreen.errors import DataError, UnknownNameError

REQUIRED = ("incident_id", "narrative")
REQUIRED_LABELS = ("stalking",)

_NAME_LIKE = re.compile(r"(?!(true|false|yes|no)$|.*\d\d|.{31})[^\W\d]\w*([ ./-]\w+){0,2}", re.IGNORECASE)
"""At most three words and 30 characters, begun by a letter, without a number of two digits. A cell of a record may look
so too; a narrative, a date, a number and most ids do not."""
_SURELY_NAMES = {"narrative", *(name for name in FLAT_FIELDS if "_" in name)}
"""Names of ours that show a line to be one of column names. `stalking` and `force` may as well stand in a record."""


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Columns:
    """Which of the file's columns holds each of our fields. A field not mapped is looked for under its own name.

    Attributes:
        theirs: Our flat field name (`narrative`, `victim_surname`) to the file's column name.
        not_ours: Fields, or `victim` and `suspect`, that the file does not have. A column of that name is the force's own
            and rides along, see `extra_name`.
    """

    theirs: Mapping[str, str] = field(default_factory=_nothing)
    not_ours: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        unknown = [ours for ours in self.theirs if ours not in FLAT_FIELDS]
        unknown += sorted(self.not_ours - {*FLAT_FIELDS, *PEOPLE})
        if unknown:
            names = ", ".join(FLAT_FIELDS)
            raise UnknownNameError(
                f"--columns names {unknown[0]!r}, which is not one of our fields; allowed on the left of '=': {names}",
                field=unknown[0],
                allowed=list(FLAT_FIELDS),
            )
        twice = _first_repeated(list(self.theirs.values()))
        if twice is not None:
            raise DataError(
                f"--columns gives the column {twice!r} to two of our fields; each column can be used once",
                code="columns_invalid",
            )

    @classmethod
    def parse(cls, text: str) -> Columns:
        """Read `ours=theirs,ours=theirs`; `ours=` says that the file has no such field of ours.

        A column name that itself has a comma is quoted with its field: `"narrative=TEXT, FREE",incident_id=URN`.

        Args:
            text: The value of `--columns`. Blank means that nothing is mapped.

        Raises:
            UnknownNameError: A name on the left is not one of our fields.
            DataError: An entry has no `=`, its left side or that of a field that every record needs is blank, or a name is
                used twice (code `columns_invalid`).
        """
        theirs: dict[str, str] = {}
        not_ours: set[str] = set()
        entries = next(csv.reader([text.replace("\n", " ")], skipinitialspace=True), [])
        for entry in entries:
            ours, equals, column = (part.strip() for part in entry.partition("="))
            if not equals or not ours or (not column and ours in (*REQUIRED, *REQUIRED_LABELS)):
                raise DataError(
                    f"--columns has the entry {entry.strip()!r}; allowed: our field, '=', your column, as in "
                    "narrative=FREE_TEXT,incident_id=URN",
                    code="columns_invalid",
                )
            if ours in theirs or ours in not_ours:
                raise DataError(f"--columns maps {ours!r} twice; each field can be mapped once", code="columns_invalid")
            if column:
                theirs[ours] = column
            else:
                not_ours.add(ours)
        return cls(theirs, frozenset(not_ours))

    def column(self, ours: str) -> str:
        """The file's name for our field."""
        return self.theirs.get(ours, ours)

    def wanted(self, fields: Sequence[str]) -> list[str]:
        """Those of the fields that the file may have."""
        return [ours for ours in fields if ours not in self.not_ours]

    def extra_name(self, column: str, available: Collection[str]) -> str:
        """The name under which a column that is not used rides along: its own, or `input_<name>` where that means ours."""
        name = column
        while name in self.not_ours or (name != column and name in available):
            name = f"input_{name}"
        return name

    def find(self, path: Path, available: Sequence[str], fields: Sequence[str]) -> dict[str, str]:
        """Match the columns of a file that states them in advance (CSV, Parquet).

        Args:
            path: The file, for the message.
            available: Its column names, in order.
            fields: The flat fields that are to be read.

        Returns:
            Our field to the file's column, for the fields the file has.

        Raises:
            RefusedFileError: A required or mapped column is not there, or a name occurs twice.
        """
        repeated = _first_repeated([name for name in available if name])
        if repeated is not None:
            place = [number for number, name in enumerate(available, 1) if name == repeated]
            raise RefusedFileError(
                path, f"columns {place[0]} and {place[1]} have the same name", "each column name once"
            )
        present = set(available)
        for ours in self.needed(fields):
            if self.column(ours) not in present:
                raise RefusedFileError(path, *self.absent(ours, available), field=ours)
        return {ours: self.column(ours) for ours in self.wanted(fields) if self.column(ours) in present}

    def needed(self, fields: Sequence[str]) -> list[str]:
        """Our fields whose column must exist: the required ones among `fields`, then every mapped one."""
        required = [name for name in (*REQUIRED, *REQUIRED_LABELS) if name in fields]
        return list(dict.fromkeys([*required, *self.theirs]))

    def absent(self, ours: str, available: Sequence[str]) -> tuple[str, str]:
        """What to say when the column of `ours` is not in the file: what is wrong, and what is allowed.

        A file without a line of column names starts with a record; its cells are then not repeated.
        """
        column = self.column(ours)
        wrong = f"the file has no column {column!r}" + (" (from --columns)" if ours in self.theirs else "")
        known = not (_SURELY_NAMES | set(self.theirs.values())).isdisjoint(available)
        if not known or not all(_NAME_LIKE.fullmatch(name) for name in available if name):
            return wrong, (
                f"column names on the first line of the file, and --columns {ours}=YOURS where yours differ; it has "
                f"{len(available)} columns, and its first line may be a record, so it is not repeated here"
            )
        names = ", ".join(repr(name) for name in available if name)
        return wrong, f"one of the file's columns, which are {names}; map yours with --columns {ours}=YOURS"


def _first_repeated(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
