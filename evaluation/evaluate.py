"""Stage: labelled incidents and their assessments in; `metrics.json`, `errors.csv` and `report.html` out.

Input: records with labels, one assessment for each in the same order, and assessments of the same records by
baselines. `evaluate` answers with one JSON-ready dictionary whose shape `metrics.schema.json` describes;
`write` puts the three files into a folder. Every rate is `{n, of, value, low, high}` with a 95% Wilson
interval, `ranking.recall_at` with one that resamples cases; a rate that cannot be measured has the value null. No narrative text is in any of them.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from evaluation import labels
from evaluation.answers import Answers, as_answers
from evaluation.behaviour import contrast_pairs, invariance_pairs
from evaluation.columns import Columns, Json, check_aligned, read_columns
from evaluation.comparison import comparison, others_of
from evaluation.error_list import errors_csv, worst_errors
from evaluation.limits import limits_of
from evaluation.misidentification import misidentification
from evaluation.operating import (
    LIVE_NEAR_MISS_SHARE,
    REVIEW_MINUTES,
    ThresholdInfo,
    at_threshold,
    calibration_figures,
    score_bins,
    threshold_table,
)
from evaluation.slices import presumption, slice_gaps, slices, worst_slice
from stalkscreen.classifiers.base import Targets
from stalkscreen.dataset.writing import make_output_folder
from stalkscreen.errors import ConfigError
from stalkscreen.metrics import share
from stalkscreen.resampling import ranking, recalls
from stalkscreen.schema import Assessment, FourAnswer, LabelledIncident
from stalkscreen.taxonomy import Taxonomy, load_taxonomy
from stalkscreen.trained_on import Seen

__all__ = ["DatasetInfo", "ThresholdInfo", "evaluate", "write"]

FORMAT = "stalkscreen-metrics/1"
"""Name and version of the shape of `metrics.json`."""

DAILY_VOLUME = 1200
"""Narratives a day of an average force (domain facts, section 6: plan for 1,000 to 1,500)."""

LIVE_PREVALENCE = 0.008
"""Share of stalking in that stream (domain facts, section 6: 10 of 1,200 a day)."""


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What the records are.

    Attributes:
        name: As the report should call it.
        sha256: Digest of each file it was read from, hexadecimal.
        synthetic: True when no narrative is a police record.
        grouping: What was kept together when the set was split, in words.
        note: Anything a reader must know; empty otherwise.
        seen: How many records were in training; None where nobody counted.
        compared_seen: The same of each model compared with, by name.
    """

    name: str
    sha256: Sequence[str]
    synthetic: bool
    grouping: str
    note: str = ""
    seen: Seen | None = None
    compared_seen: Mapping[str, Seen] = field(default_factory=dict)


def evaluate(
    records: Sequence[LabelledIncident],
    assessments: Iterable[Assessment] | Answers,
    *,
    threshold: ThresholdInfo,
    dataset: DatasetInfo,
    seen_in_training: bool,
    baselines: Mapping[str, Iterable[Assessment] | Answers] | None = None,
    daily_volume: int = DAILY_VOLUME,
    live_prevalence: float = LIVE_PREVALENCE,
    behaviour: Json | None = None,
    earliness: Json | None = None,
    taxonomy: Taxonomy | None = None,
) -> Json:
    """Everything the report must show (contract, section 5), ready for JSON.

    Args:
        records: Labelled incidents.
        assessments: The model's, one for each record and in the same order; for many records as `Answers`.
        threshold: Where the model cuts.
        dataset: What the records are.
        seen_in_training: Whether any of the records helped to train the model that assessed it.
        baselines: Assessments of the same records by name. `keyword` also joins the misidentification table
            and `released` is called the released model; what was recorded is compared without being named
            here.
        daily_volume: Records a day to work alerts out for.
        live_prevalence: Share of stalking among them, 0..1.
        behaviour: Answer of `evaluation.behaviour.behaviour_tests`, when it was run.
        earliness: Answer of `evaluation.earliness.earliness`, when it was run.
        taxonomy: Label definitions; read from the package when not given.

    Returns:
        A dictionary that `metrics.schema.json` describes.

    Raises:
        DataError: Assessments and records are not aligned.
        ConfigError: `daily_volume` or `live_prevalence` is out of range.
    """
    if daily_volume < 1 or not 0 < live_prevalence < 1:
        raise ConfigError("daily_volume must be at least 1 and live_prevalence strictly between 0 and 1")
    taxonomy = taxonomy or load_taxonomy()
    answers = as_answers(assessments, taxonomy)
    against = {name: as_answers(others, taxonomy) for name, others in (baselines or {}).items()}
    check_aligned(records, answers)
    for name, others in against.items():
        check_aligned(records, others, f"the baseline {name}")
    columns = read_columns(records, answers, taxonomy)
    targets = Targets.of(records, taxonomy)
    parts = slices(records, columns)
    gaps = slice_gaps(parts)
    return {
        "format": FORMAT,
        "dataset": _describe(records, columns, dataset, seen_in_training),
        "model": _model(answers, threshold),
        "live": {
            "prevalence": live_prevalence,
            "daily_volume": daily_volume,
            "near_miss_share": LIVE_NEAR_MISS_SHARE,
            "review_minutes": REVIEW_MINUTES,
        },
        "gates": None,
        "other_sets": [],
        "misidentification": misidentification(
            records,
            columns,
            {name: a.flag for name, a in against.items()},
            taxonomy,
            synthetic=dataset.synthetic,
        ),
        "at_threshold": at_threshold(columns, live_prevalence, daily_volume),
        "thresholds": threshold_table(columns, threshold, live_prevalence, daily_volume),
        "score_bins": score_bins(columns, threshold),
        "ranking": {
            key: estimate.to_json_dict()
            for key, estimate in ranking(columns.stalking, columns.probability, columns.group).items()
        }
        | {"recall_at": recalls(columns.stalking, columns.probability, columns.group)},
        "families": labels.families(columns, targets, answers, taxonomy),
        "tier": labels.tier(columns, targets, answers),
        "indicators": labels.indicators(targets, answers, taxonomy),
        "evidence": labels.evidence(records, answers, targets, taxonomy),
        "other_answers": labels.other_answers(columns, targets, answers),
        "slices": parts,
        "slice_gaps": gaps,
        "worst_slice": worst_slice(parts),
        "equalised": {
            "prevalence": share(columns.positive, np.ones(len(records), dtype=bool)).value,
            "threshold": threshold.review,
        },
        "presumption": presumption(records, columns),
        "calibration": calibration_figures(columns, threshold),
        "behaviour": {
            "contrast": contrast_pairs(records, columns),
            "invariance": invariance_pairs(records, columns),
            **(behaviour or {"perturbations": None, "by_kind": None, "sample": None}),
        },
        "errors": worst_errors(records, columns, answers, threshold.review, taxonomy),
        "comparison": comparison(
            answers.ids, columns, others_of(columns, against), live_prevalence, synthetic=dataset.synthetic
        ),
        "earliness": earliness,
        "limits": limits_of(seen_in_training=seen_in_training, synthetic=dataset.synthetic),
    }


def _describe(
    records: Sequence[LabelledIncident], columns: Columns, dataset: DatasetInfo, seen_in_training: bool
) -> Json:
    everything = np.ones(len(records), dtype=bool)
    strata = Counter(record.stratum or "unknown" for record in records)
    writers = {record.writer for record in records if record.writer is not None}
    dates = [record.reported_at or record.occurred_at for record in records]
    years = sorted({moment.year for moment in dates if moment is not None})
    return {
        "name": dataset.name,
        "sha256": list(dataset.sha256),
        "synthetic": dataset.synthetic,
        "grouping": dataset.grouping,
        "note": dataset.note,
        "seen_in_training": seen_in_training,
        "seen_records": dataset.seen.records if dataset.seen else None,
        "seen_by": dataset.seen.by if dataset.seen else None,
        "compared_seen": {name: asdict(seen) for name, seen in dataset.compared_seen.items()},
        "rows": len(records),
        "stalking": share(columns.positive, everything).to_json_dict(),
        "groups": len(np.unique(columns.group)),
        "writers": len(writers),
        "strata": dict(sorted(strata.items())),
        "years": [years[0], years[-1]] if years else None,
        "label_versions": sorted({record.label_version for record in records if record.label_version}),
        "known_labels": {
            name: sum(getattr(record, name) is not None for record in records)
            for name in (
                "offence_family",
                "tier",
                "indicators",
                "evidence",
                "domestic",
                "cyber",
                "relationship",
                "recorded_offence",
                "history_check",
                *(f"four_{name}" for name in FourAnswer.model_fields),
            )
        },
    }


def _model(answers: Answers, threshold: ThresholdInfo) -> Json:
    versions, kinds, label_versions, data_hashes = zip(*answers.stamps, strict=True) if answers.stamps else ((),) * 4
    return {
        "name": "stalkscreen",
        "versions": sorted(set(versions)),
        "kinds": sorted(set(kinds)),
        "label_versions": sorted(set(label_versions)),
        "data_hashes": sorted(set(data_hashes)),
        "threshold": {
            "review": threshold.review,
            "high": threshold.high,
            "prevalence": threshold.prevalence,
            "note": threshold.note,
        },
    }


def write(
    metrics: Json,
    records: Sequence[LabelledIncident],
    assessments: Iterable[Assessment] | Answers,
    out: Path,
    *,
    baselines: Mapping[str, Iterable[Assessment] | Answers] | None = None,
    gates: Sequence[Json] | None = None,
    further_parts: Sequence[Json] = (),
    with_text: bool = False,
) -> None:
    """Write `metrics.json`, `errors.csv` and `report.html` into `out`.

    All three are made before any is put in place, each replaces an older one in a single step, and other
    files in `out` stay. If anything fails before that, `out` is as it was.

    Args:
        metrics: Answer of `evaluate` for these records.
        records: Labelled incidents.
        assessments: The model's.
        out: Folder; made when missing.
        baselines: The same as `evaluate` was given, so that `errors.csv` says who is newly missed against whom.
        gates: Results of the release gates to show, each `name`, `status` and `sentence`.
        further_parts: Metrics of other sets to show in the same report, under headings of their own.
        with_text: Put the narratives of the listed errors into `report.html`, which then says so on every page;
            no other file ever holds any.

    Raises:
        ConfigError: `out` is a file, or cannot be made or written to.
        DataError: Assessments and records are not aligned.
    """
    # Imported here so that figures can be had without the `report` extra (Altair, Jinja2, vl-convert).
    from evaluation.report import render_report

    taxonomy = load_taxonomy()
    answers = as_answers(assessments, taxonomy)
    check_aligned(records, answers)
    others = others_of(
        read_columns(records, answers, taxonomy),
        {name: as_answers(given, taxonomy) for name, given in (baselines or {}).items()},
    )
    files = {
        "metrics.json": json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "errors.csv": errors_csv(records, answers, metrics["model"]["threshold"]["review"], others),
        "report.html": render_report(
            [metrics, *further_parts],
            metrics["model"],
            gates,
            texts={record.incident_id: record.narrative for record in records} if with_text else None,
        ),
    }
    make_output_folder("--out", out, out)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=out) as scratch:
        for name, text in files.items():
            (Path(scratch) / name).write_text(text, encoding="utf-8", newline="")
        for name in files:
            (Path(scratch) / name).replace(out / name)
