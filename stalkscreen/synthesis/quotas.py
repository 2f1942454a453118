"""What the corpus is made of, against what was commissioned: sizes, shares, lengths, relationships, indicators, pairs.

Counts asked for belong to a corpus of `FULL_SIZE` narratives and are scaled down in proportion while it is smaller.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.stats import kstest, skew
from sklearn.metrics import roc_auc_score

from stalkscreen.synthesis.checking import FULL_SIZE, Check, scaled, worst
from stalkscreen.taxonomy import OVERT_INDICATORS, load_taxonomy

SIZE, LENGTH, LABELS, EVERY = "Size and shares", "Length", "Labels", "Indicators and pairs"
SHARE = (0.36, 0.48)
LENGTH_AUC = (0.44, 0.56)
OPEN_WORDS = re.compile(r"stalk|harass|obsess|fixat", re.IGNORECASE)
LOOSE_WORDS = re.compile(r"stalk|obsess", re.IGNORECASE)


def quota_checks(table: pd.DataFrame, known_writers: Iterable[str]) -> list[Check]:
    """The checks, on `as_frame` of the corpus; `known_writers` are the ids of `writers.toml`."""
    return [*_sizes(table, set(known_writers)), *_lengths(table), *_labels(table), *_indicators(table)]


def _sizes(table: pd.DataFrame, known: set[str]) -> list[Check]:
    n, asked = len(table), "as commissioned"
    sources, writers = table.groupby("source"), table.groupby("writer")
    doubled = table["id"][table["id"].duplicated()]
    strangers = sorted(set(table["writer"].dropna()) - known)
    return [
        Check(SIZE, "records", n, FULL_SIZE, None, f"{asked}; {int(table['base'].sum()):,} of them are no pair mates"),
        Check(SIZE, "writers", table["writer"].nunique(), 24, None, asked),
        Check(SIZE, "ids used twice", len(doubled), None, 0, "an id names one text", True, tuple(doubled)),
        Check(
            SIZE,
            "writers not in writers.toml",
            len(strangers),
            None,
            0,
            "each voice is described",
            True,
            tuple(strangers),
        ),
        Check(SIZE, "source types", table["source"].nunique(), 6, 6, "all six of the contract", True),
        worst(SIZE, "records of the rarest source type", sources.size().to_dict(), scaled(250, n), None, asked),
        Check(SIZE, "stalking share", float(table["stalking"].mean()), *SHARE, asked, True),
        worst(
            SIZE,
            "stalking share, worst source type",
            sources["stalking"].mean().to_dict(),
            *SHARE,
            "the register must not give the label away",
        ),
        worst(
            SIZE,
            "stalking share, worst writer",
            writers["stalking"].mean().to_dict(),
            *SHARE,
            "the voice must not give the label away",
            True,
        ),
        Check(
            SIZE,
            "near-miss share of not-stalking",
            float((table["stratum"] == "near_miss").sum() / max(1, (~table["stalking"]).sum())),
            0.45,
            None,
            "hard cases decide precision",
            True,
        ),
        Check(
            SIZE,
            "force areas",
            table["force"].nunique(),
            44,
            44,
            "43 territorial forces and transport police; more means one is spelled in two ways",
        ),
    ]


def _lengths(table: pd.DataFrame) -> list[Check]:
    bases = table[table["base"]]
    logs = np.log(bases["words"].to_numpy(dtype=float))
    odd = table["id"][~table["words"].between(6, 1000)]
    checks = [
        Check(
            LENGTH,
            "texts outside 6 to 1,000 words",
            len(odd),
            None,
            0,
            "10 to 700 asked; log lines and full statements run over",
            True,
            tuple(odd),
        ),
        Check(LENGTH, "median words", float(np.median(bases["words"])), None, None, ""),
        Check(
            LENGTH,
            "skew of log length",
            float(skew(logs)),
            -0.5,
            0.5,
            "log-normal-like: few very short, few very long",
        ),
        Check(
            LENGTH,
            "distance from a log-normal",
            float(kstest((logs - logs.mean()) / logs.std(), "norm").statistic),
            None,
            0.10,
            "largest gap between the two distribution functions",
        ),
        Check(
            LENGTH,
            "AUC of length alone",
            length_auc(bases),
            *LENGTH_AUC,
            "length must not give the label away; pair mates left out",
            True,
        ),
    ]
    for source, part in bases.groupby("source"):
        low, high = length_limits(part)
        checks.append(
            Check(
                LENGTH,
                f"AUC of length alone in {source}",
                length_auc(part),
                low,
                high,
                f"n {len(part)}; widened to what chance allows (1.96 standard errors) where that is more",
            )
        )
    return checks


def length_auc(table: pd.DataFrame) -> float | None:
    """AUC of word count for stalking, or None when one class is missing."""
    if table["stalking"].nunique() < 2:
        return None
    return float(roc_auc_score(table["stalking"], table["words"]))


def length_limits(table: pd.DataFrame) -> tuple[float, float]:
    """0.44 to 0.56, or as wide as the AUC of no signal at all would spread in a set of this size."""
    yes = int(table["stalking"].sum())
    no = len(table) - yes
    error = math.sqrt((yes + no + 1) / (12 * yes * no)) if yes and no else 0.5
    half = max(0.06, 1.96 * error)
    return round(0.5 - half, 3), round(0.5 + half, 3)


def _labels(table: pd.DataFrame) -> list[Check]:
    n, hits = len(table), table[table["stalking"]]
    other = table[~table["stalking"]]
    ties = hits["relationship"].value_counts()
    proxy = hits["relationship"].eq("family") | hits["present"].map(lambda names: "third_party_proxy" in names)
    groups = {name: int(ties.get(name, 0)) for name in ("acquaintance", "colleague", "neighbour", "stranger")}
    groups["professional or fan"] = int(ties.get("professional_contact", 0) + ties.get("fan_or_public_figure", 0))
    groups["family or proxy"] = int(proxy.sum())
    tiers = hits["tier"].value_counts()
    tiered = max(1, int(tiers.sum()))
    families = {name: int((table["family"] == name).sum()) for name in load_taxonomy().family_names}
    near = other[other["stratum"] == "near_miss"]
    quiet = ~hits["text"].str.contains(OPEN_WORDS)
    innocent = hits["present"].map(lambda names: not names & OVERT_INDICATORS)
    mismatched = table["id"][table["stalking"] != (table["family"] == "stalking")]
    untiered = table["id"][table["tier"].notna() & ~table["stalking"]]
    return [
        Check(
            LABELS,
            "family against stalking",
            len(mismatched),
            None,
            0,
            "one is read from the other",
            True,
            tuple(mismatched),
        ),
        Check(LABELS, "tier without stalking", len(untiered), None, 0, "guide, section 3", True, tuple(untiered)),
        Check(
            LABELS,
            "ex-partner share of stalking",
            float((hits["relationship"] == "ex_partner").mean()),
            None,
            0.45,
            "stalking by others must be learnt too",
            True,
        ),
        worst(
            LABELS,
            "stalking texts of the rarest relationship group",
            groups,
            scaled(100, n),
            None,
            f"100 of each asked at {FULL_SIZE:,} records; groups may share texts",
        ),
        worst(
            LABELS, "records of the rarest family", families, scaled(40, n), None, "no figure asked: enough to learn"
        ),
        Check(
            LABELS,
            "s4A share of tiered stalking",
            float(tiers.get("s4A", 0) / tiered),
            0.40,
            0.60,
            f"about half each; {len(hits) - int(tiers.sum())} unclear",
        ),
        Check(
            LABELS,
            "stalking texts without stalk*, harass*, obsess*, fixat*",
            float(quiet.mean()),
            0.85,
            None,
            "real records seldom say it (guide, E2)",
            True,
        ),
        Check(
            LABELS,
            "near-misses with stalk* or obsess*",
            float(near["text"].str.contains(LOOSE_WORDS).mean()),
            0.10,
            0.35,
            "the words prove nothing (guide, E2): used loosely, denied, about somebody else, as advice",
        ),
        Check(
            LABELS,
            "stalking texts without an overtly criminal act",
            float(innocent.mean()),
            0.60,
            None,
            "0.6 asked where each act looks innocent alone: counts any threat, violence, weapon, damage, entry, "
            "tracker or sexual act, in the past too",
        ),
    ]


def indicator_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Texts by indicator: `present` and `elsewhere` (negated or another person's), in stalking and in other texts."""
    rows = {}
    for name in load_taxonomy().indicator_names:
        row = {}
        for column in ("present", "elsewhere"):
            has = table[column].map(lambda names, wanted=name: wanted in names)
            row[f"{column}_stalking"] = int((has & table["stalking"]).sum())
            row[f"{column}_other"] = int((has & ~table["stalking"]).sum())
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def _indicators(table: pd.DataFrame) -> list[Check]:
    n, counts = len(table), indicator_counts(table)
    both = "in stalking and in other texts alike, or the indicator gives the label away"
    pairs = Counter(kind for _, kind in set(zip(table["pair"], table["pair_kind"], strict=True)) if kind)
    return [
        worst(
            EVERY,
            "texts with the rarest indicator present",
            (counts["present_stalking"] + counts["present_other"]).to_dict(),
            scaled(120, n),
            None,
            f"120 of each asked at {FULL_SIZE:,} records",
        ),
        worst(
            EVERY,
            "texts with the rarest indicator negated or another person's",
            (counts["elsewhere_stalking"] + counts["elsewhere_other"]).to_dict(),
            scaled(40, n),
            None,
            f"40 of each asked at {FULL_SIZE:,} records",
        ),
        worst(
            EVERY,
            "present in either class, rarest",
            counts[["present_stalking", "present_other"]].min(axis=1).to_dict(),
            scaled(15, n),
            None,
            both,
        ),
        worst(
            EVERY,
            "negated or another person's in either class, rarest",
            counts[["elsewhere_stalking", "elsewhere_other"]].min(axis=1).to_dict(),
            scaled(8, n),
            None,
            both,
        ),
        Check(EVERY, "contrast pairs", pairs["contrast"], scaled(150, n), None, f"150 asked at {FULL_SIZE:,} records"),
        Check(
            EVERY, "invariance pairs", pairs["invariance"], scaled(100, n), None, f"100 asked at {FULL_SIZE:,} records"
        ),
    ]
