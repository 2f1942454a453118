"""The label definitions as data: indicators, families, FOUR, tiers, context values and considerations.

Everything that names a label reads it here: the schema, the generator, the classifiers' heads, the service
and the report. The source of every definition is the labelling guide (`docs/reference/labelling-guide.md`).

    taxonomy = load_taxonomy()
    taxonomy.indicator_names
    taxonomy.considerations_for({"stalking", "indicator:victim_fear"})

Adding an indicator:

1. Write `indicators/<name>.toml` with every key of `Indicator`; copying a neighbour is the quick way.
   `name` is the file name, `order` the next number after the last. Set `since` to the label version your
   annotators follow, so that older labelled sets count as not having looked for it rather than as negative.
   Examples must be invented and used by no other indicator; `sources` name a tool's themes, never its
   licensed wording.
2. Set `urgent = true` if its presence alone calls for urgent safeguarding. Only a suggestion of its own
   needs a rule in `considerations.toml`, with the atom `indicator:<name>`.
3. Run `pytest tests/test_taxonomy.py`: the contract tests run over every file.
4. Label, then retrain. Models trained before keep answering for the indicators in their own label order and
   say "not covered" for the new one.

Retiring one means deleting its file and the rules that name it, then retraining. Changing what a definition
means is a new `LABEL_VERSION`, because labels made under the old one no longer say the same thing.
"""

from stalkscreen.errors import TaxonomyError
from stalkscreen.taxonomy.catalogue import Taxonomy
from stalkscreen.taxonomy.entries import (
    FACTS,
    LABEL_VERSION,
    NEVER_SAID,
    OVERT_INDICATORS,
    URGENT_INDICATOR,
    Condition,
    Consideration,
    FourAttribute,
    Indicator,
    OffenceFamily,
    Tier,
)
from stalkscreen.taxonomy.loading import load_taxonomy

__all__ = [
    "FACTS",
    "LABEL_VERSION",
    "NEVER_SAID",
    "OVERT_INDICATORS",
    "URGENT_INDICATOR",
    "Condition",
    "Consideration",
    "FourAttribute",
    "Indicator",
    "OffenceFamily",
    "Taxonomy",
    "TaxonomyError",
    "Tier",
    "load_taxonomy",
]
