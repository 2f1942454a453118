"""Which texts a model was trained on, as short hashes, so that an evaluation can say how many of its records were.

In: narratives. Out: one 64-bit number a narrative, the file `trained_on.txt` of a model folder, which holds no text and
no id, and a count. A file's own sha256 is not enough: with one row more it is another file.

A text counts as the same when nothing but capitals and white space differ. Near-copies, other records of the same case
and other texts by the same writer are not found: they are not independent of the training either, but that is not
what is counted here. Two different texts share a hash with a probability of one in 2 to the power of 64: for a million
records against a million training texts, about 5 in 100 million that any does.

Whoever holds a text can find out from the list whether it was trained on; nobody can read a text out of it
(docs/decisions/0007-trained-on.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stalkscreen.errors import ModelFormatError

Hashes: TypeAlias = NDArray[np.uint64]

TRAINED_ON = "trained_on.txt"
"""File of a model folder: 16 hexadecimal digits a line, sorted, each once. Models of before it have none."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How many records of a set a model was trained on.

    Attributes:
        records: Their number; with `by` "file" the least it can be.
        by: "text": each narrative was looked for among the training texts. "file": only whole training files were
            recognised, because the model keeps no list of its texts. "folds": each record was judged by a model that
            had seen none of its group.
    """

    records: int
    by: Literal["text", "file", "folds"]


def count_seen(
    narratives: Iterable[str],
    files: Sequence[Mapping[str, Any]],
    trained_on: Hashes | None,
    training_files: Sequence[Mapping[str, Any]],
) -> Seen:
    """Count the records that a model was trained on.

    Args:
        narratives: Of the records.
        files: `sha256` and `rows` of the files they were read from.
        trained_on: The model's short hashes; None where it has none.
        training_files: `sha256` of the files it was trained on (`Provenance.data`).
    """
    if trained_on is not None:
        return Seen(int(np.isin(short_hashes(narratives), trained_on).sum()), "text")
    known = {file["sha256"] for file in training_files}
    return Seen(sum(int(file["rows"]) for file in files if file["sha256"] in known), "file")


def short_hashes(narratives: Iterable[str]) -> Hashes:
    """`(n,)` the first 8 bytes of the sha256 of each narrative, lower case and with runs of white space as one space."""
    digests = (hashlib.sha256(" ".join(text.lower().split()).encode()).digest() for text in narratives)
    return np.fromiter((int.from_bytes(digest[:8], "big") for digest in digests), dtype=np.uint64)


def write_hashes(hashes: Hashes, path: Path) -> None:
    """Write them sorted, each once: the same records in any order give the same bytes."""
    path.write_text("".join(f"{value:016x}\n" for value in np.unique(hashes).tolist()), encoding="ascii")


def read_hashes(path: Path) -> Hashes:
    """Read what `write_hashes` wrote.

    Raises:
        ModelFormatError: The file cannot be read or a line is no 64-bit hexadecimal number.
    """
    try:
        values = [int(line, 16) for line in path.read_text(encoding="ascii").split()]
        return np.array(values, dtype=np.uint64)
    except (OSError, ValueError, OverflowError) as error:
        raise ModelFormatError(
            f"{path} is not a list of 64-bit hexadecimal numbers, one a line; copy the model folder again.",
            file=str(path),
        ) from error
