"""`make demo`: the whole path on committed data, from a labelled file to assessed examples.

Trains and registers a candidate on every third writer of the corpus, so that it ends within three minutes, evaluates it (cross-validated on the corpus; on the public cases apart), runs the
gates, promotes it where nothing better is released, and screens the example incidents with the released model.
"""

from __future__ import annotations

import csv
import json
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stalkscreen.config import CHECKOUT, Settings
from stalkscreen.dataset.writing import write_text
from stalkscreen.errors import StalkscreenError

if TYPE_CHECKING:
    from evaluation.gates import GateResult
    from stalkscreen.workflow.training import Trained

CORPUS = CHECKOUT / "data" / "synthetic" / "narratives.jsonl"
PUBLIC = CHECKOUT / "data" / "public_cases" / "public_cases.jsonl"
EXAMPLES = CHECKOUT / "data" / "examples" / "incidents.csv"
CONFIG = CHECKOUT / "training" / "configs" / "demo.toml"
OUT = CHECKOUT / "out" / "demo"
SHOWN = 3
ONE_IN = 3
"""Of so many writers the demo learns from one: all would take five minutes on a slow machine."""


def run(settings: Settings) -> int:
    """Run the demo and answer with the exit code: 0, or 1 when a gate failed and no model is released."""
    from evaluation.gates import Gates, is_better, run_gates
    from evaluation.release import promote, released_or_none
    from stalkscreen.cli import readable
    from stalkscreen.references import load_model
    from stalkscreen.schema import Assessment
    from stalkscreen.screening import screen_file
    from stalkscreen.workflow.evaluating import evaluate_on
    from stalkscreen.workflow.training import train_and_register

    began = time.monotonic()
    _say(f"1. Train on a part of the committed corpus, one writer in {ONE_IN}, and register the run")
    trained = train_and_register([part_of_corpus()], CONFIG, settings)
    click.echo(trained.summary)

    _say("2. Evaluate on the public cases (never trained on) and run the gates")
    public = evaluate_on(trained.model, [PUBLIC], settings)
    released = released_or_none(settings)
    gates = Gates.read()
    results = run_gates(trained.metrics, trained.scores, released, gates)
    report = write_report(trained, public, results, settings)
    for result in results:
        click.echo(f"{result.status.replace('_', ' '):>14}  {result.name}: {result.sentence}")

    _say("3. Promote, where the gates pass and nothing better is released")
    # The quick linear model may fail a gate or lose to what is released: it then stays a candidate, and the demo goes on.
    failed = ", ".join(r.name for r in results if r.status == "fail" and r.name != "released")
    in_use = released.name if released else None
    if failed and in_use is None:
        click.echo(f"Failed: {failed}. No model is released, so nothing can screen. Report: {report}", err=True)
        return 1
    if failed:
        click.echo(f"Failed: {failed}. Version {trained.version} stays candidate; {in_use} stays in use.")
    elif is_better(trained.scores, released, gates):
        click.echo(f"Released: {promote(trained.version, settings).folder}")
    else:
        click.echo(
            f"Version {trained.version} is no better than the released {in_use}: it stays "
            f"candidate. `stalkscreen promote {trained.version}` would release it all the same."
        )

    _say("4. Screen the example incidents with the released model")
    screened = OUT / "screened.jsonl"
    summary = screen_file(EXAMPLES, screened, load_model(None, settings))
    click.echo(str(summary))
    lines = screened.read_text(encoding="utf-8").splitlines()
    with EXAMPLES.open(encoding="utf-8", newline="") as stream:
        narratives = {row["incident_id"]: row["narrative"] for row in csv.DictReader(stream)}
    for line in lines[:SHOWN]:
        answer = json.loads(line)
        click.echo(f"\n{answer['incident_id']}: {narratives[answer['incident_id']]}")
        click.echo(readable(Assessment.model_validate(answer)))

    _say(f"Done in {time.monotonic() - began:.0f} s")
    click.echo(
        f"Report:       {report}\n"
        "Serve:        make serve     then  curl -s localhost:3000/v1/screen -H 'Content-Type: application/json' "
        '-d \'{"incident_id": "A1", "narrative": "…"}\'\n'
        "MLflow:       make ui        then  http://127.0.0.1:5000\n"
        "Your file:    .venv/bin/stalkscreen screen incidents.csv --out assessed.csv\n"
        "Retrain:      .venv/bin/stalkscreen train --data mine.csv --columns narrative=FREE_TEXT,incident_id=URN,"
        "stalking=IS_STALKING --config training/configs/linear.toml"
    )
    return 0


def part_of_corpus() -> Path:
    """Write every `ONE_IN`th writer's records, as they are, and what they are into the demo's folder."""
    with CORPUS.open(encoding="utf-8") as stream:
        lines = list(stream)
    writers = [json.loads(line)["writer"] for line in lines]
    chosen = set(sorted(set(writers))[::ONE_IN])
    kept = [line for line, writer in zip(lines, writers, strict=True) if writer in chosen]
    about = tomllib.loads(CORPUS.with_name("dataset.toml").read_text(encoding="utf-8"))
    about |= {"name": f"{about['name']}, one writer in {ONE_IN}", "note": f"Of the whole corpus: {about['note']}"}
    OUT.mkdir(parents=True, exist_ok=True)
    write_text(OUT / "dataset.toml", "".join(f"{key} = {json.dumps(value)}\n" for key, value in about.items()))
    write_text(OUT / "part_of_corpus.jsonl", "".join(kept))
    return OUT / "part_of_corpus.jsonl"


def write_report(trained: Trained, public: dict[str, Any], results: Sequence[GateResult], settings: Settings) -> Path:
    """Write the report and the figures on the public cases into a folder of their own, and add that folder to the run.

    The example incidents are screened into the folder above, which is never logged: assessments quote narratives.
    """
    from evaluation.report import render_report
    from stalkscreen.tracking import runs
    from stalkscreen.workflow.evaluating import headline

    folder = OUT / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / "report.html"
    page = render_report([trained.metrics, public], trained.metrics["model"], [r.to_json_dict() for r in results])
    write_text(report, page)
    write_text(folder / "public_metrics.json", json.dumps(public, indent=1))
    figures = {f"public.{key}": value for key, value in headline(public).items()}
    runs.log_evaluation(trained.run_id, "demo", folder, figures, settings)
    return report


def _say(title: str) -> None:
    click.echo(f"\n== {title}")


def main() -> None:
    """Entry point of `make demo`."""
    try:
        sys.exit(run(Settings.from_env()))
    except StalkscreenError as error:
        click.echo(f"Error: {error.message}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
