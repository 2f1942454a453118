"""Whether the marked evidence and the declared pairs of the corpus hold together, and no text gives a real contact."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from stalkscreen.schema import LabelledIncident
from stalkscreen.synthesis.checking import Check

GROUP = "Evidence, pairs and contacts"
MAX_SPAN_WORDS = 18
"""Longest evidence in words: a clause that a reviewer takes in at a glance."""

_PHONE = re.compile(r"(?<!\d)(?:\+44 ?|0)(?:\d[ -]?){9,10}(?!\d)")
_DRAMA = re.compile(
    r"0(?:7700900|113496|114496|115496|116496|117496|118496|121496|131496|141496|151496|161496|2079460|"
    r"1914980|2890180|2920180|1632960|8081570|9098790|3069990)\d+"
)
"""Ranges that Ofcom keeps for drama, by their first digits."""
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+\w")
_POSTCODE = re.compile(r"\b[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2}\b")


def evidence_checks(records: Sequence[LabelledIncident]) -> list[Check]:
    """The checks; each names the records that break its rule."""
    bare, long, ragged, kill, silent, tied = [], [], [], [], [], []
    for record in records:
        spans = record.evidence or ()
        present = {s.indicator for s in spans if s.status == "present"}
        if present != set(record.indicators or ()):
            bare.append(record.incident_id)
        if record.stalking and not present:
            silent.append(record.incident_id)
        for span in spans:
            quote = record.narrative[span.start : span.end]
            if len(quote.split()) > MAX_SPAN_WORDS:
                long.append(f"{record.incident_id} ({span.indicator})")
            if quote != quote.strip() or _cuts_a_word(record.narrative, span.start, span.end):
                ragged.append(f"{record.incident_id} ({span.indicator})")
        if len({(s.start, s.end, s.indicator) for s in spans}) < len(spans):
            tied.append(record.incident_id)
        if "threats_to_kill" in present and not present & {"threats_to_victim", "threats_to_others"}:
            kill.append(record.incident_id)
    rows = [
        ("records whose indicators are not those of their present spans", bare, "guide, rule E4"),
        ("stalking records without any evidence", silent, "guide, rule E4"),
        (f"spans of over {MAX_SPAN_WORDS} words", long, "evidence is a clause, not a passage"),
        ("spans that start or end inside a word or on white space", ragged, "offsets are exact"),
        ("records with one span marked twice for one indicator", tied, "present and negated cannot both hold"),
        ("threats to kill without a threat to somebody", kill, "guide, section 6"),
        *_pairs(records),
        *_contacts(records),
    ]
    return [Check(GROUP, name, len(found), None, 0, reason, True, tuple(found)) for name, found, reason in rows]


def _cuts_a_word(text: str, start: int, end: int) -> bool:
    def inside(at: int) -> bool:
        return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()

    return inside(start) or inside(end)


def _pairs(records: Sequence[LabelledIncident]) -> list[tuple[str, list[str], str]]:
    members: dict[str, list[LabelledIncident]] = defaultdict(list)
    for record in records:
        if record.pair_id:
            members[record.pair_id].append(record)
    broken, moved, still = [], [], []
    for name, group in members.items():
        if len(group) != 2 or len({(r.case_id, r.writer, r.pair_kind) for r in group}) != 1:
            broken.append(name)
            continue
        same = len({(r.stalking, r.offence_family, r.tier, frozenset(r.indicators or ())) for r in group}) == 1
        if group[0].pair_kind == "invariance" and not same:
            moved.append(name)
        if group[0].pair_kind == "contrast" and same:
            still.append(name)
    return [
        ("pairs that are not two records of one case, writer and kind", broken, "a pair is compared text by text"),
        ("invariance pairs whose labels differ", moved, "swapping names or pronouns changes no label (guide, E3)"),
        ("contrast pairs whose labels do not differ", still, "the edit flips stalking or an indicator"),
    ]


def _contacts(records: Sequence[LabelledIncident]) -> list[tuple[str, list[str], str]]:
    """Ids only: what was found is not repeated."""
    phones, mails, codes = [], [], []
    for record in records:
        digits = [re.sub(r"[ -]", "", found).replace("+44", "0") for found in _PHONE.findall(record.narrative)]
        if any(not _DRAMA.fullmatch(number) for number in digits):
            phones.append(record.incident_id)
        if any(not found.lower().endswith((".example", "example.com")) for found in _EMAIL.findall(record.narrative)):
            mails.append(record.incident_id)
        if _POSTCODE.search(record.narrative):
            codes.append(record.incident_id)
    return [
        ("texts with a full phone number outside the ranges for drama", phones, "it could be somebody's"),
        ("texts with an e-mail address outside example domains", mails, "it could be somebody's"),
        ("texts with a full postcode", codes, "it could be somebody's"),
    ]
