"""Label Studio: the findings of an audit as tasks, and its JSON export as rows of a review.

Formats: https://labelstud.io/guide/task_format. The interface that both expect is in `docs/how-to/audit-labels.md`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stalkscreen.dataset.problems import Problem, RefusedFileError
from stalkscreen.schema import LabelledIncident
from training.label_audit import Audit, Finding

CHOICES = {"stalking": "true", "not_stalking": "false"}
"""Choice of the interface to its word in a review."""


def tasks(audit: Audit, records: Sequence[LabelledIncident], *, with_text: bool) -> str:
    """The findings as tasks (JSON), each with the score's suggestion as a prediction.

    Args:
        audit: The findings.
        records: The set they come from.
        with_text: Put the narrative into each task; otherwise the id alone, to be looked up in the force's own system.
    """
    return json.dumps([_task(n, f, records, with_text) for n, f in enumerate(audit.findings, 1)], indent=1) + "\n"


def _task(number: int, finding: Finding, records: Sequence[LabelledIncident], with_text: bool) -> dict[str, Any]:
    choice = "stalking" if finding.suggested else "not_stalking"
    result = {"from_name": "stalking", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}
    return {
        "id": number,
        "data": {
            "incident_id": finding.incident_id,
            "finding": ", ".join(finding.kinds),
            "current_stalking": "true" if finding.current else "false",
            "recorded_offence": finding.recorded_offence or "",
            **({"text": records[finding.row].narrative} if with_text else {}),
        },
        "predictions": [
            {
                "model_version": "stalkscreen audit-labels",
                "score": round(finding.probability if finding.suggested else 1 - finding.probability, 4),
                "result": [result],
            }
        ],
    }


def read_export(path: Path) -> tuple[list[tuple[int, dict[str, str]]], list[Problem]]:
    """The answers in a JSON export.

    Returns:
        Number of the task in the file and its row of a review (`incident_id`, `current_stalking`, `reviewed_stalking`,
        `reviewer`, `reason`; blank where there is none), and what is wrong with the other tasks.

    Raises:
        RefusedFileError: It is no list of tasks.
    """
    allowed = "the JSON export of Label Studio: a list of tasks with data and annotations"
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise RefusedFileError(path, "there is no such file", "the path of an existing file") from None
    except (OSError, ValueError, RecursionError):
        raise RefusedFileError(path, "it cannot be read as JSON", allowed) from None
    if not isinstance(found, list) or not all(isinstance(task, dict) for task in found):
        raise RefusedFileError(path, "it is not a list of tasks", allowed)
    rows: list[tuple[int, dict[str, str]]] = []
    problems: list[Problem] = []
    for number, task in enumerate(found, 1):
        data, annotations = task.get("data"), task.get("annotations")
        if not isinstance(data, dict) or not isinstance(annotations, list):
            wrong = "the task has no data or no annotations"
            problems.append(Problem(str(path), number, None, wrong, "the export named JSON, not JSON-MIN"))
            continue
        answers = [a for a in annotations if isinstance(a, dict) and not a.get("was_cancelled")]
        answers = [a for a in answers if isinstance(a.get("result"), list) and a["result"]]
        if len(answers) > 1:
            wrong = f"the task has {len(answers)} annotations"
            problems.append(Problem(str(path), number, "annotations", wrong, "one a task; settle differences first"))
            continue
        row = {
            "incident_id": str(data.get("incident_id", "")),
            "current_stalking": str(data.get("current_stalking", "")).strip(),
        }
        rows.append((number, row | _answer(answers[0] if answers else {})))
    return rows, problems


def _answer(annotation: dict[str, Any]) -> dict[str, str]:
    """Label, reviewer and reason of an annotation, blank where it has none."""
    given: dict[str, str] = {}
    for region in annotation.get("result", ()):
        value = region.get("value") if isinstance(region, dict) else None
        for words in (value.get("choices"), value.get("text")) if isinstance(value, dict) else ():
            if words is not None:
                joined = " ".join(map(str, words)) if isinstance(words, list) else str(words)
                given.setdefault(str(region.get("from_name")), joined)
    by = annotation.get("completed_by", "")
    choice = given.get("stalking", "")
    return {
        "reviewed_stalking": CHOICES.get(choice, choice),
        "reviewer": str(by.get("email") or by.get("id", "") if isinstance(by, dict) else by).strip(),
        "reason": given.get("reason", "").strip(),
    }
