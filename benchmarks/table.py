"""The report in words: `benchmark.md` for people and `benchmark.json` for programs.

Input: what `assembly.assemble` gives. Nothing is computed here but rounding.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]
NONE = "–"


def write(report: Json, folder: Path) -> None:
    """Write both files, each beside its place and then moved."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("benchmark.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n"),
        ("benchmark.md", markdown(report)),
    ):
        building = folder / f".{name}.part"
        building.write_text(text, encoding="utf-8")
        building.replace(folder / name)


def markdown(report: Json) -> str:
    """The whole page."""
    corpus, judged = report["corpus"], report["judged"]
    machine = report["sections"]["machine"]
    parts = [
        "# Benchmark",
        "Made by `make bench`; do not edit. How it is measured: [benchmarks/README.md](../benchmarks/README.md)."
        if not report["quick"]
        else "**A quick run on a small sample: it shows that every stage works. Its figures mean nothing.**",
        f"{corpus['texts']:,} texts ({corpus['stalking']:,} stalking) of {corpus['writers']} writers in "
        f"{corpus['folds']} folds that keep writers, cases, pairs and near-duplicates together, the same for every row; "
        f"judged beside them: {judged['name']} ({judged['texts']} texts, {judged['stalking']} stalking). "
        f"All on {machine.get('cores_used', 2)} cores"
        + (f" of {machine['processor']}." if "processor" in machine else "."),
        "## On unseen writers, out of fold",
        _quality(report["rows"], "unseen"),
        "Intervals (95%) draw whole groups (writers) again. Recall is the highest at which no more than that share of not-stalking is "
        "flagged. Indicator F1 is micro-averaged at each indicator's best cut on these same scores; where the evaluation of the kept "
        "model was taken, of its answers at its own cuts.",
        *_encoder_alone(report),
        f"## On the {judged['name']}",
        _quality(report["rows"], "public"),
        "Each row fitted on the whole corpus. With so few texts the figures describe, and decide nothing.",
        "## What it costs",
        _costs(report["rows"], report["encoder_alone"]),
        "Rows marked *ours* give their whole answer (indicators, evidence, considerations), the others one number. Load: "
        "libraries and model, to the first answer. Memory: largest resident size of the process that answers. Disk: the "
        "model's own files, without libraries.",
        *_differences(report),
        "## Throughput, stream and service",
        _sections(report),
        "## Growth",
        _growth(report["sections"]),
        "![Ranking, speed and growth](benchmark.svg)",
        "## Targets",
        _table(
            ("target", "wanted", "measured", "met"),
            (
                (
                    t["what"],
                    t["wanted"] or NONE,
                    _number(t["measured"]),
                    {True: "yes", False: "**no**", None: "not measured"}[t["met"]],
                )
                for t in report["targets"]
            ),
        ),
        "## Settings",
        *[
            f"- **{r['title']}**: " + "; ".join(f"{k}: {v}" for k, v in r["settings"].items()) + "."
            for r in report["rows"]
        ],
        "Libraries: " + ", ".join(f"{k} {v}" for k, v in machine.get("libraries", {}).items()) + ".",
    ]
    notes = [f"- {r['title']}: {r['note']}." for r in report["rows"] if r["note"]]
    if notes:
        parts[4:4] = ["\n".join(notes)]
    text, listed = "", False
    for part in parts:
        item = part.startswith("- **")
        text += ("\n" if item and listed else "\n\n" if text else "") + part
        listed = item
    return text + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def _number(value: float | None, places: int = 3) -> str:
    if value is None:
        return NONE
    return f"{value:,.{places}f}" if abs(value) < 100 else f"{value:,.0f}"


def _share(found: Json | None) -> str:
    return NONE if found is None or found["value"] is None else f"{found['value']:.3f}"


def _ranged(found: Json | None) -> str:
    if found is None or found["value"] is None:
        return NONE
    return f"{found['value']:.3f}" + (
        f" ({found['low']:.3f} to {found['high']:.3f})" if found["low"] is not None else ""
    )


RANKING = ("AUC", "average precision", "recall at 1%", "at 5%", "at 10%")
"""Heads of the cells that `_ranking` gives."""


def _ranking(found: Json) -> list[str]:
    recalls = (found[f"recall_at_{share}"] for share in ("0.01", "0.05", "0.10"))
    return [_ranged(found["auc"]), _ranged(found["average_precision"]), *map(_share, recalls)]


def _quality(rows: Sequence[Json], where: str) -> str:
    return _table(
        ("", *RANKING, "indicator F1"),
        (
            (
                r["title"],
                *([NONE] * len(RANKING) if r[where] is None else _ranking(r[where])),
                NONE if where != "unseen" or r["indicators_unseen"] is None else f"{r['indicators_unseen']['f1']:.3f}",
            )
            for r in rows
        ),
    )  # fmt: skip


def _encoder_alone(report: Json) -> list[str]:
    found = report["encoder_alone"]
    if found is None:
        return []
    titles = {r["name"]: r["title"] for r in report["rows"]}
    fits = ", ".join(
        f"{seconds / 60:.0f} minutes for {texts:,} texts"
        for seconds, texts in zip(found["train_seconds"], found["train_texts"], strict=True)
    )
    f1 = f" Its indicator F1 there is {found['indicators']['f1']:.3f}." if found["indicators"] else ""
    return [
        "### The encoder without its first stage",
        f"Fitted here, without case histories, for {found['folds']} of {report['corpus']['folds']} folds ({fits}): "
        f"{found['texts']:,} texts, {found['stalking']:,} of them stalking. Every row on those same texts; differences are the "
        f"encoder minus that row.{f1}",
        _table(
            ("", *RANKING, "average precision, difference", "recall at 5%, difference"),
            (
                (
                    titles[name],
                    *_ranking(row),
                    *(
                        _gap(gap[k]) if (gap := found["differences"].get(name)) else NONE
                        for k in ("average_precision", "recall")
                    ),
                )
                for name, row in found["rows"].items()
            ),
        ),
    ]


def _costs(rows: Sequence[Json], alone: Json | None) -> str:
    wanted = (
        ("narratives_a_second", 0), ("p50_ms", 2), ("p99_ms", 2), ("peak_mib", 0),
        ("disk_mib", 1), ("load_seconds", 2),
    )  # fmt: skip
    return _table(
        ("", "train, s", "narratives a second", "one call p50, ms", "p99, ms", "memory, MiB", "disk, MiB", "load, s"),
        (
            (r["title"], _train(r, alone), *(_number(r["costs"].get(key), places) for key, places in wanted))
            for r in rows
        ),
    )


def _train(row: Json, alone: Json | None) -> str:
    """Seconds of the fit on all texts; of a fold's, and on how many, where only folds were fitted."""
    if "train_seconds" in row["costs"] or alone is None or row["name"] != "encoder":
        return _number(row["costs"].get("train_seconds"), 1)
    return f"{_number(alone['train_seconds'][0], 0)} (one fold, {alone['train_texts'][0]:,} texts)"


def _differences(report: Json) -> list[str]:
    if report["best"] is None:
        return []
    titles = {r["name"]: r["title"] for r in report["rows"]}
    parts = [
        f"## {titles[report['best']]} minus every other row",
        "Our best row by average precision on unseen writers. Paired: each resample of groups is the same for both.",
    ]
    for where, title in (("unseen", "unseen writers"), ("public", report["judged"]["name"])):
        gaps = report["differences"].get(where, {})
        if gaps:
            rows = ((titles[n], _gap(g["average_precision"]), _gap(g["recall"])) for n, g in gaps.items())
            parts.append(_table((title, "average precision", "recall at 5%"), rows))
    return parts


def _gap(found: Json) -> str:
    if found["value"] is None or found["low"] is None:
        return NONE if found["value"] is None else f"{found['value']:+.3f}"
    return f"{found['value']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


def _sections(report: Json) -> str:
    sections, ratios = report["sections"], report["ratios"]
    rows: list[tuple[str, str]] = []
    limit = sections["machine"].get("limit_gflops", {})
    for kind, value in limit.items():
        rows.append((f"largest matrix product, {kind}, 10^9 operations a second", _number(value, 0)))
    first, ours = sections["ratio/peer-0"], sections["ratio/ours-0"]
    rates = ratios["a_second"]
    rows.append(
        (
            f"sentence-transformers, torch fp32, texts of at most 256 word pieces, a second (batch {first.get('batch', NONE)}; median of the rounds, as the next two)",
            _number(rates.get("peer"), 1),
        )
    )
    for what, name in (("whole answers", "answers"), ("scores alone", "scores")):
        rate = _number(rates[name], 1) if name in rates else str(ours.get("missing", NONE))
        rows.append((f"serving encoder, {what}, the same texts", rate))
    if "encoder" in ratios:
        rounds = ", ".join(f"{r:.2f}" for r in ratios["encoder"]["rounds"])
        rows.append(("whole answers to sentence-transformers, by round", rounds))
    for side, title in (("peer", "sentence-transformers"), ("ours", "serving encoder")):
        shares = ratios.get(f"limit_{side}", {})
        if shares:
            rows.append(
                (f"{title}: share of the arithmetic limit", ", ".join(f"{k} {v:.0%}" for k, v in shares.items()))
            )
    rows.append(
        (
            "stream at 2% prevalence, sentence-transformers, a second",
            _said(sections["stream/peer"], "narratives_a_second"),
        )
    )
    for name in ("linear", "encoder", "cascade"):
        part = sections[f"stream/{name}"]
        times = f" ({ratios[f'stream_{name}']:.1f} times)" if f"stream_{name}" in ratios else ""
        stages = ", ".join(f"{k} answered {v:,}" for k, v in part.get("stages", {}).items())
        rows.append(
            (f"the same stream, {name}", _said(part, "narratives_a_second") + times + (f"; {stages}" if stages else ""))
        )
    service = sections["service"]
    if "missing" in service:
        rows.append(("HTTP service", service["missing"]))
    else:
        rows += [
            (
                f"HTTP service ({service['kind']}), one narrative, p50 and p99",
                f"{service['http_p50_ms']:.1f} and {service['http_p99_ms']:.1f} ms",
            ),
            (
                "the model call itself, p50 and p99",
                f"{service['model_p50_ms']:.1f} and {service['model_p99_ms']:.1f} ms",
            ),
            (
                "service memory: all processes, largest",
                f"{service['all_processes_mib']:.0f} and {service['largest_process_mib']:.0f} MiB",
            ),
            ("service ready after", f"{service['ready_seconds']:.1f} s"),
        ]
    return _table(("", "measured"), rows)


def _said(part: Json, key: str) -> str:
    return str(part["missing"]) if "missing" in part else _number(part[key], 1)


def _growth(sections: Json) -> str:
    rows = []
    for name in ("linear", "encoder"):
        part = sections[f"growth/{name}"]
        for axis, unit in (("length", "characters of one text"), ("rows", "rows of a file")):
            if "missing" in part:
                rows.append((name, unit, str(part["missing"]), NONE, NONE))
                continue
            points = part[axis]["points"]
            spread = f"{points[0][0]:,} to {points[-1][0]:,}: {points[0][1]:.3g} to {points[-1][1]:.3g} s"
            rows.append((name, unit, spread, f"{part[axis]['r2']:.3f}", f"{part[axis]['power']:.2f}"))
    return _table(("", "against", "seconds", "fit of a straight line (R²)", "power of the size, upper half"), rows)
