"""The release gates: what may ship, read from `gates.toml` and applied to cross-validated figures.

In: `metrics.json` and out-of-fold scores of a candidate, and the same of the released model where there is one.
Out: one result a gate, each `pass`, `fail` or `not_applicable` with a sentence. To add a gate, add an entry there.
"""

from __future__ import annotations

import csv
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from stalkscreen.errors import ConfigError
from stalkscreen.metrics import recall_at_false_flag
from stalkscreen.run_figures import SCORES, read_scores
from stalkscreen.schema import Assessment, LabelledIncident

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Gate(BaseModel):
    """One limit on one figure of `metrics.json`; exactly one of `at_least` and `at_most` is set."""

    model_config = _FROZEN

    name: str
    title: str
    figure: str
    reason: str
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Gate:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("needs exactly one of at_least and at_most")
        return self


class ReleasedGate(BaseModel):
    """How a candidate is compared with the released model.

    Attributes:
        false_flag: Share of all that is not stalking that may be flagged where recall is read off.
        tolerance: Largest loss of recall that still passes.
        min_common: Fewest records both must have scored.
        better_by: Gain of recall from which a candidate counts as better.
        reason: Why these.
    """

    model_config = _FROZEN

    false_flag: float
    tolerance: float
    min_common: int
    better_by: float
    reason: str


class Gates(BaseModel):
    """The whole file."""

    model_config = _FROZEN

    gate: tuple[Gate, ...]
    released: ReleasedGate

    @classmethod
    def read(cls, path: Path | None = None) -> Gates:
        """Parse `gates.toml`.

        Raises:
            ConfigError: Not readable, an unknown key, a missing limit or reason.
        """
        path = path or Path(__file__).with_name("gates.toml")
        try:
            return cls(**tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise ConfigError(f"{path.name} is wrong: {error}", file=str(path)) from error


@dataclass(frozen=True, slots=True)
class GateResult:
    """Outcome of one gate, with a sentence for people.

    Attributes:
        name: As in `gates.toml`; `released` for the comparison with the released model.
        status: `not_applicable` is not a pass.
        sentence: What was found and what was wanted.
        title: What is limited.
        value: The figure, or None when it was not measured.
        limit: The limit on it.
        direction: Whether the limit is the lowest or the highest allowed.
        reason: Why this limit.
    """

    name: str
    status: Literal["pass", "fail", "not_applicable"]
    sentence: str
    title: str = ""
    value: float | None = None
    limit: float | None = None
    direction: Literal["at_least", "at_most"] | None = None
    reason: str = ""

    def to_json_dict(self) -> dict[str, Any]:
        """As the report shows it."""
        return asdict(self)


def summary(results: Sequence[GateResult]) -> dict[str, Any]:
    """The block `gates` of `metrics.json`: how many passed, failed and could not be applied, and each result."""
    counts = Counter(result.status for result in results)
    return {
        "passed": counts["pass"],
        "failed": counts["fail"],
        "not_applicable": counts["not_applicable"],
        "results": [result.to_json_dict() for result in results],
    }


NAMES = ("baseline", "perturbation", "slice", "way", "indicator")
"""Keys by which a step of a path picks an entry of a list, such as `comparison.keyword`."""


def look_up(metrics: Mapping[str, Any], path: str) -> float | None:
    """The figure at a dotted path; None when any step is missing or null. In a list, a step is an entry's name."""
    value: Any = metrics
    for step in path.split("."):
        if isinstance(value, list):
            value = next((entry for entry in value if step in (entry.get(name) for name in NAMES)), None)
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def run_gates(
    metrics: Mapping[str, Any],
    scores: Mapping[str, tuple[int, float]] | None,
    released: Path | None,
    gates: Gates,
) -> list[GateResult]:
    """Apply every gate.

    Args:
        metrics: Figures of the candidate; cross-validated where a release is decided.
        scores: Its out-of-fold scores, see `read_scores`; None compares by the figures alone, that is with the
            released model where `metrics` holds that comparison.
        released: Folder of the released model, or None.
        gates: See `Gates.read`.
    """
    results = [_applied(gate, metrics) for gate in gates.gate]
    rule = gates.released
    results.append(_compared(metrics, rule) if scores is None else _against_released(scores, released, rule))
    if metrics.get("dataset", {}).get("seen_in_training"):
        said = "The model was trained on some or all of these records, so nothing here can pass: "
        results = [replace(r, status="not_applicable", sentence=said + r.sentence) for r in results]
    elif scores is None and (few := _too_few(metrics)):
        results = [replace(r, status="not_applicable", sentence=few + r.sentence) for r in results]
    return results


MIN_EACH = 100
"""Fewest stalking and fewest other records on which a set of its own can pass or fail a gate: with 100 a recall of 0.9 has
an interval of six points a side, with 28 of eleven."""


def _too_few(metrics: Mapping[str, Any]) -> str:
    """What to say where a set is too small to judge a model by; empty where it is not."""
    found = metrics.get("dataset", {}).get("stalking") or {}
    if "n" not in found:
        return ""
    stalking, others = found["n"], found["of"] - found["n"]
    if min(stalking, others) >= MIN_EACH:
        return ""
    return f"Too few records to pass or fail here ({stalking:,} stalking, {others:,} other; {MIN_EACH} of each are needed): "


def _applied(gate: Gate, metrics: Mapping[str, Any]) -> GateResult:
    value = look_up(metrics, gate.figure)
    direction: Literal["at_least", "at_most"] = "at_least" if gate.at_least is not None else "at_most"
    limit = gate.at_least if gate.at_least is not None else gate.at_most
    assert limit is not None
    wanted = f"at {direction[3:]} {limit:g} is needed"
    if value is None:
        status: Literal["pass", "fail", "not_applicable"] = "not_applicable"
        sentence = f"{gate.title}: not measured here; {wanted}."
    else:
        status = "pass" if (value >= limit if direction == "at_least" else value <= limit) else "fail"
        sentence = f"{gate.title} is {value:.3f}; {wanted}." + ("" if status == "pass" else f" {gate.reason}")
    sample = (metrics.get("behaviour") or {}).get("sample") or {}
    if value is not None and gate.figure.startswith("behaviour.by_kind") and sample.get("seen_in_training"):
        status, sentence = "not_applicable", f"The model was trained on these texts, so this cannot pass: {sentence}"
    return GateResult(gate.name, status, sentence, gate.title, value, limit, direction, gate.reason)


MOST_RELABELLED = 0.05
"""Share of common ids whose labels may differ, as after a review of labels: more, and the ids name other records."""


def common_ids(first: Mapping[str, tuple[int, float]], second: Mapping[str, tuple[int, float]]) -> list[str] | None:
    """Ids that both scored with the same label, or None where more than `MOST_RELABELLED` have another label in each.

    Two sets numbered from 1 share ids and no record; labels that differ give that away.
    """
    common = [i for i in first if i in second]
    alike = [i for i in common if first[i][0] == second[i][0]]
    return alike if len(alike) >= (1 - MOST_RELABELLED) * len(common) else None


def compare_with_released(
    scores: Mapping[str, tuple[int, float]], released: Path | None, rule: ReleasedGate
) -> tuple[float, float, int] | str:
    """Recall of candidate and released model on the records both scored, and how many; a sentence when not comparable."""
    if released is None:
        return "There is no other released model that this one could be compared with."
    few = f"The released model scored too few of these records out of fold (at least {rule.min_common} are needed)."
    path = released / "evaluation" / SCORES
    if not path.is_file():
        return few
    others = read_scores(path)
    common = common_ids(scores, others)
    if common is None:
        return (
            "Many ids have one label in this set and another in the released model's, so the same id does not mean the same "
            "record, and the scores cannot be compared. `stalkscreen evaluate --against` compares two models on one set."
        )
    if len(common) < rule.min_common:
        return few
    truth = np.array([scores[i][0] for i in common])
    recalls = [
        recall_at_false_flag(truth, np.array([table[i][1] for i in common]), rule.false_flag)[1].value
        for table in (scores, others)
    ]
    if recalls[0] is None or recalls[1] is None:
        return few
    return recalls[0], recalls[1], len(common)


def is_better(scores: Mapping[str, tuple[int, float]], released: Path | None, gates: Gates) -> bool:
    """Whether the candidate should replace the released model without being asked to: none is released, or it gains."""
    if released is None:
        return True
    found = compare_with_released(scores, released, gates.released)
    return not isinstance(found, str) and found[0] - found[1] >= gates.released.better_by


RELEASED_TITLE = "Recall against the released model"


def _released_result(
    status: Literal["pass", "fail", "not_applicable"], sentence: str, rule: ReleasedGate
) -> GateResult:
    return GateResult("released", status, sentence, RELEASED_TITLE, None, -rule.tolerance, "at_least", rule.reason)


def _against_released(scores: Mapping[str, tuple[int, float]], released: Path | None, rule: ReleasedGate) -> GateResult:
    found = compare_with_released(scores, released, rule)
    if isinstance(found, str):
        return _released_result("not_applicable", found, rule)
    new, old, rows = found
    sentence = (
        f"On {rows:,} records both scored out of fold, recall where {rule.false_flag:.0%} of all else is flagged is "
        f"{new:.3f}, the released model's {old:.3f}; a loss of up to {rule.tolerance:g} passes."
    )
    passed = new >= old - rule.tolerance
    return replace(_released_result("pass" if passed else "fail", sentence, rule), value=new - old)


def _compared(metrics: Mapping[str, Any], rule: ReleasedGate) -> GateResult:
    """The same from the paired differences of one set of figures (recall where 5% of all else is flagged)."""
    found = next((row for row in metrics.get("comparison", ()) if row["baseline"] == "released"), None)
    if found is None:
        return _released_result("not_applicable", "The released model was not compared on these records.", rule)
    gap = found["paired"]["recall_at_5_percent"]["value"]
    if gap is None:
        unmeasured = "Recall where 5% of all else is flagged could not be measured for both models on these records."
        return _released_result("not_applicable", unmeasured, rule)
    if found["rows"] < rule.min_common:
        few = f"Only {found['rows']:,} records to compare the released model on; {rule.min_common} are needed."
        return _released_result("not_applicable", few, rule)
    low, high = found["paired"]["recall_at_5_percent"]["low"], found["paired"]["recall_at_5_percent"]["high"]
    sentence = (
        f"On {found['rows']:,} records, recall where 5% of all else is flagged is {gap:+.3f} against the released model"
        + ("" if low is None or high is None else f" (95% interval {low:+.3f} to {high:+.3f})")
        + f"; a loss of up to {rule.tolerance:g} passes."
    )
    return replace(_released_result("pass" if gap >= -rule.tolerance else "fail", sentence, rule), value=gap)


def write_scores(
    records: Sequence[LabelledIncident],
    assessments: Iterable[Assessment],
    path: Path,
    without_cascade: Iterable[float] | None = None,
) -> None:
    """Write out-of-fold scores: ids, labels and probabilities, those with the cascade switched off too where given; no text."""
    columns = ["incident_id", "stalking", "probability", *([] if without_cascade is None else ["without_cascade"])]
    rows = [
        [r.incident_id, int(r.stalking), f"{a.stalking.probability:.6f}"]
        for r, a in zip(records, assessments, strict=True)
    ]
    if without_cascade is not None:
        rows = [[*row, f"{other:.6f}"] for row, other in zip(rows, without_cascade, strict=True)]
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
