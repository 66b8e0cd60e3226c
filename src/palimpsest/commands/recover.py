"""`palimpsest recover`: go on after the controller on a cluster was killed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from palimpsest.commands.shared import SLURM_PROFILE


def recover(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Passed to snakemake, after `--`.")
    ] = None,
    profile: Annotated[
        Path, typer.Option(help="Snakemake profile of the cluster.")
    ] = SLURM_PROFILE,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel running jobs too; they resume later.")
    ] = False,
) -> None:
    """Go on after the controlling process on a cluster was killed: wait for its jobs, then run.

    Example: palimpsest recover
    """
    from palimpsest.entry import recover

    sys.exit(recover(profile, arguments or [], cancel=cancel))
