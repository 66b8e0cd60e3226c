"""A model state and batches to the rates and losses that one step on each would show.

Per batch: one gradient on the batch as it is trained on, the optimiser's direction u, then forward
passes along θ − ηu. θ stays what it is: moments are warmed by updates of rate 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from palimpsest.core.flat import FlatWeights, slope
from palimpsest.core.landscape import Line
from palimpsest.core.losses import (
    BatchGradient,
    Packed,
    batch_gradient,
    mean_loss,
    micro_batch_tokens,
    pack,
)
from palimpsest.core.rate_summary import DECADES, LANDSCAPE_COLUMNS
from palimpsest.core.rows import Row
from palimpsest.core.search import Found
from palimpsest.core.streams import Stream
from palimpsest.core.update import Update

Record = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """The state that is probed and all that it is measured on.

    spec: optimizer, warm_steps, decreases, rates (lowest, highest, points), landscape (whether to
    draw it). original: rows of the old domain; none where its loss is not asked for.
    """

    spec: dict[str, Any]
    model: PreTrainedModel
    flat: FlatWeights
    stream: Stream
    original: list[Row]

    def pack(self, rows: tuple[Row, ...] | list[Row]) -> list[Packed]:
        """Return rows as micro-batches on the model's device."""
        device = self.flat.weights.device
        return pack(rows, max_tokens=micro_batch_tokens(self.model), device=device)


def steps_to_probe(n_steps: int, *, batches: int, warm_steps: int) -> list[int]:
    """Return evenly spaced updates of the epoch that have a next one and, if it can be, a past."""
    last = max(n_steps - 2, 0)
    places = np.linspace(min(warm_steps, last), last, batches).round()
    return sorted({int(place) for place in places})


def probe_batch(bench: Bench, *, batch: int, step: int) -> Record:
    """Return what one batch shows: rates, landscape, slope and what is rounded away."""
    update = Update(bench.flat, bench.spec["optimizer"])
    for past in range(step - bench.spec["warm_steps"], step):
        _gradient(bench, past)
        update.direction()
    new, gradient = _gradient(bench, step)
    next_step = (step + bench.stream.repeats) % bench.stream.n_steps
    following = bench.pack(bench.stream.batch(next_step).new)
    u = update.direction()
    line = Line(
        bench.model,
        bench.flat,
        u,
        new,
        loss_nats=float(gradient.loss_new_nats),
        slope=float(slope(gradient.new_gradient, u)),
        highest_rate=bench.spec["rates"]["highest"],
    )
    return {
        "slope": line.slope,
        "share_rounded_away": [line.share_rounded_away(rate) for rate in DECADES],
        "rates": list(_rates(bench, line, following, batch=batch)),
        "landscape": list(_landscape(bench, line, new, following, batch=batch)),
    }


def _gradient(bench: Bench, step: int) -> tuple[list[Packed], BatchGradient]:
    """Return the new rows of an update and leave the gradient of its whole batch in `flat`."""
    batch = bench.stream.batch(step % bench.stream.n_steps)
    new = bench.pack(batch.new)
    replay = bench.pack(batch.replay)
    return new, batch_gradient(bench.model, bench.flat, new=new, replay=replay)


def _rates(bench: Bench, line: Line, following: list[Packed], *, batch: int) -> Iterator[Record]:
    """Yield one row per target; each search goes on from what the ones before have evaluated."""
    next_before = mean_loss(bench.model, following)
    for target, decrease in _targets(bench.spec["decreases"]):
        found = _search(line, target, decrease)
        rate, loss_after, next_after = found.learning_rate, math.nan, math.nan
        if rate is not None:
            loss_after, next_after = found.loss_nats, line.others(rate, [following])[0]
        if target == "best":
            decrease = 1 - loss_after / line.loss_nats
        yield {
            "batch": batch,
            "target": target,
            "decrease": decrease,
            "learning_rate": math.nan if rate is None else rate,
            "loss_before_nats": line.loss_nats,
            "loss_after_nats": loss_after,
            "next_loss_before_nats": next_before,
            "next_loss_after_nats": next_after,
            "share_rounded_away": (math.nan if rate is None else line.share_rounded_away(rate)),
            "n_forward": found.n_forward,
            "reason": found.reason,
        }


def _targets(decreases: list[float]) -> Iterator[tuple[str, float]]:
    """Yield the searches in the order in which they help each other: up along the curve."""
    yield from (("decrease", decrease) for decrease in sorted(decreases) if decrease > 0)
    yield ("best", math.nan)
    yield ("edge", math.nan)
    yield from (("decrease", decrease) for decrease in sorted(decreases)[::-1] if decrease < 0)


def _search(line: Line, target: str, decrease: float) -> Found:
    if target == "decrease":
        return line.target(decrease)
    return line.best() if target == "best" else line.edge()


def _landscape(
    bench: Bench, line: Line, new: list[Packed], following: list[Packed], *, batch: int
) -> Iterator[Record]:
    """Yield the losses on the same batch, the next one and old text; rate 0 is θ itself."""
    if not bench.spec["landscape"]:
        return
    parts = {"same": new, "next": following}
    if bench.original:
        parts["original"] = bench.pack(bench.original)
    rates = bench.spec["rates"]
    grid = np.geomspace(rates["lowest"], rates["highest"], rates["points"])
    for rate in (0.0, *grid.tolist()):
        losses = line.others(rate, list(parts.values()))
        for measured_on, loss_nats in zip(parts, losses, strict=True):
            values = (batch, measured_on, rate, loss_nats)
            yield dict(zip(LANDSCAPE_COLUMNS, values, strict=True))
