"""`palimpsest prune`: free the disk of what nobody asks for and DVC could give back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from palimpsest.commands.shared import (
    PARAMS,
    JsonOption,
    ParamsOption,
    QuietOption,
    YesOption,
    ask,
    console,
    say,
    show,
)
from palimpsest.progress import track

if TYPE_CHECKING:
    from palimpsest.pruning import Leftover


def prune(
    yes: YesOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would go; delete nothing.")
    ] = False,
    params: ParamsOption = PARAMS,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Delete artifacts that the params do not ask for, if DVC holds every byte of them.

    Parked ones, and those that stand in runs/ though nobody asks for them. What DVC's cache or the
    default remote does not hold under some commit's dvc.lock is kept, and the reason shown.
    `palimpsest restore` brings back what was deleted. Results that older code kept by their
    content, a short cut that today's code cannot take, go too, and nothing brings them back.

    Example: palimpsest prune --dry-run

    Exit codes: 0 done, 1 the answer was no, 2 nobody could be asked.
    """
    from palimpsest.pruning import leftovers, remove
    from palimpsest.schedule import own, schedule
    from palimpsest.vault import Vault

    with own(wait=False):
        found = leftovers(schedule(str(params), by="cores", cores=1), Vault())
        going = [leftover for leftover in found if not leftover.kept]
        if as_json:
            show([_plain(leftover) for leftover in found], as_json, str)
        elif not quiet:
            console.print(_table(found))
        n_bytes = sum(leftover.n_bytes for leftover in going)
        if dry_run or not going:
            return
        if not ask(f"Delete {len(going)} folders, {n_bytes / 1e6:.1f} MB?", yes=yes):
            raise typer.Exit(1)
        for leftover in track(going, "prune", quiet=quiet or as_json):
            remove(leftover)
    if not (quiet or as_json):
        free = f"{n_bytes / 1e6:.1f} MB are free again"
        say(f"{free}; `palimpsest restore COMMIT` brings artifacts back")


def _plain(leftover: Leftover) -> dict[str, object]:
    return vars(leftover) | {"path": str(leftover.path)}


def _table(found: list[Leftover]) -> Table | str:
    if not found:
        return "Nothing to prune."
    table = Table(box=None, pad_edge=False)
    for column in ("folder", "what", "MB", "goes"):
        table.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
    for leftover in found:
        goes = f"kept: {leftover.kept}" if leftover.kept else "yes"
        table.add_row(str(leftover.path), leftover.what, f"{leftover.n_bytes / 1e6:.1f}", goes)
    return table
