"""Progress of long work: a bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
LINE_EVERY = 10.0
"""Seconds between plain progress lines."""


def stages(title: str) -> Callable[[str, int, int], None]:
    """A callback `(what, done, total)` for work in named stages, shown on stderr."""
    bar: Any = None

    def show(what: str, done: int, total: int) -> None:
        nonlocal bar
        if not sys.stderr.isatty():
            sys.stderr.write(f"{title}: {what} ({done}/{total})\n")
            return
        if bar is None:
            bar = tqdm(total=total, desc=title, bar_format="{desc}: {bar} {n_fmt}/{total_fmt} {postfix}")
        bar.n = done
        bar.set_postfix_str(what)
        if done >= total:
            bar.close()

    return show


def counted(items: Iterable[Item], title: str, unit: str, size: Callable[[Item], int]) -> Iterator[Item]:
    """Pass `items` through and show how many units went by, on stderr; `size` says how many one item holds."""
    if sys.stderr.isatty():
        with tqdm(desc=title, unit=f" {unit}", unit_scale=False) as bar:
            for item in items:
                yield item
                bar.update(size(item))
        return
    done, began, said = 0, time.monotonic(), time.monotonic()
    for item in items:
        yield item
        done += size(item)
        if time.monotonic() - said > LINE_EVERY:
            said = time.monotonic()
            sys.stderr.write(f"{title}: {done:,} {unit} in {said - began:.0f} s\n")
