"""Which texts a model was trained on, as short hashes, so that an evaluation can say how many of its records were.

In: narratives. Out: one 64-bit number a narrative, and the file `trained_on.txt` of a model folder, which holds no text
and no id. Whole training files were recognised by their sha256 before, and a file with one row more was called unseen.

A text counts as the same when nothing but capitals and white space differ. Near-copies, other records of the same case
and other texts by the same writer are not found: they are not independent of the training either, but that is not
what is counted here. Two different texts share a hash with a probability of one in 2 to the power of 64: for a million
records against a million training texts, about 5 in 100 million that any does.

Whoever holds a text can find out from the list whether it was trained on; nobody can read a text out of it
(docs/decisions/0009-trained-on.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stalkscreen.errors import ModelFormatError

Hashes: TypeAlias = NDArray[np.uint64]

TRAINED_ON = "trained_on.txt"
"""File of a model folder: 16 hexadecimal digits a line, sorted, each once. Models of before it have none."""


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
