"""Label-leak probes: what can be told about stalking from a text without reading what happened in it.

Each probe is a small classifier on one kind of surface or metadata, scored out of fold over five groups of writers.
An AUC near 0.5 means that the kind gives nothing away. Pair mates are left out: they copy their base.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from stalkscreen.synthesis.checking import Check, tokens

GROUP = "Label-leak probes"
FOLDS = 5
Features = dict[str, Any]

_CALENDAR = re.compile(
    r"\b(?:january|february|march|april|may|june|july|august|sept?(?:ember)?|october|november|december|jan|feb|mar|apr|jun|"
    r"jul|aug|oct|nov|dec|(?:mon|tues?|wed(?:nes)?|thur?s?|fri|sat(?:ur)?|sun)(?:days?)?)\b"
)
_CAPITALISED = re.compile(r"\b[A-Z][a-z]{2,}\b")
_MEANS = re.compile(
    r"^(?:AirTag|Alexa|App|Apple|Discord|Facebook|Find|Google|Gmail|Hinge|Insta|Instagram|Life|Linked|Marketplace|"
    r"Messenger|Netflix|Outlook|Pay|Ring|Snap|Snapchat|Spotify|Strava|Telegram|Tik|Tinder|Twitter|Uber|Venmo|Vinted|"
    r"Whats|You|You[Tt]ube)"
)
_MARKS = ".,;:'\"!?/-()&£#*\n"


@dataclass(frozen=True, slots=True)
class Probe:
    """One kind of surface and the AUC it may reach.

    Attributes:
        name: What it sees.
        features: From rows of the table to one feature dictionary each.
        limit: Largest AUC allowed.
        reason: Why this limit.
        dense: Few numbers a text (trees) rather than many words (a linear model).
    """

    name: str
    features: Callable[[pd.DataFrame], list[Features]]
    limit: float
    reason: str
    dense: bool


def _length(table: pd.DataFrame) -> list[Features]:
    return [{"words": int(n), "chars": len(text)} for n, text in zip(table["words"], table["text"], strict=True)]


def _metadata(table: pd.DataFrame) -> list[Features]:
    return [
        {"source": source, "force": force, "year": year, "month": at.month, "weekday": at.weekday(), "hour": at.hour}
        for source, force, year, at in zip(table["source"], table["force"], table["year"], table["at"], strict=True)
    ]


def _typing(table: pd.DataFrame) -> list[Features]:
    """Rates of capitals and marks; never which word bears them."""
    rows = []
    for text in table["text"]:
        size, words = len(text), text.split()
        row = {f"mark {mark!r}": text.count(mark) / size for mark in _MARKS}
        row["capitals"] = sum(c.isupper() for c in text) / size
        row["words in capitals"] = sum(w.isupper() and len(w) > 1 for w in words) / len(words)
        row["words with a capital"] = sum(w[:1].isupper() for w in words) / len(words)
        row["letters a word"] = sum(map(len, words)) / len(words)
        row["double spaces"] = text.count("  ") / size
        row["ends with a mark"] = text.rstrip()[-1] in ".!?"
        rows.append(row)
    return rows


def _opening(table: pd.DataFrame) -> list[Features]:
    rows = []
    for text in table["text"]:
        first = tokens(text)[:3]
        rows.append({**{f"{i} {w}": 1 for i, w in enumerate(first)}, **{f"any {w}": 1 for w in first}})
    return rows


def _names(table: pd.DataFrame) -> list[Features]:
    """Words that this corpus writes with a capital more often than without; no dates, no makes of technology."""
    capital = Counter(word for text in table["text"] for word in _CAPITALISED.findall(text))
    small = Counter(word for text in table["text"] for word in re.findall(r"\b[a-z]{3,}\b", text))
    names = {
        word
        for word, n in capital.items()
        if n > small[word.lower()] and not _MEANS.match(word) and not _CALENDAR.fullmatch(word.lower())
    }
    return [dict.fromkeys(names.intersection(_CAPITALISED.findall(text)), 1) for text in table["text"]]


def _shapes(table: pd.DataFrame) -> list[Features]:
    rows = []
    for text in table["text"]:
        words = tokens(text)
        shapes = [re.sub(r"\d", "9", word) for word in words if word[0].isdigit()]
        calendar = [w for w in words if _CALENDAR.fullmatch(w)]
        row: Features = {"numbers": len(shapes) / len(words), "calendar": len(calendar) / len(words)}
        for word in (*shapes, *calendar):
            row[f"has {word}"] = 1
        rows.append(row)
    return rows


def _people(table: pd.DataFrame) -> list[Features]:
    rows = []
    for people in table["people"]:
        row: Features = {}
        for role in ("victim", "suspect"):
            person = people.get(role) or {}
            age = person.get("age")
            row[f"{role} sex"] = person.get("sex") or "not given"
            row[f"{role} age"] = "not given" if age is None else f"{min(int(age), 79) // 10 * 10}s"
            row[f"{role} background"] = "given" if person.get("background") else "not given"
        row["sexes"] = f"{row['victim sex']} by {row['suspect sex']}"
        rows.append(row)
    return rows


def _both_known(table: pd.DataFrame) -> pd.DataFrame:
    def known(people: dict[str, Any]) -> bool:
        return all((people.get(role) or {}).get("sex") for role in ("victim", "suspect"))

    return table[table["people"].map(known)]


PROBES = (
    Probe("length", _length, 0.56, "as for length alone above", True),
    Probe("source type, force and date", _metadata, 0.60, "what a form knows; no word of the text", True),
    Probe("capitals and punctuation", _typing, 0.60, "typing habits; a model sees none of them", True),
    Probe("first three words", _opening, 0.60, "openings name persons and channels, so not quite 0.5", False),
    Probe("capitalised names", _names, 0.60, "people and places; makes and apps left out, since they are means", False),
    Probe(
        "months, days and number shapes",
        _shapes,
        0.65,
        "some is real: a course of conduct is told with dates (guide, section 2)",
        False,
    ),
    Probe(
        "people: sex, age band, background",
        _people,
        0.65,
        "suspects of ordinary crime are more often unknown; people are never features",
        False,
    ),
)


def probe_checks(table: pd.DataFrame) -> list[Check]:
    """Every probe as a check (soft: a miss is written down, and guides the next texts)."""
    bases = table[table["base"]]
    checks = [_check(probe, bases) for probe in PROBES]
    known = Probe(
        "people, where both sexes are known", _people, 0.60, "who they are, apart from being known at all", False
    )
    return [*checks, _check(known, _both_known(bases))]


def _check(probe: Probe, table: pd.DataFrame) -> Check:
    features, y = probe.features(table), table["stalking"].to_numpy()
    auc = probe_auc(features, y, table["writer"], probe.dense)
    near = table[table["stratum"] != "ordinary"]
    hard = probe_auc(probe.features(near), near["stalking"].to_numpy(), near["writer"], probe.dense)
    reason = probe.reason + ("" if hard is None else f"; {hard:.3f} against near-misses alone")
    misses = auc is not None and auc > probe.limit
    return Check(
        GROUP,
        f"AUC of {probe.name}",
        auc,
        None,
        probe.limit,
        reason,
        offenders=tuple(telling(features, y)) if misses else (),
    )


def telling(features: Sequence[Features], y: NDArray[np.bool_], n: int = 8) -> list[str]:
    """The features that tell most by themselves, each with its AUC (above 0.5: more in stalking)."""
    vectorizer = DictVectorizer(sparse=False)
    x = vectorizer.fit_transform(features)
    names = vectorizer.get_feature_names_out()
    # For a word that is there or not, the AUC is half the difference of its shares.
    aucs = 0.5 + ((x[y] > 0).mean(axis=0) - (x[~y] > 0).mean(axis=0)) / 2
    for i in np.flatnonzero(((x != 0) & (x != 1)).any(axis=0)):
        aucs[i] = roc_auc_score(y, x[:, i])
    order = np.argsort(-np.abs(aucs - 0.5), kind="stable")[:n]
    return [f"{names[i]} ({aucs[i]:.2f})" for i in order]


def probe_auc(features: Sequence[Features], y: NDArray[np.bool_], writers: Iterable[Any], dense: bool) -> float | None:
    """Out-of-fold AUC over groups of writers.

    Args:
        features: One dictionary a text; words are one-hot, numbers as they are.
        y: `(n,)`, True for stalking.
        writers: Writer of each text; none is on both sides of a fold.
        dense: Trees rather than a linear model.

    Returns:
        AUC in 0..1, or None with fewer than five writers or one class only.
    """
    groups = pd.factorize(pd.Series(list(writers), dtype=object))[0]
    if len(set(groups)) < FOLDS or len(set(y.tolist())) < 2:
        return None
    x = DictVectorizer(sparse=not dense).fit_transform(features)
    scores = np.full(len(y), np.nan)
    for train, test in GroupKFold(n_splits=FOLDS).split(x, y, groups):
        model = (
            RandomForestClassifier(60, min_samples_leaf=12, random_state=0)
            if dense
            else make_pipeline(MaxAbsScaler(), LogisticRegression(C=0.5, max_iter=500))
        )
        scores[test] = model.fit(x[train], y[train]).predict_proba(x[test])[:, 1]
    return float(roc_auc_score(y, scores))
