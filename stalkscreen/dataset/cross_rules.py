"""The rules that labels keep with each other and with the narrative. A new one is one entry in `cross_rules`.

Sources: `docs/reference/contract.md`, section 1, and the labelling guide.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from stalkscreen.dataset.fields import FIELDS
from stalkscreen.dataset.problems import shown
from stalkscreen.dataset.rules import Rule, rules_on
from stalkscreen.dataset.tables import Table
from stalkscreen.taxonomy import LABEL_VERSION, load_taxonomy


def _column(table: Table, field: str) -> list[Any]:
    return table.cells.get(field) or [None] * len(table.rows)


def _against_stalking(field: str, name: str, test: Callable[[Any, Any], bool], wrong: str, allowed: str) -> Rule:
    """A rule on a label together with `stalking`; `test(label, stalking)` is true where they contradict each other.

    A label that is absent or not one of its values is left to the rules on single cells.
    """
    values = FIELDS[field].choices or (True, False)

    def passes(table: Table) -> list[bool]:
        pairs = zip(table.cells[field], _column(table, "stalking"), strict=True)
        return [cell not in values or not test(cell, stalking) for cell, stalking in pairs]

    return Rule(f"{field}: {name}", field, passes, lambda table, position: wrong, allowed)


def _evidence_rule(name: str, bad: Callable[[Any, Any, Any], list[str]], wrong: str, allowed: str) -> Rule:
    """A rule on evidence: `bad(spans, narrative, indicators)` is the indicators of the spans that break it."""

    def broken(table: Table, position: int) -> list[str]:
        spans = table.cells["evidence"][position]
        if not isinstance(spans, tuple):
            return []
        return bad(spans, table.cells["narrative"][position], _column(table, "indicators")[position])

    def passes(table: Table) -> list[bool]:
        triples = zip(table.cells["evidence"], table.cells["narrative"], _column(table, "indicators"), strict=True)
        return [not isinstance(s, tuple) or not s or not bad(s, text, names) for s, text, names in triples]

    def say(table: Table, position: int) -> str:
        return wrong.format(" and ".join(shown(name) for name in broken(table, position)[:5]))

    return Rule(f"evidence: {name}", "evidence", passes, say, allowed)


def _not_newer_rule() -> Rule:
    """No indicator is named that the record's label version does not have, unless it is said to have been looked for.

    Read as it stands, the indicator would be present where it is named and unknown everywhere else: nothing to learn from.
    """
    taxonomy = load_taxonomy()
    in_version = cache(lambda version: frozenset(taxonomy.indicator_names_in(version)))
    dated = frozenset(indicator.name for indicator in taxonomy.indicators if indicator.since)

    def newer(names: Any, version: Any, assessed: Any) -> list[str]:
        version = LABEL_VERSION if version is None else version
        if not isinstance(names, tuple) or not isinstance(version, str) or not taxonomy.knows_label_version(version):
            return []
        looked_for = in_version(version).union(assessed if isinstance(assessed, tuple) else ())
        return [name for name in names if name in dated and name not in looked_for]

    def columns(table: Table) -> list[list[Any]]:
        return [table.cells["indicators"], _column(table, "label_version"), _column(table, "indicators_assessed")]

    def say(table: Table, position: int) -> str:
        names, version, assessed = (column[position] for column in columns(table))
        found = " and ".join(shown(name) for name in newer(names, version, assessed)[:5])
        taken = f"{LABEL_VERSION} (taken where none is stated)" if version is None else version
        return f"names {found}, which label_version {taken} does not have"

    return Rule(
        "indicators: not newer than label_version",
        "indicators",
        lambda table: [not newer(*cells) for cells in zip(*columns(table), strict=True)],
        say,
        "indicators of that label_version; state the version that has it, or name it in indicators_assessed as well",
    )


@cache
def cross_rules() -> tuple[Rule, ...]:
    """Rules that compare labels with each other and with the narrative. A new one is one entry here."""
    names = load_taxonomy().indicator_names
    known = frozenset(names)
    return (
        _not_newer_rule(),
        _against_stalking(
            "tier",
            "only with stalking",
            lambda cell, stalking: stalking is False,
            "is given though stalking is false",
            "blank unless stalking is true (labelling guide, section 3)",
        ),
        _against_stalking(
            "stalking_basis",
            "only with stalking",
            lambda cell, stalking: stalking is False,
            "is given though stalking is false",
            "blank unless stalking is true (labelling guide, section 2)",
        ),
        _against_stalking(
            "offence_family",
            "agrees with stalking",
            lambda cell, stalking: isinstance(stalking, bool) and (cell == "stalking") != stalking,
            "contradicts stalking",
            "'stalking' when stalking is true, another family when it is false (labelling guide, section 4)",
        ),
        _against_stalking(
            "case_stalking",
            "agrees with stalking",
            lambda cell, stalking: cell is False and stalking is True,
            "is false though this incident is stalking",
            "true when any incident of the case is stalking (labelling guide, section 8)",
        ),
        _evidence_rule(
            "inside the narrative",
            lambda spans, text, _: [s.indicator for s in spans if isinstance(text, str) and s.end > len(text)],
            "the span of {} ends beyond the narrative",
            "offsets in characters from 0 to the narrative's length",
        ),
        _evidence_rule(
            "known indicators",
            lambda spans, text, _: [s.indicator for s in spans if s.indicator not in known],
            "names {}, which the taxonomy does not have",
            ", ".join(names),
        ),
        _evidence_rule(
            "named as present",
            lambda spans, text, names: [
                s.indicator
                for s in spans
                if s.status == "present" and isinstance(names, tuple) and s.indicator not in names
            ],
            "marks {} as present, which indicators does not name",
            "evidence with status present only for names in indicators (or leave indicators blank)",
        ),
    )


@cache
def rules_for(fields: tuple[str, ...]) -> tuple[Rule, ...]:
    """The rules on single fields, in field order, and those between labels when `fields` has labels.

    Args:
        fields: Flat field names.
    """
    single = [rule for name in fields for rule in rules_on(FIELDS[name])]
    return (*single, *(rule for rule in cross_rules() if rule.field in fields))
