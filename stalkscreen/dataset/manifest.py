"""`manifest.json`: what the data files of a folder were when they were published.

Hidden files and other suffixes are not data files; sub-folders are included.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stalkscreen.dataset.sources import SUFFIXES
from stalkscreen.dataset.writing import write_text
from stalkscreen.errors import DataError

MANIFEST = "manifest.json"
FORMAT = 1
"""Raised when a key changes its meaning."""

_KEYS = ("name", "bytes", "sha256", "rows", "label_version")


def write_manifest(folder: str | Path) -> Path:
    """Describe every data file of a folder in its `manifest.json`; the same files give the same bytes.

    Each entry has `name` (with `/` between folders), `bytes`, `sha256`, `rows` and `label_version`: the one that the rows
    state, several joined with `, `, or null.

    Raises:
        DataError: The folder is missing or has no data file, or a data file cannot be read.
    """
    folder = Path(folder)
    entries = _entries(folder)
    if not entries:
        raise DataError(f"{folder}: no data file; a manifest describes {', '.join(SUFFIXES)}", folder=str(folder))
    path = folder / MANIFEST
    write_text(path, json.dumps({"format": FORMAT, "files": entries}, indent=2, ensure_ascii=False) + "\n")
    return path


def check_manifest(folder: str | Path) -> list[dict[str, Any]]:
    """Compare a folder with its manifest.

    Returns:
        The entries, as in the manifest.

    Raises:
        DataError: The manifest is missing or damaged (code `manifest_invalid`), or the folder differs from it (code
            `manifest_mismatch`); the message names each file and what differs, `problems` in the context lists them.
    """
    folder = Path(folder)
    listed = _listed(folder)
    found = {entry["name"]: entry for entry in _entries(folder)}
    problems = []
    for name, entry in listed.items():
        if name not in found:
            problems.append(f"{name}: the file is missing")
            continue
        problems += [
            f"{name}: {key} is {found[name][key]}, the manifest says {entry.get(key)}"
            for key in _KEYS
            if found[name][key] != entry.get(key)
        ]
    problems += [f"{name}: the file is not in the manifest" for name in found if name not in listed]
    if problems:
        raise DataError(
            f"{folder} differs from its {MANIFEST}:\n"
            + "\n".join(f"  {problem}" for problem in problems)
            + "\nRestore the files, or write the manifest anew if the change is meant.",
            code="manifest_mismatch",
            folder=str(folder),
            problems=problems,
        )
    return list(listed.values())


def _listed(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError
        return {str(entry["name"]): dict(entry) for entry in content["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{path}: not a manifest of format {FORMAT}; write it with write_manifest",
            code="manifest_invalid",
            file=str(path),
        ) from None


def _entries(folder: Path) -> list[dict[str, Any]]:
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder", folder=str(folder))
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    return [_entry(folder, path) for path in paths]


def _entry(folder: Path, path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    try:
        rows = 0
        versions: set[str] = set()
        for version in _label_versions(path):
            rows += 1
            if version not in (None, ""):
                versions.add(str(version))
    except (ValueError, AttributeError, csv.Error):
        raise DataError(f"{path}: cannot be read as {path.suffix}", file=str(path)) from None
    return {
        "name": path.relative_to(folder).as_posix(),
        "bytes": path.stat().st_size,
        "sha256": digest,
        "rows": rows,
        "label_version": ", ".join(sorted(versions)) or None,
    }


def _label_versions(path: Path) -> Iterator[Any]:
    """`label_version` of each row, None where it has none. Any rows: a data file need not hold incidents."""
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        with path.open(encoding="utf-8-sig", newline="\n") as lines:
            for line in lines:
                if line.strip():
                    yield json.loads(line).get("label_version")
    elif suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for row in csv.DictReader(stream):
                yield row.get("label_version")
    else:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            has = "label_version" in file.schema_arrow.names
            for batch in file.iter_batches(columns=["label_version"] if has else []):
                yield from batch.column(0).to_pylist() if has else [None] * batch.num_rows
