"""What the report says in words: numbers as text, and one sentence for each chart that says what it shows.

Input: parts of `metrics.json`. Output: plain text; the templates escape it.
"""

from __future__ import annotations

from evaluation.columns import Json
from evaluation.slices import gaps_now

NONE = "not measured"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage; `not measured` for None."""
    return NONE if value is None else f"{100 * value:.{digits}f}%"


def counted(rate: Json) -> str:
    """A rate in a sentence: percentage, numerator, denominator, interval."""
    if rate["value"] is None:
        return "not measured (0 of 0)"
    return (
        f"{percent(rate['value'])} ({rate['n']:,} of {rate['of']:,}; "
        f"95% interval {percent(rate['low'])} to {percent(rate['high'])})"
    )


def number(value: float | None, digits: int = 2) -> str:
    """A number with thousands separated; `not measured` for None."""
    return NONE if value is None else f"{value:,.{digits}f}"


def a_day(value: float | None) -> str:
    """An expected number a day to one decimal; what would round to nothing but is not says `under 0.1`."""
    return "under 0.1" if value is not None and 0 < value < 0.05 else number(value, 1)


def points(value: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def ranged(estimate: Json, digits: int = 2) -> str:
    """An estimate with its interval, where it has one."""
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if value is None or low is None or high is None:
        return number(value, digits)
    return f"{value:,.{digits}f} (95% interval {low:,.{digits}f} to {high:,.{digits}f})"


def chance(p_value: float | None) -> str:
    """A p value in words a table can hold."""
    if p_value is None:
        return "no difference"
    return "below 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _way(metrics: Json, way: str) -> Json | None:
    rows = metrics["misidentification"]["same_rows"] or metrics["misidentification"]["all_rows"]
    return next((row for row in rows if row["way"] == way), None)


def misidentification(metrics: Json) -> str:
    """What the chart of missed stalking shows."""
    figures = metrics["misidentification"]
    model = _way(metrics, "model")
    if model is None or model["missed"]["value"] is None:
        return "The set holds no true stalking on which a share missed could be measured."
    missed = model["missed"]
    keyword = _way(metrics, "keyword")
    by_keyword = "" if keyword is None else f"; the keyword baseline missed {keyword['missed']['n']:,}"
    if not figures["same_rows"]:
        return (
            f"Not recorded: no record says what the force recorded, so the force's own share is unknown. Of "
            f"{missed['of']:,} records of true stalking the model missed {missed['n']:,}{by_keyword}."
        )
    recorded, after = _way(metrics, "as_recorded"), _way(metrics, "after_review")
    assert recorded is not None
    assert after is not None
    simulated = " (recording is simulated in a synthetic set)" if metrics["dataset"]["synthetic"] else ""
    return (
        f"Of {missed['of']:,} records of true stalking with a recorded offence, {recorded['missed']['n']:,} were "
        f"recorded as something else{simulated} and the model missed {missed['n']:,}{by_keyword}; "
        f"{after['missed']['n']:,} would still be missed if every flagged record were reviewed and decided rightly."
    )


def flow(part: Json) -> str:
    """What the flow diagram shows."""
    wrong, lost, none = part["recovered"], part["newly_lost"], part["not_recorded"]["stalking"]
    said = []
    if wrong["of"]:
        said.append(
            f"{wrong['of']:,} of true stalking were recorded as something else: {wrong['n']:,} are recovered (flagged) "
            f"and {wrong['of'] - wrong['n']:,} still missed"
        )
    if lost["of"]:
        said.append(f"of {lost['of']:,} recorded as stalking, {lost['n']:,} are newly lost (not flagged)")
    if none["of"]:
        said.append(f"{none['of']:,} of true stalking have no recorded offence, and {none['n']:,} of them are flagged")
    if not said:
        return f"{part['title']}: the {part['rows']:,} records hold no true stalking to follow."
    return f"{part['title']}: " + "; ".join(said) + "."


def thresholds(metrics: Json) -> str:
    """What the chart of rates by threshold shows."""
    row = next(r for r in metrics["thresholds"] if r["use"] == "review")
    alerts, precision = row["live"]["alerts_a_day"], row["live"]["precision"]
    if alerts["value"] is None:
        return "The set lacks one of the two classes, so alerts a day cannot be worked out."
    right = "" if precision["value"] is None else f", {percent(precision['value'])} of them right"
    return (
        f"At the review threshold of {row['threshold']:.2f} the model finds {percent(row['recall']['value'])} of "
        f"stalking; in a stream of {metrics['live']['daily_volume']:,} records a day, of which "
        f"{percent(metrics['live']['prevalence'])} are stalking, that is about {number(alerts['value'], 0)} "
        f"alerts a day{right}, if what is not stalking is mixed as in this set."
    )


def calibration(metrics: Json) -> str:
    """What the calibration curve shows."""
    figures = metrics["calibration"]
    if figures["ece"] is None:
        return "There are no records to measure calibration on."
    return (
        f"On average the probability differs from the share that is truly stalking by "
        f"{100 * figures['ece']:.1f} percentage points (expected calibration error, bins of equal size)."
    )


def indicators(metrics: Json) -> str:
    """What the chart of indicators shows."""
    measured = [i for i in metrics["indicators"]["each"] if i["recall"]["value"] is not None]
    if not measured:
        return "No indicator has a labelled example in this set."
    lowest = min(measured, key=lambda i: i["recall"]["value"])
    return (
        f"Indicators with labelled examples: {len(measured)}. Recall is lowest for "
        f"“{lowest['title']}”: {counted(lowest['recall'])}."
    )


def division(figures: Json) -> str:
    """What the chart of one slice shows."""
    parts = figures["parts"]
    if len(parts) < 2:
        return "All records that say belong to one part, so there is nothing to compare."
    gaps = [p["value"] for p in parts if p["recall_gap"] == "gap"]
    if gaps:
        return f"Recall is lower than in the rest of the set for: {', '.join(gaps)}."
    if all(p["recall_gap"] in ("few", "not_measured") for p in parts):
        return "No part has enough records of stalking to compare recall."
    return "No part with enough records has a lower recall than the rest beyond what chance would do."


def gaps(metrics: Json) -> str:
    """What the table of gaps shows."""
    rows = gaps_now(metrics)
    if rows is None:
        return "Not measured: these figures do not order the gaps."
    if not rows:
        return "No part does worse than the rest, or there are no parts to compare."
    found = [row for row in rows if row["verdict"] == "gap"]
    if not found:
        enough = [row for row in rows if row["verdict"] == "none"]
        if not enough:
            return "Every part that does worse is too small to compare: nothing can be said about gaps."
        return "No part with enough records does worse than the rest beyond what chance would do."
    worst = found[0]
    figure = "recall" if worst["figure"] == "recall" else "the rate of false flags"
    return (
        f"{len(found)} of {len(rows)} differences are beyond chance. The largest: in “{worst['value']}” "
        f"({worst['title'][0].lower()}{worst['title'][1:]}) {figure} is {percent(worst['part']['value'])} "
        f"({worst['part']['n']:,} of {worst['part']['of']:,}), against {percent(worst['rest']['value'])} elsewhere. Among "
        "many parts some differences appear by chance."
    )


def largest_gap(metrics: Json) -> str:
    """The largest gap for the first screen; empty when none is beyond chance."""
    if not any(row["verdict"] == "gap" for row in gaps_now(metrics) or ()):
        return ""
    return "Parts that do worse: " + gaps(metrics)


def behaviour(metrics: Json) -> str:
    """What the behavioural tests show."""
    rows = metrics["behaviour"]["perturbations"] or ()
    kept = [row for row in rows if row["keeps_meaning"] and row["failures"]["value"] is not None]
    if not kept:
        return "A model that reads the conduct should give the same flag when only names, style or filler change."
    worst = max(kept, key=lambda row: row["failures"]["value"])
    title = worst["title"]
    return (
        f"Where the meaning is kept, the flag should never change. It changes most for “{title}”: "
        f"{counted(worst['failures'])}."
    )


def behaviour_chart(metrics: Json) -> str:
    """What the chart of the behavioural tests shows."""
    rows = [row for row in metrics["behaviour"]["perturbations"] or () if row["failures"]["value"] is not None]
    steady = sum(row["failures"]["high"] <= 0.05 for row in rows)
    return (
        f"Share of flags that change, with 95% intervals: for {steady} of {len(rows)} kinds of change the whole interval "
        "lies below 5%."
    )


def comparison(row: Json) -> str:
    """What one comparison shows."""
    paired = row.get("paired")
    if not paired or paired["recall"]["value"] is None:
        return "The difference in recall is not measured: there is no true stalking among these records."
    recall, other = paired["recall"], paired["false_flag"]

    def difference(d: Json, more: str, fewer: str) -> str:
        if d["value"] is None:
            return NONE
        if d["low"] is None or d["high"] is None:
            return f"{points(d['value'])} points (no interval: too few cases, or they hardly differ)"
        sure = d["low"] > 0 or d["high"] < 0
        return f"{points(d['value'])} points ({points(d['low'])} to {points(d['high'])}): " + (
            (more if d["value"] > 0 else fewer) if sure else "within chance"
        )

    return (
        f"Model minus {row['title']}: recall {difference(recall, 'the model finds more', 'the model finds less')}; false "
        f"flags {difference(other, 'the model flags more wrongly', 'the model flags less wrongly')}."
    )


def earliness(metrics: Json) -> str:
    """What the chart of beginnings shows."""
    early = (metrics.get("earliness") or {}).get("prefixes")
    if not early:
        return ""
    half = next((row for row in early["shares"] if abs(row["share"] - 0.5) < 1e-9), None)
    median = early["median_share"]
    at_half = "" if half is None else f"; after half the words {counted(half['flagged'])} are"
    return (
        f"Half of the stalking narratives that are flagged whole are flagged once {percent(median, 0)} of the words are "
        f"typed{at_half}."
        if median is not None
        else f"The share of words needed is not measured{at_half}."
    )


def histories(metrics: Json) -> str:
    """What the table of case histories shows."""
    cases = (metrics.get("earliness") or {}).get("histories")
    if not cases:
        return ""

    def first(way: Json) -> str:
        middle = way["median_incident"]
        return f"{counted(way['flagged'])}" + ("" if middle is None else f", at the median at incident {middle:g}")

    return (
        f"Cases flagged at some incident: read alone {first(cases['alone'])}; read together with those before it "
        f"{first(cases['together'])}. Together is earlier in {cases['earlier_together']:,} cases, alone in "
        f"{cases['earlier_alone']:,}, and there is no difference in {cases['same']:,}."
    )
