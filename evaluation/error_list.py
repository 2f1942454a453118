"""Errors by id: the worst for the report, all of them for `errors.csv`.

Input: labelled incidents and the model's answers. Output: plain JSON and CSV text. Places in a narrative are given as
character offsets; never a word of one.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from evaluation.answers import FOUR, Answers, as_answers
from evaluation.columns import Columns, Json, read_columns, title_of
from evaluation.comparison import Other, newly
from stalkscreen.dataset.writing import inert
from stalkscreen.schema import Assessment, LabelledIncident
from stalkscreen.taxonomy import Taxonomy, load_taxonomy

WORST_ERRORS = 500
"""Errors listed by id in the report, both sorts together; `errors.csv` has all."""

NEAR = 3.0
"""A score whose odds are within this factor of the threshold's is close to it."""

SHORT_WORDS = 25
"""A text of at most this many words says too little for most judgements; the corpus's call logs start at about 20."""

NEAR_FAMILIES = {
    "harassment",
    "controlling_or_coercive_behaviour",
    "breach_of_order",
    "malicious_communications",
}
"""Families whose conduct is nearest to stalking (labelling guide, section 4)."""

REASONS = {
    "presumption_only": "Stalking by the ex-partner presumption only",
    "history_check_advised": "Not flagged, but a search for linked records was advised",
    "close": "Close to the threshold",
    "short": f"At most {SHORT_WORDS} words",
    "no_indicator": "No indicator found in the text",
    "low_despite_indicators": "Indicators found, but scored low",
    "label_unsure": "The annotator was unsure (confidence 1)",
    "negated_taken_as_present": "Quotes what the label marks as negated or as another person's",
    "near_family": "Conduct of a near kind: harassment, control, breach or communications",
    "no_evidence": "Flagged without any indicator",
    "far": "Of another kind altogether, or its family is not labelled",
}
"""Why an error may have come about, told by rule from labels and scores, the first that fits; not a finding."""


def error_rows(columns: Columns) -> tuple[list[int], list[int]]:
    """Rows missed, least likely first, and rows falsely flagged, likeliest first."""
    missed = np.flatnonzero(columns.positive & ~columns.flag)
    false = np.flatnonzero(~columns.positive & columns.flag)
    missed = missed[np.argsort(columns.probability[missed], kind="stable")]
    false = false[np.argsort(-columns.probability[false], kind="stable")]
    return missed.tolist(), false.tolist()


def _is_close(probability: float, review: float) -> bool:
    odds, cut = probability * (1 - review), review * (1 - probability)
    return min(odds, cut) * NEAR >= max(odds, cut) > 0


def reason_of(record: LabelledIncident, row: int, answers: Answers, review: float, taxonomy: Taxonomy) -> str:
    """The first key of `REASONS` that fits a record judged wrongly."""
    close = _is_close(float(answers.probability[row]), review)
    found = bool(answers.present[row].any())
    if record.stalking:
        rules = (
            ("presumption_only", record.stalking_basis == "presumption_only"),
            ("history_check_advised", bool(answers.history_check[row])),
            ("close", close),
            ("short", len(record.narrative.split()) <= SHORT_WORDS),
            ("no_indicator", not found),
            ("low_despite_indicators", True),
        )
    else:
        names = taxonomy.indicator_names
        turned = [(s.indicator, s.start, s.end) for s in record.evidence or () if s.status != "present"]
        quoted = [(names[i], start, end) for i, start, end in answers.quoted_in(row).tolist()]
        misread = any(a == b and s < f and t < e for a, s, e in turned for b, t, f in quoted)
        rules = (
            ("label_unsure", record.confidence == 1),
            ("negated_taken_as_present", misread),
            ("close", close),
            ("near_family", record.offence_family in NEAR_FAMILIES),
            ("no_evidence", not found),
            ("far", True),
        )
    return next(name for name, holds in rules if holds)


def worst_errors(
    records: Sequence[LabelledIncident], columns: Columns, answers: Answers, review: float, taxonomy: Taxonomy
) -> Json:
    """How many errors of each sort and reason, and the worst of them by id with what the model answered."""
    sorts = dict(zip(("missed", "falsely_flagged"), error_rows(columns), strict=True))
    half = WORST_ERRORS // 2
    spare = {name: max(0, half - len(rows)) for name, rows in sorts.items()}
    reasons: dict[str, Counter[str]] = {}
    out: Json = {}
    for (name, rows), extra in zip(sorts.items(), reversed(spare.values()), strict=True):
        why = {row: reason_of(records[row], row, answers, review, taxonomy) for row in rows}
        reasons[name] = Counter(why.values())
        listed = rows[: half + extra]
        out[name] = {
            "count": len(rows),
            "worst": [_entry(records[row], row, answers, why[row], taxonomy) for row in listed],
        }
    out["reasons"] = [
        {"reason": key, "title": title, **{name: counts[key] for name, counts in reasons.items()}}
        for key, title in REASONS.items()
        if any(counts[key] for counts in reasons.values())
    ]
    return out


def _entry(record: LabelledIncident, row: int, answers: Answers, reason: str, taxonomy: Taxonomy) -> Json:
    names = taxonomy.indicator_names
    return {
        "incident_id": record.incident_id,
        "probability": float(answers.probability[row]),
        "family_truth": record.offence_family,
        "family_top": taxonomy.family_names[answers.family[row]],
        "recorded": title_of(record.recorded_offence),
        "source_type": record.source_type,
        "relationship": record.relationship,
        "heads": {
            "four": {name: round(float(answers.four[row, i]), 4) for i, name in enumerate(FOUR)},
            "tier_s4A": round(float(answers.s4a[row]), 4),
            "domestic": round(float(answers.domestic[row]), 4),
            "cyber": round(float(answers.cyber[row]), 4),
            "history_check": bool(answers.history_check[row]),
        },
        "indicators": [names[i] for i in np.flatnonzero(answers.present[row])],
        "evidence": [
            {"indicator": names[indicator], "start": start, "end": end}
            for indicator, start, end in answers.quoted_in(row).tolist()
        ],
        "reason": reason,
    }


ERROR_COLUMNS = (
    "incident_id",
    "error",
    "probability",
    "threshold",
    "family_truth",
    "family_top",
    "recorded_offence",
    "source_type",
    "relationship",
    "reason",
    "newly_missed_against",
    "newly_found_against",
)
"""Columns of `errors.csv`. Never the narrative."""


def errors_csv(
    records: Sequence[LabelledIncident],
    assessments: Iterable[Assessment] | Answers,
    review: float,
    others: Sequence[Other] = (),
) -> str:
    """Every missed and falsely flagged record as CSV, worst first, without any text of the record.

    Stalking that the model finds and another judge does not follows as `newly_found`: no error, but listed here so
    that every id behind a comparison is in the file.
    """
    taxonomy = load_taxonomy()
    answers = as_answers(assessments, taxonomy)
    columns = read_columns(records, answers, taxonomy)
    changed = [(other.name, newly(columns, other)) for other in others]
    missed, false = error_rows(columns)
    found = np.zeros(len(records), dtype=bool)
    for _, masks in changed:
        found |= masks["newly_found"]
    better = np.flatnonzero(found)
    better = better[np.argsort(-columns.probability[better], kind="stable")]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(ERROR_COLUMNS)
    for error, rows in (("missed", missed), ("falsely_flagged", false), ("newly_found", better.tolist())):
        for row in rows:
            record = records[row]
            against = {
                kind: "|".join(name for name, masks in changed if masks[kind][row])
                for kind in ("newly_missed", "newly_found")
            }
            writer.writerow(
                [
                    inert(record.incident_id),
                    error,
                    f"{answers.probability[row]:.6f}",
                    f"{review:.6f}",
                    inert(record.offence_family),
                    taxonomy.family_names[answers.family[row]],
                    inert(title_of(record.recorded_offence)),
                    inert(record.source_type),
                    inert(record.relationship),
                    "" if error == "newly_found" else reason_of(record, row, answers, review, taxonomy),
                    inert(against["newly_missed"]),
                    inert(against["newly_found"]),
                ]
            )
    return buffer.getvalue()
