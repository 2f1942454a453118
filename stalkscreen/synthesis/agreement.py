"""How far a second, blind labelling agrees with the first labels of the corpus: kappa per label.

In: the corpus, and beside it `second_labels.jsonl` and `adjudications.jsonl` (forms: `second_labels.py`). The corpus
carries what was decided on the differences, so the first labels are put back before anything is compared. Out: tables,
on screen and between the markers `agreement` of the datasheet.

Both labellers are machines reading one guide. The figures say how clear the guide and the texts are to such readers;
they are no measure of agreement between people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from sklearn.metrics import cohen_kappa_score

from stalkscreen.dataset import read_labelled
from stalkscreen.errors import StalkscreenError
from stalkscreen.schema import LabelledIncident
from stalkscreen.synthesis.adjudication import adjudication_report, first_labels
from stalkscreen.synthesis.checking import write_section
from stalkscreen.synthesis.second_labels import (
    ADJUDICATIONS_FILE,
    INDICATOR,
    MANY_VALUED,
    SECOND_FILE,
    SecondLabels,
    all_labels,
    comparable,
    read_adjudications,
    read_second,
    value_of,
    word,
)

CORPUS = Path("data/synthetic")
RESAMPLES = 2000
MIN_POSITIVES = 30
"""An indicator with fewer positives has no target (guide, section 10)."""
TARGETS = {"stalking": 0.75, "offence_family": 0.6}
INDICATOR_TARGET = 0.6

Pair = tuple[str, str, str]
"""Incident id, the first value and the second labeller's."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One label, compared.

    Attributes:
        label: Its name; indicators as `indicator:name`, the tier where both say stalking.
        n: Texts that both labelled.
        positives: Texts where the first labels have it (yes-or-no labels), else None.
        raw: Share of equal values.
        kappa: Cohen's kappa, or None when both used a single value.
        low: Lower end of its 95% bootstrap interval over texts, or None.
        high: Upper end, or None.
        differ: Incident ids with both values.
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
        if self.label.startswith(INDICATOR):
            return INDICATOR_TARGET if (self.positives or 0) >= MIN_POSITIVES else None
        return TARGETS.get(self.label)


def compare(first: Mapping[str, LabelledIncident], second: Sequence[SecondLabels]) -> list[Agreement]:
    """Agreement on every label, in the order of the guide. A label without any common text is left out.

    Args:
        first: First labels by incident id (`first_labels`).
        second: Rows of the second labelling; each id is in `first`.
    """
    both = [(first[row.incident_id], row) for row in second]
    found = []
    for label in all_labels():
        pairs = [
            (a.incident_id, word(label, value_of(a, label)), word(label, value_of(b, label)))
            for a, b in both
            if comparable(label, a, b)
        ]
        found.append(_agreement(label, pairs, label not in MANY_VALUED))
    return [agreement for agreement in found if agreement.n]


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
    """The table of agreement for the datasheet."""
    below = [a for a in found if a.target is not None and a.kappa is not None and a.kappa < a.target]
    head = (
        f"{texts:,} texts were labelled a second time without sight of the first labels. Both labellers are machines "
        "reading the same guide: the figures are not agreement between people. They compare the labels as they stood "
        "before adjudication. Intervals are 95% bootstrap intervals over texts; texts of one writer are alike, so they "
        "are a little too narrow. Targets are those of the guide, section 10. The tier is compared where both say "
        "stalking. " + (f"Below target: {', '.join(a.label for a in below)}." if below else "None is below its target.")
    )
    lines = [
        head,
        "",
        "| label | n | first says yes | equal | kappa | 95% | target |",
        "|---|---|---|---|---|---|---|",
    ]
    for a in found:
        yes = "" if a.positives is None else f"{a.positives} ({a.positives / a.n:.0%})"
        span = "" if a.low is None or a.high is None else f"{a.low:.2f} to {a.high:.2f}"
        kappa, target = (("–" if v is None else f"{v:.2f}") for v in (a.kappa, a.target))
        lines.append(f"| {a.label} | {a.n} | {yes} | {a.raw:.1%} | {kappa} | {span} | {target} |")
    return "\n".join(lines)


def measure(folder: Path = CORPUS) -> str:
    """The section for a corpus folder; a sentence when nobody has labelled it a second time."""
    path, decisions = folder / SECOND_FILE, folder / ADJUDICATIONS_FILE
    if not path.exists():
        return f"No second labelling yet: `{SECOND_FILE}` is not there."
    corpus = read_labelled([folder / "narratives.jsonl"]).records
    second = read_second(path, corpus)
    adjudications = read_adjudications(decisions, corpus) if decisions.exists() else []
    text = report(compare(first_labels(corpus, adjudications), second), len(second))
    return f"{text}\n\n{adjudication_report(corpus, second, adjudications)}" if adjudications else text


@click.command()
@click.option("--write", is_flag=True, help="Put the table into the datasheet of the folder.")
@click.option("--folder", type=click.Path(path_type=Path), default=CORPUS, show_default=True)
def main(write: bool, folder: Path) -> None:
    """Compare the second labelling with the first labels.

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
