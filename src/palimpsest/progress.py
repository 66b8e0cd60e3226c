"""What a job says while it works: progress lines for people, measured speed for the records."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

SECONDS = "PALIMPSEST_SECONDS_BETWEEN_LINES"  # how a command tells the jobs that it starts
ON_A_TERMINAL, IN_A_FILE = 10.0, 60.0
LEAST_SECONDS, LEAST_DONE = 10.0, 3  # before this much of either, what is left cannot be told
# What Snakemake says of a stage where nothing is to do.
ROUTINE = (
    "Assuming unrestricted shared filesystem usage.",
    "Building DAG of jobs...",
    "Nothing to be done",
)

_prefix = ""
_first: tuple[float, int] | None = None
_last_line = 0.0
_notes: dict[str, float] = {}
_series: dict[str, Any] = {}


def begin(prefix: str) -> None:
    """Forget the artifact before; `prefix` opens each progress line of this one."""
    global _prefix, _first, _last_line
    _prefix, _first, _last_line = prefix, None, time.monotonic()
    _notes.clear()
    _series.clear()


def step_done(done: int, total: int, what: str = "step") -> None:
    """Print how far the artifact is and how long it still takes, now and then."""
    global _first, _last_line
    now = time.monotonic()
    if _first is None:
        _first = now, done  # what came before is start-up, not pace
    if now - _last_line < _seconds_between_lines() or done <= _first[1]:
        return
    _last_line = now
    pace = Pace(seconds=now - _first[0], work=done - _first[1])
    say(f"{_prefix}: {what} {done}/{total}{pace.left(total - done)}")


def track(
    items: Sequence[T], what: str, unit: str = "artifact", *, quiet: bool = False
) -> Iterator[T]:
    """Yield items with a bar and the time left; in a file a line a minute, and quiet none."""
    if quiet or not items:
        yield from items
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track as bar

        yield from bar(items, what, console=Console(stderr=True), transient=True)
    else:
        announce(quiet=False)
        begin(what)
        for done, item in enumerate(items, start=1):
            yield item
            step_done(done, len(items), unit)


@dataclass
class Pace:
    """How long how much work took, to tell how long the rest takes."""

    seconds: float = 0.0
    work: float = 0.0
    n_done: int = 0

    def add(self, seconds: float, work: float) -> None:
        """Count one more that is done; the first one's seconds are start-up too, so no pace."""
        if self.n_done:
            self.seconds += seconds
            self.work += work
        self.n_done += 1

    def left(self, work: float, *, of: str = "") -> str:
        """Return the end of a line, how long so much work still takes; empty if unknown yet."""
        enough = self.seconds >= LEAST_SECONDS or self.n_done >= LEAST_DONE
        if not enough or not self.work or not work:
            return ""
        return f", about {_duration(self.seconds / self.work * work)} left{of}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def note(**measured: float) -> None:
    """Add measured amounts (tokens, operations, seconds) to the artifact's record."""
    for name, amount in measured.items():
        _notes[name] = _notes.get(name, 0.0) + amount


def note_each(name: str, values: Any) -> None:
    """Add what is no sum, such as a value per step, or one for each name, to the record."""
    _series[name] = values


def series() -> dict[str, Any]:
    """Return what `note_each` gathered since `begin`."""
    return dict(_series)


def notes() -> dict[str, float]:
    """Return what `note` gathered since `begin`."""
    return dict(_notes)


def announce(*, quiet: bool) -> None:
    """Decide how often this process and those it starts print progress: a file needs few lines."""
    seconds = ON_A_TERMINAL if sys.stderr.isatty() else IN_A_FILE
    os.environ.setdefault(SECONDS, "inf" if quiet else str(seconds))


def quiet() -> bool:
    """Return whether only faults are to be printed."""
    return _seconds_between_lines() == float("inf")


def _seconds_between_lines() -> float:
    return float(os.environ.get(SECONDS, ON_A_TERMINAL))


def hush_snakemake() -> None:
    """Called by `dvc repro`, once for each stage, do not tell that there is nothing to do."""
    if "DVC_STAGE" in os.environ:
        routine = logging.getLogger("snakemake.logging")
        routine.addFilter(lambda record: not str(record.msg).startswith(ROUTINE))


def say(line: str) -> None:
    """Print one line for a person, at once."""
    print(line, file=sys.stderr, flush=True)
