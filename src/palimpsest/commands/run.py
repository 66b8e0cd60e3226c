"""`palimpsest run`: build the study."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from palimpsest.commands.shared import QuietOption, VerboseOption, complete_stage


def run(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STAGE",
            help="Stages to build; after `--` what is passed to snakemake: -n, --profile …",
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

    Examples: palimpsest run, palimpsest run train -- -n, palimpsest run --again evals

    Exit codes: 0 done, 1 a job failed (what stands stays; run again to go on), 2 a fault in
    params.yaml or the folder.
    """
    from palimpsest import progress
    from palimpsest.entry import build_and_record, snakemake_options, targets

    progress.announce(quiet=quiet)
    options = snakemake_options(quiet=quiet, verbose=verbose)
    sys.exit(build_and_record([*targets(arguments or []), *options], again=again))
