"""Stage: labelled incidents and their assessments in; `metrics.json`, `errors.csv` and `report.html` out.

Input: records with labels, one assessment for each in the same order, and assessments of the same records by
baselines. `evaluate` answers with one JSON-ready dictionary whose shape `metrics.schema.json` describes; `write` puts
the three files into a folder. Every rate is `{n, of, value, low, high}` with a 95% Wilson interval; a rate that cannot be
measured has the value null. No narrative text is in any of them.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation import labels
from evaluation.behaviour import contrast_pairs, invariance_pairs
from evaluation.columns import Columns, Json, check_aligned, flags_of, read_columns, title_of
from evaluation.misidentification import comparison, misidentification
from evaluation.slices import presumption, slices
from stalkscreen.classifiers.base import Targets
from stalkscreen.errors import ConfigError
from stalkscreen.metrics import (
    Rate,
    TruthTable,
    alerts_a_day,
    calibration,
    live_figures,
    precision_at,
    ranking,
    rate,
    rates,
    share,
    shift_prevalence,
    truth_table,
)
from stalkscreen.schema import Assessment, LabelledIncident
from stalkscreen.taxonomy import Taxonomy, load_taxonomy

FORMAT = "stalkscreen-metrics/1"
"""Name and version of the shape of `metrics.json`."""

DAILY_VOLUME = 1200
"""Narratives a day of an average force (domain facts, section 6: plan for 1,000 to 1,500)."""

LIVE_PREVALENCE = 0.008
"""Share of stalking in that stream (domain facts, section 6: 10 of 1,200 a day)."""

LIVE_NEAR_MISS_SHARE = 0.10
"""Share of what is not stalking in a live stream that is near to it: about 38 harassment and communications offences
and 83 domestic incidents among 1,200 a day (domain facts, section 6: 38 a day for an average force; 1.3 million domestic
incidents a year over 43 forces). An estimate, shown beside the set's own mix and never instead of it."""

GRID = tuple(round(0.01 * step, 2) for step in range(1, 100))
"""Thresholds of the table beside the model's own."""

WORST_ERRORS = 20
"""Errors of each sort listed by id in the report; `errors.csv` has all."""

LIMITS = (
    "A record without a flag is not a record without stalking. No flag means nothing about anybody's safety.",
    "The figures hold for records like these. Another force, source, year or recording practice can differ, and so can "
    "the same force later.",
    "The labels are the judgement of people who read the narrative alone. They are not court findings, and others may "
    "have judged otherwise.",
    "Each record is judged by itself. Stalking that shows only across several records is not found by this, and is not "
    "counted as missed here.",
    "Nothing here measures risk of harm. The model finds wording that resembles stalking; it does not say how dangerous "
    "a person is.",
    "Figures at a live prevalence are calculated, not observed. They suppose that recall and false flags stay as they "
    "are in this set.",
    "What happens after a flag is not measured: whether a reviewer agrees, acts in time, or whether anybody is safer.",
    "The set says nothing about fairness between groups of people beyond the parts shown, and where a part is small it "
    "says little about that part.",
    "Wilson intervals treat records as independent. Records of one case resemble each other, so where cases have several "
    "records the true uncertainty is larger; intervals by case are given where they matter most.",
)
"""What the figures do not show: fixed, the same for every set."""

SYNTHETIC_LIMIT = (
    "These narratives were made up. Figures on them show that the method works on texts of this kind; they do not show "
    "how it performs on police records."
)
SEEN_LIMIT = (
    "These records, or some of them, were used to train the model. The figures are better than on new records and must "
    "not be used to judge it."
)


@dataclass(frozen=True, slots=True)
class ThresholdInfo:
    """Where the model cuts.

    Attributes:
        review: At or above it a record is flagged; on the calibrated probability, 0..1.
        high: At or above it a flagged record is in the band `high`.
        prevalence: Share of stalking at which the probability is calibrated, 0..1.
        note: How it came about where that needs saying (such as one threshold a fold); empty otherwise.
    """

    review: float
    high: float
    prevalence: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What the records are.

    Attributes:
        name: As the report should call it.
        sha256: Digest of each file it was read from, hexadecimal.
        synthetic: True when no narrative is a police record.
        grouping: What was kept together when the set was split, in words.
        note: Anything a reader must know; empty otherwise.
    """

    name: str
    sha256: Sequence[str]
    synthetic: bool
    grouping: str
    note: str = ""


def evaluate(
    records: Sequence[LabelledIncident],
    assessments: Sequence[Assessment],
    *,
    threshold: ThresholdInfo,
    dataset: DatasetInfo,
    seen_in_training: bool,
    baselines: Mapping[str, Sequence[Assessment]] | None = None,
    daily_volume: int = DAILY_VOLUME,
    live_prevalence: float = LIVE_PREVALENCE,
    perturbations: Sequence[Json] | None = None,
    taxonomy: Taxonomy | None = None,
) -> Json:
    """Everything the report must show (contract, section 5), ready for JSON.

    Args:
        records: Labelled incidents.
        assessments: The model's, one for each record and in the same order.
        threshold: Where the model cuts.
        dataset: What the records are.
        seen_in_training: Whether any of the records helped to train the model that assessed it.
        baselines: Assessments of the same records by name. `keyword` also joins the misidentification table and
            `released` is called the released model; what was recorded is compared without being named here.
        daily_volume: Records a day to work alerts out for.
        live_prevalence: Share of stalking among them, 0..1.
        perturbations: Answer of `evaluation.behaviour.perturbation_tests`, when it was run.
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
    baselines = baselines or {}
    check_aligned(records, assessments)
    for name, others in baselines.items():
        check_aligned(records, others, f"the baseline {name}")
    columns = read_columns(records, assessments, taxonomy)
    targets = Targets.of(records, taxonomy)
    flags = flags_of(baselines)
    scores = {
        name: np.array([a.stalking.probability for a in others], dtype=float) for name, others in baselines.items()
    }
    return {
        "format": FORMAT,
        "dataset": _describe(records, columns, dataset, seen_in_training),
        "model": _model(assessments, threshold),
        "live": {"prevalence": live_prevalence, "daily_volume": daily_volume},
        "misidentification": misidentification(columns, flags),
        "at_threshold": _at_threshold(columns, live_prevalence, daily_volume),
        "thresholds": _threshold_table(columns, threshold, live_prevalence, daily_volume),
        "ranking": {
            key: estimate.to_json_dict()
            for key, estimate in ranking(columns.stalking, columns.probability, columns.group).items()
        },
        "families": labels.families(columns, targets, assessments, taxonomy),
        "tier": labels.tier(columns, targets, assessments),
        "indicators": labels.indicators(targets, assessments, taxonomy),
        "evidence": labels.evidence(records, assessments),
        "other_answers": labels.other_answers(columns, targets, assessments, taxonomy),
        "slices": slices(records, columns),
        "presumption": presumption(records, columns),
        "calibration": _calibration(columns, threshold),
        "behaviour": {
            "contrast": contrast_pairs(records, columns),
            "invariance": invariance_pairs(records, columns),
            "perturbations": None if perturbations is None else list(perturbations),
        },
        "errors": _worst(records, columns),
        "comparison": comparison(columns, flags, scores, live_prevalence),
        "limits": [
            *([SEEN_LIMIT] if seen_in_training else []),
            *([SYNTHETIC_LIMIT] if dataset.synthetic else []),
            *LIMITS,
        ],
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
            )
        },
    }


def _model(assessments: Sequence[Assessment], threshold: ThresholdInfo) -> Json:
    stamps = {a.model for a in assessments} if len(assessments) < 1000 else {a.model for a in assessments[::97]}
    return {
        "name": "stalkscreen",
        "versions": sorted({stamp.version for stamp in stamps}),
        "kinds": sorted({stamp.kind for stamp in stamps}),
        "label_versions": sorted({stamp.label_version for stamp in stamps}),
        "data_hashes": sorted({stamp.data_hash for stamp in stamps}),
        "threshold": {
            "review": threshold.review,
            "high": threshold.high,
            "prevalence": threshold.prevalence,
            "note": threshold.note,
        },
    }


def _mixed_false_flag(ordinary: Rate, near_miss: Rate) -> Rate | None:
    """False flags where `LIVE_NEAR_MISS_SHARE` of what is not stalking is near to it; its counts are the two sums."""
    if ordinary.value is None or near_miss.value is None:
        return None
    share_of = (1 - LIVE_NEAR_MISS_SHARE, LIVE_NEAR_MISS_SHARE)

    def mixed(a: float | None, b: float | None) -> float:
        return share_of[0] * (a or 0.0) + share_of[1] * (b or 0.0)

    return Rate(
        ordinary.n + near_miss.n,
        ordinary.of + near_miss.of,
        mixed(ordinary.value, near_miss.value),
        mixed(ordinary.low, near_miss.low),
        mixed(ordinary.high, near_miss.high),
    )


def _at_threshold(columns: Columns, live_prevalence: float, daily_volume: int) -> Json:
    """The headline figures at the model's own flags, and what they become in a live stream."""
    yes, flag = columns.positive, columns.flag
    found = rates(
        int((flag & yes).sum()), int((flag & ~yes).sum()), int((~flag & ~yes).sum()), int((~flag & yes).sum())
    )
    by_stratum = {name: share(flag, ~yes & (columns.stratum == name)) for name in ("ordinary", "near_miss")}
    unnamed = ~yes & (columns.stratum != "ordinary") & (columns.stratum != "near_miss")
    mixed = _mixed_false_flag(by_stratum["ordinary"], by_stratum["near_miss"])
    live = [
        {
            "mix": "this_set",
            "title": "What is not stalking is mixed as in this set",
            **live_figures(found["recall"], found["false_flag"], live_prevalence, daily_volume),
        }
    ]
    if mixed is not None and not unnamed.any():
        live.append(
            {
                "mix": "assumed_live",
                "title": f"{1 - LIVE_NEAR_MISS_SHARE:.0%} of what is not stalking is ordinary, "
                f"{LIVE_NEAR_MISS_SHARE:.0%} near misses (an estimate)",
                **live_figures(found["recall"], mixed, live_prevalence, daily_volume),
            }
        )
    return {
        "flagged": share(flag, np.ones(len(flag), dtype=bool)).to_json_dict(),
        **{name: value.to_json_dict() for name, value in found.items()},
        "false_flag_by_stratum": {
            **{name: value.to_json_dict() for name, value in by_stratum.items()},
            "unknown": share(flag, unnamed).to_json_dict(),
        },
        "live": live,
    }


def _threshold_row(table: TruthTable, at: float, use: str, prevalence: float, volume: int) -> Json:
    found = table.at(at)
    recall, false_flag = found["recall"].value, found["false_flag"].value
    known = recall is not None and false_flag is not None
    return {
        "threshold": at,
        "use": use,
        **{name: found[name].to_json_dict() for name in ("precision", "recall", "specificity", "false_flag")},
        "precision_at_live": precision_at(recall or 0.0, false_flag or 0.0, prevalence) if known else None,
        "alerts_a_day": alerts_a_day(recall or 0.0, false_flag or 0.0, prevalence, volume) if known else None,
    }


def _threshold_table(
    columns: Columns, threshold: ThresholdInfo, live_prevalence: float, daily_volume: int
) -> list[Json]:
    """Rows at `GRID` and at the model's own thresholds, rising; `use` is `review`, `high` or empty."""
    table = truth_table(columns.stalking, columns.probability)
    cuts = [(at, "") for at in GRID if at not in (threshold.review, threshold.high)]
    cuts += [(threshold.review, "review"), (threshold.high, "high")]
    return [_threshold_row(table, at, use, live_prevalence, daily_volume) for at, use in sorted(cuts)]


def _calibration(columns: Columns, threshold: ThresholdInfo) -> Json:
    """Calibration as given and, where the set's prevalence differs, re-weighted to the set's."""
    given = calibration(columns.stalking, columns.probability)
    here = float(columns.stalking.mean()) if len(columns.stalking) else 0.0
    shifted = calibration(columns.stalking, shift_prevalence(columns.probability, threshold.prevalence, here))
    return {
        "ece": given.ece,
        "brier": given.brier,
        "ece_at_this_prevalence": shifted.ece,
        "bins": [
            {"low": b.low, "high": b.high, "mean": b.mean, "observed": b.observed.to_json_dict()} for b in given.bins
        ],
    }


def _worst(records: Sequence[LabelledIncident], columns: Columns) -> Json:
    missed, false = _errors(columns)
    return {
        name: {
            "count": len(rows),
            "worst": [
                {"incident_id": records[row].incident_id, "probability": float(columns.probability[row])}
                for row in rows[:WORST_ERRORS]
            ],
        }
        for name, rows in (("missed", missed), ("falsely_flagged", false))
    }


def _errors(columns: Columns) -> tuple[list[int], list[int]]:
    """Rows missed, least likely first, and rows falsely flagged, likeliest first."""
    missed = np.flatnonzero(columns.positive & ~columns.flag)
    false = np.flatnonzero(~columns.positive & columns.flag)
    missed = missed[np.argsort(columns.probability[missed], kind="stable")]
    false = false[np.argsort(-columns.probability[false], kind="stable")]
    return missed.tolist(), false.tolist()


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
)
"""Columns of `errors.csv`. Never the narrative."""


def inert(value: str | None) -> str:
    """A cell that no spreadsheet runs as a formula: one that starts like one gets an apostrophe before it."""
    text = value or ""
    return f"'{text}" if text.lstrip()[:1] in {"=", "+", "-", "@"} or text[:1] in {"\t", "\r", "\n"} else text


def errors_csv(records: Sequence[LabelledIncident], assessments: Sequence[Assessment], review_threshold: float) -> str:
    """Every missed and falsely flagged record as CSV, worst first, without any text of the record."""
    columns = read_columns(records, assessments, load_taxonomy())
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(ERROR_COLUMNS)
    for error, rows in zip(("missed", "falsely_flagged"), _errors(columns), strict=True):
        for row in rows:
            record, assessment = records[row], assessments[row]
            writer.writerow(
                [
                    inert(record.incident_id),
                    error,
                    f"{assessment.stalking.probability:.4f}",
                    f"{review_threshold:.4f}",
                    inert(record.offence_family),
                    assessment.offence_family.top,
                    inert(title_of(record.recorded_offence)),
                    inert(record.source_type),
                    inert(record.relationship),
                ]
            )
    return buffer.getvalue()


def write(
    metrics: Json,
    records: Sequence[LabelledIncident],
    assessments: Sequence[Assessment],
    out: Path,
    *,
    gates: Sequence[Json] | None = None,
    further_parts: Sequence[Json] = (),
) -> None:
    """Write `metrics.json`, `errors.csv` and `report.html` into `out`.

    All three are made before any is put in place, each replaces an older one in a single step, and other files in
    `out` stay. If anything fails before that, `out` is as it was.

    Args:
        metrics: Answer of `evaluate` for these records.
        records: Labelled incidents.
        assessments: The model's.
        out: Folder; made when missing.
        gates: Results of the release gates to show, each `name`, `status` and `sentence`.
        further_parts: Metrics of other sets to show in the same report, under headings of their own.

    Raises:
        ConfigError: `out` exists and is not a folder.
        DataError: Assessments and records are not aligned.
    """
    # Imported here so that figures can be had without the `report` extra (Altair, Jinja2, vl-convert).
    from evaluation.report import render_report

    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; give a folder", file=str(out))
    check_aligned(records, assessments)
    files = {
        "metrics.json": json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "errors.csv": errors_csv(records, assessments, metrics["model"]["threshold"]["review"]),
        "report.html": render_report([metrics, *further_parts], metrics["model"], gates),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        for name, text in files.items():
            (Path(scratch) / name).write_text(text, encoding="utf-8", newline="")
        out.mkdir(exist_ok=True)
        for name in files:
            (Path(scratch) / name).replace(out / name)
