"""The one decision path: `ScreeningModel.assess`.

Evaluation, the command line, the service and the MLflow model all call it, and nobody else cleans, calibrates,
thresholds or names a label: what is evaluated is what is served. A saved model is a plain folder: `model.json` (label
order, calibration, thresholds, provenance, checksums), `classifier/` (names, words and numeric arrays) and
`trained_on.txt` (hashes of the training texts). No pickle and no stored code anywhere.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import numpy as np

from stalkscreen.classifiers import Classifier, Floats, ScoredSpan, Scores, classifier_class
from stalkscreen.classifiers.passages import first_look
from stalkscreen.config import DEFAULT_LIVE_PREVALENCE
from stalkscreen.errors import ModelFormatError
from stalkscreen.model_format import TINY, Cascade, ModelInfo, Platt, Thresholds, file_sha256, files_in, read_info
from stalkscreen.schema import (
    Assessment,
    Band,
    Case,
    ContextAnswer,
    Family,
    FamilyAnswer,
    FourAnswer,
    IndicatorAnswer,
    ModelStamp,
    Relationship,
    Span,
    StalkingAnswer,
    TierAnswer,
    TierHint,
)
from stalkscreen.taxonomy import Taxonomy, load_taxonomy
from stalkscreen.trained_on import TRAINED_ON, Hashes, read_hashes, write_hashes

MAX_SPANS = 3
"""Most evidence spans shown for an indicator, strongest first: a reviewer has half a minute an alert."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """What turns one stage's raw scores into answers."""

    stamp: ModelStamp
    calibration: Mapping[str, Platt]
    cuts: Thresholds
    not_learnt: Container[str] = ()

    def calibrated(self, head: str, raw: Floats) -> Floats:
        """Calibrated probabilities; one half, which says nothing, where the head had no labels to learn from."""
        if head in self.not_learnt:
            return np.full_like(raw, 0.5)
        platt = self.calibration.get(head)
        return raw if platt is None else platt(raw)


class ScreeningModel:
    """A classifier with its calibration, thresholds and provenance.

    Args:
        classifier: Any kind of `stalkscreen.classifiers.KINDS`.
        info: Its label order, calibration, thresholds and provenance.
        live_prevalence: Share of stalking in the stream it will read, in 0..1; changes `probability_at_live` only.
        cascade: Whether the cheap first stage may answer, where the model has one.
        trained_on: Short hashes of the narratives it was trained on; None where they are not known.
    """

    def __init__(
        self,
        classifier: Classifier,
        info: ModelInfo,
        live_prevalence: float = DEFAULT_LIVE_PREVALENCE,
        cascade: bool = True,
        trained_on: Hashes | None = None,
    ) -> None:
        self.classifier = classifier
        self.info = info
        self.trained_on = trained_on
        self.live_prevalence = live_prevalence
        self._taxonomy: Taxonomy = load_taxonomy()
        self._first: Classifier | None = getattr(classifier, "first_stage", None) if info.cascade and cascade else None
        self._second_stage = _Stage(self._stamp(info.kind), info.calibration, info.thresholds, info.not_learnt)

    def _stamp(self, stage: str) -> ModelStamp:
        info = self.info
        return ModelStamp(
            version=info.version,
            kind=info.kind,
            stage=stage,
            label_version=info.label_version,
            data_hash=info.provenance.data_hash,
        )

    @property
    def cascade(self) -> Cascade | None:
        """The cascade in force; None where the model has none or it is switched off."""
        return self.info.cascade if self._first is not None else None

    @property
    def thresholds(self) -> Thresholds:
        """The cuts in force."""
        return self.info.thresholds

    @property
    def prevalence(self) -> float:
        """Share of stalking in the training records, at which `probability` is calibrated."""
        return self.info.prevalence

    @property
    def kind(self) -> str:
        """The classifier's kind."""
        return self.info.kind

    @property
    def version(self) -> str:
        """The registered version number, as text."""
        return self.info.version

    @property
    def data_hash(self) -> str:
        """Hash of the training data."""
        return self.info.provenance.data_hash

    def assess(self, cases: Sequence[Case]) -> list[Assessment]:
        """Assess cases, each by itself and in the order given.

        Args:
            cases: Any number; `Case.of_one(incident)` judges one record alone.

        Returns:
            One assessment a case.
        """
        if not cases:
            return []
        answers: dict[int, Assessment] = {}
        left = list(range(len(cases)))
        cascade = self.cascade
        if self._first is not None and cascade is not None:
            first = first_look(self._first, cases)
            stage = _Stage(self._stamp(self._first.kind), cascade.calibration, cascade.thresholds, self.info.not_learnt)
            cleared = np.flatnonzero(first.stalking < cascade.cut).tolist()
            answers = {row: self._answer(cases[row], first, row, stage) for row in cleared}
            left = [row for row in left if row not in answers]
        if left:
            scores = self.classifier.predict([cases[row] for row in left])
            for i, row in enumerate(left):
                answers[row] = self._answer(cases[row], scores, i, self._second_stage)
        return [answers[row] for row in range(len(cases))]

    def at_live(self, probability: float) -> float:
        """Bayes' rule from the training prevalence to the live one (Saerens et al. 2002)."""
        p, q = self.info.prevalence, self.live_prevalence
        odds_for = probability * q / p
        odds_against = (1 - probability) * (1 - q) / (1 - p)
        return odds_for / (odds_for + odds_against)

    def _answer(self, case: Case, scores: Scores, row: int, stage: _Stage) -> Assessment:
        cuts = stage.cuts
        probability = float(stage.calibrated("stalking", scores.stalking[row : row + 1])[0])
        flag = probability >= cuts.review
        band: Band = "low" if not flag else "high" if probability >= cuts.high else "medium"
        history = float(stage.calibrated("history_check", scores.history_check[row : row + 1])[0])
        s4a = float(stage.calibrated("tier_s4a", scores.tier_s4a[row : row + 1])[0])
        low, high = cuts.tier_unclear
        tier: TierHint = "unclear" if flag else "not_applicable"
        if flag and "tier_s4a" not in stage.not_learnt:
            tier = "s4A" if s4a >= high else "s2A" if s4a <= low else "unclear"
        found = scores.spans[row]
        indicators = self._indicators(case, scores.indicators[row], found, stage)
        present = {i.name for i in indicators if i.present}
        against, negated = self._against(case, found, present, stage.cuts.against)
        domestic = float(stage.calibrated("domestic", scores.domestic[row : row + 1])[0])
        cyber = float(stage.calibrated("cyber", scores.cyber[row : row + 1])[0])
        relationship: Relationship = "unknown"
        if "relationship" not in stage.not_learnt:
            relationship = cast(Relationship, self._taxonomy.relationships[int(np.argmax(scores.relationship[row]))])
        recorded = "; ".join(dict.fromkeys(i.recorded_offence for i in case.incidents if i.recorded_offence)) or None
        misidentified = None
        if recorded is not None:
            titles = [i.recorded_offence for i in case.incidents if i.recorded_offence]
            misidentified = flag and not any(map(self._taxonomy.is_stalking_title, titles))
        history_check = history >= cuts.history_check and "history_check" not in stage.not_learnt
        facts = {f"indicator:{name}" for name in present}
        facts |= {
            name
            for name, holds in {
                "stalking": flag,
                "history_check": history_check,
                "misidentification": bool(misidentified),
                "tier_unclear": tier == "unclear",
                "domestic": domestic >= 0.5 and "domestic" not in stage.not_learnt,
                "non_domestic": domestic < 0.5,
                "cyber": cyber >= 0.5 and "cyber" not in stage.not_learnt,
                "ex_partner": relationship == "ex_partner",
            }.items()
            if holds
        }
        several = len(case.incidents) > 1
        return Assessment(
            incident_id=case.incidents[0].incident_id,
            incident_ids=[i.incident_id for i in case.incidents] if several else None,
            stalking=StalkingAnswer(
                probability=probability,
                prevalence=self.info.prevalence,
                probability_at_live=self.at_live(probability),
                live_prevalence=self.live_prevalence,
                flag=flag,
                band=band,
                history_check=history_check,
            ),
            offence_family=self._family(scores.family[row], probability),
            tier=TierAnswer(hint=tier, probability_s4A=s4a),
            four=FourAnswer(
                **{
                    name: float(stage.calibrated(f"four_{name}", scores.four[row, i : i + 1])[0])
                    for i, name in enumerate(FourAnswer.model_fields)
                }
            ),
            indicators=indicators,
            context=ContextAnswer(domestic=domestic, cyber=cyber, relationship=relationship),
            against=against,
            not_stated=[i.name for i in indicators if not i.present and i.name not in negated],
            considerations=self._taxonomy.considerations_for(facts),
            recorded_offence=recorded,
            possible_misidentification=misidentified,
            model=stage.stamp,
        )

    def _family(self, raw: Floats, stalking: float) -> FamilyAnswer:
        """Keep the stalking probability as it is and share the rest out, so that both answers state the same one.

        `top` is the likeliest family and no flag: a record flagged below one half may have another on top, one with
        stalking on top may lie below the review threshold. Where families were not learnt all others are alike, and the
        last, which is no crime, is on top of what is likelier not stalking.
        """
        names = self.info.family_names
        if "family" in self.info.not_learnt:
            raw = np.ones_like(raw)
        others = np.array([0.0 if n == "stalking" else max(float(v), TINY) for n, v in zip(names, raw, strict=True)])
        shares = others / others.sum() * (1 - stalking)
        shares[names.index("stalking")] = stalking
        probabilities = {name: float(share) for name, share in zip(names, shares, strict=True)}
        top = cast(Family, names[int(np.flatnonzero(shares == shares.max())[-1])])
        return FamilyAnswer(top=top, probabilities=probabilities)

    def _span(self, case: Case, start: int, end: int, incident: int) -> Span:
        record = case.incidents[incident]
        return Span(
            start=start,
            end=end,
            text=record.narrative[start:end],
            incident_id=record.incident_id if len(case.incidents) > 1 else None,
        )

    def _indicators(self, case: Case, raw: Floats, found: Sequence[ScoredSpan], stage: _Stage) -> list[IndicatorAnswer]:
        names = self.info.indicator_names
        calibrated = [float(stage.calibrated(f"indicator:{n}", raw[i : i + 1])[0]) for i, n in enumerate(names)]
        evidence: list[list[Span]] = []
        for i, name in enumerate(names):
            likely = (
                calibrated[i] >= stage.cuts.indicators.get(name, 0.5) and f"evidence:{name}" not in stage.not_learnt
            )
            evidence.append(self._evidence(case, found, i, stage.cuts.against) if likely else [])
        present = [bool(quoted) for quoted in evidence]  # what has no words to show is not called present
        for i, name in enumerate(names):
            implied = [names.index(n) for n in self._taxonomy.indicator(name).implies_any if n in names]
            if present[i] and implied and not any(present[j] for j in implied):
                likeliest = max(implied, key=calibrated.__getitem__)
                present[likeliest], evidence[likeliest] = True, evidence[i]
                calibrated[likeliest] = max(calibrated[likeliest], calibrated[i])
        return [
            IndicatorAnswer(
                name=name,
                title=self._taxonomy.indicator(name).title,
                probability=calibrated[i],
                present=present[i],
                evidence=evidence[i],
            )
            for i, name in enumerate(names)
        ]

    def _evidence(self, case: Case, found: Sequence[ScoredSpan], indicator: int, against: float) -> list[Span]:
        """The strongest stretch and at most two more that are likelier than not; none that rather speaks against."""
        told = [s for s in found if s.against < max(against, s.indicators[indicator])]
        ranked = sorted(told, key=lambda s: -s.indicators[indicator])[:MAX_SPANS]
        if not ranked or ranked[0].indicators[indicator] <= 0:
            return []
        kept = [ranked[0], *(s for s in ranked[1:] if s.indicators[indicator] >= 0.5)]
        return [self._span(case, s.start, s.end, s.incident) for s in kept]

    def _against(
        self, case: Case, found: Sequence[ScoredSpan], present: set[str], cut: float
    ) -> tuple[list[Span], set[str]]:
        """Stretches that say an indicator is absent or another person's, and the indicators so spoken of."""
        speaking = [s for s in found if s.against >= cut]
        negated: set[str] = set()
        for span in speaking:
            if len(span.mentioned):
                name = self.info.indicator_names[int(np.argmax(span.mentioned))]
                negated |= {name} - present
        strongest = sorted(speaking, key=lambda s: -s.against)[:MAX_SPANS]
        return [self._span(case, s.start, s.end, s.incident) for s in strongest], negated

    def save(self, folder: Path) -> None:
        """Write the model to `folder`, whole or not at all. `folder` must not exist yet, or be empty."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            (building / "classifier").mkdir()
            self.classifier.save(building / "classifier")
            if self.trained_on is not None:
                write_hashes(self.trained_on, building / TRAINED_ON)
            files = {p.relative_to(building).as_posix(): file_sha256(p) for p in files_in(building)}
            self.info = self.info.model_copy(update={"files": files})
            text = json.dumps(self.info.model_dump(mode="json"), indent=1, ensure_ascii=False)
            (building / "model.json").write_text(text + "\n", encoding="utf-8")
            building.chmod(0o755)
            building.replace(folder)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise

    @classmethod
    def load(cls, folder: Path, live_prevalence: float = DEFAULT_LIVE_PREVALENCE, cascade: bool = True) -> Self:
        """Read a model folder.

        Raises:
            ModelFormatError: No such folder, another format version, an unknown kind, or a file that is missing,
                changed or damaged.
        """
        info = read_info(folder)
        found = {path.relative_to(folder).as_posix() for path in files_in(folder / "classifier")}
        for name in sorted(found | info.files.keys()):
            path = folder / name
            if not path.is_file() or file_sha256(path) != info.files.get(name):
                raise ModelFormatError(
                    f"{path} is missing, was changed or was added since the model was saved; copy the folder again.",
                    file=str(path),
                )
        classifier = classifier_class(info.kind).load(folder / "classifier")
        if classifier.indicator_names != info.indicator_names:
            raise ModelFormatError(f"{folder}: the classifier and model.json name different indicators.")
        trained_on = read_hashes(folder / TRAINED_ON) if TRAINED_ON in info.files else None
        return cls(classifier, info, live_prevalence, cascade, trained_on)


def keyword_model(live_prevalence: float = DEFAULT_LIVE_PREVALENCE) -> ScreeningModel:
    """The status-quo baseline as a model: nothing learnt, nothing calibrated, any hit of its rule is a flag."""
    classifier = classifier_class("keyword")()
    info = ModelInfo(
        kind="keyword",
        version="keyword",
        indicator_names=classifier.indicator_names,
        family_names=load_taxonomy().family_names,
        prevalence=0.5,
        thresholds=Thresholds(review=0.5, high=0.5),
    )
    return ScreeningModel(classifier, info, live_prevalence)
