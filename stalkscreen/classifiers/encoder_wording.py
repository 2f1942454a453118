"""Other ways of writing the same thing, for training the encoder: what must not move a score is varied.

Sexes swapped, months and weekdays changed, punctuation dropped, words lost, letters mistyped. Never used when scoring.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

_SWAPS = {
    "he": "she",
    "him": "her",
    "his": "her",
    "himself": "herself",
    "man": "woman",
    "men": "women",
    "male": "female",
    "males": "females",
    "boy": "girl",
    "boys": "girls",
    "boyfriend": "girlfriend",
    "husband": "wife",
    "son": "daughter",
    "sons": "daughters",
    "father": "mother",
    "dad": "mum",
    "brother": "sister",
    "brothers": "sisters",
    "uncle": "aunt",
    "nephew": "niece",
    "mr": "mrs",
    "lad": "lass",
    "gentleman": "lady",
    "bloke": "woman",
    "grandfather": "grandmother",
    "grandad": "nan",
}
_OTHER = {**{b: a for a, b in reversed(_SWAPS.items())}, **_SWAPS, "her": "his", "ms": "mr", "miss": "mr"}
"""Each sex-marked word to its counterpart; "her" becomes "his", which is right more often than "him"."""

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
]
_DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()  # noqa: SIM905
_WORD = re.compile(r"[a-z]+")


def wording(random: Random, strength: float) -> Callable[[str], str]:
    """One consistent change of wording for a whole record.

    Args:
        random: Where its choices come from.
        strength: 0 changes nothing. Above it months and weekdays are shifted in every record; 1 swaps the sexes in half of
            the records, drops the punctuation of three in ten, and loses or mistypes up to a tenth of the words of some.

    Returns:
        A function from a clause as `encoder_text.plain` writes it to the varied clause.
    """
    if strength <= 0:
        return lambda text: text
    swap = random.random() < 0.5 * strength
    shift_month, shift_day = random.randrange(len(_MONTHS)), random.randrange(len(_DAYS))
    bare = random.random() < 0.3 * strength
    lost = random.choice((0.0, 0.0, 0.05, 0.1)) * strength
    typed = random.choice((0.0, 0.0, 0.0, 0.04)) * strength

    def one(match: re.Match[str]) -> str:
        word = match.group()
        if word in _MONTHS:
            return _MONTHS[(_MONTHS.index(word) + shift_month) % len(_MONTHS)]
        if word in _DAYS:
            return _DAYS[(_DAYS.index(word) + shift_day) % len(_DAYS)]
        if swap and word in _OTHER:
            return _OTHER[word]
        if typed and len(word) > 3 and random.random() < typed:
            at = random.randrange(1, len(word) - 1)
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return word

    def vary(text: str) -> str:
        text = _WORD.sub(one, text)
        if bare:
            text = re.sub(r"[^\w\s]", " ", text)
        if lost:
            kept = [w for w in text.split() if random.random() >= lost]
            text = " ".join(kept) or text
        return text if text.strip() else "."

    return vary
