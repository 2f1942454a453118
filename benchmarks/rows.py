"""What every row of the benchmark offers, and the rows by name.

To add a peer: write one file in `benchmarks/peers/` with a class of the shape of `Row`, add one line to `ROWS`, add
its package to the `bench` extra and its pins to `requirements/constraints.txt`, and describe its settings in
`benchmarks/README.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.sample import Sample
from stalkscreen.errors import StalkscreenError, UnknownNameError

Floats = NDArray[np.float64]

ROWS: dict[str, str] = {
    "keyword": "benchmarks.peers.ours:KeywordRow",
    "tfidf": "benchmarks.peers.tfidf:TfidfRow",
    "minilm": "benchmarks.peers.minilm:MiniLMRow",
    "textcat": "benchmarks.peers.textcat:TextcatRow",
    "fasttext": "benchmarks.peers.subwords:FastTextRow",
    "linear": "benchmarks.peers.ours:LinearRow",
    "encoder": "benchmarks.peers.ours:EncoderRow",
    "encoder-torch": "benchmarks.peers.ours:EncoderTorchRow",
    "cascade": "benchmarks.peers.ours:CascadeRow",
}
"""Row name to `module:class`, in the order of the table."""

SAME_AS = {"encoder-torch": "encoder", "cascade": "encoder"}
"""Rows that learn nothing of their own: the row whose fit they use. The cascade is the encoder with its first stage on."""

OURS = ("linear", "encoder", "cascade")
"""Rows of which the best one is compared with every other row."""


class NotAvailableError(StalkscreenError):
    """A row cannot be measured here: its package is not installed, or there is no such classifier kind or model."""

    code = "row_not_available"


class Row(Protocol):
    """One row of the table.

    Attributes:
        title: As the table names it.
        settings: What was chosen and how, in plain JSON types; part of the cache key and printed in `docs/`.
        needs: Importable names without which the row is not available.
        indicator_scores: `(n, 26)` of the last `score` call in taxonomy order, NaN where unknown; None when the row
            has no indicators.
    """

    title: ClassVar[str]
    settings: ClassVar[dict[str, Any]]
    needs: ClassVar[tuple[str, ...]]
    indicator_scores: Floats | None

    def fit(self, sample: Sample) -> Self:
        """Learn from labelled texts; whatever it tunes, it tunes inside `sample` with groups kept whole."""
        ...

    def score(self, texts: Sequence[str]) -> Floats:
        """`(n,)` scores; higher is more like stalking."""
        ...

    def save(self, folder: Path) -> None:
        """Write what `load` needs into `folder` (it exists and is empty). No pickle."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, ready to score."""
        ...

    @classmethod
    def files(cls, folder: Path) -> list[Path]:
        """The files that must lie on a disk for `load`, for the column on size."""
        ...


def row_class(name: str) -> type[Row]:
    """The class of a row.

    Raises:
        UnknownNameError: `name` is not in `ROWS`.
        NotAvailableError: A library it needs is not installed.
    """
    if name not in ROWS:
        raise UnknownNameError(f"There is no row {name!r}; allowed: {', '.join(ROWS)}.", allowed=list(ROWS))
    module, attribute = ROWS[name].split(":")
    found: type[Row] = getattr(import_module(module), attribute)
    missing = [package for package in found.needs if find_spec(package) is None]
    if missing:
        raise NotAvailableError(f"not installed: {', '.join(missing)} (the `bench` extra)")
    return found


def source_digest(name: str) -> str:
    """Digest of the row's own module: results of other code are not reused."""
    module = import_module(ROWS[name].split(":")[0])
    return hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()[:12]


def files_below(folder: Path) -> list[Path]:
    """All files in a folder, sorted."""
    return sorted(p for p in folder.rglob("*") if p.is_file())
