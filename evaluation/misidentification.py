"""Section 1 of the report: who misses stalking, and who calls other matters stalking, on the same records.

Input: labelled incidents, `Columns` and the flags of baselines. Output: plain JSON figures. "Not recorded" is counted by itself:
a record without a recorded offence says nothing about the force's recording, so it is in no rate of the
force's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.columns import Columns, Json
from evaluation.flows import flows
from stalkscreen.metrics import Bools, share
from stalkscreen.resampling import grouped_rate
from stalkscreen.schema import LabelledIncident
from stalkscreen.taxonomy import Taxonomy

MAX_TITLES = 25
"""Recorded offences listed by name; rarer ones are added up under `OTHER_TITLES`."""

OTHER_TITLES = "other titles"

WAYS = {
    "as_recorded": "As recorded by the force",
    "keyword": "Keyword baseline",
    "model": "Model",
    "after_review": "As recorded, once the flagged are reviewed",
}
"""Names and titles of the ways to look at the same records, in the order shown."""

WAYS_SIMULATED = WAYS | {
    "as_recorded": "As recorded (simulated)",
    "after_review": "Simulated, once the flagged are reviewed",
}
"""The same where the set is synthetic: a model of recording drew what is recorded, not a force."""


def _way(name: str, columns: Columns, called_stalking: Bools, rows: Bools, titles: Mapping[str, str]) -> Json:
    yes, no = columns.positive & rows, ~columns.positive & rows
    return {
        "way": name,
        "title": titles[name],
        "missed": share(~called_stalking, yes).to_json_dict(),
        "wrongly_called": share(called_stalking, no).to_json_dict(),
        "missed_by_case": grouped_rate(~called_stalking, yes, columns.group).to_json_dict(),
    }


def misidentification(
    records: Sequence[LabelledIncident],
    columns: Columns,
    baseline_flags: Mapping[str, Bools],
    taxonomy: Taxonomy,
    *,
    synthetic: bool = False,
) -> Json:
    """The share of true stalking missed, and of other matters called stalking, by each way of deciding.

    `same_rows` holds the records with a recorded offence, so that all ways are judged on the same ones;
    `all_rows` adds the rest, for those that do not need one. "Once the flagged are reviewed" supposes that a
    reviewer decides rightly on every flagged record and that nothing else changes. In a `synthetic` set what was
    recorded is called simulated.
    """
    titles = WAYS_SIMULATED if synthetic else WAYS
    has, recorded, flag = columns.has_recorded, columns.recorded_stalking, columns.flag
    everything = np.ones(len(flag), dtype=bool)
    called: dict[str, Bools] = {}
    if "keyword" in baseline_flags:
        called["keyword"] = baseline_flags["keyword"]
    called["model"] = flag
    same: list[Json] = []
    if has.any():
        corrected = np.where(flag, columns.positive | recorded, recorded)
        same = [
            _way("as_recorded", columns, recorded, has, titles),
            *(_way(name, columns, flags, has, titles) for name, flags in called.items()),
            _way("after_review", columns, corrected, has, titles),
        ]
    possible = has & flag & ~recorded
    return {
        "rows": len(flag),
        "recorded": int(has.sum()),
        "not_recorded": {
            "stalking": int((columns.positive & ~has).sum()),
            "not_stalking": int((~columns.positive & ~has).sum()),
        },
        "same_rows": same,
        "all_rows": [_way(name, columns, flags, everything, titles) for name, flags in called.items()],
        "possible_misidentification": {
            "rows": int(possible.sum()),
            "truly_stalking": share(columns.positive, possible).to_json_dict(),
        },
        "by_recorded_offence": by_recorded_offence(columns),
        "not_recorded_row": None if has.all() else _title_row("not recorded", columns, ~has),
        **flows(records, columns, taxonomy),
    }


def by_recorded_offence(columns: Columns) -> list[Json]:
    """One row a recorded title, commonest first, with what is hidden in it and what the model finds of it."""
    keys = np.array([title.casefold() if title is not None else "" for title in columns.recorded], dtype=object)
    names, first, counts = np.unique(keys[columns.has_recorded], return_index=True, return_counts=True)
    shown = columns.recorded[columns.has_recorded]
    order = np.argsort(-counts, kind="stable")
    out = [_title_row(str(shown[first[i]]), columns, np.asarray(keys == names[i])) for i in order[:MAX_TITLES]]
    if len(order) > MAX_TITLES:
        rest = np.isin(keys, names[order[MAX_TITLES:]])
        out.append(_title_row(OTHER_TITLES, columns, rest))
    return out


def _title_row(title: str, columns: Columns, rows: Bools) -> Json:
    wrongly = columns.positive & columns.has_recorded & ~columns.recorded_stalking
    return {
        "recorded_offence": title,
        "stalking_title": bool(columns.recorded_stalking[rows].all()),
        "rows": int(rows.sum()),
        "truly_stalking": share(columns.positive, rows).to_json_dict(),
        "recovered": int((rows & wrongly & columns.flag).sum()),
        "newly_lost": int((rows & columns.positive & columns.recorded_stalking & ~columns.flag).sum()),
        "recall": share(columns.flag, rows & columns.positive).to_json_dict(),
        "false_flag": share(columns.flag, rows & ~columns.positive).to_json_dict(),
    }
