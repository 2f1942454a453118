"""Fit one classifier a fold and score each record by the one that saw none of its group.

In: checked labelled incidents, a config and fold numbers. Out: the raw scores of every fold and, if wanted, a classifier
fitted on all records. Folds are fitted side by side, one process each, for classifier kinds that say so
(`parallel_folds`); nothing here is random, so the result is the same to the last bit with any number of processes.

Processes are spawned, not forked: a program that calls this from its own file needs the usual
`if __name__ == "__main__":` there. What passes between them lives no longer than they do.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from stalkscreen.classifiers import Classifier, Progress, Scores, classifier_class, silent
from stalkscreen.classifiers.passages import first_look
from stalkscreen.config import TrainConfig, whole_number
from stalkscreen.errors import ConfigError, StalkscreenError
from stalkscreen.schema import Case, LabelledIncident
from stalkscreen.taxonomy import load_taxonomy
from training.kept_folds import Curves, KeptFolds

PARALLEL_FROM = 1_000
"""Fewer records than this are fitted in the calling process: starting others takes longer than the fit (measured:
about three seconds against one)."""

ALL = -1
"""Stands for a fold number where all records are meant."""


@dataclass(frozen=True, slots=True)
class FoldScores:
    """What the classifier of one fold says of the records outside it.

    Attributes:
        rows: `(m,)` indices of those records.
        scores: Their raw scores, in that order.
        indicator_names: The indicators that classifier learnt, the columns of `scores.indicators`.
        first: What its cheap first stage says of them; None for a kind that has none.
        curves: One entry an epoch of the fit, for a kind that has epochs.
        classifier: The classifier itself, for the first fold only, so that changed texts can be put to one that never
            saw them; None for the others.
    """

    rows: NDArray[np.intp]
    scores: Scores
    indicator_names: tuple[str, ...]
    first: Scores | None = None
    curves: Curves = ()
    classifier: Classifier | None = None


class Scored:
    """Stands where a classifier stands, for cases of one record that were scored before.

    Args:
        scores: Scores of the records, in the order of `ids`.
        indicator_names: As of the classifier.
        ids: Their incident ids.
        kind: Its kind.
        first: Scores of its first stage, where it has one.
    """

    def __init__(
        self,
        scores: Scores,
        indicator_names: tuple[str, ...],
        ids: Sequence[str],
        kind: str,
        first: Scores | None = None,
    ) -> None:
        self.scores = scores
        self.indicator_names = indicator_names
        self.kind = kind
        self.place = {name: i for i, name in enumerate(ids)}
        self.first_stage = None if first is None else Scored(first, indicator_names, ids, "linear")

    def predict(self, cases: Sequence[Case]) -> Scores:
        """The scores given."""
        return self.scores.take([self.place[case.incidents[0].incident_id] for case in cases])


@dataclass(frozen=True, slots=True)
class CrossFit:
    """All folds in order, and the classifier fitted on all records where that was asked for."""

    folds: list[FoldScores]
    final: Classifier | None


Results = Generator[tuple[int, FoldScores | Classifier], None, None]


@dataclass(frozen=True, slots=True)
class _Job:
    records: Sequence[LabelledIncident]
    config: TrainConfig
    fold: NDArray[np.intp]
    histories: Sequence[LabelledIncident]
    kept: KeptFolds | None


def cross_fit(
    records: Sequence[LabelledIncident],
    config: TrainConfig,
    fold: NDArray[np.intp],
    *,
    final: bool = True,
    workers: int | None = None,
    histories: Sequence[LabelledIncident] = (),
    kept: KeptFolds | None = None,
    progress: Progress = silent,
) -> CrossFit:
    """Fit and score every fold, side by side where the kind allows it.

    Args:
        records: Checked labelled incidents.
        config: Kind and settings of the classifier.
        fold: `(n,)` fold numbers from 0, as from `training.splits.folds`.
        final: Whether to fit on all records too.
        workers: Processes at most; None reads `STALKSCREEN_WORKERS` and otherwise takes one for each core. Memory grows
            with it: each holds the records and the features of one fit.
        histories: Incidents of case histories that every fit may learn from.
        kept: Where finished folds are kept and found again.
        progress: Called with the number of fits that are done, counted from 1 and up to two more than there are folds.

    Raises:
        ConfigError: The classifier's settings or `STALKSCREEN_WORKERS` are wrong.
        StalkscreenError: A process was ended from outside, most likely for want of memory.
    """
    n_folds = int(fold.max()) + 1
    tasks = ([ALL] if final else []) + list(range(n_folds))  # the longest first
    job = _Job(records, config, fold, histories, kept)
    count = _processes(len(tasks), len(records), workers) if _parallel(new_classifier(config)) else 1
    where = "one after another" if count == 1 else f"in {count} processes"
    progress(f"fitting {n_folds} folds{' and all records' if final else ''} {where}", 1, n_folds + 2)
    done: dict[int, FoldScores | Classifier] = {}
    with closing(_one_by_one(job, tasks, progress) if count == 1 else _side_by_side(job, tasks, count)) as results:
        for number, result in results:
            done[number] = result
            what = "all records" if number == ALL else f"fold {number + 1} of {n_folds}"
            progress(f"fitted {what}", len(done), n_folds + 2)
    scored = [part for number in range(n_folds) if isinstance(part := done[number], FoldScores)]
    whole = done.get(ALL)
    return CrossFit(scored, None if whole is None or isinstance(whole, FoldScores) else whole)


def new_classifier(config: TrainConfig) -> Classifier:
    """An unfitted classifier of the config's kind.

    Raises:
        ConfigError: The settings are not those of the kind.
    """
    try:
        return classifier_class(config.kind)(**config.classifier)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"[{config.kind}] in the config is wrong: {error}", field=config.kind) from error


def settings_of(config: TrainConfig) -> dict[str, Any]:
    """All settings of the config's classifier, those left to their defaults too; none for a kind that keeps none."""
    settings = getattr(new_classifier(config), "settings", None)
    return settings.model_dump(mode="json") if settings is not None else dict(config.classifier)


def workers_from(env: Mapping[str, str]) -> int | None:
    """The value of `STALKSCREEN_WORKERS`, None where it is not set.

    Raises:
        ConfigError: It is not a whole number from 1.
    """
    return whole_number(env, "STALKSCREEN_WORKERS", "2 (1: one fold after another)")


def _processes(tasks: int, records: int, workers: int | None) -> int:
    """How many processes to use; 1 means this one alone."""
    asked = workers if workers is not None else workers_from(os.environ)
    if multiprocessing.current_process().daemon:
        return 1  # such a process may not start others
    if asked is None:
        asked = 1 if records < PARALLEL_FROM else len(os.sched_getaffinity(0))
    return max(1, min(asked, tasks))


def _fit_one(job: _Job, number: int, progress: Progress = silent) -> FoldScores | Classifier:
    """One fold or `ALL`. Kinds that are fitted side by side have one thread of arithmetic, however many processes."""
    taxonomy = load_taxonomy()
    classifier = new_classifier(job.config)
    kept = job.kept
    with threadpool_limits(1 if _parallel(classifier) else None):
        if number == ALL:
            found = kept.classifier(job.config.kind, "all") if kept else None
            if found is None:
                found = classifier.fit(job.records, taxonomy, progress, job.histories)
                if kept:
                    kept.keep_classifier(found, "all")
            return found
        inside, outside = np.flatnonzero(job.fold != number), np.flatnonzero(job.fold == number)
        scored = kept.scores(number) if kept else None
        # Changed texts are put to the first fold's classifier, so that one is kept too.
        fitted = kept.classifier(job.config.kind, "fold-0") if kept and scored and number == 0 else None
        if scored is None or (kept and number == 0 and fitted is None):
            histories = apart_from(job.histories, [job.records[i] for i in outside.tolist()])
            fitted = classifier.fit([job.records[i] for i in inside.tolist()], taxonomy, progress, histories)
            cases = [Case.of_one(job.records[i]) for i in outside.tolist()]
            first: Classifier | None = getattr(classifier, "first_stage", None)
            scored = (
                classifier.predict(cases),
                first_look(first, cases) if first else None,
                classifier.indicator_names,
                curves_of(classifier),
            )
            if kept:
                if number == 0:
                    kept.keep_classifier(classifier, "fold-0")
                kept.keep_scores(number, *scored)
    scores, first_scores, names, curves = scored
    return FoldScores(outside, scores, names, first_scores, curves, fitted if number == 0 else None)


def curves_of(classifier: Classifier) -> Curves:
    """The curves of a classifier's fit; empty for a kind that has no epochs."""
    return list(getattr(classifier, "curves", ()))


def apart_from(histories: Sequence[LabelledIncident], records: Sequence[LabelledIncident]) -> list[LabelledIncident]:
    """Case histories that share no writer, case, pair or text with the records; spaces do not make a text another one."""

    def shared(record: LabelledIncident) -> set[tuple[str, str | None]]:
        names = {name: getattr(record, name) for name in ("writer", "case_id", "pair_id")}
        return {(n, v) for n, v in names.items() if v is not None} | {("text", " ".join(record.narrative.split()))}

    held = set().union(*map(shared, records))
    theirs = {h.case_id for h in histories if shared(h) & held}
    return [h for h in histories if h.case_id not in theirs]


def _parallel(classifier: Classifier) -> bool:
    """Whether the kind's class says `parallel_folds = True`; a kind that says nothing has the machine to itself."""
    return bool(getattr(type(classifier), "parallel_folds", False))


def _one_by_one(job: _Job, tasks: Sequence[int], progress: Progress) -> Results:
    for done, number in enumerate(tasks):
        what = "all records" if number == ALL else f"fold {number + 1}"

        def within(message: str, _: int, __: int, what: str = what, done: int = done) -> None:
            progress(f"{what}: {message}", done + 1, len(tasks) + 1)

        yield number, _fit_one(job, number, within)


def _side_by_side(job: _Job, tasks: Sequence[int], count: int) -> Results:
    """In processes of their own; the records travel once to each."""
    pool = ProcessPoolExecutor(
        count, mp_context=multiprocessing.get_context("spawn"), initializer=_start, initargs=(job,)
    )
    try:
        started = {pool.submit(_run, number): number for number in tasks}
        for future in as_completed(started):
            yield started.pop(future), future.result()
    except BrokenProcessPool as error:
        raise StalkscreenError(
            "A process that fitted a fold was ended from outside, most likely for want of memory. Set "
            "STALKSCREEN_WORKERS=1 to fit one fold after another. (Called from a program of your own: its main part "
            'must stand under `if __name__ == "__main__":`.)',
            code="worker_ended",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_job: _Job | None = None
"""In a process started by `_side_by_side`: what it works on."""


def _start(job: _Job) -> None:
    global _job
    _job = job


def _run(number: int) -> FoldScores | Classifier:
    assert _job is not None
    return _fit_one(_job, number)
