"""Make records of values that are known to be right.

Validating a record costs some 30 microseconds and pydantic's own `model_construct` some 10, most of it a walk through the
defaults; for the 200,000 records of a labelled set, which the rules have checked already, that is the larger part of the
reading time. `tests/test_dataset.py` holds that a record made here equals the validated one in every respect.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """Every field in order with its default; None for a required one, which a checked row always has."""
    return {name: None if info.is_required() else info.default for name, info in model.model_fields.items()}


def assemble(model: type[Model], values: dict[str, Any], given: set[str], extra: dict[str, Any] | None) -> Model:
    """A record without validation.

    Args:
        model: A model without private attributes or defaults that can change.
        values: A value for every field, in field order and of the field's own type. Kept, not copied.
        given: Names that were stated, extras among them (`model_fields_set`). Kept, not copied; records are frozen, so
            several may share one.
        extra: Values beyond the fields; None for a model that forbids them.
    """
    record = model.__new__(model)
    object.__setattr__(record, "__dict__", values)
    object.__setattr__(record, "__pydantic_fields_set__", given)
    object.__setattr__(record, "__pydantic_extra__", extra)
    object.__setattr__(record, "__pydantic_private__", None)
    return record


@contextmanager
def collection_paused() -> Iterator[None]:
    """Hold the cyclic garbage collector back while many records are made.

    Nothing here makes cycles, and the collector would walk all records again and again: a third of the reading time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
