"""`palimpsest doctor`: would a study run here?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from palimpsest.commands.shared import SLURM_PROFILE, JsonOption, show


def doctor(
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Check a SLURM site and the profile for it.")
    ] = False,
    profile: Annotated[
        Path, typer.Option(help="Snakemake profile of the cluster.")
    ] = SLURM_PROFILE,
    as_json: JsonOption = False,
) -> None:
    """Check what this machine offers: versions, GPU, SLURM, DVC remote, disk, hub.

    Examples: palimpsest doctor --json, palimpsest doctor --slurm

    Exit codes: 0 a study runs here, 1 something would not work.
    """
    from palimpsest import checks, site

    found = site.check_site(profile) if slurm else checks.machine()
    content = [vars(check) for check in found]
    show(content, as_json, site.table)
    raise typer.Exit(int(any(check["state"] == site.ERROR for check in content)))
