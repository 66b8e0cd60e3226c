"""What a figure is: panels that stand in a page one by one, or together on a sheet for a paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from palimpsest.core.plots import theme

PANEL_INCHES = 3.6  # at 345 CSS pixels a panel's text is 10 px: readable on a phone
AXES_INCHES = 1.78  # the height of every panel's axes
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
        """Draw the panel: axes of equal size everywhere, and room for the title and the legend.

        Fixed margins instead of a layout engine: it would draw everything three times.
        """
        with mpl.rc_context(theme.RC):
            figure = Figure(figsize=(PANEL_INCHES * self.width, 1.0))
            ax = figure.add_axes((0, 0, 1, 1))
            self._place(ax, below=MARGIN_INCHES["bottom"])
            self.paint_on(ax)
            self._place(ax, below=_room_below(ax))
        return figure

    def paint_on(self, ax: Axes) -> None:
        """Paint into `ax`, title included: from the legend's left edge, in lines that fit."""
        self.paint(ax)
        if self.title:
            lines = "\n".join(self.title_lines())
            ax.set_title(lines, loc="left", x=theme.LEFT_EDGE / self.width, fontweight="bold")

    def above_inches(self) -> float:
        """Return the room above the axes that a title of so many lines takes."""
        return MARGIN_INCHES["top"] + TITLE_LINE_INCHES * max(len(self.title_lines()) - 1, 0)

    def title_lines(self) -> list[str]:
        """Return the title in lines as wide as the panel."""
        room = self.width * theme.LEGEND_WIDTH_POINTS
        return theme.wrapped(self.title, room) if self.title else []

    def _place(self, ax: Axes, *, below: float) -> None:
        """Give the figure its height, and the axes their place in it."""
        figure, left = ax.get_figure(), MARGIN_INCHES["left"]
        assert isinstance(figure, Figure)
        width, height = figure.get_figwidth(), below + AXES_INCHES + self.above_inches()
        figure.set_figheight(height)
        across = width - left - MARGIN_INCHES["right"]
        ax.set_position((left / width, below / height, across / width, AXES_INCHES / height))


class Sheet(NamedTuple):
    """Width and height of a sheet, and where each panel's upper left corner lies, in inches."""

    width: float
    height: float
    corners: list[tuple[float, float]]  # from the left, from the top


@dataclass(frozen=True)
class Drawing:
    """A figure of the report: its panels, the data behind them, and its words."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    data: pd.DataFrame

    def sheet(self, figures: list[Figure]) -> Sheet:
        """Return where the panels' figures stand on one sheet: the axes of a row level."""
        columns = sheet_columns([panel.width for panel in self.panels])
        corners: list[tuple[float, float]] = []
        y = 0.0
        for row in in_rows(self.panels, columns=columns):
            level, x, end = max(panel.above_inches() for panel in row), 0.0, y
            for panel in row:
                width, height = figures[len(corners)].get_size_inches()
                top = y + level - panel.above_inches()
                corners.append((x, top))
                x, end = x + width, max(end, top + height)
            y = end
        return Sheet(PANEL_INCHES * columns, y, corners)


@dataclass(frozen=True)
class Missing:
    """A figure that these tables do not support, and why."""

    name: str
    title: str
    reason: str


def in_rows(panels: tuple[Panel, ...], *, columns: int) -> list[list[Panel]]:
    """Return the panels in rows that are at most `columns` wide."""
    rows: list[list[Panel]] = [[]]
    for panel in panels:
        if sum(one.width for one in rows[-1]) + panel.width > columns:
            rows.append([])
        rows[-1].append(panel)
    return rows


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
