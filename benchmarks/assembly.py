"""From kept results to the report: figures of every row, intervals of differences, ratios, and targets met or missed.

Input: `Results` and the corpus. Output: one plain JSON object, `docs/benchmark.json`. Nothing is measured here.
"""

from __future__ import annotations

import json
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpus import Corpus
from benchmarks.intervals import differences, figures, micro_f1
from benchmarks.keys import row_key, section_key, speed_key
from benchmarks.peers.ours import kept_model
from benchmarks.results import Results
from benchmarks.rows import OURS, ROWS, SAME_AS, NotAvailableError, row_class
from benchmarks.sections import ROUNDS, SECTIONS
from benchmarks.targets import targets
from stalkscreen.classifiers import Targets
from stalkscreen.model_format import read_info
from stalkscreen.taxonomy import load_taxonomy

Json = dict[str, Any]
Floats = NDArray[np.float64]


def fold_count(corpus: Corpus) -> int:
    """Number of folds."""
    return int(corpus.fold.max()) + 1


def recorded_scores(name: str, corpus: Corpus) -> Floats | None:
    """Out-of-fold scores that a kept model of the row's kind recorded at its training, in the corpus's order.

    None unless the row takes recorded scores, the model was trained on this very corpus file with the same folds, and
    every record has a score.
    """
    from evaluation.gates import SCORES, read_scores
    from stalkscreen.config import CHECKOUT, TrainConfig

    found = row_class(name)
    kept = kept_model(str(getattr(found, "kind", ""))) if getattr(found, "recorded", False) else None
    if corpus.quick:
        return None
    if kept is None or not (kept / "evaluation" / SCORES).is_file():
        return None
    provenance = read_info(kept).provenance
    ours = TrainConfig.read(CHECKOUT / "training" / "configs" / "linear.toml")
    theirs = provenance.config
    same_folds = theirs.get("seed") == ours.seed and theirs.get("validation") == ours.validation.model_dump()
    if provenance.data_hash != corpus.data_hash or not same_folds:
        return None
    scores = read_scores(kept / "evaluation" / SCORES)
    if any(r.incident_id not in scores for r in corpus.sample.records):
        return None
    return np.array([scores[r.incident_id][1] for r in corpus.sample.records])


def assemble(results: Results, corpus: Corpus, refit: bool = False) -> Json:
    """The whole report."""
    unseen: dict[str, Floats] = {}
    public: dict[str, Floats] = {}
    rows = [_row(name, results, corpus, refit, unseen, public) for name in ROWS]
    candidates = {
        r["name"]: r["unseen"]["average_precision"]["value"] for r in rows if r["name"] in OURS and r["unseen"]
    }
    best = max(candidates, key=candidates.__getitem__) if candidates else None
    sample, judged = corpus.sample, corpus.judged
    report: Json = {
        "format": 1,
        "quick": corpus.quick,
        "corpus": {
            "texts": len(sample.records),
            "stalking": int(sample.stalking.sum()),
            "writers": len({r.writer for r in sample.records}),
            "folds": fold_count(corpus),
            "groups": len(np.unique(sample.group)),
            "data_hash": corpus.data_hash,
        },
        "judged": {
            "name": "other corpus texts in place of the public cases" if corpus.quick else "public cases",
            "texts": len(judged.records),
            "stalking": int(judged.stalking.sum()),
        },
        "rows": rows,
        "best": best,
        "differences": {},
        "sections": {name: _section(name, results, corpus) for name in SECTIONS},
    }
    if best is not None:
        report["differences"]["unseen"] = differences(sample.stalking, unseen, best, sample.group)
        if best in public:
            report["differences"]["public"] = differences(judged.stalking, public, best, judged.group)
    report["ratios"] = _ratios(report["sections"])
    report["targets"] = targets(report)
    return report


def _section(name: str, results: Results, corpus: Corpus) -> Json:
    found: Json | None = results.get(name, section_key(name, corpus))
    return found if found is not None else {"missing": results.missing(name)}


def _row(
    name: str, results: Results, corpus: Corpus, refit: bool, unseen: dict[str, Floats], public: dict[str, Floats]
) -> Json:
    """One row; its scores go into `unseen` and `public` where there are any."""
    row: Json = {"name": name, "title": name, "settings": {}, "note": None, "unseen": None, "public": None}
    row |= {"indicators_unseen": None, "indicators_public": None, "costs": {}}
    try:
        found = row_class(name)
        source = SAME_AS.get(name, name)
        key = row_key(source, corpus)
    except NotAvailableError as error:
        row["note"] = error.message
        return row
    row |= {"title": found.title, "settings": dict(found.settings)}
    scores, indicators = _out_of_fold(source, results, corpus, key)
    if not refit and (recorded := recorded_scores(source, corpus)) is not None:
        scores, indicators = recorded, None
        kept = kept_model(getattr(found, "kind", ""))
        row["note"] = f"out-of-fold scores as recorded at the training of {kept.name if kept else ''}"
        row["indicators_unseen"] = _recorded_indicators(kept)
    fit = results.get(f"{source}/fit", key)
    speed = results.get(f"{name}/speed", speed_key(name, row_key(name, corpus)))
    names = load_taxonomy().indicator_names
    if scores is not None:
        row["unseen"] = figures(corpus.sample.stalking, scores, corpus.sample.group)
        if name not in SAME_AS:
            unseen[name] = scores
        if indicators is not None:
            present = Targets.of(corpus.sample.records, load_taxonomy()).indicators
            row["indicators_unseen"] = micro_f1(present, indicators.reshape(-1, len(names)))
    if fit is not None:
        judged = np.array(fit["judged"])
        row["public"] = figures(corpus.judged.stalking, judged, corpus.judged.group)
        if name not in SAME_AS:
            public[name] = judged
        row["costs"] |= {k: fit[k] for k in ("train_seconds", "train_peak_mib") if k in fit}
    if speed is not None:
        row["costs"] |= speed
    if scores is None or fit is None or speed is None:
        row["note"] = (
            results.missing(name) if results.missing(source) == "not measured yet" else results.missing(source)
        )
    return row


def _out_of_fold(name: str, results: Results, corpus: Corpus, key: str) -> tuple[Floats | None, Floats | None]:
    """Pooled scores `(n,)` and indicator scores `(n, 26)` of all folds, or None while one is missing."""
    scores = np.full(len(corpus.sample.records), np.nan)
    indicators: Floats | None = None
    for number, _, outside in corpus.folds():
        part = results.get(f"{name}/fold-{number}", key)
        if part is None:
            return None, None
        scores[outside] = part["scores"]
        if part["indicators"] is not None:
            values = np.array(part["indicators"], dtype=float)
            if indicators is None:
                indicators = np.full((len(scores), values.shape[1]), np.nan)
            indicators[outside] = values
    return scores, indicators


def _recorded_indicators(folder: Any) -> Json | None:
    """Micro-averaged F1 over the indicators from the counts in a kept model's own evaluation."""
    path = folder / "evaluation" / "metrics.json" if folder else None
    if path is None or not path.is_file():
        return None
    each = json.loads(path.read_text(encoding="utf-8")).get("indicators", {}).get("each", [])
    tp = sum(e["recall"]["n"] for e in each if e.get("covered"))
    support = sum(e["recall"]["of"] for e in each if e.get("covered"))
    found = sum(e["precision"]["of"] for e in each if e.get("covered"))
    if tp == 0:
        return None
    return {"f1": 2 * tp / (support + found), "precision": tp / found, "recall": tp / support}


def _ratios(sections: dict[str, Json]) -> Json:
    """Serving encoder to sentence-transformers, round by round; cascade to sentence-transformers on the stream."""
    found: Json = {}
    pairs = [(sections[f"ratio/ours-{i}"], sections[f"ratio/peer-{i}"]) for i in range(ROUNDS)]
    pairs = [(o, p) for o, p in pairs if "narratives_a_second" in o and "narratives_a_second" in p]
    if pairs:
        found["encoder"] = {
            "rounds": [o["narratives_a_second"] / p["narratives_a_second"] for o, p in pairs],
            "answers": median(o["narratives_a_second"] / p["narratives_a_second"] for o, p in pairs),
            "scores": median(o["scores_a_second"] / p["narratives_a_second"] for o, p in pairs),
        }
    limit = sections["machine"].get("limit_gflops")
    peers = [sections[f"ratio/peer-{i}"] for i in range(ROUNDS)]
    for side, parts in (("peer", peers), ("ours", [o for o, _ in pairs])):
        rates = [p["gflops"] for p in parts if "gflops" in p]
        if rates and limit:
            found[f"limit_{side}"] = {kind: median(rates) / top for kind, top in limit.items()}
    peer = sections["stream/peer"].get("narratives_a_second")
    for name in ("linear", "encoder", "cascade"):
        rate = sections[f"stream/{name}"].get("narratives_a_second")
        if rate and peer:
            found[f"stream_{name}"] = rate / peer
    return found
