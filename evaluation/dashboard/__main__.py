"""Start the page: `python -m evaluation.dashboard --reports out`. It listens on this machine only."""

from __future__ import annotations

import os
from pathlib import Path

import click

from stalkscreen.config import CHECKOUT, Settings

HOST = "127.0.0.1"
"""Never another: what a force measures is not for its network."""

REPORTS = "STALKSCREEN_REPORTS"


@click.command(epilog="Example: python -m evaluation.dashboard --reports out/march --reports out/april")
@click.option(
    "--reports",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=f"Folder written by `stalkscreen evaluate`, or one that holds such folders; may be repeated. Default: {REPORTS} "
    f"(several with {os.pathsep!r} between), or the checkout's out folder.",
)
@click.option("--port", default=8050, show_default=True, type=click.IntRange(1, 65535))
def main(folders: tuple[Path, ...], port: int) -> None:
    """Explore and compare evaluations in a browser on this machine."""
    import uvicorn

    from evaluation.dashboard.app import dashboard
    from evaluation.dashboard.sources import Catalogue

    given = [Path(name) for name in os.environ.get(REPORTS, "").split(os.pathsep) if name]
    catalogue = Catalogue(folders or given or [CHECKOUT / "out"], Settings.from_env())
    click.echo(f"http://{HOST}:{port}  (this machine only; Ctrl+C ends it)")
    # No access log: an address holds what was looked at.
    uvicorn.run(dashboard(catalogue), host=HOST, port=port, access_log=False, server_header=False, log_level="warning")


if __name__ == "__main__":
    main()
