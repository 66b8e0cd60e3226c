"""`palimpsest accept`: a change of code that changes no number."""

from __future__ import annotations

from typing import Annotated

import typer

from palimpsest.commands.shared import (
    PARAMS,
    JsonOption,
    ParamsOption,
    complete_stage,
    say,
    show,
    stage_names,
)


def accept(
    stage: Annotated[
        str,
        typer.Argument(
            help="Stage whose code was changed without harm.", autocompletion=complete_stage
        ),
    ],
    params: ParamsOption = PARAMS,
    as_json: JsonOption = False,
) -> None:
    """Declare that a stage's new code makes the same artifacts as the code that made those here.

    Written to workflow/accepted.yaml, which you commit: then no clone computes them again, and no
    folder is renamed. Accept upstream stages first. To take it back, remove the line.

    Example: palimpsest accept train
    """
    from palimpsest.accepting import accept as write
    from palimpsest.plan import ACCEPTED, Stages
    from palimpsest.schedule import Schedule, own, schedule

    def planned() -> Schedule:
        return schedule(str(params), by="cores", cores=1)

    with own(wait=False):
        stage_names([stage], Stages().order)
        new = write(planned, stage)
        n_missing = len(planned().missing(stage))
    if as_json:
        show({stage: new}, as_json, str)
        return
    for now, then in new.items():
        say(f"{stage}: code {now} counts as {then}")
    left = f"{n_missing} still missing, `palimpsest status` says why" if n_missing else "complete"
    say(f"{stage}: {left}; commit {ACCEPTED}")
