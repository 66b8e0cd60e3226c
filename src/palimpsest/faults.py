"""A person's mistake: shown as one line, never as a traceback."""

from __future__ import annotations

import errno

MENDED = {  # faults of the system that a person can mend, and how
    errno.EACCES: "make it yours, or work in a folder that is",
    errno.EPERM: "make it yours, or work in a folder that is",
    errno.EROFS: "work in a folder that can be written to",
    errno.ENOSPC: "free some space: `palimpsest prune --dry-run`, `dvc gc`",
    errno.EDQUOT: "free some space: `palimpsest prune --dry-run`, `dvc gc`",
    errno.ENOENT: "run this in the project's root",
}


class Fault(Exception):
    """Says where the mistake stands, what it is and what to do; the command line exits with 2."""


def of_system(error: OSError) -> Fault | None:
    """Return what the system refused as a person's fault; None if only a programmer can mend it."""
    if error.errno not in MENDED:
        return None
    place = error.filename or "this folder"
    return Fault(f"{place}: {error.strerror}; {MENDED[error.errno]}")
