"""Whether the means and the people that were asked for are there, in stalking and in other texts alike.

Means are found by plain words, so the counts are rough: a text may name a thing in another way, or name it in passing.
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from stalkscreen.synthesis.checking import Check, worst

GROUP = "Means and people"
_WORDS = {
    "tags and trackers": r"air ?tag|smart ?tag|tracker|tracking (?:device|app|tag)|\bgps\b",
    "doorbells and cameras": r"door ?bell|\bring (?:app|cam|footage)|cctv|dash ?cam|hidden camera",
    "shared accounts": r"netflix|spotify|icloud|shared (?:account|calendar|login)|\bpassword|family (?:plan|sharing)",
    "fitness apps": r"strava|garmin|fitbit|park ?run|running app",
    "payment references": r"\b(?:1p|penn(?:y|ies))\b|payment reference|bank transfer|paypal|monzo|revolut",
    "dating apps": r"tinder|hinge|bumble|grindr|dating (?:app|site|profile)",
    "fake profiles and new accounts": r"fake (?:profile|account)|(?:new|another|different) (?:account|profile|number|insta)",
    "game chats": r"xbox|playstation|\bps[45]\b|discord|twitch|fortnite|roblox|minecraft|gaming",
    "deliveries": r"takeaway|deliveroo|just ?eat|uber ?eats|parcel|amazon|pizza",
    "school and neighbour groups": r"whats ?app group|group chat|nextdoor|school gate|class group|facebook group",
    "AI images": r"\bA\.?I\.?\b[ -](?:image|picture|photo|made|gener)|deep ?fake|made (?:by|with) AI",
    "drones": r"\bdrone",
    "smart heating and lights": r"smart (?:heating|light|bulb|meter|speaker|plug)|\bhive\b|thermostat|alexa",
    "letters and cards": r"\bletters?\b|\bcards?\b|envelope",
    "waiting and following": r"\bwait(?:s|ed|ing)?\b|follow(?:s|ed|ing)",
    "flowers and gifts": r"flowers|roses|bouquet|chocolates|\bgifts?\b|present\b",
    "calls": r"voice ?mail|missed call|withheld|silent call|rings? (?:her|him|me)|phone calls",
    "friends, family, employer": r"\b(?:her|his|my) (?:mum|mother|dad|sister|brother|boss|manager|friend|cousin)",
}
"""The means named in the corpus's commission, each as a regular expression that ignores case."""


def coverage_checks(table: pd.DataFrame) -> list[Check]:
    """The checks, on `as_frame` of the corpus."""
    bases = table[table["base"]]
    stalking, other = bases[bases["stalking"]], bases[~bases["stalking"]]
    found = {
        name: (int(stalking["text"].map(rule).sum()), int(other["text"].map(rule).sum()))
        for name, rule in ((n, _finder(w)) for n, w in _WORDS.items())
    }
    gap = {name: yes / max(1, len(stalking)) - no / max(1, len(other)) for name, (yes, no) in found.items() if yes + no}
    victims, suspects = (
        pd.DataFrame([_person(people, role) for people in bases["people"]]) for role in ("victim", "suspect")
    )
    aged = victims["age"].dropna()
    return [
        worst(
            GROUP,
            "stalking texts with the rarest means",
            {name: yes for name, (yes, _) in found.items()},
            3,
            None,
            "every means of today and of always; found by plain words",
        ),
        worst(
            GROUP,
            "other texts with the rarest means",
            {name: no for name, (_, no) in found.items()},
            3,
            None,
            "a prop must not give the label away",
        ),
        worst(
            GROUP,
            "widest gap of a means' share, stalking less other",
            gap,
            -0.15,
            0.15,
            "a prop must not give the label away; some gap is real",
        ),
        Check(GROUP, "youngest victim", _or_none(aged.min()), None, 12, "ages 12 to 90 asked"),
        Check(GROUP, "oldest victim", _or_none(aged.max()), 88, None, "ages 12 to 90 asked"),
        Check(
            GROUP,
            "male share of stalking victims of known sex",
            _share(victims["sex"][bases["stalking"].to_numpy()], "male"),
            0.20,
            0.50,
            "nobody is left out; not an estimate of who is stalked",
        ),
        Check(
            GROUP,
            "female share of stalking suspects of known sex",
            _share(suspects["sex"][bases["stalking"].to_numpy()], "female"),
            0.15,
            0.50,
            "nobody is left out; not an estimate of who stalks",
        ),
    ]


def _finder(words: str) -> Any:
    pattern = re.compile(words, re.IGNORECASE)
    return lambda text: pattern.search(text) is not None


def _person(people: dict[str, Any], role: str) -> dict[str, Any]:
    person = people.get(role) or {}
    return {"sex": person.get("sex"), "age": person.get("age")}


def _share(values: pd.Series[Any], name: str) -> float | None:
    known = values.dropna()
    return float((known == name).mean()) if len(known) else None


def _or_none(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
