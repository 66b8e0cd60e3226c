"""What a figure is: panels that can stand in a page one by one or on one sheet for a paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from palimpsest.core.plots import theme

PANEL_INCHES = (3.6, 2.9)  # at 345 CSS pixels a panel's text is 10 px: readable on a phone
MARGIN_INCHES = {"left": 0.62, "right": 0.12, "bottom": 0.84, "top": 0.28}
MAX_COLUMNS = 4


@dataclass(frozen=True)
class Panel:
    """One pair of axes: its title, what paints it, and how wide it is in panels."""

    title: str
    paint: Callable[[Axes], None]
    alt: str
    width: int = 1

    def figure(self) -> Figure:
        """Draw the panel alone."""
        return sheet((self,), columns=self.width)

    def paint_on(self, ax: Axes) -> None:
        """Paint into `ax`, title included."""
        self.paint(ax)
        if self.title:
            ax.set_title(self.title, loc="left", fontweight="bold")


@dataclass(frozen=True)
class Drawing:
    """A figure of the report: its panels, the data behind them, and its words."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    data: pd.DataFrame

    def sheet(self) -> Figure:
        """Draw all panels on one sheet."""
        return sheet(self.panels, columns=sheet_columns([panel.width for panel in self.panels]))


@dataclass(frozen=True)
class Missing:
    """A figure that these tables do not support, and why."""

    name: str
    title: str
    reason: str


def sheet(panels: tuple[Panel, ...], *, columns: int) -> Figure:
    """Draw panels in rows of `columns`; equal margins everywhere, so that their axes align.

    Fixed margins instead of a layout engine: it would draw everything three times.
    """
    width, height = PANEL_INCHES
    rows = -(-sum(panel.width for panel in panels) // columns)
    cell = 0
    with mpl.rc_context(theme.RC):
        figure = Figure(figsize=(width * columns, height * rows))
        for panel in panels:
            row, column = divmod(cell, columns)
            left = column * width + MARGIN_INCHES["left"]
            bottom = (rows - 1 - row) * height + MARGIN_INCHES["bottom"]
            right = (column + panel.width) * width - MARGIN_INCHES["right"]
            top = (rows - row) * height - MARGIN_INCHES["top"]
            inches = np.array([left, bottom, right - left, top - bottom])
            page = np.array([width * columns, height * rows] * 2)
            panel.paint_on(figure.add_axes(tuple(inches / page)))
            cell += panel.width
    return figure


def sheet_columns(widths: list[int]) -> int:
    """Return how many columns a sheet has: the fewest rows, then the least empty space."""
    total = sum(widths)
    if max(widths) > 1 or total <= MAX_COLUMNS:
        return max(max(widths), total if total <= 3 else 2)
    return 3 if total % 3 == 0 else MAX_COLUMNS
