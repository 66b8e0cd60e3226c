"""Learning-rate policies, one file each: a kind is the module of that name.

A module has `Params` (closed, frozen, its `kind` a literal of the file's name), NEEDS_PROBE,
NEEDS_LENGTH, `label(params)` and `rate(params, memory, step)`; a new file is a new policy.
`memory` is a dict of plain JSON that goes along through a phase and is saved with it.
No module loads torch: parameters are checked without it.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType

from palimpsest.faults import Fault


def policy(kind: str) -> ModuleType:
    """Return the module of a policy; an unknown kind is a Fault that names the known ones."""
    kinds = sorted({module.name for module in pkgutil.iter_modules(__path__)} - {"step"})
    if kind not in kinds:
        raise Fault(f"policy: there is no kind {kind!r}: {', '.join(kinds)}")
    return import_module(f"{__name__}.{kind}")
