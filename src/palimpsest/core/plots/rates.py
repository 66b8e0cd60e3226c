"""Learning rates against model size: for given decreases, the best and the edge."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.fitted import misfit
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import count, rate
from palimpsest.core.answers.rates import RATE_FITS, probe_medians
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "rates", "Learning rates against model size"
CAPTION = (
    "Median over probed batches (bars: quartiles) of the rate that lowers the loss by a given "
    "share in one step, of the best rate and of the edge; grey bands are the laws that fit. Second "
    "panel: the largest decrease that one step reached on its own batch, median over batches. "
    "Both are medians over seeds too."
)


def rates(frames: Frames) -> Drawing | Missing:
    """Draw η_f, best and edge, and the largest decrease, against the number of parameters."""
    table = frames.rates
    if table.dropna(subset=["median_learning_rate"]).empty:
        return Missing(NAME, TITLE, "no probe found a rate")
    medians = probe_medians(table)
    panels = (
        Panel("Rates", partial(_paint_rates, frames=frames, medians=medians), _alt(medians)),
        Panel(
            "Largest decrease in one step",
            partial(_paint_decrease, frames=frames, medians=medians),
            "Largest one-step decrease of the loss against model size.",
        ),
    )
    return Drawing(NAME, TITLE, CAPTION, panels, medians)


def _paint_rates(ax: Axes, *, frames: Frames, medians: pd.DataFrame) -> None:
    shown = medians[medians.target != "largest_decrease"].dropna(subset=["median_learning_rate"])
    order = shown.groupby("wanted").median_learning_rate.median().sort_values().index
    for wanted in order:
        line = shown[shown.wanted == wanted].sort_values("n_params")
        style = theme.DASHES[{"best": 2, "edge": 4}.get(wanted, 0)]
        ax.plot(
            line.n_params,
            line.median_learning_rate,
            color=theme.MUTED,
            linestyle=style,
            linewidth=1,
            zorder=1,
        )
    _laws(ax, frames, shown)
    _points(ax, shown, frames=frames, column="median_learning_rate")
    _sizes(ax, frames, shown)
    theme.log_ticks(ax, "y")
    largest = shown[shown.n_params == shown.n_params.max()]
    theme.label_ends(
        ax,
        x=float(largest.n_params.max()),
        ends=dict(zip(largest.wanted, largest.median_learning_rate, strict=True)),
    )
    ax.set_ylabel("learning rate η")


def _laws(ax: Axes, frames: Frames, shown: pd.DataFrame) -> None:
    """Draw the bands of the laws that go through their points over the sizes that were measured."""
    predictions = frames.predictions
    measured = predictions[predictions.n_params <= 1.001 * shown.n_params.max()]
    names = [fit for fit in RATE_FITS.values() if not misfit(frames.fits, fit)]
    for name in names:
        curves = measured[measured.fit == name].dropna(subset=["low"])
        for _, curve in curves.groupby("decrease", dropna=False):
            band = (curve.low.to_numpy(), curve.high.to_numpy())
            ax.fill_between(curve.n_params, *band, color=theme.MUTED, alpha=0.22, linewidth=0)


def _points(ax: Axes, table: pd.DataFrame, *, frames: Frames, column: str) -> None:
    for row in each(table):
        colour = theme.size_colour(frames.sizes, str(row.model))
        value = getattr(row, column)
        ax.plot(
            row.n_params,
            value,
            marker=theme.size_marker(frames.sizes, str(row.model)),
            color=colour,
        )
        if column == "median_learning_rate":
            ax.vlines(row.n_params, row.q1, row.q3, color=colour, linewidth=1)


def _sizes(ax: Axes, frames: Frames, table: pd.DataFrame) -> None:
    known = table.drop_duplicates("model").sort_values("n_params")
    theme.size_axis(ax, list(known.n_params), [count(n) for n in known.n_params])


def _paint_decrease(ax: Axes, *, frames: Frames, medians: pd.DataFrame) -> None:
    largest = medians[medians.target == "largest_decrease"].sort_values("n_params")
    if largest.empty:
        ax.set_axis_off()
        return
    share = largest.assign(decrease_percent=100 * largest.decrease)
    ax.plot(share.n_params, share.decrease_percent, color=theme.MUTED, linewidth=1, zorder=1)
    _points(ax, share, frames=frames, column="decrease_percent")
    _sizes(ax, frames, largest)
    ax.set_ylim(0, 1.15 * float(share.decrease_percent.max()))
    ax.set_ylabel("decrease, % of the loss")


def _alt(medians: pd.DataFrame) -> str:
    shown = medians.dropna(subset=["median_learning_rate"]).sort_values(["wanted", "n_params"])
    values = ", ".join(
        f"{row.wanted} for {row.model}: {rate(row.median_learning_rate)}" for row in each(shown)
    )
    return f"Learning rates against model size. {values}."
