"""Plug-ins: a folder of core each of whose modules is a kind that parameters name."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from palimpsest.faults import Fault

# What every plug-in of a folder defines; its other modules serve them.
MARKS = {
    "edits": "\nclass Settings(",
    "laws": "\nLAW =",
    "policies": "\nclass Params(",
    "streams": "\nclass Settings(",
}


@cache
def kinds(package: str) -> list[str]:
    """Return the kinds that `core/<package>` offers, sorted."""
    folder = Path(__file__).parent / package
    files = (file for file in folder.glob("*.py") if file.stem != "__init__")
    return sorted(file.stem for file in files if MARKS[package] in file.read_text("utf-8"))


def plug_in(package: str, kind: object, where: str) -> Any:
    """Import the module of a kind; a Fault names the nearest, or all that there are."""
    known = kinds(package)
    if kind not in known:
        raise Fault(f"{where}.kind: {kind!r} is unknown{nearest(str(kind), known)}")
    return import_module(f"palimpsest.core.{package}.{kind}")


def nearest(name: str, known: list[str]) -> str:
    """Return the end of a fault: the nearest name, or all names."""
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
