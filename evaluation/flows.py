"""From true family to what the force recorded to what the model flagged: counts that a flow diagram is drawn from.

Input: labelled incidents and `Columns`. Output: plain JSON counts. Titles are grouped by `recorded_groups.toml`. "Not
recorded" is a group of its own: such a record is in no rate of the force's.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.columns import FEW, Columns, Json
from stalkscreen.metrics import Bools, share
from stalkscreen.schema import LabelledIncident
from stalkscreen.taxonomy import Taxonomy

STALKING, OTHER, NOT_RECORDED = "stalking", "other", "not_recorded"
UNKNOWN_FAMILY = "unknown"


@cache
def title_groups() -> dict[str, tuple[str, re.Pattern[str] | None]]:
    """Groups of recorded titles in order: name to heading and pattern of its phrases (None: no phrase)."""
    data = tomllib.loads(Path(__file__).with_name("recorded_groups.toml").read_text(encoding="utf-8"))
    return {
        group["name"]: (
            group["title"],
            re.compile(rf"\b(?:{'|'.join(map(re.escape, group['phrases']))})") if group["phrases"] else None,
        )
        for group in data["group"]
    }


def group_of(title: str | None, taxonomy: Taxonomy) -> str:
    """The group of one recorded title; `not_recorded` for None, `other` when no phrase fits."""
    if title is None:
        return NOT_RECORDED
    if taxonomy.is_stalking_title(title):
        return STALKING
    plain = re.sub(r"[\s_\-\u2010-\u2015]+", " ", title.casefold())
    found = (name for name, (_, phrases) in title_groups().items() if phrases is not None and phrases.search(plain))
    return next(found, OTHER)


def flows(records: Sequence[LabelledIncident], columns: Columns, taxonomy: Taxonomy) -> Json:
    """Counts for all records, for domestic and other ones, and for each relationship, with the groups used."""
    titles = {title: group_of(title, taxonomy) for title in set(columns.recorded)}
    recorded = np.array([titles[title] for title in columns.recorded], dtype=object)
    family = np.array([record.offence_family or UNKNOWN_FAMILY for record in records], dtype=object)
    domestic = np.array([record.domestic for record in records], dtype=object)
    relationship = np.array([record.relationship for record in records], dtype=object)
    parts: list[tuple[str, str | None, str, Bools]] = [("all", None, "All records", np.ones(len(records), dtype=bool))]
    for value, name in ((True, "domestic"), (False, "non-domestic")):
        parts.append(("domestic", name, name.capitalize(), np.asarray(domestic == value)))
    for name, _ in Counter(value for value in relationship if value is not None).most_common():
        words = name.replace("_", " ")
        parts.append(("relationship", words, words.capitalize(), np.asarray(relationship == name)))
    families = {known.name: known.title for known in taxonomy.families} | {UNKNOWN_FAMILY: "Family not labelled"}
    used = {STALKING, NOT_RECORDED, *recorded}
    return {
        "recorded_groups": [
            {"group": name, "title": title} for name, (title, _) in title_groups().items() if name in used
        ],
        "flows": [
            _part(part, value, title, columns, rows, (family, recorded, families))
            for part, value, title, rows in parts
            if part == "all" or rows.any()
        ],
    }


def _part(
    part: str,
    value: str | None,
    title: str,
    columns: Columns,
    rows: Bools,
    named: tuple[NDArray[np.object_], NDArray[np.object_], dict[str, str]],
) -> Json:
    family, recorded, families = named
    yes, no = columns.positive & rows, ~columns.positive & rows
    as_stalking, has = columns.recorded_stalking, columns.has_recorded
    elsewhere = has & ~as_stalking
    counts = Counter(
        zip(
            family[rows].tolist(),
            columns.positive[rows].tolist(),
            recorded[rows].tolist(),
            columns.flag[rows].tolist(),
            strict=True,
        )
    )
    family_place, group_place = list(families), list(title_groups())
    ordered = sorted(counts, key=lambda k: (family_place.index(k[0]), not k[1], group_place.index(k[2]), not k[3]))
    return {
        "part": part,
        "value": value,
        "title": title,
        "rows": int(rows.sum()),
        "few": int(yes.sum()) < FEW,
        "cells": [
            {
                "family": key[0],
                "title": families[key[0]],
                "stalking": key[1],
                "recorded": key[2],
                "screened": "flagged" if key[3] else "not_flagged",
                "n": counts[key],
            }
            for key in ordered
        ],
        "recovered": share(columns.flag, yes & elsewhere).to_json_dict(),
        "still_missed": share(~columns.flag, yes & elsewhere).to_json_dict(),
        "newly_lost": share(~columns.flag, yes & as_stalking).to_json_dict(),
        "not_recorded": {
            "stalking": share(columns.flag, yes & ~has).to_json_dict(),
            "not_stalking": share(columns.flag, no & ~has).to_json_dict(),
        },
        "over_recorded": share(as_stalking, no & has).to_json_dict(),
        "newly_called": share(columns.flag, no & elsewhere).to_json_dict(),
    }
