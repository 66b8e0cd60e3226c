"""A command that builds artifacts → on a terminal its lines, and one bar below them.

The bar counts artifacts that stand, weighted by what they were planned to cost; the time left
follows from the pace so far.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from palimpsest import progress, store
from palimpsest.plan import Artifact

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_OF_PACE = 1800.0  # the last so many give the time left


class Awaited:
    """The artifacts that a command is to build, and which of them stand by now."""

    def __init__(self, artifacts: Iterable[Artifact]):
        self._open = {store.artifact(a.stage, a.name): max(a.cost.seconds, 1e-3) for a in artifacts}
        self.n_all, self.work = len(self._open), sum(self._open.values())

    def look(self) -> tuple[int, float]:
        """Return how many stand, and their planned seconds; each is looked for until it stands."""
        self._open = {path: work for path, work in self._open.items() if not path.exists()}
        return self.n_all - len(self._open), self.work - sum(self._open.values())


def call(command: list[str], env: Mapping[str, str], awaited: Iterable[Artifact]) -> int:
    """Run a command to its end and return its exit code; draw the bar if a person looks on."""
    wanted = Awaited(awaited)
    if not wanted.n_all or progress.quiet() or not sys.stderr.isatty():
        return wait(subprocess.Popen(command, env=env), command[0])
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        # A file, no pipe: jobs that outlive this process must not fail for want of a reader.
        with said.open("ab") as out, said.open("rb") as lines:
            both = out if sys.stdout.isatty() else None
            process = subprocess.Popen(command, env=env, stdout=both, stderr=out)
            return _watch(process, command[0], lines, wanted)


def wait(process: subprocess.Popen[bytes], program: str, seconds: float | None = None) -> int:
    """Wait for a process and return its exit code; after Ctrl-C, which it gets too, wait on.

    Raises TimeoutExpired after `seconds`.
    """
    while True:
        try:
            return process.wait(seconds)
        except KeyboardInterrupt:
            progress.say(f"waiting for {program} to end its jobs; what they saved is resumed")


def _watch(process: subprocess.Popen[bytes], program: str, lines: BinaryIO, wanted: Awaited) -> int:
    """Print what a process says above the bar until it ends; return its exit code."""
    with _bar(Console(stderr=True)) as bar:
        task = bar.add_task("", total=wanted.work, n_all=wanted.n_all, n_done=0)
        while True:
            try:
                code = wait(process, program, SECONDS_BETWEEN_LOOKS)
            except subprocess.TimeoutExpired:
                _show(bar, task, lines, wanted)
            else:
                _show(bar, task, lines, wanted, ended=True)
                return code


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.fields[n_done]}/{task.fields[n_all]} artifacts"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("about"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=True,
        speed_estimate_period=SECONDS_OF_PACE,
    )


def _show(
    bar: Progress, task: TaskID, lines: BinaryIO, wanted: Awaited, *, ended: bool = False
) -> None:
    """Print the new lines, the last one once it is whole or all has ended, and move the bar."""
    start, said = lines.tell(), lines.read()
    whole = said if ended else said[: said.rfind(b"\n") + 1]
    lines.seek(start + len(whole))
    for line in whole.decode("utf-8", "replace").splitlines():
        bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
    n_done, work = wanted.look()
    bar.update(task, completed=work, n_done=n_done)
