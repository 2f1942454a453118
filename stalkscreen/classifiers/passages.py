"""Long reports: judged as a whole and by passages, so that one telling paragraph is not lost among many on other matters.

The rule and its figures: docs/decisions/0011. A report of up to twice `PASSAGE_WORDS` is judged as a whole only, and so is a
case of several reports, whose pattern is the point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from stalkscreen.classifiers.base import Classifier, Scores
from stalkscreen.schema import Case, Incident
from stalkscreen.text import clauses

PASSAGE_WORDS = 100
"""Most words in a passage of several clauses; about the length of the narratives a model learns from."""

Range = tuple[int, int]
"""The first clause of a passage, and one past its last, in the order of `text.clauses`."""


def passages(case: Case) -> list[Range]:
    """The passages of a long report, in order; together they cover it, and each begins halfway into the one before.

    Returns:
        Ranges of clauses, none longer than `PASSAGE_WORDS` words unless it is one clause; empty for a report of at most
        twice that, and for a case of several.
    """
    text = case.incidents[0].narrative
    if len(case.incidents) > 1 or len(text.split()) <= 2 * PASSAGE_WORDS:
        return []
    before = [0, *accumulate(len(text[c.start : c.end].split()) for c in clauses(text))]
    found: list[Range] = []
    begin = end = 0
    while end < len(before) - 1:
        end = max(begin + 1, int(np.searchsorted(before, before[begin] + PASSAGE_WORDS, side="right")) - 1)
        found.append((begin, end))
        halfway = int(np.searchsorted(before, before[begin] + PASSAGE_WORDS // 2))
        begin = max(begin + 1, min(halfway, end))
    return found


def parts(case: Case) -> list[Case]:
    """The passages of a long report, each as a report of its own."""
    found = passages(case)
    if not found:
        return []  # most reports are short, and are not cut for nothing
    incident = case.incidents[0]
    text, cut = incident.narrative, clauses(incident.narrative)
    told = [text[cut[begin].start : cut[end - 1].end] for begin, end in found]
    return [Case.of_one(Incident(incident_id=incident.incident_id, narrative=t)) for t in told]


def first_look(classifier: Classifier, cases: Sequence[Case]) -> Scores:
    """What the first stage of a cascade makes of cases; it clears a long report only where no passage says more.

    Returns:
        Its scores, but `stalking` of a long report is the highest of the whole and its passages.
    """
    scores = classifier.predict(cases)
    told = [(row, passage) for row, case in enumerate(cases) for passage in parts(case)]
    if not told:
        return scores
    stalking = scores.stalking.copy()
    rows, read = zip(*told, strict=True)
    np.maximum.at(stalking, list(rows), classifier.predict(read).stalking)
    return replace(scores, stalking=stalking)
