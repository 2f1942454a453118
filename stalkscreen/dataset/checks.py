"""Run the rules over a table and turn what fails into problems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from stalkscreen.dataset.cross_rules import rules_for
from stalkscreen.dataset.fields import FIELDS, read_cells
from stalkscreen.dataset.problems import Problem
from stalkscreen.dataset.rules import Rule
from stalkscreen.dataset.tables import Table
from stalkscreen.schema import MAX_ID_CHARS

if TYPE_CHECKING:
    import pandas as pd

Failures = list[tuple[int, Rule]]
"""Position in the table and the rule that the row breaks."""


class SeenIds:
    """The ids met so far over all files, each with where it was met first.

    Ids are kept as 64-bit hashes: about 130 bytes an id, so that a million of them are no burden. Two different ids among a
    million share a hash with a probability of about 3 in 100 million.
    """

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._files: list[str] = []

    def start_file(self, file: str) -> None:
        """Say that the ids that follow are of this file."""
        self._files.append(file)

    def earlier(self, incident_id: str, row: int) -> tuple[str, int] | None:
        """File and row where the id was met before, or None and it is remembered."""
        here = (len(self._files) - 1) << 40 | row
        first = self._first.setdefault(hash(incident_id), here)
        return None if first == here else (self._files[first >> 40], first & ((1 << 40) - 1))


def check(table: Table, fields: tuple[str, ...], seen: SeenIds, *, with_pandera: bool) -> list[Problem]:
    """Read the cells of a table in place, apply every rule, and look for ids met before.

    Args:
        table: As parsed. Its cells are replaced by what was read.
        fields: Flat fields that are read; rules on a field the file does not have are left out.
        seen: Ids met so far; extended.
        with_pandera: Run the rules as a pandera schema (labelled sets) or plainly. The result is the same.

    Returns:
        The problems in row order, those of parsing among them.
    """
    for name in table.cells:
        table.cells[name] = read_cells(FIELDS[name], table.cells[name])
    if not table.rows:
        return list(table.problems)
    rules = tuple(rule for rule in rules_for(fields) if rule.field in table.cells)
    failures = _failures_by_pandera(table, rules) if with_pandera else _failures(table, rules)
    problems = list(table.problems)
    for position, rule in failures:
        wrong = rule.wrong(table, position)
        problems.append(Problem(table.file, table.rows[position], rule.field, wrong, rule.allowed))
    problems += _repeated_ids(table, seen, {p.row for p in problems})
    if problems:
        ids = dict(zip(table.rows, table.cells["incident_id"], strict=True))
        problems = [replace(p, incident_id=_usable_id(ids.get(p.row or 0))) for p in problems]
        problems.sort(key=lambda p: p.row or 0)
    return problems


def _repeated_ids(table: Table, seen: SeenIds, bad_rows: set[int | None]) -> list[Problem]:
    """An id used again. Where the first use is in a row that is wrong anyway, it still counts as the first."""
    problems = []
    for row, incident_id in zip(table.rows, table.cells["incident_id"], strict=True):
        if not isinstance(incident_id, str):
            continue
        earlier = seen.earlier(incident_id, row)
        if earlier is not None:
            file, first = earlier
            where = f"row {first}" if file == table.file else f"row {first} of {file}"
            wrong = f"is the same as in {where}"
            problems.append(Problem(table.file, row, "incident_id", wrong, "each id once over all files of the call"))
    return problems


def _usable_id(cell: object) -> str | None:
    return cell if isinstance(cell, str) and len(cell) <= MAX_ID_CHARS else None


def _failures(table: Table, rules: tuple[Rule, ...]) -> Failures:
    return [(position, rule) for rule in rules for position, passed in enumerate(rule.passes(table)) if not passed]


def _failures_by_pandera(table: Table, rules: tuple[Rule, ...]) -> Failures:
    """The same through one lazy pandera schema, a column a field and a named check a rule.

    A `SchemaErrors` prints the values that fail. The frame therefore holds each row's position in place of its cells, the checks
    look the cells up, and no text can get into the exception, whoever logs it.
    """
    import pandas as pd
    import pandera.pandas as pa

    def as_check(rule: Rule) -> Callable[[pd.Series[int]], pd.Series[bool]]:
        # A closure, not a partial: pandera deep-copies its checks, and would copy the table with them.
        return lambda column: pd.Series(rule.passes(table), index=column.index, dtype=bool)

    fields = dict.fromkeys(rule.field for rule in rules)
    positions = range(len(table.rows))
    frame = pd.DataFrame(dict.fromkeys(fields, positions), index=positions)
    schema = pa.DataFrameSchema(
        {
            field: pa.Column(int, [pa.Check(as_check(rule), name=rule.name) for rule in rules if rule.field == field])
            for field in fields
        }
    )
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        by_name = {rule.name: rule for rule in rules}
        cases = errors.failure_cases
        pairs = zip(cases["failure_case"], cases["check"], strict=True)
        return [(int(position), by_name[name]) for position, name in pairs]
    return []
