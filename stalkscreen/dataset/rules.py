"""The rules that the cells of incidents and labels keep by themselves, once, for every format and every reader.

A rule looks at whole columns of a table that `stalkscreen.dataset.fields` has read and says for each row whether it passes.
Incident files run them as they are, because a serve-only installation has no pandera; labelled sets run the same rules as
the named checks of one pandera schema. Rules that compare cells are in `cross_rules`. Sources: `docs/reference/contract.md`,
section 1, and the labelling guide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from stalkscreen.dataset.fields import FieldSpec
from stalkscreen.dataset.problems import shown
from stalkscreen.dataset.tables import Table
from stalkscreen.schema import CONTROL_CHARACTER, HALF_SURROGATE, MAX_ID_CHARS, MAX_NARRATIVE_CHARS
from stalkscreen.taxonomy import load_taxonomy

CONFIDENCES = (1, 2, 3)
"""Labelling guide, section 2."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: Unique; the name of the pandera check.
        field: The flat field a broken rule is reported under.
        passes: From a table that has `field` to one bool a row. A cell of the wrong type passes every rule but the
            one on its type, so that it is reported once.
        wrong: From a table and a position in it to what is wrong there. Never quotes a narrative or a person.
        allowed: What would be right.
    """

    name: str
    field: str
    passes: Callable[[Table], list[bool]]
    wrong: Callable[[Table, int], str]
    allowed: str


def _cell_rule(
    field: str, name: str, test: Callable[[Any], bool], wrong: str | Callable[[Any], str], allowed: str
) -> Rule:
    """A rule on one column. `test` is not asked about absent cells."""

    def passes(table: Table) -> list[bool]:
        return [cell is None or test(cell) for cell in table.cells[field]]

    def say(table: Table, position: int) -> str:
        return wrong if isinstance(wrong, str) else wrong(table.cells[field][position])

    return Rule(f"{field}: {name}", field, passes, say, allowed)


def _given(field: str, wrong: str, allowed: str) -> Rule:
    return Rule(
        f"{field}: given",
        field,
        lambda table: [cell is not None for cell in table.cells[field]],
        lambda table, position: wrong,
        allowed,
    )


def _is_text(cell: Any) -> bool:
    return isinstance(cell, str) and (cell.isascii() or HALF_SURROGATE.search(cell) is None)


def _type_rule(field: str, name: str, type_: type, wrong: str | Callable[[Any], str], allowed: str) -> Rule:
    """A rule on the type of one column's cells: `_cell_rule` without a call for each cell, as most rules are these."""
    types = (type_, type(None))
    rule = _cell_rule(field, name, lambda cell: isinstance(cell, types), wrong, allowed)
    return replace(rule, passes=lambda table: [isinstance(cell, types) for cell in table.cells[field]])


_NARRATIVE_ALLOWED = f"text of 1 to {MAX_NARRATIVE_CHARS:,} characters after trimming"
_NARRATIVE_RULES = (
    _given("narrative", "is empty", _NARRATIVE_ALLOWED),
    _type_rule("narrative", "text", str, "is not text", _NARRATIVE_ALLOWED),
    _cell_rule(
        "narrative",
        "length",
        lambda cell: (
            not isinstance(cell, str) or len(cell) <= MAX_NARRATIVE_CHARS or len(cell.strip()) <= MAX_NARRATIVE_CHARS
        ),
        lambda cell: f"has {len(cell.strip()):,} characters",
        f"at most {MAX_NARRATIVE_CHARS:,}; nothing is cut off for you",
    ),
    _cell_rule(
        "narrative",
        "no control characters",
        lambda cell: not isinstance(cell, str) or CONTROL_CHARACTER.search(cell) is None,
        "has a control character (such as NUL)",
        "tabs and line breaks only",
    ),
    _cell_rule(
        "narrative",
        "whole characters",
        lambda cell: not isinstance(cell, str) or _is_text(cell),
        "has half of a character (a lone surrogate)",
        "whole Unicode characters",
    ),
)


def _quoted(what: str, spec: FieldSpec) -> Callable[[Any], str]:
    """Quotes the cell if it is a short label; never one of an incident's own fields."""
    return lambda cell: f"is {shown(cell)}, not {what}" if spec.is_label else f"is not {what}"


def _names_known(field: str) -> Rule:
    names = load_taxonomy().indicator_names
    known = frozenset(names)

    def unknown(cell: Any) -> list[str]:
        return [name for name in cell if name not in known] if isinstance(cell, tuple) else []

    return _cell_rule(
        field,
        "known",
        lambda cell: not isinstance(cell, tuple) or known.issuperset(cell),
        lambda cell: (
            f"names {' and '.join(shown(name) for name in unknown(cell)[:5])}, which the taxonomy does not have"
        ),
        ", ".join(names),
    )


def rules_on(spec: FieldSpec) -> tuple[Rule, ...]:
    """The rules on the cells of one field by themselves."""
    name = spec.name
    if spec.kind == "narrative":
        return _NARRATIVE_RULES
    if spec.kind == "id":
        allowed = f"text of 1 to {MAX_ID_CHARS} characters, unique over all files; store numbers as text"
        rules = (
            _cell_rule(name, "text", _is_text, "is not text or a whole number", allowed),
            _cell_rule(
                name,
                "length",
                lambda cell: not isinstance(cell, str) or len(cell) <= MAX_ID_CHARS,
                lambda cell: f"has {len(cell):,} characters",
                allowed,
            ),
        )
        return (_given(name, "is missing", allowed), *rules) if name == "incident_id" else rules[:1]
    if spec.kind == "time":
        allowed = "ISO 8601, year first, as in 2024-05-31T22:15 (Europe/London) or 2024-05-31T22:15+01:00"
        return (_type_rule(name, "time", datetime, "is not a date and time", allowed),)
    if spec.kind == "choice":
        choices = frozenset(spec.choices)
        allowed = ", ".join(spec.choices)
        chosen: Callable[[Any], bool] = lambda cell: isinstance(cell, str) and cell in choices  # noqa: E731
        return (_cell_rule(name, "choice", chosen, _quoted("one of the values", spec), allowed),)
    if spec.kind == "flag":
        allowed = "true, false, 1, 0, yes or no in any case" + ("" if name == "stalking" else "; blank for unknown")
        rule = _type_rule(name, "flag", bool, _quoted("true or false", spec), allowed)
        missing = _given(name, "is missing", allowed)
        return (missing, rule) if name == "stalking" else (rule,)
    if spec.kind == "whole":
        test: Callable[[Any], bool] = lambda cell: type(cell) is int and cell in CONFIDENCES  # noqa: E731
        allowed = ", ".join(map(str, CONFIDENCES))
        return (_cell_rule(name, "range", test, _quoted("one of the values", spec), allowed),)
    if spec.kind == "names":
        allowed = "a list of names; in CSV separated by '|', or the word none when none is present"
        return (_type_rule(name, "list", tuple, "is not a list of names", allowed), _names_known(name))
    if spec.kind == "evidence":
        allowed = (
            "a list of {indicator, start, end, status}, in CSV as JSON: whole character offsets with 0 <= start < end, "
            "status present, negated or other_person"
        )
        return (_type_rule(name, "spans", tuple, "is not a list of spans", allowed),)
    if spec.kind == "object":
        return (_type_rule(name, "object", dict, "is not an object", "an object; in CSV as JSON"),)
    if name == "label_version":
        return (_label_version_rule(),)
    return (_cell_rule(name, "text", _is_text, "is not text", "text"),)


def _label_version_rule() -> Rule:
    taxonomy = load_taxonomy()
    first, last = taxonomy.label_versions
    return _cell_rule(
        "label_version",
        "known",
        lambda cell: isinstance(cell, str) and taxonomy.knows_label_version(cell),
        lambda cell: f"is {shown(cell)}, not a version of the labelling guide that is known here",
        f"{first}, or blank" if first == last else f"two numbers with a dot, {first} to {last}, or blank",
    )
