"""A drawn figure as bytes: SVG for a page that has its own colours, SVG and PNG for papers."""

from __future__ import annotations

import io
import re
from html import escape
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Sheet

PNG_DPI = 160
POINTS = 72  # in an inch
LIKE_MARKS = re.compile(
    r'<g (clip-path="[^"]*")>\s*'
    r'((?:<use [^>]*?( style="[^"]*")/>\s*)(?:<use [^>]*?\3/>\s*)*)</g>'
)
NAMESPACES = (
    'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1"'
)


class Element(NamedTuple):
    """An SVG's width and height in points, and what stands inside of it."""

    width: float
    height: float
    inside: str


def panel_svg(figure: Figure, *, name: str) -> Element:
    """Return the figure as SVG; `name` makes its identifiers differ from any other figure's."""
    buffer = io.StringIO()
    with mpl.rc_context(theme.RC):
        mpl.rcParams["svg.hashsalt"] = name
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", buffer.getvalue(), flags=re.DOTALL)
    text = re.sub(r'(<g) id="[a-zA-Z0-9_.]+"', r"\1", text)  # nothing refers to groups
    head = re.search(r'<svg[^>]*? viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>', text)
    assert head is not None
    inside = text[head.end() : text.rindex("</svg>")]
    return Element(float(head[1]), float(head[2]), inside)


def inline_svg(element: Element, *, alt: str) -> str:
    """Return an SVG whose colours and font are the page's."""
    text = re.sub(r"font(-family)?: ?([^;\"]*?)'DejaVu Sans'[^;\"]*", _page_font, element.inside)
    text = re.sub(r"#[0-9a-f]{6}(?=[;\"])", _variable, text)
    text = re.sub(r"\n\s*", "\n", _compact(text)).strip()
    box = f"0 0 {element.width:g} {element.height:g}"
    return f'<svg viewBox="{box}" role="img" aria-label="{escape(alt)}">\n{text}\n</svg>'


def paper_svg(elements: list[Element], sheet: Sheet) -> str:
    """Return panels as one SVG file on white."""
    width, height = POINTS * sheet.width, POINTS * sheet.height
    size = f'width="{width:g}pt" height="{height:g}pt" viewBox="0 0 {width:g} {height:g}"'
    parts = [f"<svg {NAMESPACES} {size}>", '<rect width="100%" height="100%" fill="white"/>']
    for (wide, high, inside), (x, y) in zip(elements, sheet.corners, strict=True):
        box = f'x="{POINTS * x:g}" y="{POINTS * y:g}" width="{wide:g}" height="{high:g}"'
        parts.append(f'<svg {box} viewBox="0 0 {wide:g} {high:g}">{inside}</svg>')
    return "\n".join([*parts, "</svg>", ""])


def paper_png(figures: list[Figure], sheet: Sheet) -> bytes:
    """Return panels as one PNG file on white."""
    page = Image.new("RGB", (round(PNG_DPI * sheet.width), round(PNG_DPI * sheet.height)), "white")
    for figure, (x, y) in zip(figures, sheet.corners, strict=True):
        figure.set_dpi(PNG_DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        drawn = Image.fromarray(np.asarray(canvas.buffer_rgba()))
        page.paste(drawn, (round(PNG_DPI * x), round(PNG_DPI * y)), mask=drawn)
    buffer = io.BytesIO()
    page.save(buffer, format="png", dpi=(PNG_DPI, PNG_DPI))
    return buffer.getvalue()


def palette_css() -> str:
    """Return the CSS rules that give each drawing colour its light and its dark form."""
    light = "".join(f"--c-{colour[1:]}:{colour};" for colour in theme.DARK)
    dark = "".join(f"--c-{colour[1:]}:{night};" for colour, night in theme.DARK.items())
    system = "@media screen and (prefers-color-scheme:dark)"
    by_system = f"{system}{{:root:not([data-theme=light]){{{dark}}}}}"
    by_button = f"@media screen{{:root[data-theme=dark]{{{dark}}}}}"
    return f":root{{{light}}}\n{by_system}\n{by_button}"


def _compact(text: str) -> str:
    """Return the SVG with places to a hundredth of a point and like marks' style said once."""
    return LIKE_MARKS.sub(
        lambda found: f"<g {found[1]}{found[3]}>\n{found[2].replace(found[3], '')}</g>",
        re.sub(r' (?:d|x|y)="[^"]*"', _rounded, text),
    )


def _rounded(found: re.Match[str]) -> str:
    return re.sub(
        r"-?\d+\.\d{3,}",
        lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."),
        found[0],
    )


def _page_font(found: re.Match[str]) -> str:
    if found.group(1):
        return "font-family: inherit"
    return f"font: {found.group(2)}var(--sans)"


def _variable(found: re.Match[str]) -> str:
    colour = found.group(0)
    return f"var(--c-{colour[1:]})" if colour in theme.DARK else colour
