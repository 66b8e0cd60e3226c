"""`palimpsest show`: the runs, or what a step of one trained on."""

from __future__ import annotations

from typing import Annotated

import typer

from palimpsest.commands.shared import PARAMS, JsonOption, ParamsOption
from palimpsest.commands.shared import show as shown


def show(
    run: Annotated[str, typer.Argument(help="A run's name, or a part that no other run has.")] = "",
    step: Annotated[
        int | None, typer.Argument(min=1, help="A step, counted from the run's start.")
    ] = None,
    params: ParamsOption = PARAMS,
    as_json: JsonOption = False,
) -> None:
    """List the runs and how far they are; or show the batch of a step of one.

    Of a batch: its text, where it is from, when last seen, its loss. Without a step, the runs whose
    name holds what was given.

    Examples: palimpsest show, palimpsest show neox-25k_hold0.05_r0.5_s0_e1 12
    """
    if step is None:
        from palimpsest.listing import runs, runs_table
        from palimpsest.schedule import schedule

        shown(runs(schedule(str(params), by="cores", cores=1), run), as_json, runs_table)
        return
    from palimpsest import plan
    from palimpsest.showing import shown_step, step_text

    shown(shown_step(plan.load(params), run, step), as_json, step_text)
