"""What the figures do not show: the same sentences for every set, and two that depend on the set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LIMITS = (
    "A record without a flag is not a record without stalking. No flag means nothing about anybody's safety.",
    "The figures hold for records like these. Another force, source, year or recording practice can differ, and so can "
    "the same force later.",
    "The labels are judgements on the narrative alone. They are not court findings, and others may have judged otherwise.",
    "Each record is judged by itself. Stalking that shows only across several records is not found by this, and is not "
    "counted as missed here.",
    "Nothing here measures risk of harm. The model finds wording that resembles stalking; it does not say how dangerous "
    "a person is.",
    "Figures at a live prevalence are calculated, not observed. They suppose that recall and false flags stay as they "
    "are in this set.",
    "Only English is understood. A record in Welsh or any other language is hardly ever flagged, whatever it tells.",
    "What happens after a flag is not measured: whether a reviewer agrees, acts in time, or whether anybody is safer.",
    "The set says nothing about fairness between groups of people beyond the parts shown, and where a part is small it "
    "says little about that part.",
    "Wilson intervals treat records as independent. Records of one case resemble each other, so where cases have several "
    "records the true uncertainty is larger; intervals by case are given where they matter most. Texts by one writer "
    "resemble each other too, so the true uncertainty is larger than the intervals by case as well.",
)
"""What the figures do not show: fixed, the same for every set."""

SYNTHETIC_LIMIT = (
    "These narratives are synthetic. Figures on them show that the method works on texts of this kind; they do not show "
    "how it performs on police records. Their labels were made by machine too, those who wrote them knowing what was asked for. "
    "Recorded offences were drawn by a model of recording, so the share missed as recorded is its setting and no finding "
    "about any force. The words a keyword screen looks for were kept out of most stalking texts, so it finds less here than "
    "it may elsewhere."
)
SEEN_LIMIT = (
    "These records, or some of them, were used to train the model. The figures are better than on new records and must "
    "not be used to judge it."
)


def limits_of(*, seen_in_training: bool, synthetic: bool) -> list[str]:
    """The sentences for one set, the gravest first."""
    return [*([SEEN_LIMIT] if seen_in_training else []), *([SYNTHETIC_LIMIT] if synthetic else []), *LIMITS]


def limits_now(metrics: Mapping[str, Any]) -> list[str]:
    """The sentences as they stand today, for figures that may have been written earlier."""
    dataset = metrics["dataset"]
    return limits_of(seen_in_training=dataset["seen_in_training"], synthetic=dataset["synthetic"])
