"""`palimpsest restore`: artifacts of an earlier commit, without computing."""

from __future__ import annotations

from typing import Annotated

import typer

from palimpsest.commands.shared import (
    JsonOption,
    QuietOption,
    StagesArgument,
    chosen_stages,
    say,
    show,
)
from palimpsest.progress import track


def restore(
    commit: Annotated[str, typer.Argument(help="Commit, tag or branch whose dvc.lock is read.")],
    stages: StagesArgument = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Take back the artifacts that an earlier commit's dvc.lock names, from DVC's cache or remote.

    They wait in the attic, where the next run finds them if the params ask for them; nothing that
    is here is replaced.

    Example: palimpsest restore HEAD~3 train
    """
    from palimpsest.restoring import lost, take_back
    from palimpsest.vault import Vault

    vault = Vault()
    chosen = chosen_stages(stages)
    found = lost(vault, revision=commit, stages=chosen)
    for (stage, name), files in track(list(found.items()), "restore", quiet=quiet or as_json):
        take_back(vault, stage, name, files)
    names = sorted(f"{stage}/{name}" for stage, name in found)
    if as_json:
        show({"restored": names}, as_json, str)
    elif not quiet:
        for name in names:
            say(name)
        say(f"{len(names)} artifacts wait in the attic; `palimpsest status` counts them as parked")
