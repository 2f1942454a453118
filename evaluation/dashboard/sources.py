"""Which evaluations there are: those on MLflow runs, and folders that `stalkscreen evaluate` wrote.

Of each only `metrics.json` and the out-of-fold scores (id, label, probability) are read, and the first line or two of
`report.html`, to say that it holds narratives.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from evaluation.columns import Json
from evaluation.evaluate import FORMAT
from stalkscreen.config import Settings
from stalkscreen.errors import UnknownNameError
from stalkscreen.metrics import Rate
from stalkscreen.run_figures import SCORES, recall_at_few_false_flags

MOST = 500
"""Evaluations listed; more would not fit a page."""

NEEDED = ("dataset", "model", "live", "at_threshold", "thresholds", "ranking", "slices", "calibration")
"""Parts of `metrics.json` that the page cannot do without."""

_TITLE = re.compile(rb"<title>Contains narrative text")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One model's figures on one set.

    Attributes:
        key: What stands for it in an address; no path of the machine.
        place: The run or folder it belongs to, in words.
        metrics: Its `metrics.json`.
        scores: Out-of-fold scores of the same records, where they were kept.
        recall_at: Recall at 5% false flags.
        made: When it was made.
        marked: Its `report.html` holds narratives; nothing of that is shown here.
    """

    key: str
    place: str
    metrics: Json
    scores: Path | None
    recall_at: Rate
    made: datetime
    marked: bool

    @property
    def model(self) -> str:
        """Kind and version of the model, in words."""
        model = self.metrics["model"]
        return f"{' and '.join(model['kinds'])} {' and '.join(model['versions'])}".strip()

    @property
    def dataset(self) -> str:
        """Name of the set."""
        return str(self.metrics["dataset"]["name"])

    @property
    def unseen_writers(self) -> bool:
        """Whether each record was judged by a model that had seen no text of its writer."""
        dataset = self.metrics["dataset"]
        return not dataset["seen_in_training"] and "writer" in dataset["grouping"]

    @property
    def records(self) -> str:
        """What the model knew of the records, in words."""
        dataset = self.metrics["dataset"]
        if dataset["seen_in_training"]:
            return "records it was trained on"
        if self.unseen_writers:
            return "unseen writers"
        if not dataset["grouping"] or dataset["grouping"].startswith("none"):
            return "records not trained on; their writers may have been"
        return f"records not trained on, kept apart by {dataset['grouping']}"


class Catalogue:
    """The evaluations there are, by key.

    Args:
        folders: Each written by `stalkscreen evaluate`, or holding such folders.
        settings: Where the MLflow store is; None for no runs.
    """

    def __init__(self, folders: Iterable[Path], settings: Settings | None) -> None:
        self._folders = list(dict.fromkeys(folders))
        self._settings = settings
        self._read: dict[Path, tuple[tuple[float, ...], Evaluation]] = {}
        self._found: dict[str, Evaluation] = {}
        self._places: dict[tuple[str, str], Path] = {}
        self._lock = threading.Lock()
        self.problems: list[str] = []

    def all(self) -> list[Evaluation]:
        """Every evaluation there is now: unseen writers first, best recall at 5% false flags first.

        What cannot be read is said in `problems`, with the reason.
        """
        with self._lock:
            self.problems = []
            found = [*self._of_folders(), *self._of_runs()]
            if len(found) > MOST:
                self.problems.append(f"Only the first {MOST} of {len(found):,} evaluations are listed.")
            found = sorted(found[:MOST], key=lambda e: (not e.unseen_writers, -(e.recall_at.value or 0.0)))
            self._found = {evaluation.key: evaluation for evaluation in found}
        return found

    def known(self) -> list[Evaluation]:
        """Those found last, without looking again; looks once if it never did."""
        return list(self._found.values()) or self.all()

    def get(self, key: str) -> Evaluation | None:
        """The evaluation of that key, looking again if it is not known."""
        if key not in self._found:
            self.all()
        return self._found.get(key)

    def _of_folders(self) -> list[Evaluation]:
        found, names = [], set()
        for place, folder in enumerate(self._folders, start=1):
            name = folder.resolve().name
            if name in names:
                name = f"{name}-{place}"
            names.add(name)
            files = sorted([*folder.glob("*metrics.json"), *folder.glob("*/*metrics.json")])
            for path in files:
                inside = (Path(name) / path.parent.relative_to(folder)).as_posix()
                own = path.name.removesuffix("metrics.json").rstrip("_-")
                words = f"Folder {inside}" + (f" ({own})" if own else "")
                found.append(self._one(f"folder/{inside}/{path.name}", words, path))
        return [one for one in found if one is not None]

    def _of_runs(self) -> list[Evaluation]:
        if self._settings is None:
            return []
        try:
            from stalkscreen.tracking import registry

            runs = registry.evaluated_runs(self._settings)
        except ImportError:
            self.problems.append("MLflow is not installed (extra `train`), so runs are not listed.")
            return []
        found = []
        for run in runs:
            aliases = f", {' and '.join(run.aliases)}" if run.aliases else ""
            version = f" (version {run.version}{aliases})" if run.version else ""
            made = datetime.fromtimestamp(run.started / 1000, UTC)
            for path in run.evaluations:
                folder, file = path.rsplit("/", 1)
                try:
                    if (run.run_id, folder) not in self._places:
                        self._places[run.run_id, folder] = registry.download_evaluation(
                            run.run_id, self._settings, folder
                        )
                except UnknownNameError as error:
                    self.problems.append(error.message)
                    continue
                inside = self._places[run.run_id, folder] / file
                found.append(self._one(f"run/{run.run_id}/{path}", f"Run {run.name}{version}", inside, made))
        return [one for one in found if one is not None]

    def _one(self, key: str, place: str, path: Path, made: datetime | None = None) -> Evaluation | None:
        scores = path.with_name(SCORES) if path.name == "metrics.json" else None
        report = path.with_name("report.html")
        used = [file for file in (path, scores, report) if file is not None and file.is_file()]
        try:
            stamp = tuple(file.stat().st_mtime for file in used)
            if path in self._read and self._read[path][0] == stamp:
                return self._read[path][1]
            metrics = _checked(json.loads(path.read_text(encoding="utf-8")))
            evaluation = Evaluation(
                key=key,
                place=place,
                metrics=metrics,
                scores=scores if scores in used else None,
                recall_at=recall_at_few_false_flags(metrics, scores),
                made=made or datetime.fromtimestamp(path.stat().st_mtime, UTC),
                marked=report in used and _marked(report),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = str(error) if isinstance(error, _UnfitError) else "it is damaged, or not what evaluate writes"
            self.problems.append(f"{place}: {path.name} cannot be read ({why}).")
            return None
        self._read[path] = (stamp, evaluation)
        return evaluation


class _UnfitError(ValueError):
    """A `metrics.json` that is none, or of another version."""


def _checked(metrics: object) -> Json:
    if not isinstance(metrics, dict) or metrics.get("format") != FORMAT:
        raise _UnfitError(f"its format is not {FORMAT}; evaluate again")
    missing: Sequence[str] = [name for name in NEEDED if name not in metrics]
    if missing:
        raise _UnfitError(f"it has no {', '.join(missing)}; evaluate again")
    return metrics


def _marked(report: Path) -> bool:
    with report.open("rb") as stream:
        return bool(_TITLE.search(stream.read(2000)))
