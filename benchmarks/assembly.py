"""From kept results to the report: figures of every row, intervals of differences, ratios, and targets met or missed.

Input: `Results` and the corpus. Output: one plain JSON object, `docs/benchmark.json`. Nothing is measured here.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpus import Corpus
from benchmarks.intervals import differences, figures, micro_f1
from benchmarks.keys import row_key, section_key, speed_key
from benchmarks.recorded import (
    OutOfFold,
    kept_folds,
    kept_on_this_corpus,
    released_cascade,
    released_encoder,
    through_cascade,
)
from benchmarks.results import Results
from benchmarks.rows import OURS, ROWS, SAME_AS, NotAvailableError, row_class
from benchmarks.sections import ROUNDS, SECTIONS
from benchmarks.targets import targets
from stalkscreen.classifiers import Targets
from stalkscreen.taxonomy import load_taxonomy

Json = dict[str, Any]
Floats = NDArray[np.float64]


JUDGED_BY_KEPT = ("encoder", "cascade")
"""Rows whose scores of the judged cases come from the model kept in `models/`, where that was trained on this corpus."""


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
            "folds": int(corpus.fold.max()) + 1,
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
        "encoder_alone": _encoder_alone(results, corpus, unseen),
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
    speed_at = speed_key(name, row_key(name, corpus))
    learnt = None if refit else kept_folds(str(getattr(found, "kind", None)), corpus)
    learnt = learnt or _out_of_fold(source, results, corpus, key)
    scores = learnt.scores if learnt else None
    if learnt is not None:
        row["note"] = learnt.note
        if name == "cascade":
            scores = through_cascade(learnt, kept_on_this_corpus("encoder", corpus))
        elif learnt.indicators is not None:
            present = Targets.of(corpus.sample.records, load_taxonomy()).indicators
            row["indicators_unseen"] = micro_f1(present, learnt.indicators)
    elif source == "encoder" and not refit:
        both = released_cascade(corpus)
        if name == "cascade":
            scores, row["indicators_unseen"] = both or (None, None)
        else:
            scores = released_encoder(corpus)
        if scores is not None:
            row["note"] = "unseen writers: out of fold, as the evaluation of the kept model recorded them"
        elif both is not None:
            row["note"] = "unseen writers: the kept model's evaluation knows both stages together only, see the cascade"
    if scores is not None:
        row["unseen"] = figures(corpus.sample.stalking, scores, corpus.sample.group)
        if name != "encoder-torch":
            unseen[name] = scores
    fit = results.get(f"{source}/fit", key) if name != "cascade" else None
    judge = results.get(f"{name}/judge", speed_at) or fit
    if judge is not None:
        judged = np.array(judge["judged"])
        row["public"] = figures(corpus.judged.stalking, judged, corpus.judged.group)
        if name != "encoder-torch":
            public[name] = judged
    speed = results.get(f"{name}/speed", speed_at)
    row["costs"] = {k: fit[k] for k in ("train_seconds", "train_peak_mib")} if fit else {}
    row["costs"] |= speed or {}
    if (scores is None and row["note"] is None) or (scores is not None and (judge is None or speed is None)):
        row["note"] = results.missing(source) if name != "cascade" and scores is None else results.missing(name)
    return row


def _out_of_fold(name: str, results: Results, corpus: Corpus, key: str) -> OutOfFold | None:
    """The scores of all folds measured here, or None while one is missing."""
    n, width = len(corpus.sample.records), len(load_taxonomy().indicator_names)
    scores, first, indicators = np.full(n, np.nan), np.full(n, np.nan), np.full((n, width), np.nan)
    for number, _, outside in corpus.folds():
        part = results.get(f"{name}/fold-{number}", key)
        if part is None:
            return None
        scores[outside] = part["scores"]
        for target, values in ((first, part["first"]), (indicators, part["indicators"])):
            if values is not None:
                target[outside] = np.array(values, dtype=float)
    return OutOfFold(
        scores,
        None if np.isnan(first).any() else first,
        None if np.isnan(indicators).all() else indicators,
        None,
    )


def _encoder_alone(results: Results, corpus: Corpus, unseen: dict[str, Floats]) -> Json | None:
    """The encoder without its first stage on the folds fitted here so far, beside every other row on the same texts.

    A fit takes more than two hours on a processor without bfloat16. None without any fold, and with all of them: then the
    row itself has the figures.
    """
    key, taxonomy = row_key("encoder", corpus), load_taxonomy()
    fitted = [
        (outside, part)
        for number, _, outside in corpus.folds()
        if (part := results.get(f"encoder/fold-{number}", key)) is not None
    ]
    if not fitted or "encoder" in unseen:
        return None
    at = np.concatenate([outside for outside, _ in fitted])
    stalking, group = corpus.sample.stalking[at], corpus.sample.group[at]
    own = np.concatenate([part["scores"] for _, part in fitted])
    indicators = np.concatenate([np.array(part["indicators"], dtype=float) for _, part in fitted])
    present = Targets.of([corpus.sample.records[i] for i in at.tolist()], taxonomy).indicators
    scores = {name: found[at] for name, found in unseen.items()} | {"encoder": own}
    return {
        "folds": len(fitted),
        "texts": len(at),
        "stalking": int(stalking.sum()),
        "train_texts": [part["train_texts"] for _, part in fitted],
        "train_seconds": [part["train_seconds"] for _, part in fitted],
        "rows": {name: figures(stalking, found, group) for name, found in scores.items()},
        "indicators": micro_f1(present, indicators),
        "differences": differences(stalking, scores, "encoder", group),
    }


def _ratios(sections: dict[str, Json]) -> Json:
    """Serving encoder to sentence-transformers, round by round; cascade to sentence-transformers on the stream."""
    found: Json = {"a_second": {}}
    ours, peers = ([sections[f"ratio/{side}-{i}"] for i in range(ROUNDS)] for side in ("ours", "peer"))
    for name, side, key in (
        ("peer", peers, "narratives_a_second"),
        ("answers", ours, "narratives_a_second"),
        ("scores", ours, "scores_a_second"),
    ):
        rounds = [part[key] for part in side if key in part]
        if rounds:
            found["a_second"][name] = median(rounds)
    pairs = [
        (o, p) for o, p in zip(ours, peers, strict=True) if "narratives_a_second" in o and "narratives_a_second" in p
    ]
    if pairs:
        found["encoder"] = {
            "rounds": [o["narratives_a_second"] / p["narratives_a_second"] for o, p in pairs],
            "answers": median(o["narratives_a_second"] / p["narratives_a_second"] for o, p in pairs),
            "scores": median(o["scores_a_second"] / p["narratives_a_second"] for o, p in pairs),
        }
    limit = sections["machine"].get("limit_gflops")
    for side, parts in (("peer", peers), ("ours", [o for o, _ in pairs])):
        rates = [p["gflops"] for p in parts if "gflops" in p]
        if rates and limit:
            # A type that the processor only imitates is slower than fp32 and limits nothing.
            tops = {kind: top for kind, top in limit.items() if top >= limit["fp32"]}
            found[f"limit_{side}"] = {kind: median(rates) / top for kind, top in tops.items()}
    peer = sections["stream/peer"].get("narratives_a_second")
    for name in ("linear", "encoder", "cascade"):
        rate = sections[f"stream/{name}"].get("narratives_a_second")
        if rate and peer:
            found[f"stream_{name}"] = rate / peer
    return found
