"""Turns tables and fits into one self-contained page, its figures, and the headline numbers."""

from __future__ import annotations

import hashlib
import html
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from palimpsest.core.answers import numbers
from palimpsest.core.answers.answer import Answer
from palimpsest.core.answers.earlier import HEADER as EARLIER_HEADER
from palimpsest.core.answers.earlier import earlier
from palimpsest.core.answers.every import answers
from palimpsest.core.answers.fitted import critical_words, law_rows
from palimpsest.core.answers.forecast import predicted_size
from palimpsest.core.answers.frames import CSV_TABLES, PARQUET_TABLES, Frames
from palimpsest.core.answers.headline import forgetting_curve, metrics
from palimpsest.core.answers.recommend import RULE, of_measured
from palimpsest.core.answers.run_rows import HEADER, run_rows
from palimpsest.core.answers.scale import scale_words
from palimpsest.core.plots import svg, theme
from palimpsest.core.plots.drawing import Drawing, Missing
from palimpsest.core.plots.every import FIGURES
from palimpsest.core.plots.run_details import run_details
from palimpsest.faults import Fault
from palimpsest.progress import step_done


@dataclass(frozen=True)
class Shown:
    """A figure as the page shows it: panels as SVG text, or the reason for their absence."""

    name: str
    title: str
    caption: str
    panels: tuple[tuple[str, int], ...]
    reason: str = ""


def build(spec: dict[str, Any], inputs: dict[str, Any], out: Path) -> None:
    """Write index.html, figures/, answers.json, metrics.json and forgetting.csv. spec: {title}."""
    frames = read(inputs["tables"], fits=inputs["fits"])
    answered, forecast = answers(frames), predicted_size(frames)
    advice = of_measured(frames.fits["advice"])
    (out / "figures").mkdir()
    shown = []
    for done, figure in enumerate(FIGURES, start=1):
        shown.append(publish(figure(frames), out / "figures"))
        step_done(done, len(FIGURES), "figure")
    page = render(
        spec["title"],
        frames=frames,
        answered=answered,
        forecast=forecast,
        advice=advice,
        shown=shown,
    )
    (out / "index.html").write_text(marked(page), "utf-8")
    _write_json([asdict(one) for one in (*answered, forecast)], out / "answers.json")
    _write_json(metrics(frames, answered, advice), out / "metrics.json")
    forgetting_curve(frames).to_csv(out / "forgetting.csv", index=False)


def read(tables: Path, *, fits: Path) -> Frames:
    """Read every table and the fits; a file that is not there is a Fault."""
    paths = {name: tables / f"{name}.csv" for name in CSV_TABLES}
    paths |= {name: tables / f"{name}.parquet" for name in PARQUET_TABLES}
    paths |= {"predictions": fits / "predictions.csv", "fits": fits / "fits.json"}
    for path in paths.values():
        if not path.exists():
            raise Fault(f"{path.name}: missing in {path.parent.name}; rebuild that stage")
    frames = {name: _read(path) for name, path in paths.items()}
    compared = {name: frames[name].query("usual") for name in ("rates", "landscape")}
    return Frames(**frames | compared)


def publish(drawing: Drawing | Missing, folder: Path) -> Shown:
    """Write a figure's CSV, SVG and PNG into `folder` and return what the page needs."""
    if isinstance(drawing, Missing):
        return Shown(drawing.name, drawing.title, caption="", panels=(), reason=drawing.reason)
    drawing.data.to_csv(folder / f"{drawing.name}.csv", index=False)
    figures = [panel.figure() for panel in drawing.panels]
    elements = [
        svg.panel_svg(figure, name=f"{drawing.name}-{place}")
        for place, figure in enumerate(figures)
    ]
    sheet = drawing.sheet(figures)
    (folder / f"{drawing.name}.svg").write_text(svg.paper_svg(elements, sheet), "utf-8")
    (folder / f"{drawing.name}.png").write_bytes(svg.paper_png(figures, sheet))
    panels = tuple(
        (svg.inline_svg(element, alt=panel.alt), panel.width)
        for element, panel in zip(elements, drawing.panels, strict=True)
    )
    return Shown(drawing.name, drawing.title, caption=drawing.caption, panels=panels)


def render(
    title: str,
    *,
    frames: Frames,
    answered: list[Answer],
    forecast: Answer,
    advice: list[Any],
    shown: list[Shown],
) -> str:
    """Fill the page's template."""
    environment = Environment(
        loader=PackageLoader("palimpsest", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        {name: getattr(numbers, name) for name in ("nats", "rate", "percent", "count", "plain")}
    )
    environment.filters["coded"] = coded
    return environment.get_template("report.html.j2").render(
        title=title,
        frames=frames,
        answers=answered,
        advice=advice,
        advice_rule=RULE,
        fitted_ratios={one.model: critical_words(frames.fits, one.model) for one in advice},
        forecast=forecast,
        further=further(shown, [*answered, forecast]),
        figures={figure.name: figure for figure in shown},
        run_header=HEADER,
        runs=run_rows(frames),
        details=json.dumps(run_details(frames), separators=(",", ":")).replace("<", "\\u003c"),
        earlier=earlier(frames),
        earlier_header=EARLIER_HEADER,
        kept=theme.KEPT,
        lost=theme.LOST,
        scale=scale_words(frames.final_bases),
        sizes=[(model, theme.size_colour(frames.sizes, model)) for model in frames.sizes],
        palette=svg.palette_css(),
        seeds=sorted({int(seed) for seed in frames.runs.seed}),
        between=numbers.between,
        laws=list(frames.fits["fits"].values()),
        law_rows=law_rows(frames.fits),
    )


def further(shown: list[Shown], answered: list) -> list[str]:
    """Return the figures that no answered question shows."""
    placed = {name for one in answered if one.verdict != "not run" for name in one.figures}
    return [one.name for one in shown if not one.reason and one.name not in placed]


def coded(text: str) -> str:
    """Return text as HTML in which what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def marked(page: str) -> str:
    """Return the page with its own hash in it, by which ../provenance.js names its page."""
    digest = hashlib.sha256(page.encode()).hexdigest()[:16]
    return page.replace('data-page=""', f'data-page="{digest}"', 1)


def _write_json(content: Any, path: Path) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")


def _read(path: Path) -> Any:
    if path.suffix == ".json":
        return json.loads(path.read_text())
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
