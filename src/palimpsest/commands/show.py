"""`palimpsest show`: what a step of a run trained on."""

from __future__ import annotations

from typing import Annotated

import typer

from palimpsest.commands.shared import PARAMS, JsonOption, ParamsOption
from palimpsest.commands.shared import show as shown


def show(
    run: Annotated[str, typer.Argument(help="A run's name, or a part that no other run has.")],
    step: Annotated[int, typer.Argument(min=1, help="A step, counted from the run's start.")],
    params: ParamsOption = PARAMS,
    as_json: JsonOption = False,
) -> None:
    """Show the batch of a step: its text, where it is from, when last seen, its loss.

    Example: palimpsest show neox-25k_hold0.05_r0.5_s0_e1 12
    """
    from palimpsest import plan
    from palimpsest.showing import shown_step, step_text

    shown(shown_step(plan.load(params), run, step), as_json, step_text)
