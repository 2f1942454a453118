"""What the model card and the transparency record both say of a release, each fact worked out once.

Input: the model's own record (`ModelInfo`) and its cross-validated `metrics.json`. Output: plain sentences and rows of
numbers. Nothing is said that is not in one of the two; what was not measured is said to be that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.slices import gaps_now
from stalkscreen.classifiers.encoder_base import known
from stalkscreen.classifiers.passages import PASSAGE_WORDS
from stalkscreen.model_format import Cascade, ModelInfo

Json = dict[str, Any]

WORST = 8
"""Most parts of the set listed as served worse than the rest, for each of recall and false flags."""

NOT_MEASURED = "not measured"

ENDS = "at the ends of both rates' intervals"
"""What the interval of a live figure is."""

_FIGURES = {"recall": "recall", "false_flag": "false flags"}


def rate_text(found: Mapping[str, Any] | None) -> str:
    """A share or an estimate with its counts and its interval, 95% unless it says otherwise, as far as it has them."""
    if not found or found.get("value") is None:
        return NOT_MEASURED
    parts = [f"{found['n']:,} of {found['of']:,}"] if found.get("of") is not None else []
    if found.get("low") is not None and found.get("high") is not None:
        parts.append(f"{found.get('interval') or '95% interval'} {found['low']:.3f} to {found['high']:.3f}")
    return f"{found['value']:.3f}" + (f" ({'; '.join(parts)})" if parts else "")


def performance(info: ModelInfo, metrics: Mapping[str, Any]) -> list[Json]:
    """The headline figures, each `figure`, `value`, `n`, `of`, `low`, `high`; null where there is none.

    Where `low` and `high` are no 95% interval, `interval` says what they are.
    """
    at, behaviour, evidence = metrics["at_threshold"], metrics["behaviour"], metrics["evidence"]
    strata = at["false_flag_by_stratum"]
    on = " (texts seen in training)" if (behaviour.get("sample") or {}).get("seen_in_training") else ""
    rows: list[tuple[str, Mapping[str, Any] | None]] = [
        ("Ranking (AUC)", metrics["ranking"]["auc"]),
        ("Average precision", metrics["ranking"]["average_precision"]),
        ("Review threshold, a calibrated probability", {"value": info.thresholds.review}),
        ("Recall there", at["recall"]),
        ("Precision there, in this set", at["precision"]),
        ("Not stalking but flagged", at["false_flag"]),
        *_by_origin(metrics),
        ("Ordinary records flagged", strata["ordinary"]),
        ("Near-misses flagged", strata["near_miss"]),
        *_live(metrics),
        ("Expected calibration error", {"value": metrics["calibration"]["ece"]}),
        ("Indicators found, all together", metrics["indicators"]["all_together"]["recall"]),
        ("Indicators named that are there, all together", metrics["indicators"]["all_together"]["precision"]),
        ("Marked stretches met by a quote for the same indicator", evidence["spans_found"]),
        ("Words quoted and marked, F1", {"value": evidence["token_f1"]}),
        ("Share of a text that is quoted, mean", {"value": evidence.get("text_quoted")}),
        ("Negated stretches wrongly quoted as present", evidence["negated"]["wrongly_quoted"]),
        ("Stretches about another person wrongly quoted", evidence["other_person"]["wrongly_quoted"]),
        ("Contrast pairs of which one is stalking: ranked right", behaviour["contrast"]["ranked_right"]),
        ("Contrast pairs of which one is stalking: both flags right", behaviour["contrast"].get("both_flags_right")),
        ("Invariance sets whose flag flips", behaviour["invariance"]["flips"]),
        *(
            (f"Flags that change{on}: {kind.replace('_', ' ')}", r)
            for kind, r in (behaviour.get("by_kind") or {}).items()
        ),
    ]
    return _rows(rows)


def _by_origin(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any] | None]]:
    """Recall and false flags on texts retold from real events, edited from such and invented, where the set tells them apart.

    The figures over all stand mostly on invented texts, which are easier (docs/decisions/0009).
    """
    division = next((d for d in metrics["slices"] if d["slice"] == "origin"), None)
    parts = {part["value"]: part for part in division["parts"]} if division else {}
    return [
        (f"{title}, {value} texts", parts[value][figure])
        for value in ("retold", "edited", "invented")
        if value in parts
        for figure, title in (("recall", "Recall there"), ("false_flag", "Not stalking but flagged"))
    ]


def _live(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any] | None]]:
    """Precision at the live prevalence, once for each mix of what is not stalking.

    The ends take both rates' intervals at once, so they are wider than a 95% interval and are not called one.
    """
    at = f"Precision at a live prevalence of {metrics['live']['prevalence']:.1%}"
    return [
        (f"{at}, if {live['title'][0].lower()}{live['title'][1:]}", {**live["precision"], "interval": ENDS})
        for live in metrics["at_threshold"]["live"]
    ]


def _rows(named: Sequence[tuple[str, Mapping[str, Any] | None]]) -> list[Json]:
    """Each figure with its name and whatever it has of `value`, `n`, `of`, `low`, `high`; null for the rest.

    `interval` is kept where there is one.
    """
    keys = ("value", "n", "of", "low", "high")
    return [
        {"figure": name, **dict.fromkeys(keys), **{k: v for k, v in (found or {}).items() if k in (*keys, "interval")}}
        for name, found in named
    ]


def other_set(metrics: Mapping[str, Any]) -> Json:
    """What a release keeps of a set it was not trained on: its name, what it is, its size and headline figures."""
    at, data = metrics["at_threshold"], metrics["dataset"]
    rows = [
        ("Ranking (AUC)", metrics["ranking"]["auc"]),
        ("Average precision", metrics["ranking"]["average_precision"]),
        ("Recall at the review threshold", at["recall"]),
        ("Not stalking but flagged", at["false_flag"]),
        *(
            (f"Recall where at most {row['false_flag']:.0%} of what is not stalking is flagged", row["recall"])
            for row in metrics["ranking"]["recall_at"]
        ),
    ]
    return {
        "name": data["name"],
        "note": data["note"],
        "rows": data["rows"],
        "figures": _rows(rows),
    }


def worst_parts(metrics: Mapping[str, Any]) -> list[str]:
    """The parts of the set that are worse served than the rest beyond chance, worst first; or that none was found."""
    found = gaps_now(metrics)
    if found is None:
        return ["Not worked out in these figures."]
    lines: list[str] = []
    for figure, word in _FIGURES.items():
        gaps = [gap for gap in found if gap["figure"] == figure]
        beyond = [gap for gap in gaps if gap["verdict"] == "gap"]
        if len(beyond) > WORST:
            lines.append(
                f"{word.capitalize()}: the first {WORST} of {len(beyond)} parts that are worse beyond chance follow."
            )
        lines += [
            f"{gap['title']}, {gap['value']}: {word} {rate_text(gap['part'])}; elsewhere {rate_text(gap['rest'])}"
            for gap in beyond[:WORST]
        ]
        if not beyond:
            lines.append(f"{word.capitalize()}: no part with enough records is worse than the rest beyond chance.")
        few = sum(gap["verdict"] == "few" for gap in gaps)
        if few:
            parts = "1 part looks worse but has" if few == 1 else f"{few} parts look worse but have"
            lines.append(f"{word.capitalize()}: {parts} too few records to tell.")
    return lines


def data_story(metrics: Mapping[str, Any]) -> str:
    """What the evaluated records are, in sentences: how they came to be, how many of which kind, by whom, from when."""
    data = metrics["dataset"]
    kinds = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in data["strata"].items())
    said = [
        f"{data['name']}: {data['note']}"
        if data["note"]
        else f"{data['name']}: nothing beside the files says how they came to be.",
        "No narrative is a police record." if data["synthetic"] else "They are not marked as synthetic.",
        f"{data['rows']:,} records in {data['groups']:,} cases or linked sets ({kinds}); stalking is {rate_text(data['stalking'])}.",
    ]
    if data["writers"]:
        said.append(f"They are by {data['writers']:,} writers.")
    if data["years"]:
        said.append(f"Dates run from {data['years'][0]} to {data['years'][1]}.")
    versions = ", ".join(data["label_versions"])
    said.append(
        f"Labelled under version {versions} of the labelling guide." if versions else "No label version is stated."
    )
    return " ".join(said)


def training_files(info: ModelInfo) -> list[Json]:
    """Every file the model learnt from: `file`, `rows`, `purpose`, `sha256`."""
    histories = "case histories: the pattern over time; never scored"
    return [
        {
            "file": file["name"],
            "rows": file["rows"],
            "purpose": histories
            if file.get("used_as") == "histories"
            else "fit, calibration, thresholds and cross-validation",
            "sha256": file["sha256"],
        }
        for file in info.provenance.data
    ]


def base_model(info: ModelInfo) -> str | None:
    """The pretrained encoder the model started from: origin, package, licence and digest; None for other kinds."""
    if info.kind != "encoder":
        return None
    # Only here: it brings the encoder's own libraries along.
    from stalkscreen.classifiers.encoder import EncoderSettings

    settings = info.provenance.config.get("classifier") or {}
    name = settings.get("base", EncoderSettings.model_fields["base"].default)
    about = known().get(name)
    if about is None:
        return f"Pretrained encoder {name}: not among those of encoders.toml, so its licence and digest are not known."
    digests = "; ".join(f"{file} sha256 {digest}" for file, digest in about["sha256"].items())
    said = f"Pretrained encoder {name} ({about.get('origin', about['package'])}; package {about['package']}), licence {about['licence']}"
    return f"{said}; {digests}." + (f" {about['note']}" if about.get("note") else "")


def cascade_story(cascade: Cascade | None) -> str | None:
    """What the cheap first stage clears and what that costs; None where the model has no such stage."""
    if cascade is None:
        return None
    cleared = ", ".join(f"{name.replace('_', ' ')} {share:.1%}" for name, share in cascade.cleared.items())
    lost = f"{cascade.lost / cascade.stalking:.2%}" if cascade.stalking else NOT_MEASURED
    return (
        f"A record whose raw score by the first stage is below {cascade.cut:.4f} is answered by that stage and not flagged; "
        f"one of more than {2 * PASSAGE_WORDS} words only where none of its passages reaches that (docs/decisions/0011). "
        f"Chosen out of fold on {cascade.stalking:,} true stalking records for a loss of at most {cascade.stated_loss:.2%}: "
        f"{cascade.lost:,} that the second stage flags are lost ({lost}; upper end of the exact 95% interval "
        f"{cascade.lost_upper:.2%}). Flagged or not, {cascade.below_cut:.1%} of true stalking lies below the cut. "
        f"Cleared: {cleared}. STALKSCREEN_CASCADE=off sends every record to the second stage."
    )
