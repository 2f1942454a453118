"""Names, towns and streets for simulated people (`people.toml`), read once."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Names:
    """One background's names from `people.toml`."""

    name: str
    male: tuple[str, ...]
    female: tuple[str, ...]
    surname: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Register:
    """`people.toml`, split into words once."""

    backgrounds: tuple[Names, ...]
    shares: tuple[float, ...]
    nicknames: dict[str, tuple[str, ...]]
    streets: tuple[str, ...]
    flat_share: float
    forces: dict[str, tuple[tuple[str, str], ...]]


@cache
def register() -> Register:
    """The packaged names and places."""
    data = tomllib.loads(Path(__file__).with_name("people.toml").read_text(encoding="utf-8"))
    sorts = [
        Names(b["name"], tuple(b["male"].split()), tuple(b["female"].split()), tuple(b["surname"].split()))
        for b in data["background"]
    ]
    forces = {}
    for force, towns in data["forces"].items():
        forces[force] = tuple((area, town) for area, _, town in (t.partition(" ") for t in towns.split(",")))
    return Register(
        backgrounds=tuple(sorts),
        shares=tuple(b["share"] for b in data["background"]),
        nicknames={name: tuple(short.split()) for name, short in data["nicknames"].items()},
        streets=tuple(data["addresses"]["streets"].split(",")),
        flat_share=data["addresses"]["flat_share"],
        forces=forces,
    )
