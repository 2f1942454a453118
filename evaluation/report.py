"""The report: one HTML file that opens from a file share with no network.

Input: `metrics.json` dictionaries, one a data set, and gate results. Output: HTML text. The page asks for
nothing from outside (its content security policy forbids it and allows one script by its hash), it can be read without
that script, every chart is followed by its table, and text from data is escaped. Nothing is shown that is not in
`metrics.json` or worked out from the counts in it; narratives only when they are handed in.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evaluation import sentences
from evaluation.columns import Json
from evaluation.drawings import drawings, recorded_groups
from evaluation.explorer import Explorer
from evaluation.explorer_words import words
from evaluation.seen import seen_sentence
from evaluation.slices import OTHER, gaps_now

TEMPLATES = Path(__file__).parent / "templates"

SECTIONS = (
    ("misidentification", "Misidentification"),
    ("thresholds", "Thresholds, alerts and reviewers"),
    ("answers", "What else the model says"),
    ("slices", "Parts of the set"),
    ("behaviour", "Calibration, behaviour, earliness and errors"),
    ("comparison", "Comparison on the same records"),
    ("data", "The data, and what the figures do not show"),
)
"""Sections of a part in the order of the contract, section 5; each is a template in `templates/sections/`."""

FORCE_SIZES = (500, 9000)
"""Daily narratives shown beside the set's own volume: a small force, and the largest (domain facts, section
6: 8,000 to 10,000 for the Metropolitan Police)."""

SHOWN_EVERY = 5
"""The page shows the thresholds that are a multiple of this many hundredths; the rest are in a part that
opens."""

GAPS_SHOWN = 30
"""Gaps between parts of the set in the table; `metrics.json` has all."""

INCIDENTS_SHOWN = 10
"""Incidents of a case history with a row of their own; later ones are added up."""

MODEL_ROWS = (
    ("name", "Name"),
    ("version", "Version"),
    ("versions", "Version"),
    ("kind", "Kind"),
    ("kinds", "Kind"),
    ("label_version", "Labelling guide"),
    ("label_versions", "Labelling guide"),
    ("data_hash", "Training data"),
    ("data_hashes", "Training data"),
)
"""What is said of the model, in this order, as far as it is given."""

GATE_WORDS = {"pass": "Passed", "fail": "Failed", "not_applicable": "Not applicable"}

GAP_WORDS = {
    ("recall", "gap"): "Gap: finds less here than elsewhere",
    ("false_flag", "gap"): "Gap: more false flags here than elsewhere",
    ("recall", "few"): "Too few to compare recall",
    ("false_flag", "few"): "Too few to compare false flags",
}


def page_environment() -> Environment:
    """Templates of the report and the dashboard, with the filters and words that both use."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    said = ("percent", "counted", "number", "a_day", "points", "ranged", "chance")
    environment.filters.update({name: getattr(sentences, name) for name in said})
    environment.globals.update(gap_words=GAP_WORDS, gate_words=GATE_WORDS, sections=SECTIONS)
    return environment


def _script() -> tuple[Markup, str]:
    """The page's script, and the policy that lets it run and nothing else."""
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    return Markup(script), f"{content_policy(script)}; form-action 'none'"


def content_policy(*scripts: str) -> str:
    """A content security policy that lets these scripts run, by their hashes, and nothing else in."""
    digests = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src {digests}; img-src data:; base-uri 'none'"


def _says(metrics: Json, explorer: Explorer | None, now: Json | None) -> Json:
    flows = metrics["misidentification"].get("flows") or ()
    return {
        "missed": sentences.misidentification(metrics),
        "flow": sentences.flow(flows[0]) if flows else "",
        "flows": [sentences.flow(flow) for flow in flows],
        "thresholds": sentences.thresholds(metrics),
        "calibration": sentences.calibration(metrics),
        "indicators": sentences.indicators(metrics),
        "slices": {division["slice"]: sentences.division(division) for division in metrics["slices"]},
        "gaps": sentences.gaps(metrics),
        "largest_gap": sentences.largest_gap(metrics),
        "seen": seen_sentence(metrics["dataset"]),
        "behaviour": sentences.behaviour(metrics),
        "behaviour_chart": sentences.behaviour_chart(metrics),
        "comparison": [sentences.comparison(row) for row in metrics["comparison"]],
        "earliness": sentences.earliness(metrics),
        "histories": sentences.histories(metrics),
        **(words(explorer, now) if explorer and now else {}),
    }


def _part(metrics: Json, place: int, texts: Mapping[str, str]) -> Json:
    prefix = f"part{place}"
    rows = metrics["thresholds"]
    explorer = Explorer(metrics) if "score_bins" in metrics else None
    now = explorer.at(explorer.review) if explorer else None
    return {
        "id": prefix,
        "m": metrics,
        "charts": drawings(metrics, prefix),
        "sizes": sorted({metrics["live"]["daily_volume"], *FORCE_SIZES}),
        "shown": [r for r in rows if r["use"] or round(100 * r["threshold"]) % SHOWN_EVERY == 0],
        "hidden": [r for r in rows if not r["use"] and round(100 * r["threshold"]) % SHOWN_EVERY != 0],
        "ways": metrics["misidentification"]["same_rows"] or metrics["misidentification"]["all_rows"],
        "groups": recorded_groups(metrics),
        "gaps": gaps_now(metrics) or [],
        "gaps_shown": GAPS_SHOWN,
        "cut": {division["slice"]: _cut(division) for division in metrics["slices"]},
        "reasons": {row["reason"]: row["title"] for row in metrics["errors"].get("reasons") or ()},
        "sample": metrics["behaviour"].get("sample"),
        "histories": _histories(metrics),
        "explorer": None
        if explorer is None
        else {"now": now, "start": explorer.start, "queue": explorer.queue(explorer.review)},
        "payload": explorer.payload() if explorer else None,
        "can_mix": explorer.can_mix if explorer else False,
        "says": _says(metrics, explorer, now),
        "texts": _texts(metrics, prefix, texts),
    }


def _cut(division: Json) -> str:
    """How many parts of a slice are shown by name, where that is not all of them."""
    named = sum(part["value"] != OTHER for part in division["parts"])
    return "" if named == division["values"] else f"; the {named:,} largest of {division['values']:,}"


def _histories(metrics: Json) -> list[Json]:
    """Cases first flagged at each incident, read alone and together; later incidents are added up."""
    cases = (metrics.get("earliness") or {}).get("histories")
    if not cases:
        return []
    at = {way: {row["incident"]: row["cases"] for row in cases[way]["at"]} for way in ("alone", "together")}
    last = max([0, *at["alone"], *at["together"]])
    rows: list[Json] = [
        {"incident": f"incident {i}", **{way: at[way].get(i, 0) for way in at}}
        for i in range(1, min(last, INCIDENTS_SHOWN) + 1)
    ]
    if last > INCIDENTS_SHOWN:
        later = {way: sum(n for i, n in at[way].items() if i > INCIDENTS_SHOWN) for way in at}
        rows.append({"incident": f"incident {INCIDENTS_SHOWN + 1} or later", **later})
    return [*rows, {"incident": "never", **{way: cases[way]["never"] for way in at}}]


def _texts(metrics: Json, prefix: str, texts: Mapping[str, str]) -> dict[str, Json]:
    """Narratives of the listed errors, cut into pieces of which the quoted ones are marked."""
    found: dict[str, Json] = {}
    for row in (*metrics["errors"]["missed"]["worst"], *metrics["errors"]["falsely_flagged"]["worst"]):
        text = texts.get(row["incident_id"])
        if text is not None:
            marked = bytearray(len(text))
            for span in row.get("evidence") or ():
                marked[span["start"] : span["end"]] = b"\1" * len(text[span["start"] : span["end"]])
            cuts = [0, *(i for i in range(1, len(text)) if marked[i] != marked[i - 1]), len(text)]
            pieces = [(text[a:b], bool(marked[a])) for a, b in pairwise(cuts) if a < b]
            found[row["incident_id"]] = {
                "id": f"{prefix}-text{len(found) + 1}",
                "incident_id": row["incident_id"],
                "pieces": pieces,
            }
    return found


def _verdict(gates: Sequence[Json]) -> Json:
    """The gates in one line for the first screen."""
    if not gates:
        return {
            "status": "not_applicable",
            "word": "Gates not run",
            "sentence": "The release gates were not run for this report.",
        }
    many = {status: sum(gate["status"] == status for gate in gates) for status in GATE_WORDS}
    counts = (
        f"{many['fail']} of {len(gates)} gates failed, {many['pass']} passed, {many['not_applicable']} not applicable "
        "(not measured, which is not passed)."
    )
    if many["fail"]:
        failed = ", ".join(g["title"] or g["name"].replace("_", " ") for g in gates if g["status"] == "fail")
        return {
            "status": "fail",
            "word": "Gates failed",
            "sentence": f"{counts} Failed: {failed}. On these figures the model may not be released.",
        }
    all_passed = many["pass"] == len(gates)
    return {
        "status": "pass" if all_passed else "not_applicable",
        "word": "All gates passed" if all_passed else "No gate failed, not all passed",
        "sentence": counts,
    }


def _model_rows(model: Json) -> list[tuple[str, str]]:
    rows = []
    for key, label in MODEL_ROWS:
        value = model.get(key)
        if value:
            rows.append((label, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)))
    return rows


def render_report(
    parts: Sequence[Json],
    model: Json,
    gates: Sequence[Json] | None = None,
    *,
    texts: Mapping[str, str] | None = None,
) -> str:
    """The whole page.

    Args:
        parts: One `evaluate` answer a data set, each shown under a heading of its own, in this order.
        model: What to say of the model: any of the keys of `MODEL_ROWS`.
        gates: Release gates, each `{"name", "status": "pass" | "fail" | "not_applicable", "sentence"}` and
            perhaps `title` and `reason`; None for those in the first part's figures, if they were run.
        texts: Narratives by incident id. Those of the listed errors of the first part are then in the page,
            which says so at its head and on every printed sheet. None, as nearly always: no narrative.

    Returns:
        HTML text, one file with everything in it.

    Raises:
        ValueError: There is no part, or a gate has another status.
    """
    if not parts:
        raise ValueError("a report needs the figures of at least one data set")
    if gates is None:
        gates = (parts[0].get("gates") or {}).get("results") or ()
    for gate in gates:
        if gate["status"] not in GATE_WORDS:
            raise ValueError(f"gate {gate['name']}: status must be one of {', '.join(GATE_WORDS)}")
    shown = [{"title": "", "reason": "", **gate} for gate in gates]
    drawn = [_part(metrics, place, (texts or {}) if place == 1 else {}) for place, metrics in enumerate(parts, start=1)]
    script, policy = _script()
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            parts=drawn,
            model=_model_rows(model),
            gates=shown,
            verdict=_verdict(shown),
            script=script,
            policy=policy,
            texts=bool(drawn[0]["texts"]),
        )
    )
