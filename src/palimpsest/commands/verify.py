"""`palimpsest verify`: are the artifacts what was written?"""

from __future__ import annotations

from pathlib import Path

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


def verify(
    stages: StagesArgument = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Recompute the hashes of artifacts: keys, sizes, weights, and what DVC recorded.

    Example: palimpsest verify train recall

    Exit codes: 0 all sound, 1 something is damaged.
    """
    from palimpsest import verifying
    from palimpsest.vault import Vault

    named = Vault().named_by(today=Path("dvc.lock").exists())
    folders = verifying.artifacts(chosen_stages(stages))
    found = {
        str(folder): faults
        for folder in track(folders, "verify", quiet=quiet or as_json)
        if (faults := verifying.damage(folder, named))
    }
    recorded = sum((folder.parent.name, folder.name) in named for folder in folders)
    content = {"checked": len(folders), "recorded_in_dvc": recorded, "damaged": found}
    if as_json:
        show(content, as_json, str)
    else:
        for folder, faults in found.items():
            for fault in faults:
                say(f"{folder}: {fault}", style="red")
            say(f"{folder}: {verifying.remedy(folder)}")
        if not quiet:
            say(
                f"{len(folders)} artifacts checked, {len(found)} damaged; {recorded} against DVC "
                f"byte for byte, of the other {len(folders) - recorded} weights and sizes"
            )
    raise typer.Exit(1 if found else 0)
