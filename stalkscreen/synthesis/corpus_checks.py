"""Every quota and limit of the corpus as one table of checks: what is measured, what is allowed, and why.

In: `narratives.jsonl`, `writers.toml` and the second labels beside it, and the public cases. Out: the table, on screen and between the
markers `checks` of the datasheet. `make data-report` runs it; so do the tests. A new check is one entry in the list
that `quotas`, `overlap`, `anachronisms`, `coverage`, `evidence_checks`, `adjudication` or `leak_probes` returns.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pandas as pd

from stalkscreen.dataset import read_labelled
from stalkscreen.errors import DataError, StalkscreenError
from stalkscreen.schema import LabelledIncident
from stalkscreen.synthesis.adjudication import adjudication_checks
from stalkscreen.synthesis.anachronisms import date_checks
from stalkscreen.synthesis.checking import FULL_SIZE, Check, as_frame, render, write_section
from stalkscreen.synthesis.coverage import coverage_checks
from stalkscreen.synthesis.evidence_checks import evidence_checks
from stalkscreen.synthesis.leak_probes import probe_checks
from stalkscreen.synthesis.overlap import overlap_checks
from stalkscreen.synthesis.quotas import indicator_counts, quota_checks
from stalkscreen.synthesis.second_labels import (
    ADJUDICATIONS_FILE,
    SECOND_FILE,
    Adjudication,
    SecondLabels,
    read_adjudications,
    read_second,
)
from stalkscreen.taxonomy import load_taxonomy

CORPUS = Path("data/synthetic")
PUBLIC = Path("data/public_cases/public_cases.jsonl")


@dataclass(frozen=True, slots=True)
class Corpus:
    """The corpus with what it is checked against.

    Attributes:
        records: In file order.
        writers: Ids of the voices that are described.
        public: The public cases, which must not be in it.
        sha256: Of `narratives.jsonl`.
        second: The blind second labelling; empty when there is none.
        adjudications: What was decided where it differs; empty when there is none.
    """

    records: Sequence[LabelledIncident]
    writers: tuple[str, ...]
    public: Sequence[LabelledIncident]
    sha256: str
    second: Sequence[SecondLabels] = ()
    adjudications: Sequence[Adjudication] = ()


def load_corpus(folder: Path = CORPUS, public: Path = PUBLIC) -> Corpus:
    """Read the corpus folder and, where there is one, the file of public cases.

    Raises:
        DataError: A file is missing or has a row that cannot be read.
    """
    narratives, voices = folder / "narratives.jsonl", folder / "writers.toml"
    try:
        writers = tomllib.loads(voices.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{voices}: cannot be read; it describes each writer", file=str(voices)) from error
    records = read_labelled([narratives]).records
    second, decisions = folder / SECOND_FILE, folder / ADJUDICATIONS_FILE
    return Corpus(
        records=records,
        writers=tuple(writers),
        public=read_labelled([public]).records if public.exists() else (),
        sha256=hashlib.sha256(narratives.read_bytes()).hexdigest(),
        second=read_second(second, records) if second.exists() else (),
        adjudications=read_adjudications(decisions, records) if decisions.exists() else (),
    )


def all_checks(corpus: Corpus) -> list[Check]:
    """The whole table, in the order in which it is shown."""
    table = as_frame(corpus.records)
    return [
        *quota_checks(table, corpus.writers),
        *evidence_checks(corpus.records),
        *adjudication_checks(corpus.records, corpus.second, corpus.adjudications),
        *overlap_checks(table, [(case.incident_id, case.narrative) for case in corpus.public]),
        *date_checks(table),
        *coverage_checks(table),
        *probe_checks(table),
    ]


def report(corpus: Corpus, checks: Sequence[Check]) -> str:
    """The section of the datasheet: the checks, then what the corpus is made of."""
    table = as_frame(corpus.records)
    failed = sum(not c.passes and c.hard for c in checks)
    missed = sum(not c.passes and not c.hard for c in checks)
    head = (
        f"Measured on {len(table):,} records, sha256 `{corpus.sha256}`. Of {len(checks)} checks {failed} hard ones fail "
        f"and {missed} others miss their limit. Counts asked for are for {FULL_SIZE:,} records"
        + (" and are scaled down in proportion here." if len(table) < FULL_SIZE else ".")
    )
    return "\n\n".join([head, render(checks), _composition(table), _indicator_table(table)])


def _composition(table: pd.DataFrame) -> str:
    strata = ["stalking", "near_miss", "ordinary"]
    lines = ["**Records by source type and stratum**", "", "| | stalking | near miss | ordinary |", "|---|---|---|---|"]
    counts = pd.crosstab(table["source"], table["stratum"]).reindex(columns=strata, fill_value=0)
    lines += [f"| {row.Index} | {row.stalking} | {row.near_miss} | {row.ordinary} |" for row in counts.itertuples()]
    ties = table.groupby(["relationship", "stalking"]).size().unstack(fill_value=0)
    lines += ["", "**Records by relationship**", "", "| | stalking | not stalking |", "|---|---|---|"]
    lines += [f"| {name} | {row.get(True, 0)} | {row.get(False, 0)} |" for name, row in ties.iterrows()]
    families = table["family"].value_counts()
    lines += ["", "**Records by offence family**", "", "| | n |", "|---|---|"]
    lines += [f"| {name} | {families.get(name, 0)} |" for name in load_taxonomy().family_names]
    return "\n".join(lines)


def _indicator_table(table: pd.DataFrame) -> str:
    head = (
        "| | present, stalking | present, other | negated or other person, stalking | negated or other person, other |"
    )
    counts = indicator_counts(table)
    rows = [f"| {name} | " + " | ".join(str(n) for n in row) + " |" for name, row in counts.T.items()]
    return "\n".join(["**Texts by indicator**", "", head, "|---|---|---|---|---|", *rows])


@click.command()
@click.option("--write", is_flag=True, help="Put the table into the datasheet of the folder.")
@click.option("--folder", type=click.Path(path_type=Path), default=CORPUS, show_default=True)
def main(write: bool, folder: Path) -> None:
    """Check the corpus; exit 1 if a hard check fails.

    Example: python -m stalkscreen.synthesis.corpus_checks --write
    """
    try:
        corpus = load_corpus(folder)
        checks = all_checks(corpus)
        click.echo(report(corpus, checks))
        if write:
            write_section(folder / "DATASHEET.md", "checks", report(corpus, checks))
    except StalkscreenError as error:
        raise SystemExit(error.message) from error
    if any(check.hard and not check.passes for check in checks):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
