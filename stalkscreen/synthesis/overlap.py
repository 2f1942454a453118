"""Whether the texts of the corpus are each their own: shared runs of words and repeated openings.

Runs are compared between texts of different cases; the texts of a declared pair are one case and meant to be alike.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

import pandas as pd

from stalkscreen.synthesis.checking import Check, tokens

GROUP = "Own texts"
MAX_SHARED = 0.20
"""Share of the shorter text's 5-word runs that two texts may have in common: above it one reads as a copy."""
MAX_RUN_SHARE = 0.005
MAX_OPENING_SHARE = 0.02


def runs(text: str, length: int) -> set[str]:
    """All sequences of `length` words, lower case and without punctuation."""
    words = tokens(text)
    return {" ".join(words[i : i + length]) for i in range(len(words) - length + 1)}


def near_duplicates(
    texts: Sequence[str], cases: Sequence[str], limit: float = MAX_SHARED
) -> list[tuple[int, int, float]]:
    """Pairs of texts of different cases that share more than `limit` of the shorter one's 5-word runs.

    Returns:
        Positions of the two texts and the share in 0..1, largest share first.
    """
    sets = [runs(text, 5) for text in texts]
    where: dict[str, list[int]] = defaultdict(list)
    for i, found in enumerate(sets):
        for run in found:
            where[run].append(i)
    common = Counter(pair for places in where.values() if len(places) > 1 for pair in combinations(places, 2))
    shares = [(i, j, n / min(len(sets[i]), len(sets[j]))) for (i, j), n in common.items() if cases[i] != cases[j]]
    return sorted((hit for hit in shares if hit[2] > limit), key=lambda hit: -hit[2])


def overlap_checks(table: pd.DataFrame, public: Iterable[tuple[str, str]] = ()) -> list[Check]:
    """The checks.

    Args:
        table: `as_frame` of the corpus.
        public: Id and text of each public case, none of which may be in the corpus.
    """
    ids, texts, cases = list(table["id"]), list(table["text"]), list(table["case"])
    alike = near_duplicates(texts, cases)
    bases = table[table["base"]]
    repeated = _spread(runs(text, 8) for text in bases["text"])
    frequent = [(n, run) for run, n in repeated.items() if n > MAX_RUN_SHARE * len(bases)]
    holders = [
        f"{n} texts: {', '.join(list(bases['id'][bases['text'].map(lambda t, r=run: r in ' '.join(tokens(t)))])[:4])}"
        for n, run in sorted(frequent, reverse=True)
    ]
    openings = Counter(" ".join(tokens(text)[:2]) for text in bases["text"])
    top = openings.most_common(1)[0][1] / len(bases)
    known = list(public)
    copied = near_duplicates([*texts, *(t for _, t in known)], [*(["corpus"] * len(texts)), *(["public"] * len(known))])
    return [
        Check(
            GROUP,
            "pairs of texts sharing over 20% of the shorter one's 5-word runs",
            len(alike),
            None,
            0,
            "each narrative is written as its own text; declared pairs apart",
            hard=True,
            offenders=tuple(f"{ids[i]} and {ids[j]} ({share:.2f})" for i, j, share in alike),
        ),
        Check(
            GROUP,
            "8-word runs found in over 0.5% of texts",
            len(frequent),
            None,
            0,
            "stock sentences would be learnt as features of the corpus",
            hard=True,
            offenders=tuple(holders),
        ),
        Check(
            GROUP,
            "share of texts with the commonest first two words",
            top,
            None,
            MAX_OPENING_SHARE,
            "openings vary as they do between people",
            hard=True,
            offenders=tuple(
                f"“{words}” ({n})" for words, n in openings.most_common(6) if n > MAX_OPENING_SHARE * len(bases)
            ),
        ),
        Check(
            GROUP,
            "texts alike a public case",
            len(copied),
            None,
            0,
            "the public cases are never trained on; same measure of 5-word runs",
            hard=True,
            offenders=tuple(f"{ids[i]} and {known[j - len(ids)][0]}" for i, j, _ in copied if i < len(ids) <= j),
        ),
    ]


def _spread(sets: Iterable[set[str]]) -> Counter[str]:
    return Counter(run for found in sets for run in found)
