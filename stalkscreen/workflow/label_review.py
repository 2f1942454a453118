"""Labels that are probably wrong: list them for review, and apply a review. What `stalkscreen audit-labels` does."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from pathlib import Path

from stalkscreen.config import TrainConfig
from stalkscreen.dataset.writing import make_output_folder, write_text
from stalkscreen.errors import DataError
from stalkscreen.progress import stages
from stalkscreen.workflow.reading import read_labels

SMALL_AUDIT = 1_000
"""Fewer records than this and an audit says so: on 200 records two of ten flipped labels were found, on 4,899 three of four."""


def audit_labels(
    path: Path, out: Path, config: TrainConfig, *, columns: str | None = None, with_text: bool = False
) -> str:
    """Write the records whose label or recorded offence is probably wrong, for review; answers with a summary.

    Raises:
        DataError: The file cannot be used, or `out` has a `review.csv` already.
        ConfigError: The `audit` extra is not installed, or no folder can be made at `out`.
    """
    from training import label_studio
    from training.label_audit import audit
    from training.label_review import review_csv

    began = time.monotonic()
    review = out / "review.csv"
    if review.exists():
        raise DataError(
            f"{review} is there already and may hold somebody's decisions; choose another --out or move it away.",
            file=str(review),
        )
    labelled = read_labels([path], columns)
    make_output_folder("--out", out, out)
    found = audit(labelled.records, config, progress=stages("audit"))
    tasks = out / ("label_studio_tasks_with_text.json" if with_text else "label_studio_tasks.json")
    write_text(review, "\ufeff" + review_csv(found))
    write_text(tasks, label_studio.tasks(found, labelled.records, with_text=with_text))
    counts = Counter(kind for finding in found.findings for kind in finding.kinds)
    used = "and marked indicators " if found.indicators_used else ""
    mapped = ["--columns", columns] if columns else []
    then = ["stalkscreen", "audit-labels", "--data", str(path), *mapped, "--apply", str(review), "--out", str(out)]
    return (
        f"{found.records:,} records read, {len(found.findings):,} to review: "
        f"{counts['label_misses_stalking']:,} labels that may miss stalking, {counts['label_overstates_stalking']:,} that may "
        f"overstate it, {counts['near_duplicates_disagree']:,} near-duplicates with different labels, "
        f"{counts['recorded_offence']:,} recorded offences that are probably wrong; {time.monotonic() - began:.0f} s. "
        f"Scored by text {used}out of fold, kept apart by {found.grouping}. No label was changed.\n"
        f"Review:  {review}\nTasks:   {tasks}"
        + (" (holds narratives: keep it where they may be kept)" if with_text else "")
        + (
            f"\nWith {found.records:,} records the scores are rough and most wrong labels are not found; {SMALL_AUDIT:,} or more are better."
            if found.records < SMALL_AUDIT
            else ""
        )
        + f"\nThen:    {shlex.join(then)}"
    )


def apply_review(path: Path, reviewed: Path, out: Path, *, columns: str | None = None) -> str:
    """Write the corrected set and its change log beside each other; the original is left as it is.

    Raises:
        DataError: The set or the reviewed file is wrong (every problem is listed, nothing is written), or `out` has a
            corrected set or a change log of that name.
        ConfigError: No folder can be made at `out`.
    """
    import json

    from stalkscreen.dataset import write_labelled
    from training.label_review import corrected, read_review

    target, logged = out / f"{path.stem}_reviewed{path.suffix.lower()}", out / f"{path.stem}_reviewed.changes.jsonl"
    for there in (logged, target):
        if there.exists():
            raise DataError(
                f"{there} is there already and may be all there is of an earlier review; choose another --out or move "
                f"{target.name} and {logged.name} away. To add to that review, give its corrected set as --data.",
                file=str(there),
            )
    labelled = read_labels([path], columns)
    records, log = corrected(labelled.records, read_review(reviewed, labelled.records))
    make_output_folder("--out", out, out)
    write_labelled(records, target)
    write_text(logged, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in log))
    changed = sum(entry["from"] != entry["to"] for entry in log)
    return (
        f"{len(records):,} records, {len(log):,} reviewed: {changed:,} labels changed, {len(log) - changed:,} confirmed. "
        f"{path} is as it was.\nCorrected set: {target}\nChange log:    {logged}"
    )
