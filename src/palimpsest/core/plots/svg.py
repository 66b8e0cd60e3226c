"""A drawn figure as bytes: SVG for a page that has its own colours, SVG and PNG for papers."""

from __future__ import annotations

import io
import re
from html import escape

import matplotlib as mpl
from matplotlib.figure import Figure

from palimpsest.core.plots import theme

PNG_DPI = 160
LIKE_MARKS = re.compile(
    r'<g (clip-path="[^"]*")>\s*'
    r'((?:<use [^>]*?( style="[^"]*")/>\s*)(?:<use [^>]*?\3/>\s*)*)</g>'
)


def inline_svg(figure: Figure, *, name: str, alt: str) -> str:
    """Return the figure as an SVG element whose colours and font are the page's.

    `name` makes its identifiers differ from those of any other figure of the page.
    """
    text = _svg_text(figure, salt=name)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'(<g) id="[a-zA-Z0-9_.]+"', r"\1", text)  # nothing refers to groups
    text = re.sub(r"font(-family)?: ?([^;\"]*?)'DejaVu Sans'[^;\"]*", _page_font, text)
    text = re.sub(r"#[0-9a-f]{6}(?=[;\"])", _variable, text)
    text = _compact(text)
    size = re.search(r'<svg[^>]*?viewBox="([^"]+)"[^>]*>', text, flags=re.DOTALL)
    assert size is not None
    head = f'<svg viewBox="{size.group(1)}" role="img" aria-label="{escape(alt, quote=True)}">'
    return re.sub(r"\n\s*", "\n", head + text[size.end() :]).strip()


def paper_svg(figure: Figure, *, name: str) -> bytes:
    """Return the figure as an SVG file on white."""
    _on_white(figure)
    return _svg_text(figure, salt=name).encode()


def paper_png(figure: Figure) -> bytes:
    """Return the figure as a PNG file on white."""
    _on_white(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return buffer.getvalue()


def palette_css() -> str:
    """Return the CSS rules that give each drawing colour its light and its dark form."""
    light = "".join(f"--c-{colour[1:]}:{colour};" for colour in theme.DARK)
    dark = "".join(f"--c-{colour[1:]}:{night};" for colour, night in theme.DARK.items())
    system = "@media screen and (prefers-color-scheme:dark)"
    by_system = f"{system}{{:root:not([data-theme=light]){{{dark}}}}}"
    by_button = f"@media screen{{:root[data-theme=dark]{{{dark}}}}}"
    return f":root{{{light}}}\n{by_system}\n{by_button}"


def _svg_text(figure: Figure, *, salt: str) -> str:
    buffer = io.StringIO()
    with mpl.rc_context(theme.RC):
        mpl.rcParams["svg.hashsalt"] = salt
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _on_white(figure: Figure) -> None:
    figure.set_facecolor("white")


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
