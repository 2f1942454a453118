"""What was measured, kept between runs: one JSON file a stage, reused only under the key it was measured for."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any


def key_of(*parts: Any) -> str:
    """Sixteen hexadecimal digits that change when any of the plain values does."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Results:
    """A folder of measured stages.

    Args:
        folder: Made when it is not there.
        fresh: Forget what it holds.
    """

    def __init__(self, folder: Path, fresh: bool = False) -> None:
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def get(self, name: str, key: str) -> Any:
        """What was measured under `key`, or None when there is nothing or it was measured for something else."""
        try:
            kept = json.loads(self._path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return kept["value"] if isinstance(kept, dict) and kept.get("key") == key else None

    def put(self, name: str, key: str, value: Any) -> None:
        """Keep a plain JSON value; written beside its place and then moved."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        building = path.with_suffix(".part")
        building.write_text(json.dumps({"key": key, "value": value}, indent=1), encoding="utf-8")
        building.replace(path)

    def set_missing(self, name: str, why: str | None) -> None:
        """Keep why something could not be measured, until it could (`why` None)."""
        if why is None:
            self._path(f"{name}-missing").unlink(missing_ok=True)
        else:
            self.put(f"{name}-missing", "missing", why)

    def missing(self, name: str) -> str:
        """Why it is not there."""
        return str(self.get(f"{name}-missing", "missing") or "not measured yet")
