"""The shapes of taxonomy entries and the wording rules they keep (labelling guide, sections 3 to 7 and 9).

Shapes only: nothing here reads a file. Every model is frozen and refuses unknown keys, so that a misspelt
key in a TOML file is an error and not a silent default.
"""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    model_validator,
)

LABEL_VERSION = "1.0"
"""Version of the labelling guide these definitions follow; stored with every label and every model."""

FACTS = frozenset(
    {
        "stalking",
        "history_check",
        "misidentification",
        "tier_unclear",
        "domestic",
        "non_domestic",
        "cyber",
        "ex_partner",
    }
)
"""What a caller may state about a record beside `indicator:<name>` for each indicator present."""

URGENT_INDICATOR = "urgent_indicator"
"""Atom that holds when any present indicator is marked `urgent`; worked out, never stated by a caller."""

OVERT_INDICATORS = frozenset(
    {
        "threats_to_victim",
        "threats_to_kill",
        "threats_to_others",
        "physical_violence",
        "weapon",
        "sexual_element",
        "entry_to_home",
        "property_damage",
        "tracking_device",
    }
)
"""Indicators that are alarming in a single act. A stalking text without any stands for one whose acts look innocent."""

NEVER_SAID = re.compile(
    r"\b(arrest\w*|charg(?:e|es|ed|ing)|clos(?:e|es|ed|ing|ure)|no[- ]?crim\w+|false(?:ly)?[- ]+report\w*"
    r"|(?:in)?credib\w*|(?:un)?likel\w+|probab\w+)\b",
    re.IGNORECASE,
)
"""Words no reviewer is ever shown by us (labelling guide, section 9; contract, section 2)."""


def _kept_wording(text: str) -> str:
    if found := NEVER_SAID.search(text):
        raise ValueError(f"says {found.group()!r}; a reviewer is never shown that word (labelling guide, section 9)")
    return text


def _question(text: str) -> str:
    if not text.endswith("?"):
        raise ValueError("must be one question and end with '?'")
    return text


def _suggestion(text: str) -> str:
    if not text.startswith("Consider "):
        raise ValueError("must start with 'Consider'")
    return text


def _not_reserved(name: str) -> str:
    if name == "none":
        raise ValueError("'none' is reserved: in a labelled CSV it means looked for, none present")
    return name


def _clause(entry: Any) -> Any:
    return [entry] if isinstance(entry, str) else entry


def _distinct(entries: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(entries)) < len(entries):
        raise ValueError("lists an entry twice; each may appear once")
    return entries


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_not_reserved)]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9]+\.[0-9]+$")]
Texts = Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_distinct)]
Clause = Annotated[tuple[Text, ...], Field(min_length=1), BeforeValidator(_clause)]


class Entry(BaseModel):
    """Base of every entry: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Indicator(Entry):
    """One of the risk indicators (labelling guide, section 6); one TOML file each.

    `order` is the place in every list of indicators, starting at 1. `since` is the label version whose
    annotators first looked for it; without it, no label file is taken to have looked for it unless it says
    so. `question` is what a reviewer could ask when the text does not state it. `implies_any`: where this
    is present, at least one of those is too. `urgent` raises the urgent safeguarding consideration.
    `expected_sst_theme` is the guide's dagger. `sources` name themes only: the wording of DASH, S-DASH and
    SASH is licensed and not reproduced.
    """

    name: Name
    title: Text
    order: Annotated[StrictInt, Field(ge=1)]
    since: Version | None = None
    definition: Text
    includes: Texts
    excludes: Texts
    positive_examples: Texts
    negative_examples: Texts
    sources: Texts
    expected_sst_theme: StrictBool
    question: Annotated[Text, AfterValidator(_question), AfterValidator(_kept_wording)]
    implies_any: tuple[Name, ...] = ()
    urgent: StrictBool


class OffenceFamily(Entry):
    """One offence family (labelling guide, section 4); their order in the file is their precedence."""

    name: Name
    title: Text
    definition: Text
    anchor: Text
    separated_by: Text
    recorded_titles: Texts
    examples: Texts


class StalkingTitles(Entry):
    """How a recorded title is known to be a stalking offence, beside the family's own titles."""

    codes: Texts
    not_counted: Texts


class FourAttribute(Entry):
    """One of Fixated, Obsessive, Unwanted, Repeated: explanation only (labelling guide, section 5)."""

    name: Name
    title: Text
    definition: Text
    cues: Texts
    not_enough_alone: Texts


class Tier(Entry):
    """A tier hint (labelling guide, section 3), by its section of the 1997 Act."""

    name: Annotated[str, StringConstraints(pattern=r"^s[0-9]+[A-Z]?$")]
    title: Text
    definition: Text
    cues: Texts
    source: Text


class ContextValues(Entry):
    """Allowed values of the context fields (labelling guide, section 7; contract, section 1)."""

    relationships: Texts
    source_types: Texts
    strata: Texts
    origins: Texts
    evidence_statuses: Texts
    bases: Texts


class Condition(Entry):
    """When a consideration applies. An entry of `any_of` that is a list holds when all of its atoms hold."""

    any_of: tuple[Clause, ...] = ()
    all_of: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _not_empty(self) -> Condition:
        if not self.any_of and not self.all_of:
            raise ValueError("needs any_of, all_of or both; without them it would always apply")
        return self

    @property
    def atoms(self) -> frozenset[str]:
        """Every atom named."""
        return frozenset(self.all_of).union(*self.any_of)

    def holds(self, facts: Set[str]) -> bool:
        """Whether the condition is met by `facts`."""
        any_holds = not self.any_of or any(facts >= set(clause) for clause in self.any_of)
        return any_holds and facts >= set(self.all_of)


class Consideration(Entry):
    """One suggestion to the reviewer. It starts with "Consider" and never says what `NEVER_SAID` matches."""

    name: Name
    text: Annotated[Text, AfterValidator(_suggestion), AfterValidator(_kept_wording)]
    when: Condition
