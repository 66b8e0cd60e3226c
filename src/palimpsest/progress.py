"""What a job says while it works: progress lines for people, measured speed for the records."""

from __future__ import annotations

import os
import sys
import time

SECONDS = "PALIMPSEST_SECONDS_BETWEEN_LINES"  # how a command tells the jobs that it starts
ON_A_TERMINAL, IN_A_FILE = 10.0, 60.0

_prefix = ""
_first: tuple[float, int] | None = None
_last_line = 0.0
_notes: dict[str, float] = {}
_series: dict[str, list[float]] = {}


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
    left = (now - _first[0]) / (done - _first[1]) * (total - done)
    say(f"{_prefix}: {what} {done}/{total}, about {left:.0f} s left")


def note(**measured: float) -> None:
    """Add measured amounts (tokens, operations, seconds) to the artifact's record."""
    for name, amount in measured.items():
        _notes[name] = _notes.get(name, 0.0) + amount


def note_each(name: str, values: list[float]) -> None:
    """Add one measured value per step to the artifact's record."""
    _series[name] = values


def series() -> dict[str, list[float]]:
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


def say(line: str) -> None:
    """Print one line for a person, at once."""
    print(line, file=sys.stderr, flush=True)
