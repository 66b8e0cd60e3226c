"""Scaling laws: each law is one module here; a law is looked up by its name."""

from __future__ import annotations

import difflib
import importlib
import pkgutil

from palimpsest.core.laws.form import Law
from palimpsest.faults import Fault

MACHINERY = {
    "annealing",
    "fitting",
    "form",
    "intervals",
    "points",
    "projection",
    "solver",
    "starts",
}
MACHINERY |= {"study", "summary", "table", "validation"}


def names() -> list[str]:
    """Return the names of all laws: the modules of this folder that are not machinery."""
    modules = {found.name for found in pkgutil.iter_modules(__path__)}
    return sorted(name.replace("_", "-") for name in modules - MACHINERY)


def load(name: str) -> Law:
    """Return the law of a name such as `replay-share`; only its module is imported."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names())}"
        raise Fault(f"laws: there is no law {name!r}{hint}")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    law: Law = module.LAW
    return law
