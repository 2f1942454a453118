from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stalkscreen.text import CLAUSE_MAX_TOKENS, clauses, normalise, sentences


@given(st.text(max_size=400))
def test_clauses_cover_every_visible_character_once_and_in_order(text: str) -> None:
    covered = "".join(text[c.start : c.end] for c in clauses(text))
    assert "".join(covered.split()) == "".join(text.split()) or not any(ch.isprintable() for ch in text)
    starts = [c.start for c in clauses(text)]
    assert starts == sorted(starts)


@given(st.text(max_size=400))
def test_normalise_never_fails_and_is_lower_case(text: str) -> None:
    assert normalise(text) == normalise(text).lower()


def test_a_line_break_and_a_full_stop_end_a_sentence_but_an_abbreviation_does_not() -> None:
    text = "Mr. Bell rang. He left\nCaller upset"
    assert [text[a:b] for a, b in sentences(text)] == ["Mr. Bell rang.", "He left", "Caller upset"]


def test_no_clause_is_longer_than_the_limit() -> None:
    text = "word " * 500
    assert all(len(text[c.start : c.end].split()) <= CLAUSE_MAX_TOKENS for c in clauses(text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("He followed her home", "She followed him home"),
        ("HE FOLLOWED HER HOME", "he followed her home."),
        ("her husband waits", "his wife waits"),
        ("INFT states X-PTNR at H/A", "caller states ex-boyfriend at home address"),
        ("the man’s dog", "the woman's dog"),
        ("IP’s phone, susp's van", "victim's phone, suspect's van"),
        ("IP/AP live apart", "victim/suspect live apart"),
        ("her ex-fianc\u00e9 rang", "her ex-fiance rang"),
    ],
)
def test_texts_that_mean_the_same_to_the_guide_read_the_same(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("the MP was told", "the mp was told"),
        ("ha ha", "ha ha"),
        ("nothing to add", "nothing to add"),
        ("u/k person", "u k person"),
    ],
)
def test_words_of_their_own_are_not_taken_for_shorthand(text: str, read: str) -> None:
    assert normalise(text) == read


@pytest.mark.parametrize(
    ("text", "read"), [("21:40", "time1"), ("0930", "time1"), ("2024", "year1"), ("3", "n3"), ("83", "number1")]
)
def test_numbers_are_read_by_shape(text: str, read: str) -> None:
    assert normalise(text) == read
