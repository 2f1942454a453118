"""The command line. Heavy libraries are imported inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from stalkscreen.errors import StalkscreenError

if TYPE_CHECKING:
    from stalkscreen.schema import Assessment

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
_FILE = click.Path(path_type=Path)
_columns = click.option(
    "--columns",
    metavar="OURS=THEIRS,…",
    help="A force's own column names, such as narrative=FREE_TEXT; tier= keeps a column that is only named like ours.",
)
_model = click.option(
    "--model", metavar="REF", help="Model folder, version number or MLflow URI; default: the released one."
)


class _Group(click.Group):
    """Turns our errors into a sentence and an exit code; anything else keeps its traceback, for it is a fault of ours."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except StalkscreenError as error:
            click.echo(f"Error: {error.message}", err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            sys.exit(0)


@click.group(cls=_Group, context_settings=_CONTEXT)
@click.version_option(package_name="stalkscreen")
def main() -> None:
    """Screen incident narratives for probable stalking and its risk indicators, for human review.

    It flags for review. It never decides, closes or downgrades anything, and no flag means nothing.

    \b
    A first try:    stalkscreen screen --text "He was outside the gym again, that is the fourth time."
    A whole file:   stalkscreen screen incidents.csv --out assessed.csv
    Retrain:        stalkscreen train --data mine.csv --config training/configs/linear.toml
    """


@main.command(short_help="Simulate case histories with labels.")
@click.option("--cases", type=click.IntRange(1), required=True, help="Number of case histories.")
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--out", type=_FILE, required=True, help="Folder to write into.")
@click.option(
    "--live-prevalence",
    type=click.FloatRange(0, 0.5, min_open=True),
    help="Share of incidents that belong to stalking cases; ordinary ones are mixed in to reach it.",
)
@click.option(
    "--passages",
    type=click.Choice(["all", "learning", "held-out"]),
    default="all",
    show_default=True,
    help="Which passages may be used: `learning` and `held-out` share none.",
)
def synthesise(cases: int, seed: int, out: Path, live_prevalence: float | None, passages: str) -> None:
    """Simulate case histories with labels, evidence and recorded offences.

    \b
    Example:  stalkscreen synthesise --cases 200 --seed 1 --out out/histories
    A stream: stalkscreen synthesise --cases 200 --seed 1 --live-prevalence 0.008 --out out/stream
    """
    from stalkscreen.synthesis.histories import synthesise as run

    click.echo(run(cases, seed, out, live_prevalence=live_prevalence, part=cast(Any, passages)))


@main.command(short_help="Fit, validate, track and register a model.")
@click.option(
    "--data", "data", type=_FILE, multiple=True, required=True, help="Labelled set; may be given several times."
)
@click.option("--config", type=_FILE, required=True, help="Experiment config (TOML).")
@click.option("--holdout", type=_FILE, multiple=True, help="Labelled set that must stay unseen; refused if it leaks.")
@click.option(
    "--histories",
    type=_FILE,
    multiple=True,
    help="Case histories to learn the pattern over time from (kind `encoder`); never scored.",
)
@click.option("--keep-folds", type=_FILE, help="Keep finished folds in this folder and go on from what is there.")
@_columns
def train(
    data: Sequence[Path],
    config: Path,
    holdout: Sequence[Path],
    histories: Sequence[Path],
    keep_folds: Path | None,
    columns: str | None,
) -> None:
    """Check, fit, cross-validate, calibrate, track in MLflow and register as `candidate`.

    \b
    Example:  stalkscreen train --data data/synthetic/narratives.jsonl --config training/configs/linear.toml
    Own file: stalkscreen train --data mine.csv --columns narrative=FREE_TEXT,incident_id=URN,stalking=IS_STALKING \\
                --config training/configs/linear.toml
    Encoder:  stalkscreen synthesise --cases 320 --seed 1 --passages learning --out out/histories
              stalkscreen train --data data/synthetic/narratives.jsonl --histories out/histories/histories.jsonl \\
                --config training/configs/encoder.toml --keep-folds out/folds
    """
    from stalkscreen.config import Settings
    from stalkscreen.workflow.training import train_and_register

    done = train_and_register(
        data,
        config,
        Settings.from_env(),
        columns=columns,
        holdout=holdout,
        histories=histories,
        keep_folds=keep_folds,
    )
    click.echo(done.summary)
    click.echo(f"Next: stalkscreen promote {done.version}")


@main.command(short_help="Measure a model and write the report.")
@click.option(
    "--data", "data", type=_FILE, multiple=True, required=True, help="Labelled set; may be given several times."
)
@_model
@click.option("--against", metavar="REF", help="Compare with a model, `keyword` or `recorded`.")
@click.option("--out", type=_FILE, required=True, help="Folder for metrics.json, report.html and errors.csv.")
@click.option(
    "--live-prevalence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Default: STALKSCREEN_LIVE_PREVALENCE, else 0.008.",
)
@click.option(
    "--daily-volume", type=click.IntRange(1), default=1200, show_default=True, help="Records a day of a force."
)
@click.option(
    "--with-text",
    is_flag=True,
    help="Put the narratives of listed errors into report.html, marked as holding them. Never needed for the figures.",
)
@_columns
def evaluate(
    data: Sequence[Path],
    model: str | None,
    against: str | None,
    out: Path,
    live_prevalence: float | None,
    daily_volume: int,
    with_text: bool,
    columns: str | None,
) -> None:
    """Measure a model on a labelled set and write the report.

    \b
    Example:  stalkscreen evaluate --data labelled.csv --against keyword --out out/report
    """
    from stalkscreen.config import Settings
    from stalkscreen.workflow.evaluating import evaluate_files

    click.echo(
        evaluate_files(
            data,
            Settings.from_env(),
            model=model,
            against=against,
            out=out,
            columns=columns,
            live_prevalence=live_prevalence,
            daily_volume=daily_volume,
            with_text=with_text,
        )
    )


@main.command("audit-labels", short_help="Find labels that are probably wrong; apply a review.")
@click.option("--data", type=_FILE, required=True, help="Labelled set.")
@_columns
@click.option("--out", type=_FILE, required=True, help="Folder for the review file, or for the corrected set.")
@click.option("--config", type=_FILE, help="Experiment config (TOML) of the classifier and folds; default: linear.")
@click.option("--with-text", is_flag=True, help="Put narratives into the Label Studio tasks; otherwise ids only.")
@click.option(
    "--apply",
    "reviewed",
    type=_FILE,
    metavar="FILE",
    help="Write the set with the decisions in this review.csv or JSON export of Label Studio.",
)
def audit_labels(
    data: Path, columns: str | None, out: Path, config: Path | None, with_text: bool, reviewed: Path | None
) -> None:
    """List records whose stalking label or recorded offence is probably wrong, what matters most first.

    Nothing is relabelled: a person fills in `reviewed_stalking`, `reviewer` and `reason` in review.csv, and --apply writes
    a new set with both labels and a log of the changes.

    \b
    Example:  stalkscreen audit-labels --data data/synthetic/narratives.jsonl --out out/audit
    Own file: stalkscreen audit-labels --data mine.csv --columns narrative=TEXT,incident_id=URN,stalking=IS_STALKING --out out/audit
    Reviewed: stalkscreen audit-labels --data mine.csv --columns narrative=TEXT,incident_id=URN,stalking=IS_STALKING \\
                --apply out/audit/review.csv --out out/audit
    """
    from stalkscreen.config import TrainConfig
    from stalkscreen.workflow.label_review import apply_review
    from stalkscreen.workflow.label_review import audit_labels as run

    if reviewed is not None:
        if with_text or config:
            raise click.UsageError("--with-text and --config go with an audit, not with --apply.")
        click.echo(apply_review(data, reviewed, out, columns=columns))
        return
    settings = TrainConfig.read(config) if config else TrainConfig(kind="linear")
    click.echo(run(data, out, settings, columns=columns, with_text=with_text))


@main.command(short_help="Run the release gates and release.")
@click.argument("version")
def promote(version: str) -> None:
    """Run the release gates on a registered VERSION and, if all let it, release it.

    \b
    Example:  stalkscreen promote 3
    """
    from evaluation.release import promote as run
    from stalkscreen.config import Settings

    done = run(version, Settings.from_env())
    for gate in done.gates:
        click.echo(f"{gate.status.replace('_', ' '):>14}  {gate.name}: {gate.sentence}")
    click.echo(str(done))


@main.command(short_help="Assess a file of incidents or one text.")
@click.argument("file", type=_FILE, required=False)
@click.option("--text", help="One narrative to assess and print readably.")
@click.option("--out", type=_FILE, help="Where assessments go: .jsonl, .csv or .parquet.")
@click.option("--rejects", type=_FILE, help="Write bad rows here with their reasons and screen the rest.")
@_model
@_columns
def screen(
    file: Path | None, text: str | None, out: Path | None, rejects: Path | None, model: str | None, columns: str | None
) -> None:
    """Assess a FILE of incidents, or one narrative.

    \b
    Example:  stalkscreen screen incidents.csv --out assessed.jsonl --rejects rejects.csv
    Own names: stalkscreen screen export.csv --columns narrative=FREE_TEXT,incident_id=URN --out assessed.csv
    One text: stalkscreen screen --text "She has blocked him; he now writes from new accounts and waits at the bus stop."
    """
    from stalkscreen.config import Settings
    from stalkscreen.references import load_model

    if (file is None) == (text is None):
        raise click.UsageError("Give either a FILE with --out, or --text.")
    if text is not None:
        if out or rejects or columns:
            raise click.UsageError("--out, --rejects and --columns go with a FILE, not with --text.")
        click.echo(readable(_assess_text(text, model)))
        return
    if out is None or file is None:
        raise click.UsageError("--out FILE is needed (.jsonl, .csv or .parquet).")
    from stalkscreen.dataset import Columns
    from stalkscreen.screening import screen_file

    names = Columns.parse(columns) if columns else None
    summary = screen_file(file, out, load_model(model, Settings.from_env()), columns=names, rejects=rejects)
    click.echo(str(summary))


def _assess_text(text: str, model: str | None) -> Assessment:
    from pydantic import ValidationError

    from stalkscreen.config import Settings
    from stalkscreen.errors import RecordError
    from stalkscreen.references import load_model
    from stalkscreen.schema import Case, Incident

    try:
        incident = Incident(incident_id="text", narrative=text)
    except ValidationError as error:
        raise RecordError("--text " + error.errors()[0]["msg"].removeprefix("Value error, ") + ".") from None
    return load_model(model, Settings.from_env()).assess([Case.of_one(incident)])[0]


@main.command(short_help="List registered versions.")
def models() -> None:
    """List registered versions with their aliases and headline figures, and the released folder.

    \b
    Example:  stalkscreen models
    """
    from evaluation.release import released_or_none
    from stalkscreen.config import Settings
    from stalkscreen.tracking import registry

    settings = Settings.from_env()
    released = released_or_none(settings)
    click.echo(f"Released: {released if released else 'nothing yet'}")
    found = registry.versions(settings)
    if not found:
        click.echo("Registered: nothing yet. `stalkscreen train` registers a version.")
        return
    click.echo(f"{'version':>7}  {'kind':<9}{'aliases':<22}{'AUC':>6}{'AP':>7}{'recall':>8}  run")
    for v in found:
        figures = "".join(
            f"{v.headline[k]:>{w}.3f}" if k in v.headline else " " * (w - 1) + "-"
            for k, w in (("cv.auc", 6), ("cv.average_precision", 7), ("cv.recall", 8))
        )
        click.echo(f"{v.version:>7}  {v.kind:<9}{', '.join(v.aliases):<22}{figures}  {v.run_id}")


def readable(assessment: Assessment) -> str:
    """One assessment as plain lines for a person."""
    s = assessment.stalking
    others = {p for name, p in assessment.offence_family.probabilities.items() if name != "stalking"}
    family = assessment.offence_family.top.replace("_", " ") if len(others) > 1 else "not learnt"
    lines = [
        f"{'FLAGGED FOR REVIEW' if s.flag else 'Not flagged'} ({s.band} band)",
        f"  probability of stalking {s.probability:.2f} where {s.prevalence:.0%} of records are stalking, "
        f"{s.probability_at_live:.2f} where {s.live_prevalence:.1%} are",
        f"  likeliest family: {family}; tier: "
        f"{assessment.tier.hint.replace('_', ' ')}; closest tie: {assessment.context.relationship.replace('_', ' ')}",
    ]
    if s.history_check:
        lines.append("  search for linked records before deciding")
    present = [i for i in assessment.indicators if i.present]
    if present:
        lines.append("  indicators and the words that show them:")
        lines += [f"    {i.title}: " + " … ".join(f"“{e.text}”" for e in i.evidence) for i in present]
    if assessment.against:
        lines.append("  speaks against: " + " … ".join(f"“{e.text}”" for e in assessment.against))
    asked = [n for n in ("victim_fear", "impact_daily_life", "escalation") if n in assessment.not_stated]
    if asked:
        lines.append("  not stated, worth asking: " + ", ".join(n.replace("_", " ") for n in asked))
    lines += [f"  {c}" for c in assessment.considerations]
    if assessment.possible_misidentification:
        lines.append(f"  recorded as {assessment.recorded_offence}: possible misidentification")
    lines.append("It flags for human review. No flag means nothing.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
