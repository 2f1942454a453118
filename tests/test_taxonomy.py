"""The label definitions keep their contract, and a broken folder says what is wrong with it."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from stalkscreen import schema
from stalkscreen.errors import StalkscreenError, UnknownNameError
from stalkscreen.taxonomy import (
    FACTS,
    LABEL_VERSION,
    NEVER_SAID,
    OVERT_INDICATORS,
    Consideration,
    FourAttribute,
    Indicator,
    OffenceFamily,
    TaxonomyError,
    load_taxonomy,
)
from stalkscreen.taxonomy.loading import PACKAGED

TAXONOMY = load_taxonomy()

GUIDE_NAMES = (
    "following_surveillance",
    "loitering",
    "unwanted_contact",
    "unwanted_gifts",
    "digital_monitoring",
    "tracking_device",
    "third_party_proxy",
    "property_damage",
    "entry_to_home",
    "threats_to_victim",
    "threats_to_kill",
    "threats_to_others",
    "physical_violence",
    "weapon",
    "sexual_element",
    "breach_of_order",
    "escalation",
    "suicidal_homicidal",
    "recent_separation",
    "previous_domestic_abuse",
    "victim_fear",
    "impact_daily_life",
    "suspect_health_substance",
    "obsession_last_resort",
    "vexatious_complaints",
    "prior_stalking_others",
)
"""The rows of the labelling guide's section 6, in order. An indicator added later comes after them."""

GUIDE_DAGGERS = {
    "following_surveillance",
    "loitering",
    "unwanted_contact",
    "digital_monitoring",
    "tracking_device",
    "threats_to_victim",
    "threats_to_kill",
    "physical_violence",
    "weapon",
    "breach_of_order",
    "escalation",
    "victim_fear",
    "impact_daily_life",
}

GUIDE_URGENT = {
    "threats_to_kill",
    "weapon",
    "entry_to_home",
    "suicidal_homicidal",
    "physical_violence",
    "threats_to_others",
}

URGENT_TEXT = TAXONOMY.considerations[0].text

every_indicator = pytest.mark.parametrize("indicator", TAXONOMY.indicators, ids=lambda entry: entry.name)
every_family = pytest.mark.parametrize("family", TAXONOMY.families, ids=lambda entry: entry.name)
every_attribute = pytest.mark.parametrize("attribute", TAXONOMY.four, ids=lambda entry: entry.name)
every_consideration = pytest.mark.parametrize("rule", TAXONOMY.considerations, ids=lambda entry: entry.name)


def all_examples() -> list[str]:
    return [
        example.casefold()
        for indicator in TAXONOMY.indicators
        for example in (*indicator.positive_examples, *indicator.negative_examples)
    ]


# Indicators


def test_the_indicators_of_the_guide_come_first_and_in_its_order() -> None:
    assert TAXONOMY.indicator_names[: len(GUIDE_NAMES)] == GUIDE_NAMES
    assert {*GUIDE_NAMES} >= OVERT_INDICATORS


def test_orders_run_from_one_without_a_gap() -> None:
    orders = [indicator.order for indicator in TAXONOMY.indicators]
    assert orders == list(range(1, len(orders) + 1))


def test_label_version_one_is_the_guides_twenty_six() -> None:
    assert LABEL_VERSION == TAXONOMY.LABEL_VERSION == "1.0"
    assert TAXONOMY.indicator_names_in("1.0") == GUIDE_NAMES, (
        "an indicator added since needs a later `since`: older labelled sets did not look for it"
    )


def test_the_guides_daggers_and_urgent_row_are_kept() -> None:
    guide = [TAXONOMY.indicator(name) for name in GUIDE_NAMES]
    assert {indicator.name for indicator in guide if indicator.expected_sst_theme} == GUIDE_DAGGERS
    assert {indicator.name for indicator in guide if indicator.urgent} == GUIDE_URGENT


def test_a_threat_to_kill_is_a_threat_to_somebody() -> None:
    implied = {indicator.name: indicator.implies_any for indicator in TAXONOMY.indicators}
    assert implied["threats_to_kill"] == ("threats_to_victim", "threats_to_others")
    assert {name for name in GUIDE_NAMES if implied[name]} == {"threats_to_kill"}


@every_indicator
def test_an_indicator_has_enough_examples_to_teach_from(indicator: Indicator) -> None:
    assert len(indicator.positive_examples) >= 5
    assert len(indicator.negative_examples) >= 3


@every_indicator
def test_an_indicators_examples_are_used_nowhere_else(indicator: Indicator) -> None:
    counts = Counter(all_examples())
    examples = (*indicator.positive_examples, *indicator.negative_examples)
    assert [example for example in examples if counts[example.casefold()] > 1] == []


@every_indicator
def test_an_indicator_names_sources_and_no_licensed_wording(indicator: Indicator) -> None:
    assert indicator.sources
    for source in indicator.sources:
        assert len(source) <= 80, "a source is a reference to a theme, not a quotation"
        assert not source.endswith("?"), "questions of risk tools are licensed"


@every_indicator
def test_an_indicators_question_is_one_neutral_sentence(indicator: Indicator) -> None:
    assert indicator.question.count("?") == 1
    assert indicator.question[0].isupper()
    assert indicator.question.split()[0] in {"Has", "Have"}
    assert not NEVER_SAID.search(indicator.question)


@every_indicator
def test_an_indicators_title_is_short_and_in_sentence_case(indicator: Indicator) -> None:
    assert len(indicator.title) <= 50
    assert indicator.title[0].isupper()
    assert not indicator.title.endswith(".")
    assert indicator.title[1:] == indicator.title[1:].lower()


def test_titles_are_unique() -> None:
    titles = [indicator.title for indicator in TAXONOMY.indicators]
    titles += [family.title for family in TAXONOMY.families]
    assert len(set(titles)) == len(titles)


def test_an_indicator_is_found_by_name_and_an_unknown_name_lists_those_there_are() -> None:
    assert TAXONOMY.indicator("weapon").title == "Weapon"
    with pytest.raises(UnknownNameError, match=r"no indicator 'wepon'.*weapon"):
        TAXONOMY.indicator("wepon")


# Families, FOUR, tiers and context


def test_families_are_those_of_the_schema_in_order_of_precedence() -> None:
    assert TAXONOMY.family_names == get_args(schema.Family)


def test_context_values_are_those_of_the_schema() -> None:
    fields = schema.LabelledIncident.model_fields
    assert TAXONOMY.relationships == get_args(schema.Relationship)
    assert TAXONOMY.source_types == get_args(schema.SourceType)
    assert TAXONOMY.evidence_statuses == get_args(schema.EvidenceStatus)
    for values, field in [
        (TAXONOMY.tiers, "tier"),
        (TAXONOMY.strata, "stratum"),
        (TAXONOMY.origins, "origin"),
        (TAXONOMY.bases, "stalking_basis"),
    ]:
        literal, _none = get_args(fields[field].annotation)
        assert values == get_args(literal)


def test_four_is_in_the_order_of_the_mnemonic() -> None:
    assert TAXONOMY.four_names == ("four_fixated", "four_obsessive", "four_unwanted", "four_repeated")
    assert set(TAXONOMY.four_names) <= set(schema.LabelledIncident.model_fields)


@every_attribute
def test_a_four_attribute_says_what_is_not_enough_alone(attribute: FourAttribute) -> None:
    assert attribute.cues
    assert attribute.not_enough_alone
    assert attribute.name == f"four_{attribute.title.lower()}"


@every_family
def test_a_family_has_lower_case_recorded_titles_and_examples_of_its_own(family: OffenceFamily) -> None:
    assert all(title == title.lower() for title in family.recorded_titles)
    others = [other for other in TAXONOMY.families if other is not family]
    assert not set(family.recorded_titles) & {title for other in others for title in other.recorded_titles}
    assert not set(family.examples) & {example for other in others for example in other.examples}


@every_family
def test_only_titles_of_the_stalking_family_count_as_recorded_stalking(family: OffenceFamily) -> None:
    counted = {TAXONOMY.is_stalking_title(title) for title in (family.name, *family.recorded_titles)}
    assert counted == {family.name == "stalking"}


@pytest.mark.parametrize(
    "recorded",
    [
        "stalking",
        " STALKING ",
        "Stal king",
        "stalking_involving_fear_of_violence",
        "Stalking-involving  serious alarm or distress",
        "Pursue course of conduct in breach of s1(1) which amounts to stalking",
        "8/65",
        "008/65",
        "8 / 66",
        "195/12 PHA",
        "8Q",
        "Stalking; breach of stalking protection order",
        "casino stalking",
    ],
)
def test_a_title_is_known_as_stalking(recorded: str) -> None:
    assert TAXONOMY.is_stalking_title(recorded)


@pytest.mark.parametrize(
    "recorded",
    [
        "",
        "harassment",
        "Harassment without violence",
        "Breach of stalking protection order",
        "BREACH_OF_STALKING_PROTECTION_ORDER",
        "Breach of an interim StalkingProtectionOrder",
        "Stalking Protection Act 2019 s8",
        "Harassment (not stalking)",
        "Harassment - other than stalking",
        "non-stalking harassment",
        "18/8/65",
        "108/65",
        "8/651",
        "195/1",
    ],
)
def test_a_title_is_not_taken_for_stalking(recorded: str) -> None:
    assert not TAXONOMY.is_stalking_title(recorded)


# Considerations


@every_consideration
def test_a_consideration_suggests_and_never_decides(rule: Consideration) -> None:
    assert rule.text.startswith("Consider ")
    assert rule.text.endswith(".")
    assert not NEVER_SAID.search(rule.text)


@every_consideration
def test_a_consideration_appears_when_its_condition_holds_and_not_otherwise(rule: Consideration) -> None:
    assert rule.text not in TAXONOMY.considerations_for(set())
    for clause in rule.when.any_of or [()]:
        facts = {*clause, *rule.when.all_of}
        if "urgent_indicator" in facts:
            facts = facts - {"urgent_indicator"} | {"indicator:weapon"}
        assert rule.text in TAXONOMY.considerations_for(facts)
        for fact in facts:
            assert rule.text not in TAXONOMY.considerations_for({fact}) or {fact} >= facts


@pytest.mark.parametrize("text", [rule.text for rule in TAXONOMY.considerations])
def test_a_consideration_is_written_once(text: str) -> None:
    assert [rule.text for rule in TAXONOMY.considerations].count(text) == 1


@every_indicator
def test_urgent_safeguarding_comes_first_exactly_for_urgent_indicators(indicator: Indicator) -> None:
    texts = TAXONOMY.considerations_for({"stalking", f"indicator:{indicator.name}"})
    assert (texts[0] == URGENT_TEXT) is indicator.urgent
    assert "urgent safeguarding" in URGENT_TEXT


@pytest.mark.parametrize(
    ("facts", "phrase", "expected"),
    [
        ({"indicator:escalation", "indicator:victim_fear"}, "urgent safeguarding", True),
        ({"indicator:escalation"}, "urgent safeguarding", False),
        ({"stalking"}, "stalking specialist", True),
        ({"history_check"}, "stalking specialist", False),
        ({"history_check"}, "linked incidents", True),
        ({"history_check", "ex_partner"}, "stalking specialist", True),
        ({"history_check", "indicator:breach_of_order"}, "stalking specialist", True),
        ({"misidentification"}, "crime registrar", True),
        ({"stalking"}, "crime registrar", False),
        ({"stalking"}, "stalking protection order", True),
        ({"indicator:breach_of_order", "indicator:loitering"}, "stalking protection order", True),
        ({"indicator:breach_of_order"}, "stalking protection order", False),
        ({"indicator:breach_of_order", "indicator:weapon"}, "stalking protection order", False),
        ({"cyber"}, "device and vehicle checks", True),
        ({"indicator:impact_daily_life"}, "stalking advocate", True),
        ({"tier_unclear"}, "effect on daily life", True),
        ({"stalking", "non_domestic"}, "non-domestic", True),
        ({"stalking", "domestic"}, "non-domestic", False),
        ({"non_domestic"}, "non-domestic", False),
        ({"indicator:suspect_health_substance"}, "liaison-and-diversion", True),
        ({"indicator:vexatious_complaints"}, "both sides", True),
        ({"indicator:prior_stalking_others"}, "offender management", True),
    ],
)
def test_considerations_follow_the_guides_table(facts: set[str], phrase: str, expected: bool) -> None:
    assert any(phrase in text for text in TAXONOMY.considerations_for(facts)) is expected


def test_considerations_keep_the_files_order_and_leave_the_facts_alone() -> None:
    facts = {*FACTS, *(f"indicator:{name}" for name in TAXONOMY.indicator_names)}
    given = set(facts)
    assert TAXONOMY.considerations_for(facts) == [rule.text for rule in TAXONOMY.considerations]
    assert facts == given


def test_a_misspelt_fact_is_refused_but_an_indicator_since_removed_is_passed_over() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown fact 'ex-partner'; allowed: .*ex_partner"):
        TAXONOMY.considerations_for({"ex-partner"})
    assert TAXONOMY.considerations_for({"indicator:retired"}) == []


@pytest.mark.parametrize(
    "wording",
    [
        "arrest him",
        "charged",
        "close the log",
        "no crime",
        "No-criming",
        "false report",
        "victim credibility",
        "incredible",
        "harm is likely",
        "unlikely",
        "probability of harm",
    ],
)
def test_wording_kept_from_reviewers_is_recognised(wording: str) -> None:
    assert NEVER_SAID.search(wording)


@pytest.mark.parametrize("wording", ["disclosure routes", "enclosed", "non-crime", "a report", "discharge"])
def test_harmless_wording_is_let_through(wording: str) -> None:
    assert not NEVER_SAID.search(wording)


# Loading

Breakage = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the packaged taxonomy to break."""
    return Path(shutil.copytree(PACKAGED, tmp_path / "taxonomy", ignore=shutil.ignore_patterns("*.py")))


def edit(file: str, old: str, new: str) -> Breakage:
    def breakage(folder: Path) -> None:
        path = folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return breakage


def write(file: str, content: bytes) -> Breakage:
    return lambda folder: (folder / file).write_bytes(content)


def copy(file: str, to: str) -> Breakage:
    return lambda folder: shutil.copy(folder / file, folder / to)


def remove(file: str) -> Breakage:
    return lambda folder: (folder / file).unlink()


WEAPON = "indicators/weapon.toml"
ESCALATION_RULE = '["indicator:escalation", "indicator:victim_fear"]'

BROKEN: dict[str, tuple[Breakage, str, str, str | None]] = {
    # what is wrong: (how to break the folder, file named, what the message says, field named)
    "bad TOML": (write(WEAPON, b'name = "weapon'), WEAPON, "cannot be read as TOML", None),
    "not UTF-8": (write(WEAPON, b'name = "\xff"'), WEAPON, "cannot be read as TOML in UTF-8", None),
    "missing field": (
        edit(WEAPON, "urgent = true\n", ""),
        WEAPON,
        "field 'urgent' is missing; needed: name, title, order",
        "urgent",
    ),
    "unknown key": (
        edit(WEAPON, "urgent = true", 'urgent = true\ncolour = "red"'),
        WEAPON,
        "field 'colour' is an unknown key; allowed: name, title, order",
        "colour",
    ),
    "empty list": (
        edit(WEAPON, 'excludes = [\n    "Ordinary tool with no link to the victim",\n]', "excludes = []"),
        WEAPON,
        "field 'excludes' is wrong: tuple should have at least 1 item",
        "excludes",
    ),
    "number as text": (
        edit(WEAPON, "order = 14", 'order = "14"'),
        WEAPON,
        "field 'order' is wrong: input should be a valid integer",
        "order",
    ),
    "file name differs from name": (
        edit(WEAPON, 'name = "weapon"', 'name = "weapons"'),
        WEAPON,
        "field 'name' is 'weapons' but must equal the file name: 'weapon'",
        "name",
    ),
    "duplicate indicator": (
        copy(WEAPON, "indicators/weapon_2.toml"),
        "indicators/weapon_2.toml",
        "field 'name' is 'weapon', already used by weapon.toml",
        "name",
    ),
    "reserved name": (
        edit(WEAPON, 'name = "weapon"', 'name = "none"'),
        WEAPON,
        "field 'name' 'none' is reserved",
        "name",
    ),
    "duplicate order": (
        edit(WEAPON, "order = 14", "order = 2"),
        WEAPON,
        "field 'order' is 2, already used by loitering.toml; allowed: a number from 1 up",
        "order",
    ),
    "unknown implied indicator": (
        edit(WEAPON, "implies_any = []", 'implies_any = ["threats"]'),
        WEAPON,
        "names 'threats', which is not another indicator; allowed: breach_of_order, ",
        "implies_any",
    ),
    "indicator that implies itself": (
        edit(WEAPON, "implies_any = []", 'implies_any = ["weapon"]'),
        WEAPON,
        "names 'weapon', which is not another indicator",
        "implies_any",
    ),
    "statement for a question": (
        edit(WEAPON, "asked about?", "asked about."),
        WEAPON,
        "field 'question' must be one question and end with '?'",
        "question",
    ),
    "version that is none": (
        edit(WEAPON, 'since = "1.0"', 'since = "one"'),
        WEAPON,
        "field 'since' is wrong",
        "since",
    ),
    "missing file": (remove("families.toml"), "families.toml", "the file is missing", None),
    "no indicators": (
        lambda folder: shutil.rmtree(folder / "indicators"),
        "indicators",
        "no indicator files",
        None,
    ),
    "missing field of a family": (
        edit("families.toml", 'anchor = "None"\n', ""),
        "families.toml",
        "field 'families.other_non_crime.anchor' is missing; needed: name, title, definition, anchor",
        "families.other_non_crime.anchor",
    ),
    "family without a name": (
        edit("families.toml", 'name = "harassment"\n', ""),
        "families.toml",
        "field 'families.3.name' is missing",
        "families.3.name",
    ),
    "duplicate family": (
        edit("families.toml", 'name = "harassment"', 'name = "dispute"'),
        "families.toml",
        "has two entries named 'dispute'",
        "families",
    ),
    "no stalking family": (
        edit("families.toml", 'name = "stalking"', 'name = "pursuit"'),
        "families.toml",
        "has no family named 'stalking'",
        "families",
    ),
    "unknown context": (
        edit("attributes.toml", "bases = ", "grounds = []\nbases = "),
        "attributes.toml",
        "field 'context.grounds' is an unknown key; allowed: relationships, source_types",
        "context.grounds",
    ),
    "repeated value": (
        edit("attributes.toml", '"near_miss"', '"stalking"'),
        "attributes.toml",
        "field 'context.strata' lists an entry twice",
        "context.strata",
    ),
    "duplicate FOUR attribute": (
        edit("attributes.toml", 'name = "four_fixated"', 'name = "four_unwanted"'),
        "attributes.toml",
        "has two entries named 'four_unwanted'",
        "four",
    ),
    "unknown atom": (
        edit("considerations.toml", '"tier_unclear"', '"tier"'),
        "considerations.toml",
        "names 'tier', which is not known; allowed: cyber, domestic, ex_partner",
        "considerations.tier_questions.when",
    ),
    "unknown indicator in a rule": (
        edit("considerations.toml", '"indicator:prior_stalking_others"', '"indicator:prior_stalking"'),
        "considerations.toml",
        "names 'indicator:prior_stalking', which is not known",
        "considerations.offender_management.when",
    ),
    "rule that always applies": (
        edit("considerations.toml", 'when.all_of = ["tier_unclear"]', "when.all_of = []"),
        "considerations.toml",
        "needs any_of, all_of or both",
        "considerations.tier_questions.when",
    ),
    "empty clause": (
        edit("considerations.toml", ESCALATION_RULE, "[]"),
        "considerations.toml",
        "at least 1 item",
        "considerations.urgent_safeguarding.when.any_of.2",
    ),
    "unknown condition": (
        edit("considerations.toml", "when.any_of", "when.none_of"),
        "considerations.toml",
        "is an unknown key; allowed: any_of, all_of",
        "considerations.urgent_safeguarding.when.none_of",
    ),
    "instruction for a suggestion": (
        edit("considerations.toml", "Consider asking the crime", "Ask the crime"),
        "considerations.toml",
        "must start with 'Consider'",
        "considerations.classification_review.text",
    ),
    "forbidden wording": (
        edit("considerations.toml", "Consider asking the crime", "Consider whether to charge, and ask the"),
        "considerations.toml",
        "says 'charge'",
        "considerations.classification_review.text",
    ),
    "duplicate rule": (
        edit("considerations.toml", 'name = "tier_questions"', 'name = "victim_support"'),
        "considerations.toml",
        "has two entries named 'victim_support'",
        "considerations",
    ),
}


@pytest.mark.parametrize("wrong", BROKEN)
def test_a_broken_folder_says_which_file_which_field_and_what_is_allowed(folder: Path, wrong: str) -> None:
    breakage, file, message, field = BROKEN[wrong]
    breakage(folder)
    with pytest.raises(TaxonomyError) as caught:
        load_taxonomy(folder)
    assert message in caught.value.message
    assert caught.value.message.startswith(str(folder / file))
    assert caught.value.context["file"] == str(folder / file)
    assert caught.value.context.get("field") == field
    assert isinstance(caught.value, StalkscreenError)
    assert caught.value.code == "taxonomy_invalid"


def test_every_problem_of_a_file_is_told_at_once(folder: Path) -> None:
    edit(WEAPON, "urgent = true\n", "")(folder)
    edit(WEAPON, "order = 14", "order = 0")(folder)
    with pytest.raises(TaxonomyError, match=r"field 'order' is wrong.*; field 'urgent' is missing"):
        load_taxonomy(folder)


def test_the_packaged_taxonomy_is_read_once_and_another_folder_each_time(folder: Path) -> None:
    assert load_taxonomy() is load_taxonomy()
    assert load_taxonomy(folder) == load_taxonomy()
    assert load_taxonomy(folder) is not load_taxonomy(folder)


def test_the_taxonomy_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        TAXONOMY.indicators = ()
    with pytest.raises(ValueError, match="frozen"):
        TAXONOMY.indicators[0].title = "Other"


def test_an_indicator_is_added_with_one_file(folder: Path) -> None:
    next_order = max(indicator.order for indicator in TAXONOMY.indicators) + 1
    copy(WEAPON, "indicators/identity_theft.toml")(folder)
    for old, new in [
        ('name = "weapon"', 'name = "identity_theft"'),
        ("order = 14", f"order = {next_order}"),
        ('since = "1.0"', 'since = "1.1"'),
    ]:
        edit("indicators/identity_theft.toml", old, new)(folder)
    grown = load_taxonomy(folder)
    assert grown.indicator_names == (*TAXONOMY.indicator_names, "identity_theft")
    assert "identity_theft" not in grown.indicator_names_in("1.0")
    assert "identity_theft" in grown.indicator_names_in("1.10")
    assert grown.considerations_for({"indicator:identity_theft"}) == [URGENT_TEXT]


def test_a_label_version_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="two numbers with a dot"):
        TAXONOMY.indicator_names_in("draft")
