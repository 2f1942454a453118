"""Promote a registered version: gates, alias, model card, transparency record, released folder.

In: a version number. Out: `models/<kind>-<digest8>/` with the model, its cross-validated figures, its card and its
transparency record; the alias `champion`; and its name in `models/RELEASED`, which nothing else writes. Nothing is
changed when a gate fails.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.gates import GateResult, Gates, run_gates
from evaluation.model_card import gate_count, model_card
from evaluation.transparency import as_markdown, transparency_record
from stalkscreen.config import Settings
from stalkscreen.dataset.writing import write_text
from stalkscreen.errors import GateFailedError, ModelFormatError
from stalkscreen.model_format import file_sha256, folder_digest, read_info
from stalkscreen.references import RELEASED, released_folder
from stalkscreen.run_figures import SCORES, read_scores
from stalkscreen.tracking import registry

WRITTEN = "written.json"
"""sha256 of each text as `promote` wrote it, by file name: shows which ones somebody has changed since."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What `promote` did.

    Attributes:
        folder: The released folder.
        gates: Outcome of every gate.
        fields_to_fill: Fields of the transparency record that only people can fill.
        kept: Files that somebody may have changed since they were written: they stay, and what would have been written
            lies beside each as `<name>.new`.
    """

    folder: Path
    gates: Sequence[GateResult]
    fields_to_fill: int
    kept: Sequence[str] = ()

    def __str__(self) -> str:
        """What to know and to do next, in a few lines."""
        return (
            f"{gate_count(self.gates)}\nReleased: {self.folder}\n"
            f"To do: {self.fields_to_fill} fields of {self.folder / 'TRANSPARENCY.md'} are for the force to fill."
            + "".join(
                f"\nKept, since somebody may have changed it: {name}. Today's text is beside it in {name}.new."
                for name in self.kept
            )
        )


def released_or_none(settings: Settings) -> Path | None:
    """Folder of the released model, or None when there is none that can be used; for those who only show or compare."""
    try:
        return released_folder(settings)
    except ModelFormatError:
        return None


def _to_be_replaced(settings: Settings) -> Path | None:
    """Folder of the released model, or None when nothing is released.

    Raises:
        ModelFormatError: A model is released, but its folder is missing or was changed. Without this error a damaged
            copy would put the comparison with it out of force.
    """
    marker = settings.models / RELEASED
    if not marker.exists():
        return None
    try:
        return released_folder(settings)
    except ModelFormatError as error:
        raise ModelFormatError(
            f"{error.message} Nothing was promoted, since the new model has to be compared with the released one; delete "
            f"{marker} to promote without.",
            code=error.code,
            **error.context,
        ) from None


def promote(version: str, settings: Settings) -> Promotion:
    """Release a version if the gates let it.

    Raises:
        UnknownNameError: No such version.
        ModelFormatError: The model released so far is damaged, so there is no comparing with it.
        GateFailedError: One or more gates failed; the message says which and why.
    """
    run_id = registry.run_of(version, settings)
    source = registry.download_model(version, settings)
    figures = registry.download_evaluation(run_id, settings)
    metrics = json.loads((figures / "metrics.json").read_text(encoding="utf-8"))
    info = read_info(source)
    name = f"{info.kind}-{folder_digest(source)[:8]}"
    target = settings.models / name
    released = _to_be_replaced(settings)
    others = None if released == target else released
    gates = run_gates(metrics, read_scores(figures / SCORES), others, Gates.read())
    failed = [g for g in gates if g.status == "fail"]
    if failed:
        unmeasured = [g.name for g in gates if g.status == "not_applicable"]
        raise GateFailedError(
            f"Version {version} was not promoted and nothing was changed: {len(failed)} of {len(gates)} gates failed.\n"
            + "\n".join(f"  {g.name}: {g.sentence}" for g in failed)
            + (
                f"\nCould not be applied, which is neither passed nor failed: {', '.join(unmeasured)}."
                if unmeasured
                else ""
            ),
            gates=[g.name for g in failed],
        )
    record = transparency_record(name, info, metrics, gates)
    written = {
        "MODEL_CARD.md": model_card(info, metrics, gates),
        "transparency.json": json.dumps(record, indent=1, ensure_ascii=False) + "\n",
        "TRANSPARENCY.md": as_markdown(record),
    }
    settings.models.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        building = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=settings.models))
        try:
            shutil.copytree(source, building, dirs_exist_ok=True)
            shutil.copytree(figures, building / "evaluation", dirs_exist_ok=True)
            _write(written, building)
            building.chmod(0o755)
            building.replace(target)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        kept: list[str] = []
    else:
        kept = _write(written, target)
    marker = settings.models / f".{RELEASED}.new"
    marker.write_text(name + "\n", encoding="utf-8")
    marker.replace(settings.models / RELEASED)
    registry.set_champion(version, settings)
    return Promotion(target, gates, record["fields_to_fill"], kept)


def _write(texts: Mapping[str, str], folder: Path) -> list[str]:
    """Write the texts; answers with the names of those that somebody may have changed since, which stay as they are.

    For each of these today's text lies beside it as `<name>.new`, unless somebody has changed that as well.
    """
    listed = folder / WRITTEN
    known = json.loads(listed.read_text(encoding="utf-8")) if listed.is_file() else {}

    def ours(path: Path, text: str) -> bool:
        same = path.is_file() and path.read_text(encoding="utf-8") == text
        return same or not path.exists() or file_sha256(path) == known.get(path.name)

    def put(path: Path, text: str) -> None:
        write_text(path, text)
        known[path.name] = file_sha256(path)

    kept = []
    for name, text in texts.items():
        path, beside = folder / name, folder / f"{name}.new"
        beside_ours = ours(beside, text)
        if ours(path, text):
            put(path, text)
            if beside_ours:
                beside.unlink(missing_ok=True)
        else:
            kept.append(name)
            if beside_ours:
                put(beside, text)
    write_text(listed, json.dumps(known, indent=1) + "\n")
    return kept
