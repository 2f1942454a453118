"""Under which key a result is kept: it changes with the texts, the folds, a row's settings, its code, or a kept model."""

from __future__ import annotations

from benchmarks.corpus import Corpus
from benchmarks.peers.ours import kept_model
from benchmarks.results import key_of
from benchmarks.rows import row_class, source_digest


def row_key(name: str, corpus: Corpus) -> str:
    """Key of what a row learns: texts, folds, settings and code."""
    found = row_class(name)
    digest = getattr(found, "code_digest", None)
    return key_of(corpus.key, found.settings, digest() if digest else source_digest(name))


def speed_key(name: str, learnt: str) -> str:
    """Key of how fast a row answers: what it learnt and, for this project's rows, the kept model it answers with."""
    kind = getattr(row_class(name), "kind", None)
    kept = kept_model(kind) if kind else None
    return key_of(learnt, name, kept.name if kept else None)


def section_key(name: str, corpus: Corpus) -> str:
    """Key of a measurement beside the table: the texts and every kept model."""
    kept = [folder.name if (folder := kept_model(kind)) else None for kind in ("linear", "encoder")]
    return key_of(corpus.key, name.rsplit("-", 1)[0], kept)
