"""Ways to change a narrative that must not change the verdict: what `evaluation.behaviour` runs.

Input: a text and a random generator. Output: the changed text, the same for the same generator. Words and sentences
are in `perturbations.toml`; names and towns are those of the simulator (`stalkscreen/synthesis/people.toml`).

To add a perturbation: write a function from a text and a random generator to a text, and one entry in
`PERTURBATIONS`. A text that comes back unchanged is left out of that test's figures.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from evaluation.columns import Json
from stalkscreen.synthesis.names import register

TYPO_SHARE = 0.08
"""Share of words of five letters or more that get a typing slip; hurried call logs look about like this."""

KEPT_SHARE = 0.7
"""Share of the words left when a text is cut off; call logs often stop before the story ends (guide, section 7)."""

Perturb = Callable[[str, np.random.Generator], str]


@cache
def wordings() -> Json:
    """`perturbations.toml` as read."""
    return tomllib.loads(Path(__file__).with_name("perturbations.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Perturbation:
    """One way to change a text.

    Attributes:
        name: Stable name in `metrics.json`.
        kind: `negation`, `other_person`, `hypothetical`, `swap`, `noise`, `padding`, `dates` or `cut_off`.
        title: What is done, as the report says it.
        change: The function that does it.
        keeps_meaning: True when nothing was lost, so that every changed flag is a failure; False when a
            changed flag may be right (a cut text may have lost what mattered).
        adds: Group of sentences in `perturbations.toml` that it adds; None when it adds none.
    """

    name: str
    kind: str
    title: str
    change: Perturb
    keeps_meaning: bool = True
    adds: str | None = None


def _upper(text: str, rng: np.random.Generator) -> str:
    return text.upper()


def _lower(text: str, rng: np.random.Generator) -> str:
    return text.lower()


def _typos(text: str, rng: np.random.Generator) -> str:
    def slip(match: re.Match[str]) -> str:
        word = match.group()
        if rng.random() >= TYPO_SHARE:
            return word
        at = int(rng.integers(1, len(word) - 2))
        kind = int(rng.integers(3))
        if kind == 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return word[:at] + word[at + 1 :] if kind == 1 else word[:at] + word[at] + word[at:]

    return re.sub(r"[A-Za-z]{5,}", slip, text)


def _shorthand_on(text: str, rng: np.random.Generator) -> str:
    for words, short in wordings()["shorthand"].items():
        text = re.sub(rf"\b{re.escape(words)}\b", short, text, flags=re.IGNORECASE)
    return text


def _shorthand_off(text: str, rng: np.random.Generator) -> str:
    first = {short: words for words, short in reversed(wordings()["shorthand"].items())}
    for short, words in first.items():
        text = re.sub(rf"(?<!\w){re.escape(short)}(?!\w)", words, text)
    return text


def _sentences(group: str, rng: np.random.Generator, count: int) -> list[str]:
    given = wordings()["sentences"][group]
    return [given[i] for i in rng.permutation(len(given))[:count]]


def _padded(text: str, rng: np.random.Generator) -> str:
    first, second, third = _sentences("administrative", rng, 3)
    return f"{first} {text.strip()} {second} {third}"


def _interrupted(text: str, rng: np.random.Generator) -> str:
    """Everyday sentences at the start, at a sentence end within, and at the end."""
    first, second, third = _sentences("irrelevant", rng, 3)
    breaks = [match.end() for match in re.finditer(r"[.!?](?=\s+[A-Z])", text)]
    if not breaks:
        return f"{first} {second} {text.strip()} {third}"
    at = breaks[int(rng.integers(len(breaks)))]
    return f"{first} {text[:at].strip()} {second} {text[at:].strip()} {third}"


def _adding(group: str) -> Perturb:
    def change(text: str, rng: np.random.Generator) -> str:
        stop = "" if text.rstrip().endswith((".", "!", "?")) else "."
        return f"{text.rstrip()}{stop} {_sentences(group, rng, 1)[0]}"

    return change


def _cut_off(text: str, rng: np.random.Generator) -> str:
    words = list(re.finditer(r"\S+", text))
    keep = max(1, round(len(words) * KEPT_SHARE))
    return text[: words[keep - 1].end()]


_MONTH = r"(?:January|February|March|April|May|June|July|August|September|October|November|December)(?:,? (?:\d{4}|last year))?"
_VAGUE = (
    (rf"\b(?:(?i:on) )?(?:[A-Z][a-z]+day,? )?(?:the )?\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}\b", "the other day"),
    (rf"\b(?i:since) (?:early |late |mid-?|last |about )?{_MONTH}\b", "for some time"),
    (rf"\b(?:(?i:back) )?(?i:in) (?:early |late |mid-?|last )?{_MONTH}\b", "a while ago"),
    (rf"\b(?i:last|this) {_MONTH}\b", "a while ago"),
    (rf"\b(?i:until|till) (?:early |late |mid-?|last )?{_MONTH}\b", "until lately"),
)
"""Ways to name a month, the longest first, and what stands for each when it is left open."""


def _without_months(text: str, rng: np.random.Generator) -> str:
    for pattern, vague in _VAGUE:

        def replaced(match: re.Match[str], vague: str = vague) -> str:
            return vague.capitalize() if match.group()[0].isupper() else vague

        text = re.sub(pattern, replaced, text)
    return text


def _any_of(words: Sequence[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(set(words), key=lambda word: (-len(word), word)))


@cache
def _people() -> tuple[re.Pattern[str], dict[str, tuple[int, str]]]:
    """Pattern of a forename with the surname after it, if any; forename to background and sex, the commonest first."""
    known: dict[str, tuple[int, str]] = {}
    for place, names in enumerate(register().backgrounds):
        for sex in ("male", "female"):
            for name in getattr(names, sex):
                known.setdefault(name, (place, sex))
    surnames = [name for names in register().backgrounds for name in names.surname]
    return re.compile(rf"\b({_any_of(list(known))})\b(?:(\s+)({_any_of(surnames)})\b)?"), known


def _renamed(text: str, rng: np.random.Generator, *, other_background: bool) -> str:
    """Every known forename, and a surname after it, by another of the same sex; the same name each time it occurs."""
    pattern, known = _people()
    backgrounds = register().backgrounds
    english = next(i for i, names in enumerate(backgrounds) if names.name == "English")
    given: dict[str, tuple[str, str]] = {}

    def rename(match: re.Match[str]) -> str:
        forename = match.group(1)
        if forename not in given:
            place, sex = known[forename]
            if other_background:
                others = [i for i in range(len(backgrounds)) if i != place] if place == english else [english]
                place = others[int(rng.integers(len(others)))]
            taken = {forename, *(name for name, _ in given.values())}
            free = [name for name in getattr(backgrounds[place], sex) if name not in taken] or [forename]
            surnames = backgrounds[place].surname
            given[forename] = (free[int(rng.integers(len(free)))], surnames[int(rng.integers(len(surnames)))])
        first, last = given[forename]
        return first + (match.group(2) + last if match.group(3) else "")

    return pattern.sub(rename, text)


def _names(text: str, rng: np.random.Generator) -> str:
    return _renamed(text, rng, other_background=False)


def _ethnicity(text: str, rng: np.random.Generator) -> str:
    listed = wordings()["words"]["nationalities"]
    following = dict(zip(listed, [*listed[1:], listed[0]], strict=True))
    text = re.sub(rf"\b({_any_of(listed)})\b", lambda match: following[match.group()], text)
    return _renamed(text, rng, other_background=True)


def _region(text: str, rng: np.random.Generator) -> str:
    """Every known town by one of another force, the same each time."""
    force_of = {town: force for force, towns in register().forces.items() for _, town in towns}
    given: dict[str, str] = {}

    def move(match: re.Match[str]) -> str:
        town = match.group()
        if town not in given:
            others = sorted(other for other, force in force_of.items() if force != force_of[town])
            given[town] = others[int(rng.integers(len(others)))]
        return given[town]

    return re.sub(rf"\b(?:{_any_of(list(force_of))})\b", move, text)


def _pronouns(text: str, rng: np.random.Generator) -> str:
    """Every he becomes she and the other way round, with the nouns that say a sex."""
    pairs = wordings()["gendered"]
    swap = {**pairs, **{second: first for first, second in pairs.items()}, "mrs": "mr", "him": "her", "hers": "his"}
    object_before = set(wordings()["words"]["after_object"].split())

    def other(match: re.Match[str]) -> str:
        word, following = match.group(1), match.group(2)
        lower = word.lower()
        if lower == "her":
            new = "him" if not following or following.lower() in object_before else "his"
        elif lower == "his":
            new = "her" if following else "hers"
        else:
            new = swap[lower]
        return new.upper() if word.isupper() and len(word) > 1 else new.capitalize() if word[0].isupper() else new

    return re.sub(rf"\b({_any_of([*swap, 'her', 'his'])})\b(?=(?:\s+([A-Za-z]+))?)", other, text, flags=re.IGNORECASE)


PERTURBATIONS: tuple[Perturbation, ...] = (
    Perturbation(
        "negation", "negation", "“It did not happen” of something severe added", _adding("negation"), adds="negation"
    ),
    Perturbation(
        "other_person", "other_person", "Another person's old story added", _adding("other_person"), adds="other_person"
    ),
    Perturbation(
        "hypothetical",
        "hypothetical",
        "What might happen, or advice, added",
        _adding("hypothetical"),
        adds="hypothetical",
    ),
    Perturbation("names", "swap", "Names by other names of the same sex and background", _names),
    Perturbation("pronouns", "swap", "He and she, man and woman, exchanged", _pronouns),
    Perturbation("ethnicity", "swap", "Names and nationalities by those of another background", _ethnicity),
    Perturbation("region", "swap", "Towns by towns of another force", _region),
    Perturbation("typos", "noise", "Typing slips in some longer words", _typos),
    Perturbation("capitals", "noise", "All in capitals, as some call logs are", _upper),
    Perturbation("lower_case", "noise", "All in lower case", _lower),
    Perturbation("shorthand_on", "noise", "Words replaced by police shorthand", _shorthand_on),
    Perturbation("shorthand_off", "noise", "Police shorthand spelled out", _shorthand_off),
    Perturbation("padding", "padding", "Administrative sentences put before and after", _padded, adds="administrative"),
    Perturbation(
        "irrelevant", "padding", "Everyday sentences put before, within and after", _interrupted, adds="irrelevant"
    ),
    Perturbation("months", "dates", "Months and dates by vague times", _without_months),
    Perturbation("dated", "dates", "A sentence with a month in it added", _adding("dated"), adds="dated"),
    Perturbation("cut_off", "cut_off", "Cut off after seven tenths of the words", _cut_off, keeps_meaning=False),
)
"""Every perturbation, in the order of the report."""
