"""Fill the placeholders of a passage with words that agree with the two people, and keep track of every offset.

A passage says {he} {him} {his} of the suspect and {she} {her} {their} of the victim, with a verb that agrees with he or
she, and {suspect} where a noun phrase must introduce the person. Nothing else in a passage is ever changed, except
the verb straight after {he} or {she} when the person is neither he nor she ("they were").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from stalkscreen.schema import Evidence

SLOTS = frozenset(
    ("he", "him", "his", "He", "Him", "His", "she", "her", "their", "She", "Her", "Their", "suspect", "Suspect")
)
PLACEHOLDER = re.compile(r"\{(\w*)\}")

PRONOUNS: dict[str, dict[str, str]] = {
    "m": {"subject": "he", "object": "him", "possessive": "his", "own": "his"},
    "f": {"subject": "she", "object": "her", "possessive": "her", "own": "hers"},
    "x": {"subject": "they", "object": "them", "possessive": "their", "own": "theirs"},
}
"""By sex as the police record has it: male, female, neither."""

_CASES = {
    "he": "subject",
    "him": "object",
    "his": "possessive",
    "she": "subject",
    "her": "object",
    "their": "possessive",
}
_SUSPECT = frozenset(("he", "him", "his"))
_BETWEEN = r"(?P<between>(?: (?:also|then|just|still|always|never|only|now|often|not|soon|again|\w+ly))*) "
_VERB = re.compile(rf"(?P<clitic>['’]s)\b|{_BETWEEN}(?P<verb>[A-Za-z]+(?:['’]t)?)", re.IGNORECASE)
_PERFECT = re.compile(
    r" (?:been|got|had|gone|come|done|made|sent|put|kept|left|taken|seen|never|(?!scared|worried|tired|frightened|bothered)\w+ed)\b",
    re.IGNORECASE,
)
_PLURAL = {
    "was": "were", "is": "are", "has": "have", "does": "do", "goes": "go",
    "wasn't": "weren't", "isn't": "aren't", "hasn't": "haven't", "doesn't": "don't",
}  # fmt: skip
_NO_VERB = frozenset(("always", "perhaps", "this", "sometimes", "towards", "afterwards", "besides"))
_OWN_AFTER = re.compile(r"\s*(?:[^\s\w'’\"“(£{]|$|(?:across|when|while|too)\b)")
_OF = re.compile(r"\b(?:pal|mate|friend|cousin|relative|colleague|one|lad|brother|sister)s? of $", re.IGNORECASE)
_CONJOINED = re.compile(r"\b(?:and|but|or|then|who)(?: \w+ly)? (?:was|is|has|does|\w{2,}[^s\W]s)\b", re.IGNORECASE)


_NOUNS = {
    "m": {"man": "man", "male": "male", "brother": "brother", "uncle": "uncle", "stepfather": "stepfather", "son": "son",
          "husband": "husband"},
    "f": {"man": "woman", "male": "female", "brother": "sister", "uncle": "aunt", "stepfather": "stepmother",
          "son": "daughter", "husband": "wife"},
    "x": {"man": "person", "male": "person", "brother": "sibling", "uncle": "relative", "stepfather": "step-parent",
          "son": "child", "husband": "spouse"},
}  # fmt: skip
_AGE_GAPS = {"{son}": (-60, -17), "{uncle}": (8, 60), "{stepfather}": (14, 60), "{brother}": (-16, 16)}
"""Years by which the suspect is older than the victim, for a word of kinship to be possible."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a passage's text, `text[start:end]`: literal, a placeholder, or a verb that agrees with one.

    Attributes:
        text: As written.
        slot: Placeholder name, or "" for other stretches.
        verb_of: "he" or "she" when this is the verb of that placeholder.
        they: The verb's form after "they".
        own: Whether a possessive stands alone ("a friend of his").
        first: Whether it opens a sentence of the passage.
    """

    text: str
    start: int
    end: int
    slot: str = ""
    verb_of: str = ""
    they: str = ""
    own: bool = False
    first: bool = False


def parse(text: str) -> tuple[Piece, ...]:
    """Cut a passage at its placeholders and at the verbs that must agree with them; the pieces cover all of it.

    Raises:
        ValueError: A placeholder is unknown or a brace is left over.
    """
    pieces: list[Piece] = []
    position = 0

    def literal(end: int) -> None:
        nonlocal position
        if end > position:
            pieces.append(Piece(text[position:end], position, end))
            position = end

    for match in PLACEHOLDER.finditer(text):
        slot = match[1]
        if slot not in SLOTS:
            raise ValueError(f"unknown placeholder {{{slot}}}; allowed: {', '.join(sorted(SLOTS))}")
        literal(match.start())
        position = match.end()
        own = slot.lower() == "his" and bool(_OWN_AFTER.match(text, position) or _OF.search(text[: match.start()]))
        first = re.search(r"(?:^|[.!?]\s+)[\"'“‘]?$", text[: match.start()]) is not None
        pieces.append(Piece(match[0], match.start(), position, slot, own=own, first=first))
        if slot.lower() in ("he", "she") and (verb := _VERB.match(text, position)):
            group = "clitic" if verb["clitic"] else "verb"
            they = plural(verb[group], text[verb.end() :])
            if they != verb[group]:
                literal(verb.start(group))
                position = verb.end(group)
                pieces.append(Piece(verb[group], verb.start(group), position, verb_of=slot.lower(), they=they))
    literal(len(text))
    if any("{" in piece.text or "}" in piece.text for piece in pieces if not piece.slot):
        raise ValueError("a brace without a placeholder")
    return tuple(pieces)


def plural(verb: str, after: str = "") -> str:
    """The form of a verb after "they", in the same capitals; a form that does not change comes back as it is.

    Args:
        verb: Third person singular, or `'s`.
        after: What follows, which tells "'s been" from "'s going".
    """
    low = verb.lower().replace("’", "'")
    if low == "'s":
        form = "'ve" if _PERFECT.match(after) else "'re"
    elif low in _PLURAL:
        form = _PLURAL[low]
    elif len(low) < 4 or not low.endswith("s") or low.endswith(("ss", "us")) or low in _NO_VERB:
        return verb
    elif low.endswith("ies") and len(low) > 4:
        form = low[:-3] + "y"
    else:
        form = low[:-2] if low.endswith(("ches", "shes", "sses", "xes", "zes", "oes")) else low[:-1]
    if verb.isupper():
        return form.upper()
    return form.capitalize() if verb[0].isupper() else form


def neutral_safe(pieces: tuple[Piece, ...]) -> bool:
    """Whether "they" can stand in the passage: no second verb further on has to agree with it ("he waits and watches")."""
    if not any(piece.slot.lower() in ("he", "she", "suspect") for piece in pieces):
        return True
    return not any(_CONJOINED.search(piece.text) for piece in pieces if not piece.slot)


def shouting(pieces: tuple[Piece, ...]) -> bool:
    """Whether the passage is typed in capitals, as many call logs are."""
    letters = [char for piece in pieces if not piece.slot for char in piece.text if char.isalpha()]
    return len(letters) > 3 and sum(char.isupper() for char in letters) > 0.7 * len(letters)


def fill(
    pieces: tuple[Piece, ...],
    evidence: tuple[Evidence, ...],
    sexes: Mapping[str, str],
    phrase: str,
    *,
    capitals: bool,
    at: int = 0,
) -> tuple[str, list[Evidence]]:
    """Put the words in.

    Args:
        pieces: From `parse`.
        evidence: Offsets into the passage as written; none begins or ends inside a placeholder.
        sexes: `suspect` and `victim` to "f", "m" or "x".
        phrase: For {suspect}, such as "her ex-partner".
        capitals: Whether what is put in is typed in capitals.
        at: Offset of the passage in the narrative, added to all offsets.

    Returns:
        The text, and the evidence with offsets into the narrative.
    """
    done: list[str] = []
    moved = [0] * len(evidence), [0] * len(evidence)
    length = 0
    for piece in pieces:
        new = _words(piece, sexes, phrase, capitals)
        for i, mark in enumerate(evidence):
            for which, offset in ((moved[0], mark.start), (moved[1], mark.end)):
                if piece.start < offset <= piece.end or (offset == piece.start == 0):
                    which[i] = length + (len(new) if offset == piece.end else min(offset - piece.start, len(new)))
        done.append(new)
        length += len(new)
    marks = [
        mark.model_copy(update={"start": at + start, "end": at + end})
        for mark, start, end in zip(evidence, *moved, strict=True)
    ]
    return "".join(done), marks


def _words(piece: Piece, sexes: Mapping[str, str], phrase: str, capitals: bool) -> str:
    if piece.verb_of:
        sex = sexes["suspect" if piece.verb_of == "he" else "victim"]
        return piece.they if sex == "x" else piece.text
    if not piece.slot:
        return piece.text
    slot = piece.slot.lower()
    if slot == "suspect":
        words = phrase
    else:
        words = PRONOUNS[sexes["suspect" if slot in _SUSPECT else "victim"]]["own" if piece.own else _CASES[slot]]
    if capitals:
        return words.upper()
    return words[0].upper() + words[1:] if piece.slot[0].isupper() or (slot == "suspect" and piece.first) else words


def introductions(lines: list[list[str]], sex: str, victim_age: int, suspect_age: int) -> list[list[str]]:
    """Ways to introduce a suspect that can be true of the two people, with words for the suspect's sex put in.

    Args:
        lines: From `histories.toml`; a case keeps to the phrases of one line.
        sex: The suspect's, "f", "m" or "x".
        victim_age: In years.
        suspect_age: In years.

    Returns:
        The lines left, {their} and {her} still to be filled.
    """
    found = []
    for line in lines:
        text = " ".join(line)
        gaps = (span for word, span in _AGE_GAPS.items() if word in text)
        if any(not low <= suspect_age - victim_age <= high for low, high in gaps):
            continue
        if "{husband}" in text and min(victim_age, suspect_age) < 20:
            continue
        found.append([_filled(phrase, _NOUNS[sex]) for phrase in line])
    return found or [[_filled("a {man}", _NOUNS[sex])]]


def _filled(phrase: str, words: Mapping[str, str]) -> str:
    for word, said in words.items():
        phrase = phrase.replace(f"{{{word}}}", said)
    return phrase
