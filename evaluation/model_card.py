"""The model card that `promote` writes: who may use a released model for what, on what it was trained, how it did.

Every figure is read from the model's own record or its cross-validated `metrics.json`; what only people can know is
marked as to be filled and never invented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.gates import GateResult
from stalkscreen.model_format import INTENDED_USE, PROHIBITED_USE, ModelInfo

TO_FILL = "**To be filled in by the force.**"


def _rate(rate: Mapping[str, Any] | None) -> str:
    if not rate or rate.get("value") is None:
        return "not measured"
    return f"{rate['value']:.3f} ({rate['n']} of {rate['of']}; 95% interval {rate['low']:.3f} to {rate['high']:.3f})"


def _estimate(found: Mapping[str, Any]) -> str:
    if found.get("value") is None:
        return "not measured"
    if found.get("low") is None:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} (95% interval {found['low']:.3f} to {found['high']:.3f})"


def model_card(info: ModelInfo, metrics: Mapping[str, Any], gates: Sequence[GateResult]) -> str:
    """The card as Markdown.

    Args:
        info: The model's record.
        metrics: Its cross-validated figures, as `evaluation.evaluate` gives them.
        gates: Outcome of the release gates.
    """
    at = metrics["at_threshold"]
    strata = at["false_flag_by_stratum"]
    provenance = info.provenance
    data = "\n".join(f"| `{d['name']}` | {d['rows']:,} | `{d['sha256']}` |" for d in provenance.data)
    outcome = "\n".join(f"| {g.name} | {g.status.replace('_', ' ')} | {g.sentence} |" for g in gates)
    limits = "\n".join(f"- {line}" for line in metrics["limits"])
    live = at["live"][0]["precision"]["value"] if at["live"] else None
    return f"""# Model card: stalkscreen, {info.kind}, version {info.version}

## Use

- Intended: {INTENDED_USE}
- Prohibited: {PROHIBITED_USE}
- Owner and contact: {TO_FILL}
- Lawful basis, data protection impact assessment, ethics review: {TO_FILL}

## What it is

- Kind: {info.kind}; label version {info.label_version}; {len(info.indicator_names)} risk indicators.
- Code: {provenance.code_version}; trained {provenance.trained_at}; libraries \
{", ".join(f"{k} {v}" for k, v in provenance.libraries.items())}.
- The recorded offence, names, sex, age and ethnicity are not inputs.

## Data

The training records, with sha256. Stalking is {info.prevalence:.1%} of them; probabilities are calibrated at that
prevalence and re-weighted to a stated live one.

| file | rows | sha256 |
|---|---|---|
{data}

Folds kept apart: {provenance.grouping}.

## How it did

Cross-validated on records whose group the scoring model had not seen. {"The narratives are synthetic." * metrics["dataset"]["synthetic"]}

| figure | value |
|---|---|
| Ranking (AUC) | {_estimate(metrics["ranking"]["auc"])} |
| Average precision | {_estimate(metrics["ranking"]["average_precision"])} |
| Review threshold | {info.thresholds.review:.4f} |
| Recall there | {_rate(at["recall"])} |
| Precision there, in this set | {_rate(at["precision"])} |
| Ordinary records flagged | {_rate(strata["ordinary"])} |
| Near-misses flagged | {_rate(strata["near_miss"])} |
| Precision at a live prevalence of {metrics["live"]["prevalence"]:.1%}, in this set's mix | \
{"not measured" if live is None else f"{live:.3f}"} |
| Expected calibration error | {metrics["calibration"]["ece"]:.3f} |
| Contrast pairs ranked right | {_rate(metrics["behaviour"]["contrast"]["ranked_right"])} |
| Invariance sets whose flag flips | {_rate(metrics["behaviour"]["invariance"]["flips"])} |

## Release gates

| gate | outcome | why |
|---|---|---|
{outcome}

## What the figures do not show

{limits}
"""
