"""Means with 95 % intervals above a few named places, sizes side by side in their colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import between, nats
from palimpsest.core.plots import theme

ROOM = 0.7  # of the way from one place to the next, that the sizes share
FEWEST_APART = 4  # so that two series do not stand far apart


@dataclass(frozen=True)
class Places:
    """The axes of such a panel: what stands where along x, what y is, and which line is claimed.

    `names` maps the values of the column `at` to their ticks; `words` stand where no mean does.
    """

    at: str
    names: dict[object, str]
    x_label: str
    y_label: str
    claim: float | None = None
    claim_label: str = ""
    words: str = ""
    limits: tuple[float, float] | None = None


def paint(ax: Axes, *, frames: Frames, cells: pd.DataFrame, places: Places) -> None:
    """Paint cells (model, series, hollow, mean, low, high) at their places, claim and zero too."""
    theme.zero_line(ax)
    if places.claim is not None:
        look: dict[str, Any] = {"color": theme.INK, "linewidth": 0.9, "label": places.claim_label}
        ax.axhline(places.claim, linestyle=(0, (4, 2)), **look)
    order = list(places.names)
    series = list(dict.fromkeys(_in_order(frames, cells).series))
    for place, name in enumerate(series):
        ours = cells[cells.series == name].dropna(subset=["mean"])
        shift = (place - (len(series) - 1) / 2) * ROOM / max(len(series), FEWEST_APART)
        _series(
            ax,
            ours,
            x=np.array([order.index(one) for one in ours[places.at]]) + shift,
            sizes=frames.sizes,
        )
    known = set(cells.dropna(subset=["mean"])[places.at])
    for x in (x for x, one in enumerate(order) if one not in known):
        middle: dict[str, Any] = {"ha": "center", "va": "center", "rotation": 90, "fontsize": 6.4}
        ax.text(
            x, 0.5, places.words, transform=ax.get_xaxis_transform(), color=theme.MUTED, **middle
        )
    _axes(ax, places)


def _series(ax: Axes, cells: pd.DataFrame, *, x: np.ndarray, sizes: list[str]) -> None:
    if cells.empty:
        return
    first = cells.iloc[0]
    colour = theme.size_colour(sizes, str(first.model))
    ax.vlines(x, cells.low, cells.high, color=colour, linewidth=1.1)
    ax.plot(
        x,
        cells["mean"],
        theme.size_marker(sizes, str(first.model)),
        color=colour,
        markerfacecolor="none" if first.hollow else colour,
        label=str(first.series),
    )


def _axes(ax: Axes, places: Places) -> None:
    ticks = list(places.names.values())
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set_xlim(-0.6, len(ticks) - 0.4)
    ax.grid(visible=False, axis="x")
    ax.set_xlabel(places.x_label)
    ax.set_ylabel(places.y_label)
    if places.limits is not None:
        ax.set_ylim(*places.limits)
    theme.few_ticks(ax)
    theme.legend_below(ax, columns=3)


def by_size(cells: pd.DataFrame) -> pd.DataFrame:
    """Return cells with one series for each size."""
    return cells.assign(series=cells.model, hollow=False)


def spoken(cells: pd.DataFrame, places: Places) -> str:
    """Return every mean with its interval in words, for those who do not see the figure."""
    return "; ".join(f"{_where(row, places)}: {_value(row, places)}" for row in each(cells))


def _where(row: Any, places: Places) -> str:
    name = places.names[getattr(row, places.at)]
    return f"{row.series} at {name}" if name else str(row.series)


def _value(row: Any, places: Places) -> str:
    if not np.isfinite(row.mean):
        return places.words
    return f"{nats(row.mean)} ({between(row.low, row.high)})"


def named(values: Sequence[object], words: Sequence[str]) -> dict[object, str]:
    """Return places in their order with the names of their ticks."""
    return dict(zip(values, words, strict=True))


def _in_order(frames: Frames, cells: pd.DataFrame) -> pd.DataFrame:
    ranks = {model: place for place, model in enumerate(frames.sizes)}
    return cells.assign(rank=cells.model.map(ranks)).sort_values(["rank", "hollow", "series"])
