"""The taxonomy as a whole: its names in order, and the two questions asked of it.

The questions are whether a recorded title is a stalking offence, and which considerations apply to a record.
"""

from __future__ import annotations

import re
from collections.abc import Set
from functools import cached_property
from typing import ClassVar

from stalkscreen.errors import UnknownNameError
from stalkscreen.taxonomy.entries import (
    FACTS,
    LABEL_VERSION,
    URGENT_INDICATOR,
    Consideration,
    ContextValues,
    Entry,
    FourAttribute,
    Indicator,
    OffenceFamily,
    StalkingTitles,
    Tier,
)

_VERSION = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")


class Taxonomy(Entry):
    """All label definitions. Built by `load_taxonomy`, which also checks the entries against each other."""

    LABEL_VERSION: ClassVar[str] = LABEL_VERSION

    indicators: tuple[Indicator, ...]
    families: tuple[OffenceFamily, ...]
    stalking_titles: StalkingTitles
    four: tuple[FourAttribute, ...]
    tier_definitions: tuple[Tier, ...]
    context: ContextValues
    considerations: tuple[Consideration, ...]

    @cached_property
    def indicator_names(self) -> tuple[str, ...]:
        """Names in taxonomy order."""
        return tuple(indicator.name for indicator in self.indicators)

    @cached_property
    def family_names(self) -> tuple[str, ...]:
        """Names in order of precedence."""
        return tuple(family.name for family in self.families)

    @cached_property
    def four_names(self) -> tuple[str, ...]:
        """Label names in the order of the mnemonic."""
        return tuple(attribute.name for attribute in self.four)

    @cached_property
    def tiers(self) -> tuple[str, ...]:
        """Tier labels, the less grave first."""
        return tuple(tier.name for tier in self.tier_definitions)

    @property
    def relationships(self) -> tuple[str, ...]:
        """Values of `relationship`."""
        return self.context.relationships

    @property
    def source_types(self) -> tuple[str, ...]:
        """Values of `source_type`."""
        return self.context.source_types

    @property
    def strata(self) -> tuple[str, ...]:
        """Values of `stratum`."""
        return self.context.strata

    @property
    def origins(self) -> tuple[str, ...]:
        """Values of `origin`: made up, retold from a public account, or edited from such (the mate of a pair)."""
        return self.context.origins

    @property
    def evidence_statuses(self) -> tuple[str, ...]:
        """Values of an evidence span's `status`."""
        return self.context.evidence_statuses

    @property
    def bases(self) -> tuple[str, ...]:
        """Values of `stalking_basis`."""
        return self.context.bases

    def indicator(self, name: str) -> Indicator:
        """The indicator of that name.

        Raises:
            UnknownNameError: There is none.
        """
        for indicator in self.indicators:
            if indicator.name == name:
                return indicator
        raise UnknownNameError(
            f"there is no indicator {name!r}; the taxonomy has {', '.join(self.indicator_names)}",
            allowed=list(self.indicator_names),
        )

    def indicator_names_in(self, label_version: str) -> tuple[str, ...]:
        """Names an annotator following that label version looked for, in taxonomy order.

        The default of a record's `indicators_assessed`: an indicator added later is unknown in older
        labels, not negative.

        Raises:
            UnknownNameError: `label_version` is not two numbers with a dot, such as "1.0".
        """
        if not _VERSION.fullmatch(label_version):
            raise UnknownNameError("label_version must be two numbers with a dot, such as '1.0'", field="label_version")
        limit = _version_key(label_version)
        return tuple(i.name for i in self.indicators if i.since and _version_key(i.since) <= limit)

    def knows_label_version(self, label_version: str) -> bool:
        """Whether it is two numbers with a dot and lies between the two `label_versions`."""
        if not _VERSION.fullmatch(label_version):
            return False
        first, last = map(_version_key, self.label_versions)
        return first <= _version_key(label_version) <= last

    @cached_property
    def label_versions(self) -> tuple[str, str]:
        """The oldest and the newest label version: of any indicator's `since`, and `LABEL_VERSION`."""
        known = sorted({LABEL_VERSION, *(i.since for i in self.indicators if i.since)}, key=_version_key)
        return known[0], known[-1]

    def is_stalking_title(self, recorded: str) -> bool:
        """Whether a recorded offence is a stalking offence, whatever its case, spaces and underscores.

        True for the stalking family's name and titles, for any title that contains "stalking", and for a Home
        Office code of stalking wherever it stands alone (8/65, 8/66, 195/12, class 8Q).

        A breach of a stalking protection order is not one. It is an offence of its own (Stalking Protection
        Act 2019 s8) that records one act against an order; taking breaches one by one is how a pattern of
        stalking is missed, so such a record must still be able to show as possibly misidentified. The same
        holds for titles that name stalking only to rule it out ("harassment, not stalking"). Both are
        listed in `families.toml`.
        """
        title = _plain(recorded)
        if title.replace(" ", "") in self._stalking_titles_spaceless:
            return True
        if self._stalking_codes.search(title):
            return True
        return "stalking" in self._not_counted_phrases.sub(" ", title)

    def considerations_for(self, facts: Set[str]) -> list[str]:
        """Texts of the considerations that apply, most pressing first.

        Args:
            facts: Atoms of `FACTS` that hold, and `indicator:<name>` for each indicator present. An
                indicator the taxonomy does not have is passed over: an older model may know one that has
                since been removed.

        Raises:
            UnknownNameError: An atom is neither.
        """
        unknown = sorted(fact for fact in facts if fact not in FACTS and not fact.startswith("indicator:"))
        if unknown:
            raise UnknownNameError(
                f"unknown fact {unknown[0]!r}; allowed: {', '.join(sorted(FACTS))} and indicator:<name>",
                allowed=sorted(FACTS),
            )
        urgent = any(i.urgent and f"indicator:{i.name}" in facts for i in self.indicators)
        known = facts | {URGENT_INDICATOR} if urgent else facts
        return [rule.text for rule in self.considerations if rule.when.holds(known)]

    @cached_property
    def _stalking_titles_spaceless(self) -> frozenset[str]:
        stalking = next(family for family in self.families if family.name == "stalking")
        titles = (stalking.name, *stalking.recorded_titles)
        return frozenset(_plain(title).replace(" ", "") for title in titles)

    @cached_property
    def _stalking_codes(self) -> re.Pattern[str]:
        codes = "|".join(re.escape(_plain(code)).replace("/", " ?/ ?") for code in self.stalking_titles.codes)
        return re.compile(rf"(?<![a-z0-9/])0*(?:{codes})(?![a-z0-9/])")

    @cached_property
    def _not_counted_phrases(self) -> re.Pattern[str]:
        phrases = (_plain(phrase).split(" ") for phrase in self.stalking_titles.not_counted)
        return re.compile("|".join(r"\b" + " ?".join(map(re.escape, words)) for words in phrases))


def _plain(title: str) -> str:
    """Lower case, with one space for any run of spaces, underscores, hyphens and dashes."""
    return re.sub(r"[\s_\-\u2010-\u2015]+", " ", title.casefold()).strip()


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
