"""From a model reference to a loaded model.

A reference is a model folder, a registered version number or an MLflow URI (`models:/stalkscreen@champion`,
`runs:/<id>/model`); none means the folder named in `models/RELEASED`. Only the last two open the registry.
"""

from __future__ import annotations

import re
from pathlib import Path

from stalkscreen.config import Settings
from stalkscreen.errors import ModelFormatError, UnknownNameError
from stalkscreen.model import ScreeningModel
from stalkscreen.model_format import folder_digest

_DIGEST = re.compile(r"-([0-9a-f]{8})$")
"""End of a released folder's name: the first digits of the sha256 of its `model.json`."""

RELEASED = "RELEASED"
"""File in the models folder that names the released model's folder. Only `promote` writes it."""


def released_folder(settings: Settings) -> Path:
    """Folder of the released model.

    Raises:
        ModelFormatError: Nothing is released, the folder named is not there, or its `model.json`, which holds every cut
            and the sha256 of every other file, is not the one whose digest ends the folder's name.
    """
    marker = settings.models / RELEASED
    if not marker.is_file():
        raise ModelFormatError(
            f"No model is released: {marker} does not exist. Train one and run `stalkscreen promote VERSION`, or name "
            "a model folder with --model or STALKSCREEN_MODEL.",
            code="no_released_model",
            file=str(marker),
        )
    name = marker.read_text(encoding="utf-8", errors="replace").strip()
    folder = settings.models / name
    if not name or Path(name).name != name or not folder.is_dir():
        raise ModelFormatError(
            f"{marker} names {name!r}, which is not a folder beside it. Restore the folder, or delete RELEASED and promote a model.",
            code="no_released_model",
            file=str(marker),
        )
    digest = _DIGEST.search(name)
    if digest is not None and (folder / "model.json").is_file() and folder_digest(folder)[:8] != digest[1]:
        raise ModelFormatError(
            f"{folder / 'model.json'} was changed since the model was released; copy the folder again.",
            file=str(folder / "model.json"),
        )
    return folder


def resolve(reference: str | None, settings: Settings) -> Path:
    """Folder of the model that `reference` names, downloaded from the registry where need be.

    Raises:
        UnknownNameError: It names no folder, version or URI.
        ModelFormatError: See `released_folder`.
    """
    reference = reference or settings.model
    if reference is None:
        return released_folder(settings)
    if reference.isdecimal() or reference.startswith(("models:/", "runs:/")):
        from stalkscreen.tracking import registry

        return registry.download_model(reference, settings)
    folder = Path(reference)
    if folder.is_dir():
        return folder
    raise UnknownNameError(
        f"{reference!r} is no model: allowed are a model folder, a version number, models:/NAME@ALIAS, models:/NAME/"
        "VERSION or runs:/RUN/model. `stalkscreen models` lists the registered ones.",
        model=reference,
    )


def load_model(reference: str | None, settings: Settings) -> ScreeningModel:
    """The model that `reference` names, ready to assess, at the configured live prevalence."""
    return ScreeningModel.load(resolve(reference, settings), settings.live_prevalence, settings.cascade)
