"""Which records of a labelled set have a stalking label or a recorded offence that is probably wrong.

In: checked labelled incidents. Out: findings for a person to review, those that matter most first. No label is changed
here or anywhere without a person (`training.label_review`).

A record is judged by a classifier that saw none of its writer, case, pair or near-duplicates, together with the
indicators that are marked on the record itself; labels that follow from the decision on stalking (family, tier, FOUR,
history check) are left aside, since the same hand wrote them at the same moment. Confident learning then says how many
labels are wrong and which (Northcutt, Jiang and Chuang 2021, "Confident Learning", JAIR 70; cleanlab).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stalkscreen.classifiers import Floats, Progress, Targets, silent
from stalkscreen.config import TrainConfig
from stalkscreen.errors import ConfigError, DataError
from stalkscreen.schema import LabelledIncident
from stalkscreen.taxonomy import load_taxonomy
from training import splits
from training.out_of_fold import cross_fit

Kind = Literal["label_misses_stalking", "label_overstates_stalking", "near_duplicates_disagree", "recorded_offence"]

CONSEQUENCE: dict[Kind, float] = {
    "label_misses_stalking": 1.0,
    "label_overstates_stalking": 0.8,
    "near_duplicates_disagree": 0.6,
    "recorded_offence": 0.4,
}
"""Weight of each finding. An order of ours, not a measurement: a stalking record taught as none trains a model to
overlook others; the reverse costs a reviewer's time; of two texts that are nearly the same one label is wrong, but not
known which; a recorded offence trains nothing."""

COMBINER_C = 0.01
"""Inverse regularisation of the join of text score and marked indicators. Strong, because the labels it learns from are
the ones in doubt (tried on flipped labels: 0.01 and 0.1 alike, none better)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One record to review.

    Attributes:
        row: Its place in the set.
        incident_id: Its id.
        kinds: What was found, the weightiest first.
        current: Its stalking label.
        suggested: The label that the scores favour; the same as `current` where only the recorded offence is in doubt.
        probability: Out-of-fold probability of stalking, in 0..1.
        matters: Probability that the finding is right times its weight in `CONSEQUENCE`, in 0..1.
        recorded_offence: As recorded.
        similar_to: Ids of near-duplicates that have the other label.
    """

    row: int
    incident_id: str
    kinds: tuple[Kind, ...]
    current: bool
    suggested: bool
    probability: float
    matters: float
    recorded_offence: str | None
    similar_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """The result.

    Attributes:
        findings: What matters most first.
        records: How many records were looked at.
        grouping: What the folds kept apart, in words.
        indicators_used: Whether marked indicators took part in the scores.
        confident: Probability from which a record counts as surely stalking.
    """

    findings: list[Finding]
    records: int
    grouping: str
    indicators_used: bool
    confident: float


def audit(
    records: Sequence[LabelledIncident],
    config: TrainConfig,
    *,
    workers: int | None = None,
    progress: Progress = silent,
) -> Audit:
    """Look for labels and recorded offences that are probably wrong.

    Args:
        records: Checked labelled incidents; writers, cases and pairs are kept together where they are given.
        config: Classifier and folds; the `linear` kind takes a few seconds a fold.
        workers: See `training.out_of_fold.cross_fit`.
        progress: Called as each stage is done.

    Raises:
        ConfigError: The `audit` extra is not installed, or the config is wrong.
        DataError: One class only, or too few records or groups.
    """
    find = _confident_learning()
    stalking = np.array([r.stalking for r in records], dtype=int)
    if len(np.unique(stalking)) < 2:
        raise DataError(
            f"An audit needs records of both labels; all {len(records)} have the same value of stalking.",
            code="one_class_only",
        )
    progress("grouping records", 0, config.validation.folds + 2)
    group, grouping = splits.groups(records, config.validation.near_duplicate)
    fold = splits.folds(records, group, config.validation.folds, config.seed)
    fitted = cross_fit([_bare(r) for r in records], config, fold, final=False, workers=workers, progress=progress)
    text = np.zeros(len(records))
    for part in fitted.folds:
        text[part.rows] = part.scores.stalking
    probability, used = _with_indicators(text, records, stalking, fold)
    wrong = np.asarray(find(stalking, np.column_stack([1 - probability, probability])), dtype=bool)
    # Confident learning's own threshold for "surely of this class": the mean score of those labelled so.
    confident = float(probability[stalking == 1].mean())
    similar = disagreeing_duplicates(records, config.validation.near_duplicate)
    taxonomy = load_taxonomy()
    findings = []
    for row, record in enumerate(records):
        p = float(probability[row])
        found: dict[Kind, float] = {}
        if wrong[row]:
            found["label_overstates_stalking" if record.stalking else "label_misses_stalking"] = (
                1 - p if record.stalking else p
            )
        if row in similar:
            found["near_duplicates_disagree"] = max(0.5, 1 - p if record.stalking else p)
        title = record.recorded_offence
        if title and p >= confident and not taxonomy.is_stalking_title(title):
            found["recorded_offence"] = p
        if found:
            matters = {kind: CONSEQUENCE[kind] * right for kind, right in found.items()}
            about_label = set(found) - {"recorded_offence"}
            findings.append(
                Finding(
                    row=row,
                    incident_id=record.incident_id,
                    kinds=tuple(sorted(found, key=lambda kind: -matters[kind])),
                    current=record.stalking,
                    suggested=p >= 0.5 if about_label else record.stalking,
                    probability=p,
                    matters=max(matters.values()),
                    recorded_offence=title,
                    similar_to=tuple(records[other].incident_id for other in similar.get(row, ())),
                )
            )
    findings.sort(key=lambda finding: (-finding.matters, finding.row))
    progress("done", config.validation.folds + 2, config.validation.folds + 2)
    return Audit(findings, len(records), grouping, used, confident)


def disagreeing_duplicates(records: Sequence[LabelledIncident], threshold: float) -> dict[int, list[int]]:
    """Row to the rows whose text is nearly the same and whose stalking label is the other one.

    Pairs declared as contrast pairs differ on purpose and are left out.

    Args:
        records: Labelled incidents.
        threshold: Jaccard similarity of word pairs, in 0..1.
    """
    found: dict[int, list[int]] = {}
    for i, j in splits.near_duplicates([r.narrative for r in records], threshold):
        one, other = records[i], records[j]
        declared = one.pair_id is not None and one.pair_id == other.pair_id and one.pair_kind == "contrast"
        if one.stalking != other.stalking and not declared:
            found.setdefault(i, []).append(j)
            found.setdefault(j, []).append(i)
    return found


def _bare(record: LabelledIncident) -> LabelledIncident:
    """The text, its label and its writer: nothing else is learnt from."""
    return LabelledIncident(
        incident_id=record.incident_id, narrative=record.narrative, stalking=record.stalking, writer=record.writer
    )


def _with_indicators(
    text: Floats, records: Sequence[LabelledIncident], stalking: NDArray[np.int_], fold: NDArray[np.intp]
) -> tuple[Floats, bool]:
    """`(n,)` probabilities from the text's score and the record's own indicators, by other folds' records.

    Where no record has indicators, the text's score is only recalibrated. An unknown indicator counts as not marked.
    """
    marked = Targets.of(records, load_taxonomy()).indicators
    used = not bool(np.all(np.isnan(marked)))
    features = np.column_stack([logit(np.clip(text, 1e-6, 1 - 1e-6)), np.nan_to_num(marked)])
    joined = np.zeros(len(records))
    for number in range(int(fold.max()) + 1):
        inside, outside = fold != number, fold == number
        if len(np.unique(stalking[inside])) < 2:
            joined[outside] = text[outside]
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(C=COMBINER_C, max_iter=1000))
        joined[outside] = model.fit(features[inside], stalking[inside]).predict_proba(features[outside])[:, 1]
    return joined, used


def _confident_learning() -> Any:
    """The search for wrong labels: as many as confident learning counts, those least like their label."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise ConfigError(
            "audit-labels needs cleanlab, which is in the extra `audit`: pip install 'stalkscreen[audit]' "
            "(in a checkout: make setup).",
            code="extra_missing",
        ) from error

    def find(labels: NDArray[np.int_], probabilities: Floats) -> Any:
        return find_label_issues(labels, probabilities, filter_by="low_self_confidence", n_jobs=1)

    return find
