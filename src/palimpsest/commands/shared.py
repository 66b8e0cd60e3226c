"""What commands have in common: their options, how they print, how they ask."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

from palimpsest.faults import Fault

PARAMS, SLURM_PROFILE = Path("params.yaml"), Path("workflow/profiles/slurm")
ParamsOption = Annotated[
    Path, typer.Option("--params", help="Parameter file to read instead of params.yaml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print faults alone.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Print each command.")]

console = Console()


def show(content: Any, as_json: bool, draw: Callable[[Any], RenderableType]) -> None:
    """Print plain content as JSON for a script, or drawn for a person."""
    if as_json:
        print(json.dumps(content, indent=1, sort_keys=True))
    else:
        console.print(draw(content))


def say(line: str, *, style: str = "") -> None:
    """Print one line as it is, however narrow the terminal."""
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def ask(question: str, *, yes: bool) -> bool:
    """Return whether a person agrees; Fault where nobody can be asked and --yes is not given."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise Fault(f"{question} Nobody can be asked here: add --yes")
    return typer.confirm(question)


def complete_stage(incomplete: str) -> list[str]:
    """Return the stages that begin so, for the tab key."""
    from palimpsest.plan import DVC_FILE, Stages

    order = Stages().order if DVC_FILE.exists() else []
    return [stage for stage in order if stage.startswith(incomplete)]


def complete_study(incomplete: str) -> list[str]:
    """Return the studies that begin so, for the tab key."""
    names = sorted(path.stem for path in Path("studies").glob("*.yaml"))
    return [name for name in names if name.startswith(incomplete)]


StagesArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Only these stages; all by default.", autocompletion=complete_stage),
]


def chosen_stages(asked: list[str] | None) -> tuple[str, ...]:
    """Return the stages that a person named, or all; Fault if there is no such stage."""
    from palimpsest.plan import Stages

    return stage_names(asked or [], Stages().order)


def stage_names(asked: list[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return those of the known stages that were asked for, or all; Fault for an unknown one."""
    from palimpsest.plan import check_stages

    check_stages(asked, known)
    return tuple(asked or known)
