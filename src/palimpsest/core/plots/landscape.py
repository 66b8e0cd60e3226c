"""The learning-rate landscape: the loss after one trial step, against the rate, per size."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox, TransformedBbox

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import count, nats, percent, rate
from palimpsest.core.answers.rates import not_reached
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "landscape", "Learning-rate landscape"
KINDS = {  # measured_on: (line style, words)
    "same": (theme.DASHES[0], "new text, same batch"),
    "next": (theme.DASHES[2], "new text, next batch"),
    "original": (theme.DASHES[4], "original text"),
}
NAME_LEVELS, NAME_STEP = 3, 0.066  # rows of names, and the panel's height between them
NAMES_FROM = 0.8  # share of the panel's height below the names of the marked rates
CAPTION = (
    "One trial step from the base model with the rate on the horizontal axis: how the loss changes "
    "on the batch itself, on the next batch and on original text (thick: mean over batches; thin: "
    "single batches; below zero is better). Upright lines: the median rates that lower the loss by "
    "the given share, that lower it most (best), and from which on the step raises it (edge)."
)


def landscape(frames: Frames) -> Drawing | Missing:
    """Draw L_D and L_P against the rate per size, with targets, best and edge marked."""
    table = frames.landscape
    if table.empty:
        return Missing(NAME, TITLE, "no probe measured a landscape")
    table = table[(table.replay_fraction == table.replay_fraction.min())]
    table = table[table.seed == table.seed.min()]
    changes = _changes(table)
    limits = _limits(changes)
    panels = tuple(
        Panel(
            title=f"{model}, {count(ours.n_params.iloc[0])} parameters",
            paint=partial(
                _paint,
                changes=ours,
                marks=targets(frames.rates, model),
                colour=theme.size_colour(frames.sizes, model),
                limits=limits,
            ),
            alt=_alt(model, frames=frames, changes=ours),
        )
        for model, ours in _per_model(changes, frames.sizes)
    )
    first = frames.rates.groupby("model").seed.transform("min")
    rates = frames.rates[frames.rates.seed == first]
    return Drawing(NAME, TITLE, CAPTION + _seeds(frames) + not_reached(rates), panels, changes)


def _seeds(frames: Frames) -> str:
    """Say of which seed the probes are, where others were probed too."""
    first, *others = sorted(int(seed) for seed in frames.landscape.seed.unique())
    if not others:
        return ""
    return (
        f" Curves and upright lines are of seed {first} alone; question 1's table and figure have "
        f"medians over seeds {', '.join(map(str, [first, *others]))} where these were probed."
    )


def of_one_model(table: pd.DataFrame, rates: pd.DataFrame) -> Figure:
    """Draw one model's landscape alone, with its own targets marked."""
    model = str(table.model.iloc[0])
    colour = theme.size_colour([model], model)
    marks = targets(rates, model)
    changes = _changes(table)
    paint = partial(_paint, changes=changes, marks=marks, colour=colour, limits=_limits(changes))
    return Panel(model, paint, alt="").figure()


def _changes(table: pd.DataFrame) -> pd.DataFrame:
    keys = ["model", "n_params", "replay_fraction", "seed", "measured_on", "batch"]
    ordered = table.sort_values([*keys, "learning_rate"], ignore_index=True)
    lowest = ordered.groupby(keys).loss_nats.transform("first")
    return ordered.assign(change_nats=ordered.loss_nats - lowest)


def _per_model(table: pd.DataFrame, sizes: list[str]) -> list[tuple[str, pd.DataFrame]]:
    return [(model, table[table.model == model]) for model in sizes if model in set(table.model)]


def _limits(changes: pd.DataFrame) -> tuple[float, float]:
    """Return the y limits of all panels: the dip of every size; the blow-up beyond is cut."""
    keys = ["model", "measured_on", "learning_rate"]
    means = changes[changes.measured_on != "original"].groupby(keys).change_nats.mean()
    deepest = min(float(means.min()), -0.01)
    return 1.15 * deepest, -1.5 * deepest


def _paint(
    ax: Axes,
    *,
    changes: pd.DataFrame,
    marks: pd.DataFrame,
    colour: str,
    limits: tuple[float, float],
) -> None:
    theme.zero_line(ax)
    for kind, (line, words) in KINDS.items():
        line_colour = theme.MUTED if kind == "original" else colour
        ours = changes[changes.measured_on == kind]
        if ours.empty:
            continue
        for _, batch in ours.groupby("batch"):
            ax.plot(
                batch.learning_rate, batch.change_nats, color=line_colour, alpha=0.22, linewidth=0.6
            )
        mean = ours.groupby("learning_rate").change_nats.mean()
        ax.plot(mean.index, mean, color=line_colour, linestyle=line, linewidth=1.7, label=words)
    ax.set_ylim(*limits)
    names_room = TransformedBbox(Bbox.from_extents(0, 0, 1, NAMES_FROM), ax.transAxes)
    for curve in ax.get_lines():
        curve.set_clip_box(names_room)  # the names of the rates stand above every curve
    theme.rate_axis(ax)
    theme.few_ticks(ax)
    ax.set_ylabel("change of the loss, nats")
    _mark_targets(ax, marks)
    theme.legend_below(ax, columns=2)


def targets(rates: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return a model's median rates (words, learning_rate) at its lowest replay, lowest seed."""
    ours = rates[(rates.model == model) & rates.target.isin(["decrease", "best", "edge"])]
    ours = ours.dropna(subset=["median_learning_rate"])
    ours = ours[ours.replay_fraction == ours.replay_fraction.min()]
    ours = ours[ours.seed == ours.seed.min()].sort_values("median_learning_rate")
    words = np.where(ours.target == "decrease", ours.decrease.map(_share), ours.target)
    return pd.DataFrame({"words": words, "learning_rate": ours.median_learning_rate.to_numpy()})


def _share(decrease: float) -> str:
    return percent(decrease, decimals=0 if abs(100 * decrease) >= 1 else 1)


def _mark_targets(ax: Axes, marks: pd.DataFrame) -> None:
    line: dict[str, Any] = {"color": theme.INK, "linewidth": 0.6, "alpha": 0.6, "zorder": 1}
    for place, mark in enumerate(each(marks)):
        level = (len(marks) - 1 - place) % NAME_LEVELS  # staggered: neighbours would overlap
        top = 1 - NAME_STEP * level  # a line ends at its name, below those of higher rates
        ax.axvline(mark.learning_rate, ymax=top, **line)
        ax.annotate(
            mark.words,
            (mark.learning_rate, top),
            xycoords=("data", "axes fraction"),
            xytext=(-1.5, -1),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=6.6,
        )


def _alt(model: str, *, frames: Frames, changes: pd.DataFrame) -> str:
    marks = ", ".join(
        f"{mark.words} at {rate(mark.learning_rate)}" for mark in each(targets(frames.rates, model))
    )
    deepest = changes[changes.measured_on == "same"].groupby("learning_rate").change_nats.mean()
    at = float(deepest.index[int(deepest.to_numpy().argmin())])
    lowest = f"{nats(float(deepest.min()))} nats at {rate(at)}"
    return f"{TITLE}, model {model}. Deepest mean change on the same batch: {lowest}. {marks}."
