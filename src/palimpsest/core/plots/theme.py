"""Colours, markers and axes that all figures share: a size looks the same everywhere.

Each colour has a light and a dark form; figures are drawn in the light one, and the page swaps
it for a CSS variable (svg.py), so that the same drawing is right on both backgrounds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from palimpsest.core.answers.numbers import percent

INK, MUTED, GRID = "#1d2733", "#5a6573", "#dde2e8"
LOST, KEPT = "#b8400c", "#0a62a9"  # the two ends of every signed quantity: positive, negative
SIZE_COLOURS = {  # light: dark; told apart by eyes of all kinds together with the markers
    "#0b6fb8": "#62b5f2",
    "#c2500a": "#ff9a5c",
    "#0a7d5a": "#3ccf9d",
    "#9c3f86": "#e796d3",
    "#8a6500": "#e4bd45",
    "#4a4fb5": "#a9acff",
    "#a3262a": "#ff8585",
    "#55606b": "#b4bfca",
}
DARK = {
    INK: "#e6eaf0",
    MUTED: "#a5b0bd",
    GRID: "#343e4a",
    LOST: "#ff9457",
    KEPT: "#6bb8f5",
    **SIZE_COLOURS,
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[tuple[int, tuple[float, ...]], ...] = (
    (0, ()),
    (0, (6, 1.5)),
    (0, (3, 1.5)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (1, 1.2)),
    (0, (7, 1.5, 1, 1.5, 1, 1.5)),
)
OTHER_MARKERS = ("x", "+", "1", "2", "|", "_")  # policies beside the main one
LABEL_POINTS = 7.5
LEGEND_POINTS = 7.0
LEGEND_WIDTH_POINTS = 254.0  # from the legend's left edge to the right edge of a panel alone
LEFT_EDGE = -0.2  # of legends and titles, in widths of the axes of a panel alone
TITLE_PER_LEGEND_POINT = 1.32  # how much wider a bold title is than a legend's text
HANDLES = (2.1, 1.5)  # lengths, in units of the legend's letters
LEGEND_PADS = {"columnspacing": 1.1, "handletextpad": 0.5, "borderaxespad": 0.0, "borderpad": 0.0}
PLACES = ((5, -8), (-5, 3), (5, 3), (-5, -8), (5, -15), (-5, 10), (5, 10), (-5, -15), (12, -3))
LEGEND_FONT = FontProperties(family="DejaVu Sans", size=LEGEND_POINTS)
RC: dict[Any, Any] = {
    "font.size": 7.6,
    "axes.titlesize": 8.2,
    "axes.labelsize": 7.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": LEGEND_POINTS,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.2,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.family": "DejaVu Sans",
    "svg.fonttype": "none",
}


def size_colour(sizes: list[str], model: str) -> str:
    """Return the colour of a model: by its place among all sizes of the study."""
    return list(SIZE_COLOURS)[sizes.index(model) % len(SIZE_COLOURS)]


def size_marker(sizes: list[str], model: str) -> str:
    """Return the marker of a model, so that colour is never the only difference."""
    return MARKERS[sizes.index(model) % len(MARKERS)]


def other_marker(policies: list[str], policy: str) -> str:
    """Return the marker of a policy beside the main one: by its place among all of the study."""
    return OTHER_MARKERS[policies.index(policy) % len(OTHER_MARKERS)]


def dashes(ordered: list[float] | list[str], value: float | str) -> tuple[int, tuple[float, ...]]:
    """Return the line style of a replay fraction or task: by its place in the study's list."""
    return DASHES[list(ordered).index(value) % len(DASHES)]


def signed_colours() -> LinearSegmentedColormap:
    """Return a diverging map that is see-through at zero, so that it sits on any background."""
    kept, lost = [tuple(int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)) for c in (KEPT, LOST)]
    return LinearSegmentedColormap.from_list(
        "signed",
        [(0.0, (*kept, 1.0)), (0.5, (*kept, 0.0)), (0.5, (*lost, 0.0)), (1.0, (*lost, 1.0))],
    )


def rate_axis(ax: Axes, label: str = "learning rate η") -> None:
    """Make x a logarithmic axis of learning rates."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(numticks=6))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(label)


def log_ticks(ax: Axes, axis: str) -> None:
    """Label a logarithmic axis in plain text, with at most a handful of ticks."""
    getattr(ax, f"set_{axis}scale")("log")
    side = getattr(ax, f"{axis}axis")
    low, high = sorted(getattr(ax, f"get_{axis}lim")())
    narrow = high / low < 30
    side.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=7))
    side.set_major_formatter(FuncFormatter(lambda value, _: log_number(value)))
    side.set_minor_formatter(NullFormatter())


def log_number(value: float) -> str:
    """Format a tick of a logarithmic axis: 0.1, 2, 50 near one, powers of ten beyond."""
    digit, power = f"{value:.0e}".split("e")
    return f"{value:g}" if 0.0099 < value < 1e4 else f"{digit}e{int(power)}"


def size_axis(ax: Axes, n_params: list[int], labels: list[str]) -> None:
    """Make x a logarithmic axis of model sizes, one tick for each size of the study."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator([float(n) for n in n_params]))
    ax.xaxis.set_minor_locator(FixedLocator([]))
    ax.set_xticks([float(n) for n in n_params], labels)
    ax.set_xlim(min(n_params) / 1.5, max(n_params) * 1.5)
    ax.set_xlabel("model size: parameters without embeddings")


def replay_axis(ax: Axes, fractions: list[float]) -> None:
    """Make x an axis of replay fractions, ticks where runs were made."""
    ax.set_xticks(fractions, [percent(fraction) for fraction in fractions])
    ax.set_xlim(-0.05, max([*fractions, 0.5]) + 0.05)
    ax.set_xlabel("replay: share of training tokens from the original data")


def few_ticks(ax: Axes) -> None:
    """Keep at most six ticks on the y axis."""
    ax.yaxis.set_major_locator(MaxNLocator(6))


def zero_line(ax: Axes) -> None:
    """Draw the line that parts worse from better."""
    ax.axhline(0, color=MUTED, linewidth=0.8, zorder=1)


def legend_below(ax: Axes, columns: int = 3) -> None:
    """Put the legend under the axes, in rows of `columns`, or of as many as the panel holds."""
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return
    handle, fitting = _handle_and_columns(labels, min(columns, len(handles)))
    order = _by_rows(len(handles), fitting)
    ax.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="upper left",
        bbox_to_anchor=(LEFT_EDGE, -0.245),
        ncols=fitting,
        handlelength=handle,
        **LEGEND_PADS,
    )


def _by_rows(n: int, columns: int) -> list[int]:
    """Return the order in which matplotlib, which fills column by column, fills row by row."""
    return [i for column in range(columns) for i in range(column, n, columns)]


def _handle_and_columns(labels: list[str], columns: int) -> tuple[float, int]:
    """Return how long a legend's handles are, and in how many columns it fits the panel.

    Handles are long enough for dashes unless that alone makes the legend too wide.
    """
    widest = max(map(text_points, labels))
    pads = LEGEND_PADS["handletextpad"] + LEGEND_PADS["columnspacing"]
    fits = {
        handle: int(LEGEND_WIDTH_POINTS // (widest + (handle + pads) * LEGEND_POINTS))
        for handle in HANDLES
    }
    handle = next((one for one in HANDLES if fits[one] >= columns), HANDLES[-1])
    return handle, max(min(columns, fits[handle]), 1)


@lru_cache(maxsize=4096)
def text_points(text: str) -> float:
    """Return how wide a legend's text is, in points."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, LEGEND_FONT, ismath=False)
    return float(width)


def wrapped(title: str, room_points: float) -> list[str]:
    """Return a bold title in lines that are no wider than the room, broken between words."""
    lines: list[str] = []
    for word in title.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and TITLE_PER_LEGEND_POINT * text_points(longer) <= room_points:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def label_ends(ax: Axes, *, x: float, ends: dict[str, float]) -> None:
    """Write the name of each line at its right end, lifted where it would cover the one below."""
    points_per_pixel = 72 / ax.figure.dpi
    free_from = -np.inf
    for name, y in sorted(ends.items(), key=lambda end: end[1]):
        at = float(ax.transData.transform((x, y))[1]) * points_per_pixel
        lift = max(free_from - at, 0.0)
        free_from = at + lift + LABEL_POINTS
        ax.annotate(
            name,
            (x, y),
            xytext=(6, lift),
            textcoords="offset points",
            va="center",
            fontsize=6.8,
        )


def label_points(ax: Axes, points: list[tuple[float, float, str]]) -> None:
    """Name points, each at the first place around it that covers no point and no other name."""
    per_point = ax.figure.dpi / 72
    centres = ax.transData.transform([(x, y) for x, y, _ in points])
    taken = [_box(x, y, width=5 * per_point, height=5 * per_point) for x, y in centres]
    for (x, y), (left, bottom, name) in zip(centres, points, strict=True):
        width, height = (3.9 * len(name) * per_point, LABEL_POINTS * per_point)
        boxes = [_name_box(x, y, place, width=width, height=height) for place in PLACES]
        hits = [sum(_overlap(box, other) for other in taken) for box in boxes]
        best = int(np.argmin(hits))
        taken.append(boxes[best])
        ax.annotate(
            name,
            (left, bottom),
            xytext=PLACES[best],
            textcoords="offset points",
            ha="left" if PLACES[best][0] > 0 else "right",
            fontsize=6.4,
        )


def _name_box(
    x: float, y: float, place: tuple[int, int], *, width: float, height: float
) -> tuple[float, float, float, float]:
    """Return where a name stands in pixels (left, bottom, right, top)."""
    shift_x, shift_y = place
    left = x + shift_x if shift_x > 0 else x + shift_x - width
    return left, y + shift_y, left + width, y + shift_y + height


def _box(x: float, y: float, *, width: float, height: float) -> tuple[float, float, float, float]:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return the area that two boxes share."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    along = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(along, 0.0)


def span(values: np.ndarray, *, margin: float = 0.08) -> tuple[float, float]:
    """Return limits that hold all finite values and zero, for panels that share an axis."""
    finite = values[np.isfinite(values)]
    low, high = min(float(finite.min()), 0.0), max(float(finite.max()), 0.0)
    room = margin * (high - low)
    return low - room, high + room


def rolling_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Return the centred rolling mean; at the ends the window is what is there."""
    half = max(window // 2, 0)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def power_of_ten(value: float) -> str:
    """Format a tick of a logarithmic axis, e.g. 1e-3."""
    return f"1e{round(np.log10(value))}" if value > 0 else ""
