"""Two processes on two hosts → does their shared folder keep its promises?

Both run `python -m palimpsest.trial FOLDER ROLE` (roles a and b) at once: they rename folders to
the same place, where one must succeed, and try the same lock, which one must get. Standard library
only. What they saw is written to FOLDER/ROLE.json; `judge` compares the two.
"""

from __future__ import annotations

import fcntl
import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

ROLES = ("a", "b")
N_RENAMES, N_LOCKS = 40, 5
SECONDS_TO_START = 5.0  # from the moment that both are seen, more than a network's cache of names
SECONDS_PER_RENAME, SECONDS_PER_LOCK = 0.1, 1.0
SECONDS_TO_MEET = 240.0
MOST_SKEW_SECONDS = 0.3  # a lock is held for twice as long


def main(place: str, role: str) -> None:
    """Take one part in the trial."""
    folder = Path(place)
    skew = _skew(folder, role)
    start = _meet(folder, role)
    renamed = [_rename(folder, role, n, start) for n in range(N_RENAMES)]
    start += N_RENAMES * SECONDS_PER_RENAME
    locked = [_lock(folder, n, start) for n in range(N_LOCKS)]
    saw = {
        "host": socket.gethostname(),
        "skew_seconds": skew,
        "renamed": renamed,
        "locked": locked,
    }
    fresh = folder / f".{role}.json"
    fresh.write_text(json.dumps(saw), "utf-8")
    fresh.rename(folder / f"{role}.json")


def judge(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Return in how many rounds exactly one succeeded, and how far the clocks are apart."""
    errors = [word for word in a["locked"] + b["locked"] if isinstance(word, str)]
    return {
        "n_renames": len(a["renamed"]),
        "n_renamed_once": _n_once(a["renamed"], b["renamed"]),
        "n_locks": len(a["locked"]),
        "n_locked_once": _n_once(a["locked"], b["locked"]),
        "lock_error": errors[0] if errors else "",
        "skew_seconds": abs(a["skew_seconds"] - b["skew_seconds"]),
    }


def _n_once(a: list[Any], b: list[Any]) -> int:
    return sum((x is True) != (y is True) for x, y in zip(a, b, strict=True))


def _skew(folder: Path, role: str) -> float:
    """Return how far this host's clock is before that of the file server."""
    probe = folder / f"clock-{role}"
    probe.touch()
    return time.time() - probe.stat().st_mtime


def _meet(folder: Path, role: str) -> float:
    """Wait for the other part; return the moment at which both begin."""
    if role == ROLES[0]:
        _wait(folder / f"here-{ROLES[1]}")
        fresh = folder / ".start"
        fresh.write_text(repr(time.time() + SECONDS_TO_START), "utf-8")
        fresh.rename(folder / "start")
    else:
        (folder / f"here-{role}").touch()
        _wait(folder / "start")
    return float((folder / "start").read_text("utf-8"))


def _wait(file: Path) -> None:
    end = time.monotonic() + SECONDS_TO_MEET
    while not file.exists():
        if time.monotonic() > end:
            sys.exit(f"{file}: did not appear in {SECONDS_TO_MEET:.0f} s")
        time.sleep(0.1)


def _rename(folder: Path, role: str, number: int, start: float) -> bool:
    """Return whether this part's folder came to stand at the place that both want."""
    own = folder / f"own-{role}-{number}"
    own.mkdir()
    (own / "content").touch()
    _sleep_until(start + number * SECONDS_PER_RENAME)
    try:
        own.rename(folder / f"wanted-{number}")
    except OSError:
        return False
    return True


def _lock(folder: Path, number: int, start: float) -> bool | str:
    """Return whether this part got the lock; the complaint where there are no locks."""
    with (folder / f"lock-{number}").open("a") as file:
        _sleep_until(start + number * SECONDS_PER_LOCK)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            return str(error)
        time.sleep(2 * MOST_SKEW_SECONDS)
    return True


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


if __name__ == "__main__":
    main(*sys.argv[1:])
