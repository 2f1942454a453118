"""What is said of how many records were in training: on the page, on the command line and in the model card.

Input: the block `dataset` of `metrics.json`. Output: plain text that says no more than was measured: texts that were
compared, whole files that were recognised, or folds that were kept apart (`stalkscreen.trained_on.Seen`).
"""

from __future__ import annotations

from evaluation.columns import Json

NOT_COUNTED = "Near-copies, other records of the same case and other texts by the same writer are not counted."


def seen_sentence(dataset: Json) -> str:
    """How many of the records were in training; empty where nobody counted (figures of before it)."""
    records, by, rows = dataset.get("seen_records"), dataset.get("seen_by"), dataset["rows"]
    if by == "folds":
        said = "Each record was judged by a model that was trained on none of its group."
    elif by == "text":
        counted = f"{records:,} of {rows:,} records were in training"
        said = f"{counted}: the figures flatter the model." if records else f"No record of {rows:,} was in training."
        said = f"{said} {NOT_COUNTED}"
    elif by == "file" and records:
        said = (
            f"At least {records:,} of {rows:,} records were in training, those of whole training files: the figures "
            "flatter the model. It keeps no list of its training texts, so there may be more."
        )
    elif by == "file":
        said = (
            f"How many of the {rows:,} records were in training is not known: the model keeps no list of its training "
            "texts. No file here is one of its training files."
        )
    else:
        return ""
    return " ".join([said, *(_compared(name, seen, rows) for name, seen in dataset.get("compared_seen", {}).items())])


def _compared(name: str, seen: Json, rows: int) -> str:
    who = f"the training of the model compared with ({name})"
    if seen["records"]:
        least = "at least " if seen["by"] == "file" else ""
        return f"In {who} were {least}{seen['records']:,} of {rows:,}: its figures are flattered."
    if seen["by"] == "file":
        return f"How many were in {who} is not known."
    return f"No record was in {who}."
