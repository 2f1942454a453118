"""Read the taxonomy's TOML files, check them against each other, and say plainly what is wrong.

Input: a folder with `indicators/<name>.toml`, `families.toml`, `attributes.toml` and `considerations.toml`.
Output: a `Taxonomy` in memory; nothing is written.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from stalkscreen.errors import TaxonomyError
from stalkscreen.taxonomy.catalogue import Taxonomy
from stalkscreen.taxonomy.entries import (
    FACTS,
    URGENT_INDICATOR,
    Condition,
    Consideration,
    ContextValues,
    Entry,
    FourAttribute,
    Indicator,
    OffenceFamily,
    StalkingTitles,
    Tier,
)

PACKAGED = Path(__file__).parent
"""The folder of the taxonomy that ships with the package."""


class _FamiliesFile(Entry):
    stalking_titles: StalkingTitles
    families: tuple[OffenceFamily, ...] = Field(min_length=1)


class _AttributesFile(Entry):
    four: tuple[FourAttribute, ...] = Field(min_length=1)
    tiers: tuple[Tier, ...] = Field(min_length=1)
    context: ContextValues


class _ConsiderationsFile(Entry):
    considerations: tuple[Consideration, ...] = Field(min_length=1)


_TABLES: Mapping[str, type[BaseModel]] = {
    "stalking_titles": StalkingTitles,
    "families": OffenceFamily,
    "four": FourAttribute,
    "tiers": Tier,
    "context": ContextValues,
    "considerations": Consideration,
    "when": Condition,
}
"""Model of each TOML table, to list its keys in a message."""

FileModel = TypeVar("FileModel", bound=BaseModel)


def load_taxonomy(folder: Path | None = None) -> Taxonomy:
    """Read and check a taxonomy.

    Args:
        folder: Where the files are; the packaged taxonomy when left out, which is read once and kept.

    Raises:
        TaxonomyError: A file is missing or wrong. The message and `context` name the file, the field and
            what is allowed there.
    """
    return _packaged() if folder is None else _read(folder)


@cache
def _packaged() -> Taxonomy:
    return _read(PACKAGED)


def _read(folder: Path) -> Taxonomy:
    indicators = _read_indicators(folder / "indicators")
    names = [indicator.name for indicator in indicators]

    families_path = folder / "families.toml"
    families = _parse(families_path, _FamiliesFile)
    family_names = [family.name for family in families.families]
    _refuse_duplicates(families_path, "families", family_names)
    if "stalking" not in family_names:
        _refuse(families_path, "families", "has no family named 'stalking'; it is needed", ["stalking"])

    attributes_path = folder / "attributes.toml"
    attributes = _parse(attributes_path, _AttributesFile)
    _refuse_duplicates(attributes_path, "four", (attribute.name for attribute in attributes.four))
    _refuse_duplicates(attributes_path, "tiers", (tier.name for tier in attributes.tiers))

    considerations_path = folder / "considerations.toml"
    considerations = _parse(considerations_path, _ConsiderationsFile).considerations
    _refuse_duplicates(considerations_path, "considerations", (rule.name for rule in considerations))
    allowed = {*FACTS, URGENT_INDICATOR, *(f"indicator:{name}" for name in names)}
    for rule in considerations:
        for atom in sorted(rule.when.atoms - allowed):
            plain = ", ".join(sorted({*FACTS, URGENT_INDICATOR}))
            _refuse(
                considerations_path,
                f"considerations.{rule.name}.when",
                f"names {atom!r}, which is not known; allowed: {plain}, and indicator:<name> for each of "
                f"{', '.join(names)}",
                sorted(allowed),
            )

    return Taxonomy(
        indicators=indicators,
        families=families.families,
        stalking_titles=families.stalking_titles,
        four=attributes.four,
        tier_definitions=attributes.tiers,
        context=attributes.context,
        considerations=considerations,
    )


def _read_indicators(folder: Path) -> tuple[Indicator, ...]:
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise TaxonomyError(
            f"{folder}: no indicator files; needed: one <name>.toml for each indicator", file=str(folder)
        )
    by_name: dict[str, Path] = {}
    by_order: dict[int, Path] = {}
    indicators: dict[Path, Indicator] = {}
    for path in paths:
        indicator = _parse(path, Indicator)
        if indicator.name in by_name:
            other = by_name[indicator.name].name
            _refuse(path, "name", f"is {indicator.name!r}, already used by {other}; each name may appear once")
        if indicator.name != path.stem:
            _refuse(
                path,
                "name",
                f"is {indicator.name!r} but must equal the file name: {path.stem!r}",
                [path.stem],
            )
        if indicator.order in by_order:
            other = by_order[indicator.order].name
            _refuse(
                path,
                "order",
                f"is {indicator.order}, already used by {other}; allowed: a number from 1 up that no other "
                "indicator has (for a new one, the next after the last)",
            )
        by_name[indicator.name] = by_order[indicator.order] = path
        indicators[path] = indicator
    for path, indicator in indicators.items():
        for implied in indicator.implies_any:
            if implied not in by_name or implied == indicator.name:
                others = sorted(by_name.keys() - {indicator.name})
                _refuse(
                    path,
                    "implies_any",
                    f"names {implied!r}, which is not another indicator; allowed: {', '.join(others)}",
                    others,
                )
    return tuple(sorted(indicators.values(), key=lambda indicator: indicator.order))


def _parse(path: Path, model: type[FileModel]) -> FileModel:
    """Read one TOML file into its model; every problem of the file is told at once."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TaxonomyError(f"{path}: the file is missing; it is needed", file=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise TaxonomyError(f"{path}: cannot be read as TOML in UTF-8: {error}", file=str(path)) from error
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = [_explain(detail, model, content) for detail in error.errors()]
        field, _, allowed = problems[0]
        message = "; ".join(text for _, text, _ in problems)
        raise TaxonomyError(f"{path}: {message}", file=str(path), field=field, allowed=allowed) from None


def _explain(
    detail: ErrorDetails, model: type[BaseModel], content: Mapping[str, Any]
) -> tuple[str, str, list[str] | None]:
    """One pydantic problem as (field, sentence, what is allowed)."""
    location = detail["loc"]
    field = ".".join(_steps(location, content))
    for step in location[:-1]:
        model = _TABLES.get(str(step), model)
    match detail["type"]:
        case "missing":
            needed = [key for key, info in model.model_fields.items() if info.is_required()]
            return field, f"field '{field}' is missing; needed: {', '.join(needed)}", needed
        case "extra_forbidden":
            allowed = list(model.model_fields)
            return field, f"field '{field}' is an unknown key; allowed: {', '.join(allowed)}", allowed
        case "value_error":
            return field, f"field '{field}' {detail['ctx']['error']}", None
        case _:
            reason = detail["msg"][0].lower() + detail["msg"][1:]
            return field, f"field '{field}' is wrong: {reason}", None


def _steps(location: Iterable[int | str], content: Any) -> Iterator[str]:
    """The parts of a place in a file; an entry is called by its name if it has one, else by number from 1."""
    for step in location:
        try:
            content = content[step]
        except (KeyError, IndexError, TypeError):
            content = None
        if isinstance(step, int):
            name = content.get("name") if isinstance(content, dict) else None
            yield name if isinstance(name, str) else str(step + 1)
        else:
            yield step


def _refuse_duplicates(path: Path, field: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            _refuse(path, field, f"has two entries named {name!r}; each name may appear once")
        seen.add(name)


def _refuse(path: Path, field: str, problem: str, allowed: list[str] | None = None) -> NoReturn:
    raise TaxonomyError(f"{path}: field '{field}' {problem}", file=str(path), field=field, allowed=allowed)
