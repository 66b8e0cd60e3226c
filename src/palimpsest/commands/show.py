"""`palimpsest show`: what a step of a run trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def show(
    run: Annotated[str, typer.Argument(help="A run's name, or a part that no other run has.")],
    step: Annotated[int, typer.Argument(min=1, help="A step, counted from the run's start.")],
    params: Annotated[
        Path, typer.Option("--params", help="Parameter file to read instead of params.yaml.")
    ] = Path("params.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Show the batch of a step: its text, where it is from, when last seen, its loss.

    Example: palimpsest show neox-25k_hold0.05_r0.5_s0_e1 12
    """
    from palimpsest import plan
    from palimpsest.showing import shown_step, step_text

    content = shown_step(plan.load(params), run, step)
    if as_json:
        print(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False))
    else:
        Console().print(step_text(content))
