"""A checkpoint setting and a number of steps → the steps after which weights are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def steps_to_keep(settings: dict[str, Any], n_steps: int) -> tuple[int, ...]:
    """Return the steps of an epoch, counted from 1 and ascending, whose weights are kept.

    The last step is always among them, step 0 (the weights the epoch starts from) never. Listed
    steps beyond the epoch's end are left out; an epoch shorter than `count` keeps every step.
    """
    kind = settings["kind"]
    if kind == "log":
        return _with_last(log_spaced(n_steps=n_steps, count=settings["count"]), n_steps)
    if kind == "even":
        count = settings["count"]
        return _with_last((round(n_steps * i / count) for i in range(1, count + 1)), n_steps)
    return _with_last(settings.get("steps") or (), n_steps)


def log_spaced(*, n_steps: int, count: int) -> tuple[int, ...]:
    """Return n^(1/count), n^(2/count), … n rounded: equal distances in the logarithm from 1 on."""
    return tuple(round(n_steps ** (i / count)) for i in range(1, count + 1))


def doublings(*, n_steps: int, count: int) -> tuple[int, ...]:
    """Return the last step and its half, quarter, …: log-spaced, but none near an untrained model.

    >>> doublings(n_steps=800, count=4)
    (100, 200, 400, 800)
    """
    return _with_last((n_steps // 2**i for i in range(count)), n_steps)


def folder_name(step: int) -> str:
    """Name the folder of the weights after `step` updates; names sort as steps do."""
    return f"step-{step:08d}"


def _with_last(steps: Iterable[int], n_steps: int) -> tuple[int, ...]:
    return tuple(sorted({step for step in (*steps, n_steps) if 1 <= step <= n_steps}))
