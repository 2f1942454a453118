"""Whether a text fits its date: technology, services, events and law that were not there yet (`anachronisms.toml`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path

import pandas as pd

from stalkscreen.synthesis.checking import Check, worst

GROUP = "Dates"
FIRST_YEAR, LAST_YEAR = 2015, 2026

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[a-z]*"
_YEAR_NAMED = re.compile(
    rf"\b{_MONTH}\.? (20[0-3]\d)\b(?! ?(?:hrs|hours))|\b\d{{1,2}}[/.]\d{{1,2}}[/.](20[0-3]\d)\b", re.IGNORECASE
)


@cache
def _things() -> tuple[tuple[str, date, re.Pattern[str]], ...]:
    path = Path(__file__).with_name("anachronisms.toml")
    things = tomllib.loads(path.read_text(encoding="utf-8"))["thing"]
    return tuple((thing["name"], thing["since"], re.compile(thing["pattern"])) for thing in things)


def too_early(text: str, when: date) -> Iterator[str]:
    """Names of the things in a text that were not there at its date."""
    for name, since, pattern in _things():
        if when < since and pattern.search(text):
            yield name


def date_checks(table: pd.DataFrame) -> list[Check]:
    """The checks, on `as_frame` of the corpus."""
    dated = table[table["at"].notna()]
    early, later = [], []
    for ident, text, at in zip(dated["id"], dated["text"], dated["at"], strict=True):
        early += [f"{ident} ({name}, {at:%Y-%m})" for name in too_early(text, at.date())]
        years = {int(a or b) for a, b in _YEAR_NAMED.findall(text)}
        later += [f"{ident} (names {year}, dated {at:%Y-%m})" for year in sorted(years) if year > at.year + 1]
    per_year = {
        str(year): float((dated["year"] == year).mean()) for year in range(FIRST_YEAR, LAST_YEAR + 1) if len(dated)
    }
    outside = dated["id"][~dated["year"].between(FIRST_YEAR, LAST_YEAR)]
    return [
        Check(GROUP, "records without a date", int(table["at"].isna().sum()), None, 0, "every text has one", True),
        Check(
            GROUP,
            f"records dated outside {FIRST_YEAR} to {LAST_YEAR}",
            len(outside),
            None,
            0,
            "the years commissioned",
            True,
            tuple(outside),
        ),
        worst(
            GROUP,
            "rarest or commonest year's share",
            per_year,
            0.02,
            0.20,
            "spread over the years, later ones more",
        ),
        Check(
            GROUP,
            "things named before they existed",
            len(early),
            None,
            0,
            "a text fits the technology and law of its date (dates in `anachronisms.toml`)",
            True,
            tuple(early),
        ),
        Check(
            GROUP,
            "dates in the text long after the record's own",
            len(later),
            None,
            0,
            "a text does not know the future; next year's appointments are allowed",
            True,
            tuple(later),
        ),
    ]
