"""The classifier kinds, by name. Imported lazily: naming a kind must not load the libraries of the others."""

from __future__ import annotations

from importlib import import_module

from stalkscreen.classifiers.base import FOUR, Classifier, Floats, Progress, ScoredSpan, Scores, Targets, silent
from stalkscreen.errors import UnknownNameError

KINDS: dict[str, str] = {
    "keyword": "stalkscreen.classifiers.keyword:KeywordClassifier",
    "encoder": "stalkscreen.classifiers.encoder:EncoderClassifier",
    "linear": "stalkscreen.classifiers.linear:LinearClassifier",
}
"""Kind name to `module:class`. A new kind is one line here (see `Classifier`)."""


def classifier_class(kind: str) -> type[Classifier]:
    """The class of a kind.

    Raises:
        UnknownNameError: `kind` is not in `KINDS`.
    """
    if kind not in KINDS:
        raise UnknownNameError(
            f"There is no classifier kind {kind!r}; allowed: {', '.join(KINDS)}.", allowed=list(KINDS)
        )
    module, name = KINDS[kind].split(":")
    found: type[Classifier] = getattr(import_module(module), name)
    return found


__all__ = [
    "FOUR",
    "KINDS",
    "Classifier",
    "Floats",
    "Progress",
    "ScoredSpan",
    "Scores",
    "Targets",
    "classifier_class",
    "silent",
]
