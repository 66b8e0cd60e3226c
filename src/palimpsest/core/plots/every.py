"""All figures of the report, in the order in which the page looks for them."""

from __future__ import annotations

from collections.abc import Callable

from palimpsest.core.answers.frames import Frames
from palimpsest.core.plots.benchmark_curves import benchmark_curves
from palimpsest.core.plots.benchmarks import benchmarks
from palimpsest.core.plots.beyond_edge import beyond_edge
from palimpsest.core.plots.courses import courses
from palimpsest.core.plots.critical import critical
from palimpsest.core.plots.curves import curves
from palimpsest.core.plots.difficulty import difficulty
from palimpsest.core.plots.drawing import Drawing, Missing
from palimpsest.core.plots.drift import drift
from palimpsest.core.plots.epochs import epochs
from palimpsest.core.plots.held_out_size import held_out_size
from palimpsest.core.plots.lag import lag
from palimpsest.core.plots.landscape import landscape
from palimpsest.core.plots.layers import layers
from palimpsest.core.plots.longer_base import longer_base
from palimpsest.core.plots.memory import memory
from palimpsest.core.plots.protections import protections
from palimpsest.core.plots.rates import rates
from palimpsest.core.plots.recall_map import recall_map
from palimpsest.core.plots.repeats import repeats
from palimpsest.core.plots.replay import forgetting, learning
from palimpsest.core.plots.shifts import shifts
from palimpsest.core.plots.tradeoff import tradeoff

FIGURES: tuple[Callable[[Frames], Drawing | Missing], ...] = (
    rates,
    landscape,
    forgetting,
    critical,
    benchmarks,
    benchmark_curves,
    learning,
    drift,
    layers,
    memory,
    repeats,
    recall_map,
    shifts,
    lag,
    tradeoff,
    courses,
    beyond_edge,
    epochs,
    difficulty,
    protections,
    longer_base,
    held_out_size,
    curves,
)
