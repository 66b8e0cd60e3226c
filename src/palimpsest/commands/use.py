"""`palimpsest use`: change the study."""

from __future__ import annotations

from typing import Annotated

import typer

from palimpsest.commands.shared import YesOption, ask, complete_study, console, say


def use(
    study: Annotated[
        str,
        typer.Argument(
            help="A name from studies/, `default`, or a path.", autocompletion=complete_study
        ),
    ],
    yes: YesOption = False,
) -> None:
    """Make a study the params.yaml, after showing the difference.

    A params.yaml that was edited, and that no commit holds, is copied to .work/params first.

    Example: palimpsest use smoke
    """
    from palimpsest.entry import difference, replace_params, study_file

    source = study_file(study)
    lines = difference(source)
    if not lines:
        console.print(f"params.yaml already is {source}")
        return
    for line in lines:
        style = {"+": "green", "-": "red"}.get(line[:1], "")
        console.print(line, style=style, markup=False, highlight=False)
    if not ask(f"Make {source} the params.yaml?", yes=yes):
        raise typer.Exit(1)
    copy = replace_params(source)
    say(f"params.yaml is now {source}; nothing that was computed is lost")
    if copy:
        say(f"The edited one is kept: `palimpsest use {copy}` brings it back")
