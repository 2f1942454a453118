"""`make bench`: measure what has not been measured yet, then write the table, the JSON and the plot.

    python -m benchmarks.run [--quick] [--fresh] [--refit] [--only NAME] [--tables]

Every stage of every row runs in a process of its own and is kept under `out/bench/` with a key made of the texts, the
folds, the row's settings and its code; a run that was stopped goes on where it was. A full run writes
`docs/benchmark.md`, `.json` and `.svg`; a quick one writes them beside its results.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time

from benchmarks.assembly import JUDGED_BY_KEPT, assemble
from benchmarks.corpus import Corpus, read_corpus
from benchmarks.keys import row_key, section_key, speed_key
from benchmarks.machine import two_cores
from benchmarks.plot import draw
from benchmarks.recorded import kept_folds, kept_on_this_corpus
from benchmarks.results import Results
from benchmarks.rows import ROWS, SAME_AS, NotAvailableError, row_class
from benchmarks.sections import SECTIONS
from benchmarks.table import write
from benchmarks.worker import NOT_AVAILABLE, say
from stalkscreen.config import CHECKOUT
from stalkscreen.errors import StalkscreenError

OUT = CHECKOUT / "out" / "bench"


def work(stage: str, name: str, results: Results, key: str, quick: bool) -> str | None:
    """Run one stage in a process of its own.

    Returns:
        None when it was measured, else why not.
    """
    began = time.monotonic()
    say(f"bench: {name} {stage} …")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.worker", stage, name, str(results.folder), key,
         *(["--quick"] if quick else [])],
        cwd=CHECKOUT, env=two_cores(), stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    said = done.stdout.strip().splitlines()
    why = None if done.returncode == 0 else said[-1] if said else f"failed: ended with code {done.returncode}"
    if why and done.returncode != NOT_AVAILABLE and not why.startswith("failed"):
        why = f"failed: ended with code {done.returncode}"
    say(f"bench: {name} {stage}: {why or 'done'} ({time.monotonic() - began:.0f} s)")
    return why


def measure_row(name: str, results: Results, corpus: Corpus, refit: bool) -> None:
    """All stages of one row that are not at hand; why one is missing is kept with the results."""
    try:
        key = row_key(name, corpus)
    except NotAvailableError as error:
        results.set_missing(name, error.message)
        return
    speed = speed_key(name, key)
    released = name in JUDGED_BY_KEPT and not refit and kept_on_this_corpus("encoder", corpus) is not None
    answer = [("judge", f"{name}/judge", speed)] if released else []
    answer += [("speed", f"{name}/speed", speed)]
    learn = [] if name in SAME_AS else [("fit", f"{name}/fit", key)]
    if learn and not released and (refit or kept_folds(str(getattr(row_class(name), "kind", None)), corpus) is None):
        learn[:0] = [("folds", f"{name}/fold-{i}", key) for i in range(int(corpus.fold.max()) + 1)]
    why = None
    for stage, place, made_of in answer + learn if released else learn + answer:
        if why is None and results.get(place, made_of) is None:
            why = work(stage, name, results, made_of, corpus.quick)
    results.set_missing(name, why)


def measure_section(name: str, results: Results, corpus: Corpus) -> None:
    """One measurement beside the table, unless it is at hand."""
    key = section_key(name, corpus)
    if results.get(name, key) is None:
        results.set_missing(name, work(name, "-", results, key, corpus.quick))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="a small sample: shows that every stage works, no figures")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--refit", action="store_true", help="fit and score every row here, whatever training kept")
    parser.add_argument("--only", choices=[*ROWS, *dict.fromkeys(n.split("/")[0] for n in SECTIONS)], action="append")
    parser.add_argument("--tables", action="store_true", help="measure nothing, write the tables from what is at hand")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure and write; 0 when done, 2 on the caller's mistake."""
    chosen = parse(arguments)
    # An ordinary exit, so that the process at work is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = Results(OUT / ("quick" if chosen.quick else "full"), chosen.fresh)
    began = time.monotonic()
    try:
        corpus = read_corpus(chosen.quick)
    except StalkscreenError as error:
        say(error.message)
        return error.exit_code
    wanted: list[str] = [] if chosen.tables else chosen.only or [*ROWS, *SECTIONS]
    for name in ROWS:
        if name in wanted:
            measure_row(name, results, corpus, chosen.refit)
    for name in SECTIONS:
        if name in wanted or name.split("/")[0] in wanted:
            measure_section(name, results, corpus)
    report = assemble(results, corpus, chosen.refit)
    folder = results.folder if chosen.quick else CHECKOUT / "docs"
    write(report, folder)
    drawn = draw(report, folder / "benchmark.svg")
    say(f"bench: {folder / 'benchmark.md'}{'' if drawn else ' (no plot: the report extra is not installed)'}")
    say(f"bench: {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
