"""The model card that `promote` writes: who may use a released model for what, on what it was trained, how it did.

Every figure is read from the model's own record or its cross-validated `metrics.json`; what only people can know is
marked as to be filled and never invented.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evaluation import release_facts as facts
from evaluation.gates import GateResult
from evaluation.limits import limits_now
from evaluation.seen import seen_sentence
from stalkscreen.model_format import INTENDED_USE, PROHIBITED_USE, ModelInfo

TO_FILL = "**To be filled by the force.**"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; bars and line breaks in a cell would end it and are taken out."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(c).replace("|", "/").replace("\n", " ") for c in row) + " |" for row in lines
    )


def figure_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Figures of a release (`release_facts`) as a Markdown table, each with its counts and interval."""
    return table(("figure", "value"), [(row["figure"], facts.rate_text(row)) for row in rows])


def model_card(info: ModelInfo, metrics: Mapping[str, Any], gates: Sequence[GateResult]) -> str:
    """The card as Markdown.

    Args:
        info: The model's record.
        metrics: Its cross-validated figures, as `evaluation.evaluate` gives them.
        gates: Outcome of the release gates.
    """
    provenance = info.provenance
    libraries = ", ".join(f"{k} {v}" for k, v in provenance.libraries.items())
    made_of = [facts.base_model(info), facts.cascade_story(info.cascade)]
    sections = {
        "Use": bullets(
            f"Intended: {INTENDED_USE}",
            f"Prohibited: {PROHIBITED_USE}",
            f"Owner and contact: {TO_FILL}",
            f"Lawful basis, data protection impact assessment, ethics review: {TO_FILL}",
        ),
        "What it is": bullets(
            f"Kind: {info.kind}; label version {info.label_version}; {len(info.indicator_names)} risk indicators.",
            f"Code: {provenance.code_version}; trained {provenance.trained_at}; libraries {libraries}.",
            "No field but the narrative is read. What was recorded, names, sex, age and ethnicity are no inputs of their "
            "own; the words of the narrative may tell them.",
            *(part for part in made_of if part),
        ),
        "Data": f"{facts.data_story(metrics)} Probabilities are calibrated at a prevalence of {info.prevalence:.1%} and "
        f"re-weighted to a stated live one. Folds kept apart: {provenance.grouping}.\n\n"
        + table(
            ("file", "rows", "used for", "sha256"),
            [
                (f"`{f['file']}`", f"{f['rows']:,}", f["purpose"], f"`{f['sha256']}`")
                for f in facts.training_files(info)
            ],
        ),
        "How it did": f"Cross-validated. {seen_sentence(dict(metrics['dataset']))}".strip()
        + "\n\n"
        + figure_table(facts.performance(info, metrics)),
        **{
            f"How it did elsewhere: {other['name']}": f"{other['rows']:,} records it was not trained on. {other['note']}".strip()
            + "\n\n"
            + figure_table(other["figures"])
            for other in metrics.get("other_sets", ())
        },
        "Where it does worst": "Parts of the set against the rest, at the same threshold; stratum, origin, recorded offence and writer "
        "are in the report only. With this many comparisons some differ by chance.\n\n"
        + bullets(*facts.worst_parts(metrics)),
        "Release gates": f"{gate_count(gates)}\n\n"
        + table(
            ("gate", "outcome", "found", "why this limit"),
            [
                (g.title or g.name, g.status.replace("_", " "), g.sentence.removesuffix(f" {g.reason}"), g.reason)
                for g in gates
            ],
        ),
        "What the figures do not show": bullets(*limits_now(metrics)),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# Model card: stalkscreen, {info.kind}, version {info.version}\n\n{body}\n"


def bullets(*lines: str) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def gate_count(gates: Sequence[GateResult]) -> str:
    """How many passed, failed and could not be applied."""
    status = [g.status for g in gates]
    said = f"Of {len(gates)} gates {status.count('pass')} passed and {status.count('fail')} failed."
    unmeasured = status.count("not_applicable")
    return said + (f" {unmeasured} could not be applied, which is not passed." if unmeasured else "")
