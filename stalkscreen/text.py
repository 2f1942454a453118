"""Narratives as sentences, clauses and features' words: the only place that splits text.

Offsets always count characters of the narrative exactly as given. Normalised text (shorthand spelled out, sex-marked
words made neutral) is for a classifier's features only and is never shown, stored or counted in.

Splitting is regular expressions rather than spaCy: importing spaCy imports torch wherever torch is installed, which
the service and `screen` must not (docs/decisions/0002-splitting-without-spacy.md).
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CLAUSE_MIN_TOKENS = 4
"""A break inside a sentence is taken only when at least this many tokens stand on its left."""

CLAUSE_MAX_TOKENS = 24
"""A clause without any break is cut here, so that no evidence is longer than a reviewer can take in at a glance."""

_TOKEN = re.compile(r"\w+(?:['’./-]\w+)*|[^\w\s]+")
_END = re.compile(r"[.!?…]+['\"”’)]*$")
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr st rd ave no approx re ref inc e.g i.e etc sgt insp pc dc ds pcso".split()  # noqa: SIM905
)
_BREAK_BEFORE = frozenset(
    ["and", "but", "then", "so", "because", "while", "when", "after", "although", "who", "which", "that", "where"]
)
_BREAK_AFTER = frozenset([",", ";", ":", "-", "--", "–", "—", ")", "/", "//", "..."])


@dataclass(frozen=True, slots=True)
class Clause:
    """A stretch `narrative[start:end]` inside one sentence.

    Attributes:
        start: First character.
        end: One past the last character.
        sentence: Index of its sentence, counted from 0.
    """

    start: int
    end: int
    sentence: int


def _sentence_tokens(text: str) -> Iterator[list[re.Match[str]]]:
    """The tokens of each sentence. A line break ends one; so does closing punctuation before white space."""
    for line in re.finditer(r"[^\r\n\f\v]+", text):
        tokens = list(_TOKEN.finditer(text, line.start(), line.end()))
        begin = 0
        for i, token in enumerate(tokens):
            last = i + 1 == len(tokens)
            closes = _END.match(token.group()) and (last or tokens[i + 1].start() > token.end())
            if closes and i > begin and tokens[i - 1].group().lower() in _ABBREVIATIONS:
                closes = None
            if last or closes:
                yield tokens[begin : i + 1]
                begin = i + 1


def sentences(text: str) -> list[tuple[int, int]]:
    """Sentence offsets in reading order, without surrounding white space."""
    return [(tokens[0].start(), tokens[-1].end()) for tokens in _sentence_tokens(text)]


def clauses(text: str) -> list[Clause]:
    """Cut every sentence at commas, conjunctions and the like into stretches of a few words.

    Returns:
        Clauses in reading order; together they cover every character that is not white space.
    """
    return [
        Clause(first.start(), last.end(), number)
        for number, tokens in enumerate(_sentence_tokens(text))
        for first, last in _pieces(tokens)
    ]


def _pieces(tokens: list[re.Match[str]]) -> Iterator[tuple[re.Match[str], re.Match[str]]]:
    """First and last token of each clause of a sentence; a tail too short to stand alone joins the one before."""
    begin = 0
    for i in range(1, len(tokens)):
        before = tokens[i - 1]
        breaks = tokens[i].group().lower() in _BREAK_BEFORE or before.group() in _BREAK_AFTER
        size, left = i - begin, len(tokens) - i
        if size >= CLAUSE_MAX_TOKENS or (breaks and size >= CLAUSE_MIN_TOKENS and left >= CLAUSE_MIN_TOKENS - 1):
            yield tokens[begin], before
            begin = i
    yield tokens[begin], tokens[-1]


_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "jan",
    "feb",
    "apr",
    "jun",
    "jul",
    "aug",
    "sept",
    "oct",
    "nov",
    "dec",
]
_WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()  # noqa: SIM905

_NEUTRAL = {
    **dict.fromkeys(["he", "she"], "they1"),
    **dict.fromkeys(["him", "her", "his", "hers"], "them1"),
    **dict.fromkeys(["himself", "herself"], "themself"),
    **dict.fromkeys(["man", "woman", "male", "female", "lady", "gentleman", "bloke", "lad", "lass", "guy"], "person"),
    **dict.fromkeys(["men", "women", "males", "females", "ladies", "lads", "blokes", "guys"], "people"),
    **dict.fromkeys(["boy", "girl"], "child"),
    **dict.fromkeys(["son", "daughter"], "child"),
    **dict.fromkeys(["sons", "daughters", "boys", "girls", "kids"], "children"),
    **dict.fromkeys(["mother", "father", "mum", "dad", "mam", "mummy", "daddy"], "parent"),
    **dict.fromkeys(["brother", "sister"], "sibling"),
    **dict.fromkeys(["husband", "wife", "boyfriend", "girlfriend", "hubby", "missus"], "partner"),
    **dict.fromkeys(["uncle", "aunt", "auntie"], "relative"),
    **dict.fromkeys(["mr", "mrs", "ms", "miss"], "title1"),
    **dict.fromkeys(_MONTHS, "month1"),
    **dict.fromkeys(_WEEKDAYS, "weekday1"),
    **dict.fromkeys([f"{day}s" for day in _WEEKDAYS], "weekday1"),
}
"""Sex-marked words made neutral, so that swapping them cannot move a score (labelling guide, rule E3); and which month or
day it was, which says nothing about conduct. "May" stays: it is mostly the verb."""

_WORD = re.compile(r"[a-z]+(?:[/'’-][a-z]+)*/?|\d+(?:[:.]\d+)*(?:st|nd|rd|th)?|[£?!]", re.IGNORECASE)


@cache
def shorthand() -> dict[str, str]:
    """Police shorthand, lower case, and the words it stands for (`shorthand.toml`)."""
    path = Path(__file__).with_name("shorthand.toml")
    expand: dict[str, str] = tomllib.loads(path.read_text(encoding="utf-8"))["expand"]
    return expand


def spelled_out(word: str) -> str:
    """A word in small letters with its shorthand spelled out, in a possessive ("ip's") and beside a stroke ("ip/ap") too.

    A single letter beside a stroke stays: "u/k" is no "you".
    """
    table = shorthand()
    found = table.get(word) or table.get(word.rstrip("/"))
    if found is not None:
        return found
    if word.endswith("'s"):
        return f"{spelled_out(word[:-2])}'s"
    return "/".join(table.get(part, part) if len(part) > 1 else part for part in word.split("/"))


def without_accents(text: str) -> str:
    """Letters without their accents: "fiancé" is read as "fiance"."""
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")


def _number(word: str) -> str:
    if ":" in word or (len(word) == 4 and word.isdigit() and int(word[:2]) < 24 and not word.startswith("20")):
        return "time1"
    if len(word) >= 5 and word.isdigit():
        return "longnumber1"
    if word.isdigit() and len(word) == 4:
        return "year1"
    return "number1" if not word.isdigit() or int(word) > 12 else f"n{word}"


def normalise(text: str) -> str:
    """The words a classifier reads: lower case, shorthand spelled out, sex-marked words neutral, numbers by shape.

    Capital letters and punctuation are dropped on purpose: they mark the writer, not the conduct.
    """
    words: list[str] = []
    for match in _WORD.finditer(without_accents(text).replace("’", "'")):
        word = match.group().lower()
        if word[0].isdigit():
            words.append(_number(word))
            continue
        for part in spelled_out(word).replace("/", " ").replace("-", " ").split():
            bare = part[:-2] if part.endswith("'s") else part
            words.append(_NEUTRAL.get(bare, bare))
    return " ".join(words)
