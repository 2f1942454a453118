"""One measured stage in a process of its own, so that memory and load time are its own and nobody else's.

    python -m benchmarks.worker STAGE ROW RESULTS KEY [--quick]

Stages of a row: `folds` (out-of-fold scores), `fit` (one fit on everything, timed, kept on disk, the judged cases
scored), `judge` (the same by a kept model), `speed` (loaded from disk: load time, throughput, single calls, memory). What was measured goes into `Results`
under the key given. Exit code 3 and a sentence on stdout: the row is not available here. A failure names the kind of
error and the line, never its text, which might quote a narrative.
"""

from __future__ import annotations

import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.clock import SINGLE_CALLS, SINGLE_WARM, latencies, percentile, throughput
from benchmarks.machine import peak_mib, stay_on_two_cores
from benchmarks.results import Results
from benchmarks.rows import SAME_AS, NotAvailableError, Row, row_class
from benchmarks.sample import plain_texts

NOT_AVAILABLE = 3


def folds(name: str, results: Results, key: str, quick: bool) -> None:
    """Scores of every record by a row fitted without its fold; one result a fold, those at hand are kept."""
    from benchmarks.corpus import read_corpus
    from benchmarks.peers.minilm import MiniLMRow

    MiniLMRow.kept = {}
    corpus = read_corpus(quick)
    for number, inside, outside in corpus.folds():
        place = f"{name}/fold-{number}"
        if results.get(place, key) is not None:
            continue
        began = time.perf_counter()
        row = row_class(name)().fit(corpus.sample.at(inside))
        seconds = time.perf_counter() - began
        scores = row.score(corpus.sample.at(outside).texts)
        indicators = row.indicator_scores
        cheap = getattr(row, "first_stage_scores", None)
        first = cheap(corpus.sample.at(outside).texts) if cheap else None
        value = {
            "train_seconds": seconds,
            "train_texts": len(inside),
            "ids": [corpus.sample.records[i].incident_id for i in outside.tolist()],
            "scores": scores.tolist(),
            "first": None if first is None else first.tolist(),
            "indicators": None if indicators is None else indicators.tolist(),
        }
        results.put(place, key, value)
        say(f"{name}: fold {number + 1} of {int(corpus.fold.max()) + 1} in {time.perf_counter() - began:.0f} s")


def fit(name: str, results: Results, key: str, quick: bool) -> None:
    """One fit on the whole corpus: seconds, peak memory, the fitted row on disk, and its scores of the judged cases."""
    from benchmarks.corpus import read_corpus

    corpus = read_corpus(quick)
    began = time.perf_counter()
    row = row_class(name)().fit(corpus.sample)
    seconds = time.perf_counter() - began
    folder = fitted_folder(results, name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    row.save(folder)
    scores = row.score(corpus.judged.texts)
    indicators = row.indicator_scores
    results.put(
        f"{name}/fit",
        key,
        {
            "train_seconds": seconds,
            "train_peak_mib": peak_mib(),
            "judged": scores.tolist(),
            "judged_indicators": None if indicators is None else indicators.tolist(),
        },
    )


def fitted_folder(results: Results, name: str) -> Path:
    """Where the `fit` stage leaves a row."""
    return results.folder / SAME_AS.get(name, name) / "fitted"


def judge(name: str, results: Results, key: str, quick: bool) -> None:
    """The judged cases scored by the kept model, where that was trained on this very corpus."""
    from benchmarks.corpus import read_corpus

    row = row_class(name).load(fitted_folder(results, name))
    scores = row.score(read_corpus(quick).judged.texts)
    indicators = row.indicator_scores
    value = {"judged": scores.tolist(), "judged_indicators": None if indicators is None else indicators.tolist()}
    results.put(f"{name}/judge", key, value)


def speed(name: str, results: Results, key: str, quick: bool) -> None:
    """Load from disk, answer in bulk, answer one by one. This project's rows give their whole answers here."""
    texts = [row["narrative"] for row in plain_texts()]
    singles = 40 if quick else SINGLE_CALLS
    folder = fitted_folder(results, name)
    began = time.perf_counter()
    found = row_class(name)
    row: Row = found.load(folder)
    answer: Callable[[list[str]], Any] = getattr(row, "assess", row.score)
    answer(texts[:1])
    load = time.perf_counter() - began
    rate, read = throughput(answer, texts[: 200 if quick else None][singles + SINGLE_WARM :])
    calls = latencies(answer, texts[: singles + SINGLE_WARM])
    results.put(
        f"{name}/speed",
        key,
        {
            "load_seconds": load,
            "narratives_a_second": rate,
            "bulk_texts": read,
            "p50_ms": percentile(calls, 0.50),
            "p99_ms": percentile(calls, 0.99),
            "peak_mib": peak_mib(),
            "disk_mib": sum(p.stat().st_size for p in found.files(folder)) / 2**20,
        },
    )


def say(line: str) -> None:
    """One progress line, on stderr."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


STAGES: dict[str, Callable[[str, Results, str, bool], None]] = {
    "folds": folds,
    "fit": fit,
    "judge": judge,
    "speed": speed,
}


def main(arguments: list[str]) -> int:
    """Measure one stage; see the module's first lines."""
    stage, name, folder, key = arguments[:4]
    quick = "--quick" in arguments
    stay_on_two_cores()
    results = Results(Path(folder))
    try:
        if stage in STAGES:
            STAGES[stage](name, results, key, quick)
        else:
            from benchmarks.sections import SECTIONS

            results.put(stage, key, SECTIONS[stage](results, quick))
    except NotAvailableError as error:
        sys.stdout.write(error.message)
        return NOT_AVAILABLE
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)
        own = [f"{Path(f.filename).name}:{f.lineno}" for f in where][-4:]
        sys.stdout.write(f"failed: {type(error).__name__} at {' > '.join(own)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
