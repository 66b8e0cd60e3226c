"""The state of a training that is under way ↔ one file, complete or absent after a kill.

Besides `models.py` the only module of core that touches files: both stages that train need it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FILE = "resume.pt"
SAVE_SECONDS = 30.0
MAX_SHARE_SAVING = 0.05  # of the wall time: large weights save less often


class Saver:
    """Writes the newest state to `out/resume.pt`, every PALIMPSEST_SAVE_SECONDS at the most."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.seconds = float(os.environ.get("PALIMPSEST_SAVE_SECONDS", SAVE_SECONDS))
        self.next_save = time.monotonic() + self.seconds

    def due(self) -> bool:
        """Say whether it is time to save."""
        return time.monotonic() >= self.next_save

    def save(self, state: dict[str, Any], *, folders: Iterable[str]) -> None:
        """Write `state` and the files of the finished checkpoint `folders` below `out`.

        A later attempt starts in an empty folder, so that the file has to carry them along.
        """
        began = time.monotonic()
        files = {name: _files(self.out / name) for name in folders}
        temporary = self.out / f"{FILE}.tmp"
        torch.save({**state, "folders": files}, temporary)
        temporary.replace(self.out / FILE)
        wait = max(self.seconds, (time.monotonic() - began) / MAX_SHARE_SAVING)
        self.next_save = time.monotonic() + wait

    def load(self) -> dict[str, Any] | None:
        """Return the state of an earlier attempt, its checkpoint folders put back; None if new."""
        if not (self.out / FILE).exists():
            return None
        state: dict[str, Any] = torch.load(self.out / FILE, weights_only=True)
        for name, files in state.pop("folders").items():
            (self.out / name).mkdir(exist_ok=True)
            for file, content in files.items():
                content.numpy().tofile(self.out / name / file)
        return state

    def remove(self) -> None:
        """Remove what only an unfinished training needs."""
        (self.out / FILE).unlink(missing_ok=True)
        (self.out / f"{FILE}.tmp").unlink(missing_ok=True)


def _files(folder: Path) -> dict[str, Tensor]:
    """Map each file of a folder to memory, so that saving needs no second copy of the weights."""
    return {
        file.name: torch.from_file(str(file), size=file.stat().st_size, dtype=torch.uint8)
        for file in sorted(folder.iterdir())
    }
