"""What a job says while it works: progress lines for people, measured speed for the records."""

from __future__ import annotations

import sys
import time

SECONDS_BETWEEN_LINES = 10.0

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
    """Print how far the artifact is and how long it still takes, at most every ten seconds."""
    global _first, _last_line
    now = time.monotonic()
    if _first is None:
        _first = now, done  # what came before is start-up, not pace
    if now - _last_line < SECONDS_BETWEEN_LINES or done <= _first[1]:
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


def say(line: str) -> None:
    """Print one line for a person, at once."""
    print(line, file=sys.stderr, flush=True)
