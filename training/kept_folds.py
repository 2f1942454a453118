"""Keeps what each fold gave in a folder, so that a long training run goes on where it stopped.

In and out: a folder with `for.json` (the data and settings it belongs to), the scores in `fold-0.npz`, …, and two
classifiers: the first fold's under `fold-0/` and the one fitted on all records under `all/`. Plain arrays and the
classifiers' own files; no pickle.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from stalkscreen.classifiers import Classifier, ScoredSpan, Scores, classifier_class
from stalkscreen.config import CHECKOUT
from stalkscreen.dataset.writing import write_text
from stalkscreen.errors import ConfigError, DataError

Curves = Sequence[Mapping[str, float]]
"""One entry an epoch of a fit, with `epoch` and what was measured; empty for a kind that has no epochs."""

Kept = tuple[Scores, Scores | None, tuple[str, ...], Curves]
"""Scores, first-stage scores, indicator names and curves of a fold."""


class KeptFolds:
    """The folder of one training run.

    Args:
        folder: Made if it is not there.
        belongs_to: What the run is made of: data hash, config and the like, as plain JSON.

    Raises:
        DataError: The folder holds folds of other data, settings or code, or cannot be made.
    """

    def __init__(self, folder: Path, belongs_to: dict[str, Any]) -> None:
        self.folder = folder
        about = folder / "for.json"
        wanted = json.loads(json.dumps(belongs_to))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if about.is_file():
                if json.loads(about.read_text(encoding="utf-8")) != wanted:
                    raise DataError(
                        f"{folder} keeps the folds of other data, settings or code; choose another folder or delete it.",
                        file=str(folder),
                    )
            elif any(folder.iterdir()):
                raise DataError(f"{folder} is not empty and keeps no folds; choose another folder.", file=str(folder))
            else:
                write_text(about, json.dumps(wanted, indent=1))
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: kept folds cannot be read or written there.", file=str(folder)) from error

    def scores(self, number: int) -> Kept | None:
        """What is kept of a fold, or None where nothing is.

        Raises:
            ConfigError: The fold's file is damaged.
        """
        path = self.folder / f"fold-{number}.npz"
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            names = tuple(str(n) for n in arrays.pop("indicator_names"))
            curves = json.loads(str(arrays.pop("curves", "[]")))
            first = _unpacked(arrays, "first") if "first.stalking" in arrays else None
            return _unpacked(arrays, "own"), first, names, curves
        except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
            raise ConfigError(
                f"{path} is damaged and cannot be read; delete it, and this fold is fitted again.", file=str(path)
            ) from error

    def keep_scores(
        self, number: int, scores: Scores, first: Scores | None, names: tuple[str, ...], curves: Curves = ()
    ) -> None:
        """Write a fold, whole or not at all."""
        arrays = _packed(scores, "own") | (_packed(first, "first") if first is not None else {})
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False) as part:
            arrays["curves"] = np.array(json.dumps(list(curves)))
            np.savez(part, indicator_names=np.array(names, dtype=np.str_), **arrays)
        Path(part.name).replace(self.folder / f"fold-{number}.npz")

    def classifier(self, kind: str, name: str) -> Classifier | None:
        """The classifier kept under a name, or None where there is none."""
        folder = self.folder / name
        return classifier_class(kind).load(folder) if folder.is_dir() else None

    def keep_classifier(self, classifier: Classifier, name: str) -> None:
        """Write a classifier, whole or not at all."""
        part = Path(tempfile.mkdtemp(dir=self.folder, prefix=f".{name}-"))
        try:
            classifier.save(part)
            shutil.rmtree(self.folder / name, ignore_errors=True)
            part.replace(self.folder / name)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def code_digest() -> str:
    """Digest of the code that a fit's scores depend on: the classifiers and how they read a text."""
    package = CHECKOUT / "stalkscreen"
    files = [*package.glob("classifiers/*.py"), package / "text.py", package / "shorthand.toml"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()[:16]


def _packed(scores: Scores, prefix: str) -> dict[str, Any]:
    arrays = {f"{prefix}.{f.name}": getattr(scores, f.name) for f in fields(scores) if f.name != "spans"}
    spans = [(row, s) for row, found in enumerate(scores.spans) for s in found]
    k = scores.indicators.shape[1]
    arrays[f"{prefix}.places"] = np.array([(r, s.incident, s.start, s.end) for r, s in spans], dtype=int).reshape(-1, 4)
    values = [np.concatenate([s.indicators, s.mentioned, [s.against]]) for _, s in spans]
    arrays[f"{prefix}.values"] = np.array(values, dtype=float).reshape(-1, 2 * k + 1)
    return arrays


def _unpacked(arrays: dict[str, Any], prefix: str) -> Scores:
    own = {f.name: arrays[f"{prefix}.{f.name}"] for f in fields(Scores) if f.name != "spans"}
    k = own["indicators"].shape[1]
    spans: list[list[ScoredSpan]] = [[] for _ in own["stalking"]]
    for (row, incident, start, end), values in zip(
        arrays[f"{prefix}.places"].tolist(), arrays[f"{prefix}.values"], strict=True
    ):
        spans[row].append(ScoredSpan(incident, start, end, values[:k], float(values[2 * k]), values[k : 2 * k]))
    return Scores(**own, spans=spans)
