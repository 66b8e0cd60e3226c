"""`palimpsest run`: build the study."""

from __future__ import annotations

import difflib
import sys
from typing import Annotated

import typer

from palimpsest.commands.shared import QuietOption, VerboseOption, complete_stage
from palimpsest.faults import Fault

SETTINGS = {"ignore_unknown_options": True}  # they are Snakemake's
OWN = ("--again", "--quiet", "--verbose")


def run(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STAGE",
            help="Stages to build, and what is passed to snakemake: -n, --profile …",
            autocompletion=complete_stage,
        ),
    ] = None,
    again: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE",
            help="Build this stage's artifacts again, and what then differs.",
            autocompletion=complete_stage,
        ),
    ] = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Build what params.yaml asks for and record it in DVC.

    Examples: palimpsest run, palimpsest run train -n, palimpsest run --again evals

    Exit codes: 0 done, 1 a job failed (what stands stays; run again to go on), 2 a fault in
    params.yaml or the folder.
    """
    from palimpsest import progress
    from palimpsest.entry import build_and_record, snakemake_options, targets

    refuse_misspelt(arguments or [])
    progress.announce(quiet=quiet)
    options = snakemake_options(quiet=quiet, verbose=verbose)
    sys.exit(build_and_record([*targets(arguments or []), *options], again=again))


def refuse_misspelt(arguments: list[str]) -> None:
    """Raise Fault for an option that resembles one of the command's own; the others go on."""
    for argument in arguments:
        close = difflib.get_close_matches(argument, OWN, n=1, cutoff=0.8)
        if close and argument.startswith("--") and argument not in OWN:
            raise Fault(f"run: no option {argument}; did you mean {close[0]}?")
