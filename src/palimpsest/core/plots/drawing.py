"""What a figure is: panels that can stand in a page one by one or on one sheet for a paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from palimpsest.core.plots import theme

PANEL_INCHES = (3.6, 2.9)  # at 345 CSS pixels a panel's text is 10 px: readable on a phone
MARGIN_INCHES = {"left": 0.62, "right": 0.12, "bottom": 0.84, "top": 0.28}
AXIS_INCHES = 0.46  # below a panel's axes: ticks and the axis' name
GAP_INCHES = 0.1  # below what stands lowest
TITLE_LINE_INCHES = 0.14
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
        """Paint into `ax`, title included: from the legend's left edge, in lines that fit."""
        self.paint(ax)
        if self.title:
            lines = "\n".join(self.title_lines())
            ax.set_title(lines, loc="left", x=theme.LEFT_EDGE / self.width, y=1.0, fontweight="bold")

    def title_lines(self) -> list[str]:
        """Return the title in lines as wide as the panel."""
        room = self.width * theme.LEGEND_WIDTH_POINTS
        return theme.wrapped(self.title, room) if self.title else []


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
    """Draw panels in rows of `columns`; equal axes everywhere, rows as high as their legends.

    Fixed margins instead of a layout engine: it would draw everything three times.
    """
    width, height = PANEL_INCHES
    rows: list[list[tuple[Panel, Axes]]] = [[]]
    with mpl.rc_context(theme.RC):
        figure = Figure(figsize=(width * columns, height))
        for panel in panels:
            if sum(one.width for one, _ in rows[-1]) + panel.width > columns:
                rows.append([])
            ax = figure.add_axes(_place(panel, rows[-1], columns=columns))
            panel.paint_on(ax)
            rows[-1].append((panel, ax))
        _stack(figure, rows)
    return figure


def _place(
    panel: Panel, row: list[tuple[Panel, Axes]], *, columns: int
) -> tuple[float, float, float, float]:
    """Return left, bottom, width, height of a panel's axes on a figure of one row."""
    width, height = PANEL_INCHES
    left = sum(one.width for one, _ in row) * width + MARGIN_INCHES["left"]
    across = panel.width * width - MARGIN_INCHES["left"] - MARGIN_INCHES["right"]
    along = height - MARGIN_INCHES["bottom"] - MARGIN_INCHES["top"]
    whole = width * columns
    return left / whole, MARGIN_INCHES["bottom"] / height, across / whole, along / height


def _stack(figure: Figure, rows: list[list[tuple[Panel, Axes]]]) -> None:
    """Put the painted rows under each other, each as high as its titles, axes and legends."""
    along = PANEL_INCHES[1] - MARGIN_INCHES["bottom"] - MARGIN_INCHES["top"]
    above = [MARGIN_INCHES["top"] + TITLE_LINE_INCHES * _extra_lines(row) for row in rows]
    below = [max(_room_below(ax) for _, ax in row) for row in rows]
    total = sum(above) + sum(below) + len(rows) * along
    places = [[ax.get_position().bounds for _, ax in row] for row in rows]
    figure.set_size_inches(figure.get_figwidth(), total)
    y = total
    for row, over, under, bounds in zip(rows, above, below, places, strict=True):
        y -= over + along
        for (_, ax), (left, _, across, _) in zip(row, bounds, strict=True):
            ax.set_position((left, y / total, across, along / total))
        y -= under


def _extra_lines(row: list[tuple[Panel, Axes]]) -> int:
    return max(max(len(panel.title_lines()) - 1, 0) for panel, _ in row)


def _room_below(ax: Axes) -> float:
    """Return the inches below a panel's axes: of its axis, its legend, or a scale set into it."""
    legend = ax.get_legend()
    if legend is None:
        return MARGIN_INCHES["bottom"] if ax.child_axes else AXIS_INCHES + GAP_INCHES
    lowest = ax.bbox.y0 - legend.get_window_extent().y0
    return max(lowest / ax.figure.dpi, AXIS_INCHES) + GAP_INCHES


def sheet_columns(widths: list[int]) -> int:
    """Return how many columns a sheet has: the fewest rows, then the least empty space."""
    total = sum(widths)
    if max(widths) > 1 or total <= MAX_COLUMNS:
        return max(max(widths), total if total <= 3 else 2)
    return 3 if total % 3 == 0 else MAX_COLUMNS
