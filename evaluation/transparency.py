"""The transparency record that `promote` writes beside the model card, as JSON for registers and as Markdown to read.

Shaped after the Algorithmic Transparency Recording Standard v4.0; `transparency.toml` holds its sections and fields. In:
a model's record and its cross-validated figures. Out: every field with what the run knows and what a person of the
force has still to say. Nothing of the latter is invented: such a field is empty and marked.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation import release_facts as facts
from evaluation.gates import GateResult
from evaluation.limits import limits_now
from evaluation.model_card import bullets, figure_table, gate_count, table
from evaluation.seen import seen_sentence
from stalkscreen.errors import ConfigError
from stalkscreen.model_format import INTENDED_USE, PROHIBITED_USE, ModelInfo

Json = dict[str, Any]

FORMAT = "stalkscreen-transparency/1"
STANDARD = "Algorithmic Transparency Recording Standard v4.0"
TO_FILL = "To be filled by the force"
_PLACE = re.compile(r"\{(\w+)\}")
_KEYS = {"name", "text", "fact", "to_fill"}


def transparency_record(
    folder: str,
    info: ModelInfo,
    metrics: Mapping[str, Any],
    gates: Sequence[GateResult],
    template: Path | None = None,
) -> Json:
    """The record, ready for JSON.

    Args:
        folder: Name of the released folder.
        info: The model's record.
        metrics: Its cross-validated figures.
        gates: Outcome of the release gates.
        template: Another file than `transparency.toml`.

    Returns:
        `{"format", "standard", "model", "sections": [{"number", "title", "tier", "fields"}], "fields_to_fill"}`. Each field
        has `name`, `value` (text or null), `detail` (a list of texts or of objects, or null) and `to_fill` (what a person
        has to say, or null).

    Raises:
        ConfigError: The template names a fact that there is not, or a field that says nothing.
    """
    path = template or Path(__file__).with_name("transparency.toml")
    layout = tomllib.loads(path.read_text(encoding="utf-8"))
    words = _words(folder, info, metrics, layout["architecture"])
    lists = _lists(info, metrics, gates)
    sections = [
        {
            "number": section["number"],
            "title": section["title"],
            "tier": section["tier"],
            "fields": [_field(field, words, lists, path) for field in section["field"]],
        }
        for section in layout["section"]
    ]
    return {
        "format": FORMAT,
        "standard": STANDARD,
        "model": {"folder": folder, "kind": info.kind, "version": info.version, "data_hash": info.provenance.data_hash},
        "fields_to_fill": sum(field["to_fill"] is not None for section in sections for field in section["fields"]),
        "sections": sections,
    }


def _words(
    folder: str, info: ModelInfo, metrics: Mapping[str, Any], architectures: Mapping[str, str]
) -> dict[str, str]:
    provenance, data = info.provenance, metrics["dataset"]
    base, cascade = facts.base_model(info), facts.cascade_story(info.cascade)
    files = len(provenance.data)
    return {
        "folder": folder,
        "kind": info.kind,
        "version": info.version,
        "label_version": info.label_version,
        "indicators": str(len(info.indicator_names)),
        "code_version": provenance.code_version,
        "trained_at": provenance.trained_at or "at a time not stated",
        "libraries": ", ".join(f"{name} {version}" for name, version in provenance.libraries.items()),
        "intended": INTENDED_USE,
        "prohibited": PROHIBITED_USE,
        "architecture": architectures.get(info.kind, f"Described in stalkscreen/classifiers/{info.kind}.py."),
        "base": f"{base} " if base else "",
        "cascade": cascade or "",
        "prevalence": f"{info.prevalence:.1%}",
        "live": f"{metrics['live']['prevalence']:.1%}",
        "threshold": f"{info.thresholds.review:.4f}",
        "grouping": provenance.grouping,
        "rows": f"{sum(int(f['rows']) for f in provenance.data):,} rows",
        "files": f"{files} file{'' if files == 1 else 's'}",
        "seen": seen_sentence(dict(data)),
        "data_story": facts.data_story(metrics),
        "data_note": data["note"] or "Nothing beside the files says how they came to be.",
        "synthetic": "No narrative that was scored is a police record."
        if data["synthetic"]
        else "The records are not marked as synthetic.",
    }


def _lists(info: ModelInfo, metrics: Mapping[str, Any], gates: Sequence[GateResult]) -> dict[str, list[Any]]:
    return {
        "performance": [
            *facts.performance(info, metrics),
            *(
                {**row, "figure": f"{other['name']}: {row['figure']}"}
                for other in metrics.get("other_sets", ())
                for row in other["figures"]
            ),
        ],
        "worst_parts": facts.worst_parts(metrics),
        "training_files": facts.training_files(info),
        "limits": limits_now(metrics),
        "gates": [gate_count(gates), *(f"{g.status.replace('_', ' ')}: {g.sentence}" for g in gates)],
    }


def _field(field: Mapping[str, str], words: Mapping[str, str], lists: Mapping[str, list[Any]], path: Path) -> Json:
    unknown = {*_PLACE.findall(field.get("text", ""))} - words.keys()
    unknown |= ({field["fact"]} if "fact" in field else set()) - lists.keys()
    if unknown or not field.keys() <= _KEYS or field.keys() <= {"name"}:
        raise ConfigError(
            f"{path.name}, field {field.get('name')!r}: needs text, fact or to_fill and no other key; facts are "
            f"{', '.join(lists)} and in text {', '.join(words)}"
            + (f"; not {', '.join(sorted(unknown))}." if unknown else "."),
            file=str(path),
            field=field.get("name"),
        )
    # A fact that is empty must not leave two spaces behind.
    text = " ".join(_PLACE.sub(lambda found: words[found[1]], field["text"]).split()) if "text" in field else None
    return {
        "name": field["name"],
        "value": text,
        "detail": lists[field["fact"]] if "fact" in field else None,
        "to_fill": field.get("to_fill"),
    }


def as_markdown(record: Mapping[str, Any]) -> str:
    """The record to read and to fill in."""
    parts = [
        f"# Transparency record: stalkscreen, {record['model']['folder']}",
        f"After the {record['standard']}. {record['fields_to_fill']} fields are marked “{TO_FILL.lower()}”: the software "
        "cannot know them. Figures come from the run that trained this model.",
    ]
    for section in record["sections"]:
        parts.append(f"## {section['number']} {section['title']} (tier {section['tier']})")
        for field in section["fields"]:
            parts.append(f"### {field['name']}")
            parts += [text for text in (field["value"], _shown(field["detail"])) if text]
            if field["to_fill"]:
                parts.append(f"**{TO_FILL}:** {field['to_fill']}")
    return "\n\n".join(parts) + "\n"


def _shown(rows: Sequence[Any] | None) -> str:
    if not rows:
        return ""
    if isinstance(rows[0], str):
        return bullets(*rows)
    if "figure" in rows[0]:
        return figure_table(rows)
    return table(tuple(rows[0]), [tuple(row.values()) for row in rows])
