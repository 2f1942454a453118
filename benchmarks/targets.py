"""What the benchmark is expected to reach, beside what was measured. Missing a target is said, never hidden.

The figures wanted are those the project set itself for the encoder before it was built.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

AP_AND_RECALL = "better than every peer in average precision and in recall at 5% false flags, on unseen writers"


def targets(report: Json) -> list[Json]:
    """Each target with what was measured and whether it is met; `met` is None where it could not be measured."""
    found = [_beats_every_peer(report), _points_over_tfidf(report)]
    ratios, sections = report["ratios"], report["sections"]
    encoder = ratios.get("encoder", {}).get("answers")
    cascade = ratios.get("stream_cascade")
    service = sections["service"]
    rows: dict[str, Json] = {row["name"]: row for row in report["rows"]}
    best = rows[report["best"]] if report["best"] else None
    public = best["public"]["auc"]["value"] if best and best["public"] and not report["quick"] else None
    found += [
        _at_least("AUC of our best row on the public cases", 0.95, public),
        _at_least("serving encoder, times the throughput of sentence-transformers (torch fp32)", 2.0, encoder),
        _at_least("cascade, times the throughput of sentence-transformers at 2% prevalence", 8.0, cascade),
        _at_most("service memory, all processes, MiB", 700.0, service.get("all_processes_mib")),
        _at_most("service ready, seconds", 8.0, service.get("ready_seconds")),
    ]
    http, model = service.get("http_p99_ms"), service.get("model_p99_ms")
    limit = None if model is None else 1.5 * model + 5
    found.append(
        {
            "what": "p99 of a single narrative over HTTP, ms (1.5 times the model call plus 5 ms)",
            "wanted": None if limit is None else f"at most {limit:.1f}",
            "measured": http,
            "met": None if http is None or limit is None else http <= limit,
        }
    )
    for name in ("linear", "encoder"):
        for axis in ("length", "rows"):
            power = sections[f"growth/{name}"].get(axis, {}).get("power")
            found.append(
                _at_most(f"{name}: power of {'text length' if axis == 'length' else axis} in the cost", 1.15, power)
            )
    return found


def _compared(what: str, sign: str, test: Callable[[float], bool], value: float | None) -> Json:
    return {"what": what, "wanted": sign, "measured": value, "met": None if value is None else test(value)}


def _at_least(what: str, wanted: float, value: float | None) -> Json:
    return _compared(what, f"at least {wanted:g}", lambda v: v >= wanted, value)


def _at_most(what: str, wanted: float, value: float | None) -> Json:
    return _compared(what, f"at most {wanted:g}", lambda v: v <= wanted, value)


def _beats_every_peer(report: Json) -> Json:
    """The smallest difference; a peer with no threshold that flags so few has no recall there to be compared with."""
    from benchmarks.rows import OURS, SAME_AS

    found = report["differences"].get("unseen", {})
    peers = [row["name"] for row in report["rows"] if row["name"] not in (*OURS, *SAME_AS)]
    if any(name not in found for name in peers):
        return _compared(AP_AND_RECALL + " (not all measured)", "above 0", bool, None)
    values = [found[name][figure]["value"] for name in peers for figure in ("average_precision", "recall")]
    worst = min((value for value in values if value is not None), default=None)
    return _compared(AP_AND_RECALL + " (smallest difference)", "above 0", lambda v: v > 0, worst)


def _points_over_tfidf(report: Json) -> Json:
    gap = report["differences"].get("unseen", {}).get("tfidf")
    value = None if gap is None or gap["recall"]["value"] is None else 100 * gap["recall"]["value"]
    return _at_least("points of recall at 5% false flags over TF-IDF + logistic regression", 3.0, value)
