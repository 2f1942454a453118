"""How far a second, blind labelling agrees with the corpus: kappa per label and the ids that differ.

In: `second_labels.jsonl` beside the corpus, one JSON object a line with `incident_id` and any of `stalking`,
`offence_family`, `tier`, `domestic`, `cyber`, `relationship`, `four_fixated`, `four_obsessive`, `four_unwanted`,
`four_repeated` and `indicators` (names present); no `narrative`. A label that a row does not have is left out, except
that `tier` null on a row judged stalking means unclear. Out: a table, on screen and between the markers `agreement`
of the datasheet.

Both labellers are machines reading one guide. The figures say how clear the guide and the texts are to such readers;
they are no measure of agreement between people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from sklearn.metrics import cohen_kappa_score

from stalkscreen.dataset import read_labelled
from stalkscreen.errors import DataError, StalkscreenError
from stalkscreen.schema import Family, LabelledIncident, Relationship
from stalkscreen.synthesis.checking import write_section
from stalkscreen.taxonomy import load_taxonomy

CORPUS = Path("data/synthetic")
FILE = "second_labels.jsonl"
RESAMPLES = 2000
PLAIN = (
    "stalking",
    "offence_family",
    "domestic",
    "cyber",
    "relationship",
    "four_fixated",
    "four_obsessive",
    "four_unwanted",
    "four_repeated",
)
MIN_POSITIVES = 30
"""An indicator with fewer positives has no target (guide, section 10)."""
TARGETS = {"stalking": 0.75, "offence_family": 0.6}
INDICATOR_TARGET = 0.6
MAX_LISTED = 25

Pair = tuple[str, str, str]
"""Incident id, the corpus's value and the second labeller's."""


class SecondLabels(BaseModel):
    """One row of `second_labels.jsonl`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    incident_id: str
    stalking: bool | None = None
    offence_family: Family | None = None
    tier: str | None = None
    domestic: bool | None = None
    cyber: bool | None = None
    relationship: Relationship | None = None
    four_fixated: bool | None = None
    four_obsessive: bool | None = None
    four_unwanted: bool | None = None
    four_repeated: bool | None = None
    indicators: tuple[str, ...] | None = None

    @field_validator("tier")
    @classmethod
    def _known_tier(cls, value: str | None) -> str | None:
        if value not in (None, "s2A", "s4A", "unclear", "not_applicable"):
            raise ValueError("must be s2A, s4A, unclear, not_applicable or null")
        return value if value in ("s2A", "s4A") else None

    @field_validator("indicators")
    @classmethod
    def _known_indicators(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        unknown = sorted(set(value or ()) - set(load_taxonomy().indicator_names))
        if unknown:
            raise ValueError(f"unknown indicators: {', '.join(unknown)}")
        return value


@dataclass(frozen=True, slots=True)
class Agreement:
    """One label, compared.

    Attributes:
        label: Its name; indicators as `indicator:name`.
        n: Texts that both labelled.
        positives: Texts where the corpus has it (yes-or-no labels), else None.
        raw: Share of equal values.
        kappa: Cohen's kappa, or None when both used a single value.
        low: Lower end of its 95% bootstrap interval over texts, or None.
        high: Upper end, or None.
        differ: Incident ids with both values, corpus first.
    """

    label: str
    n: int
    positives: int | None
    raw: float
    kappa: float | None
    low: float | None
    high: float | None
    differ: tuple[Pair, ...]

    @property
    def target(self) -> float | None:
        """Kappa asked by the guide (section 10), or None."""
        if self.label.startswith("indicator:"):
            return INDICATOR_TARGET if (self.positives or 0) >= MIN_POSITIVES else None
        return TARGETS.get(self.label)


def read_second(path: Path, corpus: Sequence[LabelledIncident]) -> list[SecondLabels]:
    """Read the second labelling.

    Raises:
        DataError: Every row that cannot be used, by line: not JSON, an unknown field, value or id, an id twice.
    """
    known, seen = {record.incident_id for record in corpus}, set()
    rows, problems = [], []
    for line, text in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not text.strip():
            continue
        try:
            row = SecondLabels.model_validate(json.loads(text))
        except ValidationError as error:
            fields = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            problems.append(f"line {line}: {fields}")
            continue
        except ValueError:
            problems.append(f"line {line}: not JSON")
            continue
        if row.incident_id not in known:
            problems.append(f"line {line}: incident_id {row.incident_id} is not in the corpus")
        if row.incident_id in seen:
            problems.append(f"line {line}: incident_id {row.incident_id} is there twice")
        seen.add(row.incident_id)
        rows.append(row)
    if problems:
        raise DataError(f"{path}:\n" + "\n".join(f"  {p}" for p in problems), problems=problems, file=str(path))
    return rows


def compare(corpus: Sequence[LabelledIncident], second: Sequence[SecondLabels]) -> list[Agreement]:
    """Agreement on every label, in the order of the guide. A label without any common text is left out."""
    first = {record.incident_id: record for record in corpus}
    both = [(first[row.incident_id], row) for row in second]
    found = [_agreement(label, _plain(label, both), label not in ("offence_family", "relationship")) for label in PLAIN]
    tiers = [(a.incident_id, a.tier or "unclear", b.tier or "unclear") for a, b in both if a.stalking and b.stalking]
    found.insert(2, _agreement("tier (where both say stalking)", tiers, False))
    for name in load_taxonomy().indicator_names:
        pairs = [
            (a.incident_id, _word(name in a.indicators), _word(name in b.indicators))
            for a, b in both
            if a.indicators is not None and b.indicators is not None
        ]
        found.append(_agreement(f"indicator:{name}", pairs, True))
    return [agreement for agreement in found if agreement.n]


def _plain(label: str, both: Sequence[tuple[LabelledIncident, SecondLabels]]) -> list[Pair]:
    values = [(a.incident_id, getattr(a, label), getattr(b, label)) for a, b in both]
    return [(ident, _word(x), _word(y)) for ident, x, y in values if x is not None and y is not None]


def _word(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _agreement(label: str, pairs: Sequence[Pair], yes_or_no: bool) -> Agreement:
    a, b = [x for _, x, _ in pairs], [y for _, _, y in pairs]
    differ = tuple(pair for pair in pairs if pair[1] != pair[2])
    names = sorted({*a, *b})
    kappa = float(cohen_kappa_score(a, b, labels=names)) if len(names) > 1 else None
    low, high = _interval(a, b, names) if kappa is not None else (None, None)
    return Agreement(
        label=label,
        n=len(pairs),
        positives=a.count("yes") if yes_or_no else None,
        raw=1 - len(differ) / len(pairs) if pairs else 0.0,
        kappa=kappa,
        low=low,
        high=high,
        differ=differ,
    )


def _interval(a: Sequence[str], b: Sequence[str], names: Sequence[str]) -> tuple[float | None, float | None]:
    """95% percentile interval: resampling texts is a multinomial draw of the table of both labellers' values."""
    index: Mapping[str, int] = {name: i for i, name in enumerate(names)}
    k, n = len(names), len(a)
    cells = np.bincount([index[x] * k + index[y] for x, y in zip(a, b, strict=True)], minlength=k * k)
    draws = np.random.default_rng(0).multinomial(n, cells / n, size=RESAMPLES).reshape(-1, k, k) / n
    equal = np.trace(draws, axis1=1, axis2=2)
    chance = np.einsum("rk,rk->r", draws.sum(axis=2), draws.sum(axis=1))
    kappas = (equal[chance < 1] - chance[chance < 1]) / (1 - chance[chance < 1])
    if not len(kappas):
        return None, None
    low, high = np.percentile(kappas, [2.5, 97.5])
    return float(low), float(high)


def report(found: Sequence[Agreement], texts: int) -> str:
    """The section of the datasheet."""
    below = [a for a in found if a.target is not None and a.kappa is not None and a.kappa < a.target]
    head = (
        f"{texts} texts were labelled a second time without sight of the first labels. Both labellers are machines "
        "reading the same guide: the figures are not agreement between people. Intervals are 95% bootstrap intervals "
        "over texts; texts of one writer are alike, so they are a little too narrow. Targets are those of the guide, "
        "section 10. "
        + (f"Below target: {', '.join(a.label for a in below)}." if below else "None is below its target.")
    )
    lines = [
        head,
        "",
        "| label | n | corpus says yes | equal | kappa | 95% | target |",
        "|---|---|---|---|---|---|---|",
    ]
    for a in found:
        yes = "" if a.positives is None else f"{a.positives} ({a.positives / a.n:.0%})"
        span = "" if a.low is None or a.high is None else f"{a.low:.2f} to {a.high:.2f}"
        kappa, target = (("–" if v is None else f"{v:.2f}") for v in (a.kappa, a.target))
        lines.append(f"| {a.label} | {a.n} | {yes} | {a.raw:.1%} | {kappa} | {span} | {target} |")
    lines += ["", "Differences (corpus, then second labeller; indicators: + only the second, - only the corpus):", ""]
    for a in found:
        if a.differ:
            more = len(a.differ) - MAX_LISTED
            named = ", ".join(_difference(a, pair) for pair in a.differ[:MAX_LISTED])
            lines.append(f"- {a.label}: {named}" + (f" and {more} more" if more > 0 else ""))
    return "\n".join(lines)


def _difference(agreement: Agreement, pair: Pair) -> str:
    ident, first, second = pair
    if agreement.label.startswith("indicator:"):
        return f"{'+' if second == 'yes' else '-'}{ident}"
    return f"{ident} ({first}, {second})"


def measure(folder: Path = CORPUS) -> str:
    """The section for a corpus folder; a sentence when nobody has labelled it a second time."""
    path = folder / FILE
    if not path.exists():
        return f"No second labelling yet: `{FILE}` is not there."
    corpus = read_labelled([folder / "narratives.jsonl"]).records
    second = read_second(path, corpus)
    return report(compare(corpus, second), len(second))


@click.command()
@click.option("--write", is_flag=True, help="Put the table into the datasheet of the folder.")
@click.option("--folder", type=click.Path(path_type=Path), default=CORPUS, show_default=True)
def main(write: bool, folder: Path) -> None:
    """Compare the second labelling with the corpus.

    Example: python -m stalkscreen.synthesis.agreement --write
    """
    try:
        text = measure(folder)
        click.echo(text)
        if write:
            write_section(folder / "DATASHEET.md", "agreement", text)
    except StalkscreenError as error:
        raise SystemExit(error.message) from error


if __name__ == "__main__":
    main()
