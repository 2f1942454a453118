"""Labelled files as every command reads them: checked, and with what was noticed said on stderr."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stalkscreen.dataset import Columns, LabelledSet, read_labelled


def read_labels(paths: Sequence[Path], columns: str | None) -> LabelledSet:
    """Read and check labelled files, and say on stderr what was noticed."""
    import click

    labelled = read_labelled(paths, Columns.parse(columns) if columns else None)
    for note in labelled.notes:
        click.echo(f"Note: {note}", err=True)
    return labelled
