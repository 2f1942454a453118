"""The threshold control in words, as the page shows it before its script runs and where there is none.

Input: an `Explorer`. Output: plain text by key. `templates/report.js` writes the same sentences for what the reader sets.
"""

from __future__ import annotations

from collections.abc import Callable

from evaluation.columns import Json
from evaluation.explorer import FEW, FEW_FALSE_FLAGS, Explorer
from evaluation.sentences import a_day, number, percent


def _ends(figure: Json, say: Callable[[float | None], str]) -> str:
    return "" if figure["value"] is None else f"{say(figure['low'])} to {say(figure['high'])}"


def mix(explorer: Explorer) -> str:
    """How what is not stalking is mixed in the stream."""
    share = explorer.start.near_miss
    if share is None:
        return "what is not stalking is mixed as in this set"
    return f"{100 * share:g}% of what is not stalking is near misses and the rest ordinary"


def summary(now: Json) -> str:
    """The whole of it in one sentence, read out when something is moved."""
    at = f"At a threshold of {number(now['threshold'], 3)}: "
    if now["alerts_a_day"]["value"] is None:
        return at + "the set lacks one of the two classes, so a live stream cannot be worked out."
    return at + (
        f"{percent(now['recall']['value'])} of stalking found, {a_day(now['alerts_a_day']['value'])} alerts a day, of "
        f"which right: {percent(now['live_precision']['value'])}; {a_day(now['missed_a_day'])} records of stalking missed "
        f"a day; {a_day(now['hours']['value'])} reviewer hours a day."
    )


def few(explorer: Explorer, now: Json) -> str:
    """A plain warning where the figures rest on few records; empty otherwise."""
    said = []
    if explorer.totals["stalking"] < FEW:
        said.append(
            f"Only {explorer.totals['stalking']:,} records are truly stalking: recall is uncertain, see its interval."
        )
    others = sum(explorer.totals.values()) - explorer.totals["stalking"]
    if others and now["falsely_flagged"]["n"] < FEW_FALSE_FLAGS:
        said.append(
            f"Only {now['falsely_flagged']['n']:,} records are falsely flagged here: alerts and precision in a live "
            "stream rest on next to nothing."
        )
    return " ".join(said)


def capacity(explorer: Explorer) -> str:
    """What is caught when no more is read than can be."""
    stream, index = explorer.start, explorer.to_fill()
    if index is None:
        return "Not measured: the set lacks one of the two classes."
    if index == len(explorer.edges) - 1:
        return f"More than {stream.capacity:g} a day have scores in the highest band of this set, so no threshold gives so few."
    now = explorer.at(index)
    recall = now["recall"]
    return (
        f"To read {stream.capacity:g} a day at most, the threshold is {number(now['threshold'], 3)}: "
        f"{a_day(now['alerts_a_day']['value'])} alerts a day, which catch {a_day(now['found_a_day'])} of "
        f"{a_day(stream.volume * stream.prevalence)} stalking records a day ({percent(recall['value'])}; 95% interval "
        f"{percent(recall['low'])} to {percent(recall['high'])}) and miss {a_day(now['missed_a_day'])}."
    )


def words(explorer: Explorer, now: Json) -> dict[str, str]:
    """All of them by key, for the figures `now` at the model's threshold."""
    return {
        "mix": mix(explorer),
        "summary": summary(now),
        "few": few(explorer, now),
        "capacity": capacity(explorer),
        "alerts_of": _ends(now["alerts_a_day"], a_day),
        "right_of": _ends(now["live_precision"], percent) if now["live_precision"]["low"] is not None else "",
        "hours_of": _ends(now["hours"], a_day),
    }
