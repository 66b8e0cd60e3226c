"""`palimpsest report`: the page, or figures of it."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from palimpsest.commands.shared import PARAMS, QuietOption, say

FIGURES = Path("results/figures")  # git ignores results/, and DVC records only results/report


def report(
    figures: Annotated[
        list[str] | None,
        typer.Option("--figure", help="Draw this figure alone; may be given several times."),
    ] = None,
    to: Annotated[Path, typer.Option(help="Folder for figures drawn alone.")] = FIGURES,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Build the report, with what it needs, and say where it is; or draw figures of it alone.

    Examples: palimpsest report --open, palimpsest report --figure forgetting --to paper

    Exit codes: 0 done, 1 a job failed, 2 no such figure, or its tables are not built.
    """
    from palimpsest import progress, store
    from palimpsest.entry import build_and_record, snakemake_options
    from palimpsest.redrawing import redraw
    from palimpsest.schedule import schedule

    if figures:
        for path in redraw(schedule(str(PARAMS), by="cores", cores=1), figures, to):
            say(str(path))
        return
    progress.announce(quiet=quiet)
    code = build_and_record(snakemake_options(quiet=quiet, verbose=False))
    if code:
        raise typer.Exit(code)
    if browse:
        webbrowser.open((store.RESULTS / "report" / "index.html").resolve().as_uri())
