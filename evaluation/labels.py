"""Section 3 of the report: offence family, section 2A or 4A, indicators, evidence, other answers.

Input: labelled incidents, their assessments, the taxonomy. Output: plain JSON figures. A label that is absent
is unknown and is left out of the figure concerned, on both sides.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from evaluation.answers import FOUR, TIER_HINTS, Answers, Places
from evaluation.columns import Columns, Json
from stalkscreen.classifiers.base import Targets
from stalkscreen.metrics import rate, share
from stalkscreen.resampling import ranking
from stalkscreen.schema import LabelledIncident
from stalkscreen.taxonomy import Taxonomy

_TOKEN = re.compile(r"\S+")


def families(columns: Columns, targets: Targets, answers: Answers, taxonomy: Taxonomy) -> Json:
    """Confusion matrix of the nine families (rows: truth, columns: likeliest), and each one's flags."""
    names = list(taxonomy.family_names)
    titles = {family.name: family.title for family in taxonomy.families}
    known = ~np.isnan(targets.family)
    truth = targets.family[known].astype(int)
    top = answers.family[known]
    matrix = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(matrix, (truth, top), 1)
    flag = columns.flag[known]
    return {
        "known": int(known.sum()),
        "unknown": int((~known).sum()),
        "names": names,
        "titles": [titles[name] for name in names],
        "matrix": matrix.tolist(),
        "right": rate(int(np.trace(matrix)), int(matrix.sum())).to_json_dict(),
        "each": [
            {
                "family": name,
                "title": titles[name],
                "recall": rate(int(matrix[i, i]), int(matrix[i].sum())).to_json_dict(),
                "precision": rate(int(matrix[i, i]), int(matrix[:, i].sum())).to_json_dict(),
                "flagged": share(flag, truth == i).to_json_dict(),
            }
            for i, name in enumerate(names)
        ],
    }


def tier(columns: Columns, targets: Targets, answers: Answers) -> Json:
    """Section 2A against 4A on true stalking whose tier is labelled: matrix, agreement and ranking."""
    known = ~np.isnan(targets.tier_s4a)
    truth = targets.tier_s4a[known].astype(int)
    hints = answers.tier[known]
    matrix = np.zeros((2, len(TIER_HINTS)), dtype=int)
    np.add.at(matrix, (truth, hints), 1)
    auc = ranking(targets.tier_s4a, answers.s4a, columns.group)["auc"]
    return {
        "known": int(known.sum()),
        "hints": list(TIER_HINTS),
        "matrix": {"s2A": matrix[0].tolist(), "s4A": matrix[1].tolist()},
        "right_when_said": rate(int(matrix[0, 0] + matrix[1, 1]), int(matrix[:, :2].sum())).to_json_dict(),
        "auc": auc.to_json_dict(),
    }


def indicators(targets: Targets, answers: Answers, taxonomy: Taxonomy) -> Json:
    """Precision, recall and support of each indicator over the records where its label is known.

    An indicator that the model does not have is `covered: false` and has no rates.
    """
    names = taxonomy.indicator_names
    each: list[Json] = []
    totals = np.zeros(3, dtype=int)
    recalls: list[float] = []
    for i, name in enumerate(names):
        truth = targets.indicators[:, i]
        said, is_covered = answers.present[:, i], name in answers.titles
        known = ~np.isnan(truth)
        counted = known if is_covered else np.zeros_like(known)
        recall, precision = share(said, counted & (truth == 1)), share(truth == 1, counted & said)
        if recall.value is not None:
            recalls.append(recall.value)
        totals += (recall.n, recall.of, precision.of)
        each.append(
            {
                "indicator": name,
                "title": answers.titles.get(name, name.replace("_", " ").capitalize()),
                "covered": is_covered,
                "known": int(known.sum()),
                "support": int((truth == 1).sum()),
                "recall": recall.to_json_dict(),
                "precision": precision.to_json_dict(),
                "false": share(said, counted & (truth == 0)).to_json_dict(),
            }
        )
    return {
        "each": each,
        "all_together": {
            "recall": rate(int(totals[0]), int(totals[1])).to_json_dict(),
            "precision": rate(int(totals[0]), int(totals[2])).to_json_dict(),
        },
        "mean_recall": float(np.mean(recalls)) if recalls else None,
    }


def _overlaps(start: int, end: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(start < other_end and other_start < end for other_start, other_end in spans)


def _by_indicator(quoted: Places, names: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
    spans: dict[str, list[tuple[int, int]]] = {}
    for indicator, start, end in quoted.tolist():
        spans.setdefault(names[indicator], []).append((start, end))
    return spans


def _tokens_under(spans: Sequence[tuple[int, int]], starts: list[int], ends: list[int]) -> set[int]:
    covered: set[int] = set()
    for start, end in spans:
        covered.update(range(bisect_right(ends, start), bisect_left(starts, end)))
    return covered


def evidence(
    records: Sequence[LabelledIncident],
    answers: Answers,
    targets: Targets,
    taxonomy: Taxonomy,
) -> Json:
    """How well the quoted spans meet the marked ones, over the records whose evidence is labelled.

    A token is a run of characters without white space; it is counted once for each indicator. A predicted
    span counts against precision only where the indicator's label is known and, if present, its evidence is
    marked. `negated` and `other_person` count the marked spans that say an indicator is absent or is somebody
    else's, and how many were nevertheless quoted as evidence that it is present. `quoted_words_median` is the length of a
    quoted span in tokens, `text_quoted` the mean share (0..1) of a text that is quoted for any indicator.
    """
    found = marked = both = predicted = true = records_used = 0
    lengths: list[int] = []
    covered: list[float] = []
    turned: dict[str, list[int]] = {"negated": [0, 0, 0], "other_person": [0, 0, 0]}
    names = taxonomy.indicator_names
    place = {name: i for i, name in enumerate(names)}
    for row, record in enumerate(records):
        if record.evidence is None:
            continue
        records_used += 1
        quoted = _by_indicator(answers.quoted_in(row), names)
        against = [(int(start), int(end)) for start, end in answers.against_in(row)]
        marked_of: dict[str, list[tuple[int, int]]] = {}
        for span in record.evidence:
            if span.status == "present":
                marked_of.setdefault(span.indicator, []).append((span.start, span.end))
                marked += 1
                found += _overlaps(span.start, span.end, quoted.get(span.indicator, ()))
            else:
                tally = turned[span.status]
                tally[0] += 1
                tally[1] += _overlaps(span.start, span.end, quoted.get(span.indicator, ()))
                tally[2] += _overlaps(span.start, span.end, against)
        if not marked_of and not quoted:
            continue
        pieces = [match.span() for match in _TOKEN.finditer(record.narrative)]
        starts, ends = [piece[0] for piece in pieces], [piece[1] for piece in pieces]
        spans = [span for found_spans in quoted.values() for span in found_spans]
        lengths += [len(_tokens_under([span], starts, ends)) for span in spans]
        covered.append(len(_tokens_under(spans, starts, ends)) / max(1, len(pieces)))
        for name in marked_of.keys() | quoted.keys():
            absent = name in place and targets.indicators[row, place[name]] == 0
            if name not in marked_of and not absent:
                continue
            truth = _tokens_under(marked_of.get(name, ()), starts, ends)
            said = _tokens_under(quoted.get(name, ()), starts, ends)
            both, predicted, true = both + len(truth & said), predicted + len(said), true + len(truth)
    return {
        "records": records_used,
        "spans_found": rate(found, marked).to_json_dict(),
        "token_precision": rate(both, predicted).to_json_dict(),
        "token_recall": rate(both, true).to_json_dict(),
        "quoted_words_median": float(np.median(lengths)) if lengths else None,
        "text_quoted": float(np.mean(covered)) if covered else None,
        "token_f1": 2 * both / (predicted + true) if predicted + true else None,
        **{
            status: {
                "wrongly_quoted": rate(wrong, of).to_json_dict(),
                "shown_as_against": rate(shown, of).to_json_dict(),
            }
            for status, (of, wrong, shown) in turned.items()
        },
    }


def other_answers(columns: Columns, targets: Targets, answers: Answers) -> Json:
    """History check (rates of the flag), FOUR, domestic and cyber (ranking), relationship (share right)."""
    advised, history = answers.history_check, targets.history_check
    ranked: list[Json] = []
    for title, truth, score in (
        *((f"FOUR: {name}", targets.four[:, i], answers.four[:, i]) for i, name in enumerate(FOUR)),
        ("Domestic", targets.domestic, answers.domestic),
        ("Cyber", targets.cyber, answers.cyber),
    ):
        ranked.append(
            {
                "title": title,
                "known": int((~np.isnan(truth)).sum()),
                "support": int((truth == 1).sum()),
                "auc": ranking(truth, score, columns.group)["auc"].to_json_dict(),
                "right_at_half": share((score >= 0.5) == (truth == 1), ~np.isnan(truth)).to_json_dict(),
            }
        )
    return {
        "history_check": {
            "recall": share(advised, history == 1).to_json_dict(),
            "precision": share(history == 1, advised & ~np.isnan(history)).to_json_dict(),
        },
        "ranked": ranked,
        "relationship_right": share(
            answers.relationship == targets.relationship, ~np.isnan(targets.relationship)
        ).to_json_dict(),
    }
