from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.text import Text
from PIL import Image
from report_frames import NO_FITS, frames, run, sweep

from palimpsest.core.answers.clocks import CLOCK_WORDS
from palimpsest.core.answers.rates import not_reached
from palimpsest.core.plots import svg, theme
from palimpsest.core.plots.benchmark_curves import MOST_WAYS, benchmark_curves
from palimpsest.core.plots.courses import courses
from palimpsest.core.plots.drawing import Drawing, Missing, Panel, Sheet, sheet_columns
from palimpsest.core.plots.every import FIGURES
from palimpsest.core.plots.lag import lag
from palimpsest.core.plots.landscape import landscape, targets
from palimpsest.core.plots.layers import by_layer
from palimpsest.core.plots.memory import strongest
from palimpsest.core.plots.replay import forgetting
from palimpsest.core.plots.run_details import packed, run_details, short


def panel() -> Panel:
    def paint(ax) -> None:  # type: ignore[no-untyped-def]
        ax.plot([0, 1], [1, 2], color=theme.size_colour(["small"], "small"), label="line")
        theme.legend_below(ax)

    return Panel("A line", paint, 'from "one" to two')


def test_an_inline_figure_takes_its_colours_from_the_page() -> None:
    text = svg.inline_svg(svg.panel_svg(panel().figure(), name="line"), alt=panel().alt)
    assert not [colour for colour in theme.DARK if colour in text]
    assert "var(--c-0b6fb8)" in text and "var(--c-1d2733)" in text
    assert 'role="img" aria-label="from &quot;one&quot; to two"' in text
    assert "DejaVu" not in text


def test_two_inline_figures_share_no_identifier() -> None:
    elements = [svg.panel_svg(panel().figure(), name=name) for name in ("a", "b")]
    first, second = (
        set(re.findall(r'id="([^"]+)"', svg.inline_svg(one, alt=""))) for one in elements
    )
    assert first and not first & second


def test_figures_are_drawn_the_same_twice() -> None:
    def drawn() -> tuple[svg.Element, bytes]:
        figure = panel().figure()
        element = svg.panel_svg(figure, name="a")
        return element, svg.paper_png([figure], Sheet(3.6, 3.0, [(0.0, 0.0)]))

    assert drawn() == drawn()


def test_the_settings_of_most_order_memory_are_drawn_once_each() -> None:
    rates = [1e-4 * k for k in range(1, 11)]
    runs = [
        run(
            run=f"{rate:.0e}-{seed}",
            policy_label=f"fixed {rate}",
            learning_rate=rate,
            seed=seed,
            order="time",
        )
        for rate in rates
        for seed in (1, 0)
    ]
    strengths = [0.0, -0.9, 0.1, 0.5, np.nan, 0.2, -0.3, 0.4, 0.6, 0.7]
    table = pd.DataFrame(
        {
            "run": [row["run"] for row in runs],
            "control_run": "shuffled",
            "order_memory": np.repeat(strengths, 2),
        }
    )
    rows, left_out = strongest(frames(runs, memory=table))
    assert rows.seed.eq(0).all() and rows.learning_rate.is_monotonic_increasing
    assert rows.order_memory.tolist() == [-0.9, 0.1, 0.5, 0.2, -0.3, 0.4, 0.6, 0.7]
    assert left_out == "; 2 of 10 settings, of the least order memory, are not"


def test_a_sheet_has_the_axes_of_a_row_level() -> None:
    long = "a title far too long for one line of a panel of a sheet, by several words"
    titles = ["short", long, "third", "fourth"]
    panels = tuple(Panel(title, lambda ax: None, "") for title in titles)
    figures = [one.figure() for one in panels]
    line, (_, height) = 0.14, figures[0].get_size_inches()
    sheet = Drawing("a", "", "", panels, pd.DataFrame()).sheet(figures)
    assert sheet.corners[:2] == [(0.0, pytest.approx(line)), (3.6, 0.0)]
    assert sheet.corners[2:] == [(0.0, pytest.approx(height + line)), (3.6, sheet.corners[2][1])]
    assert sheet.width == 7.2 and sheet.height == pytest.approx(2 * height + line)


def test_the_files_of_a_sheet_hold_every_panel_in_its_place() -> None:
    figures = [panel().figure(), panel().figure()]
    width, height = figures[0].get_size_inches()
    sheet = Sheet(2 * width, 2 * height, [(0.0, height), (width, 0.0)])
    elements = [svg.panel_svg(one, name=str(place)) for place, one in enumerate(figures)]
    root = ElementTree.fromstring(svg.paper_svg(elements, sheet))
    first, second = (one for one in root if "viewBox" in one.attrib)
    assert float(first.get("y", "")) == pytest.approx(72 * height, rel=1e-5)
    assert (first.get("x"), second.get("x"), second.get("y")) == ("0", "259.2", "0")
    with Image.open(io.BytesIO(svg.paper_png(figures, sheet))) as page:
        quarters = [
            np.asarray(page.crop((x, y, x + page.width // 2, y + page.height // 2))).min()
            for x in (0, page.width // 2)
            for y in (0, page.height // 2)
        ]
    assert quarters[0] == quarters[3] == 255 and max(quarters[1:3]) < 128


def test_every_colour_has_a_dark_form_in_the_page() -> None:
    css = svg.palette_css()
    assert all(css.count(f"--c-{colour[1:]}:") == 3 for colour in theme.DARK)


@pytest.mark.parametrize(("n_panels", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (6, 3), (8, 4)])
def test_a_sheet_is_wider_than_high(n_panels: int, columns: int) -> None:
    assert sheet_columns([1] * n_panels) == columns


def test_a_rolling_mean_uses_what_is_there_at_the_ends() -> None:
    values = np.array([0.0, 3.0, 6.0, 9.0])
    assert theme.rolling_mean(values, 3).tolist() == [1.5, 3.0, 6.0, 7.5]


def test_a_size_keeps_its_colour_whatever_is_drawn() -> None:
    study = frames([*sweep({0.0: 0.5}), run(model="large", n_params=10**6, run="l")])
    assert study.sizes == ["small", "large"]
    assert theme.size_colour(study.sizes, "large") == list(theme.SIZE_COLOURS)[1]


def test_without_runs_every_figure_says_why_it_is_missing() -> None:
    drawn = [figure(frames([])) for figure in FIGURES]
    assert all(isinstance(one, Missing) and one.reason for one in drawn)


def test_forgetting_has_a_panel_per_size_and_the_means_as_data() -> None:
    drawing = forgetting(frames(sweep({0.0: 0.5, 0.5: 0.1})))
    assert isinstance(drawing, Drawing)
    assert [one.title for one in drawing.panels] == ["small, 100\u202fk parameters"]
    assert drawing.data["mean"].tolist() == pytest.approx([0.5, 0.1])
    assert "0.500" in drawing.panels[0].alt


def test_the_landscape_is_drawn_as_change_from_the_smallest_rate() -> None:
    keys = {"model": "small", "n_params": 100, "seed": 0, "replay_fraction": 0.0, "batch": 0}
    points = pd.DataFrame(
        [
            {**keys, "measured_on": "same", "learning_rate": rate, "loss_nats": loss}
            for rate, loss in ((1e-4, 5.0), (1e-3, 4.5), (1e-2, 6.0))
        ]
    )
    drawing = landscape(frames([run()], landscape=points))
    assert isinstance(drawing, Drawing)
    assert drawing.data.change_nats.tolist() == [0.0, -0.5, 1.0]
    assert "−0.500 nats at 1.0e-3" in drawing.panels[0].alt


def test_rates_that_few_batches_reach_are_explained() -> None:
    columns = ["target", "decrease", "median_learning_rate", "n_found", "seed"]
    rows = [
        ("decrease", 0.05, np.nan, 2, 0),
        ("decrease", 0.05, 1e-2, 5, 1),
        ("largest_decrease", 0.039, np.nan, 8, 0),
        ("edge", np.nan, np.nan, 0, 0),
    ]
    table = pd.DataFrame(rows, columns=columns).assign(
        model="small", n_params=100, n_batches=8, replay_fraction=0.0
    )
    assert not_reached(table) == (
        " No rate is given where fewer than half of the batches have one: 5\u202f% at small "
        "(seed 0: 2 of 8, the best step lowers the loss by 3.9\u202f%), edge at small "
        "(seed 0: 0 of 8, at no probed rate is the loss raised)."
    )
    assert not_reached(table[table.seed == 1]) == ""


@pytest.mark.parametrize(
    ("misses", "label"), [(False, "law constant"), (True, "law constant (misfit)")]
)
def test_a_law_that_misses_its_points_has_no_band(misses: bool, label: str) -> None:
    name = "forgetting/constant/small"
    ratio = {"model": "small", "task": None, "policy_label": "hold 5 %", "fit": name}
    ratio |= {"answer": "not decidable"}
    fit = {"law": "constant", "misses_points": misses, "reason": ""}
    fits = NO_FITS | {"critical_ratios": [ratio], "fits": {name: fit}}
    curve = {"fit": name, "n_params": np.nan, "decrease": np.nan, "y": 0.3, "low": 0.2, "high": 0.4}
    curve |= {"replay_fraction": [0.0, 0.5]}
    study = frames(sweep({0.0: 0.5, 0.5: 0.1}), fits=fits, predictions=pd.DataFrame(curve))
    drawing = forgetting(study)
    assert isinstance(drawing, Drawing)
    ax = drawing.panels[0].figure().axes[0]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert label in labels
    assert bool(bands(ax)) is not misses
    assert ("misfit" in drawing.caption) is misses


def test_runs_that_question_14_leaves_out_are_faint() -> None:
    runs = [run(run="usual"), run(run="again", repeats=4)]
    lag_rows = pd.DataFrame({"lag_steps": [1, 2, 3, 4], "F": [0.1, 0.2, 0.3, 0.4]})
    clock = dict.fromkeys(CLOCK_WORDS, lag_rows.lag_steps)
    table = pd.concat([lag_rows.assign(run=one["run"], **clock) for one in runs])
    drawing = lag(frames(runs, lag=table))
    assert isinstance(drawing, Drawing) and "leaves out" not in drawing.title
    assert "question 14 does not compare" in drawing.caption
    lines = drawing.panels[0].figure().axes[0].get_lines()
    strengths = [line.get_alpha() for line in lines if len(line.get_xdata()) == 4]
    assert sorted(strengths, key=str) == [0.35, None]
    alone = lag(frames(runs[:1], lag=table))
    assert isinstance(alone, Drawing) and "question 14" not in alone.caption


def along(
    one: dict[str, Any], points: dict[int, float], *, task: str = "a", metric: str = "acc"
) -> pd.DataFrame:
    """Return the collapse of a run's benchmark by step, 10 new tokens a step, error 0.02."""
    keys = ("run", "model", "seed", "replay_fraction", "policy_label")
    rows = pd.DataFrame({"checkpoint_step": points.keys(), "collapse": points.values()})
    rows = rows.assign(n_new_tokens=10 * rows.checkpoint_step, collapse_stderr=0.02)
    return rows.assign(**{k: one[k] for k in keys}, task=task, metric=metric, tolerance=0.1)


def test_benchmarks_run_from_the_base_along_the_mean_of_the_seeds() -> None:
    first, second = (run(seed=seed) for seed in (0, 1))
    table = pd.concat(
        [along(first, {2: 0.1, 4: 0.3, 8: 0.5}), along(second, {2: 0.2, 4: 0.5, 7: 0.9})]
    )
    drawing = benchmark_curves(frames([first, second], evals_checkpoints=table))
    assert isinstance(drawing, Drawing)
    assert [panel.title for panel in drawing.panels] == ["a, acc: hold 5 %"]
    assert drawing.data.checkpoint_step.tolist() == [2, 4]  # what both seeds have
    assert drawing.data.collapse.tolist() == pytest.approx([0.15, 0.4])
    half = drawing.data.high - drawing.data.collapse
    assert half.tolist() == pytest.approx([1.96 * 0.02] * 2, rel=1e-4)
    (line,) = [
        line
        for line in drawing.panels[0].figure().axes[0].get_lines()
        if line.get_label() == "small, 0\u202f% replay"
    ]
    assert line.get_xdata() == pytest.approx([0, 20, 40])
    assert line.get_ydata() == pytest.approx([0, 0.15, 0.4])
    assert line.get_color() == theme.size_colour(["small"], "small")
    assert "0.40 (0.36 to 0.44) after 40 new tokens" in drawing.panels[0].alt


def test_benchmark_curves_take_the_longest_run_and_a_few_settings() -> None:
    runs = [run(run="short"), run(run="long", epochs=4), run(run="replayed", replay_fraction=1.0)]
    runs += [run(run=f"r{n}", policy_label=f"fixed {n}") for n in range(4)]
    table = pd.concat([along(one, {2: 0.1, 4: 0.3}) for one in runs])
    undefined = along(runs[1], {2: np.nan, 4: np.nan}, task="b")
    by_perplexity = along(runs[1], {2: 0.3, 4: 0.4}, task="b", metric="perplexity")
    drawing = benchmark_curves(
        frames(runs, evals_checkpoints=pd.concat([table, undefined, by_perplexity]))
    )
    assert isinstance(drawing, Drawing)
    titles = [panel.title for panel in drawing.panels]
    assert len({title.split(": ")[1] for title in titles}) == MOST_WAYS
    assert titles[:2] == ["a, acc: hold 5 %", "b, perplexity: hold 5 %"]  # the main policy first
    assert "2 more settings" in drawing.caption
    assert set(drawing.data.replay_fraction) == {0.0}


def test_benchmark_curves_need_several_checkpoints() -> None:
    bare = benchmark_curves(frames([run()], evals_checkpoints=pd.DataFrame(columns=["run"])))
    assert isinstance(bare, Missing)
    missing = benchmark_curves(frames([run()], evals_checkpoints=along(run(), {4: 0.3})))
    assert isinstance(missing, Missing)
    assert "`checkpoints: all` under `evals:`" in missing.reason


def bands(ax: Axes) -> list[FillBetweenPolyCollection]:
    return [one for one in ax.collections if isinstance(one, FillBetweenPolyCollection)]


def test_targets_are_named_and_in_order() -> None:
    rows = [
        ("small", 100, 0, 0.0, "edge", np.nan, 1e-2, 0, 0, 8, 8),
        ("small", 100, 0, 0.0, "decrease", 0.05, 1e-3, 0, 0, 8, 8),
        ("small", 100, 0, 0.0, "best", np.nan, np.nan, 0, 0, 0, 8),
    ]
    table = pd.DataFrame(rows, columns=frames([]).rates.columns)
    assert targets(table, "small").words.tolist() == ["5\u202f%", "edge"]


def test_the_drift_of_a_layer_is_the_mean_over_its_weights() -> None:
    rows = [
        ("a", 8, 0, "attention", 30, 1.0),
        ("a", 8, 0, "mlp", 10, 5.0),
        ("a", 8, 1, "mlp", 7, 3),
    ]
    drift = pd.DataFrame(
        rows, columns=["run", "checkpoint_step", "layer", "group", "n_weights", "mad"]
    )
    assert by_layer(drift).mad.tolist() == [(30 * 1.0 + 10 * 5.0) / 40, 3.0]


def test_signed_colours_are_clear_only_at_zero() -> None:
    colours = theme.signed_colours()
    assert [colours(at)[3] for at in (0.0, 0.25, 0.75, 1.0)] == pytest.approx(
        [1, 0.5, 0.5, 1], abs=0.01
    )
    assert colours(0.499)[3] < 0.01 and colours(0.501)[3] < 0.01


def test_names_of_close_points_do_not_cover_each_other() -> None:
    def paint(ax) -> None:  # type: ignore[no-untyped-def]
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
        theme.label_points(ax, [(0.5, 0.5, "50 %"), (0.502, 0.502, "25 %"), (0.51, 0.495, "0 %")])

    figure = Panel("Close", paint, "").figure()
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    pairs = [(a, b) for place, a in enumerate(boxes) for b in boxes[place + 1 :]]
    assert len(pairs) == 3 and not any(a.overlaps(b) for a, b in pairs)


def test_details_hold_the_recall_matrix_in_the_order_of_training() -> None:
    recall = pd.DataFrame(
        {
            "run": "a",
            "measured": "checkpoint",
            "checkpoint_step": [0, 0, 4, 4],
            "piece": [0, 1, 0, 1],
            "repeat": 0,
            "loss_nats": [3.0, 4.0, 2.5, 4.25],
        }
    )
    pieces = pd.DataFrame(
        {"run": "a", "piece": [0, 1], "position_rank": [1.0, 0.0], "last_step": [4, 2]}
    )
    details = run_details(frames([run(run="a")], recall=recall, pieces=pieces))
    assert details["a"]["recall"] == {
        "step": [0, 4],
        "piece": [1, 0],
        "change_millinats": [[0, 0], [250, -500]],
        "every": 1,
    }
    assert details["a"]["steps"] == {} and details["a"]["layers"] == {}


def test_details_hold_the_decrease_asked_and_achieved_and_say_what_was_thinned() -> None:
    steps = pd.DataFrame({"run": "a", "step": np.arange(1, 321), "learning_rate": 1e-3})
    steps = steps.assign(loss_new_nats=4.0, loss_replay_nats=np.nan, decrease_asked=0.01)
    steps = steps.assign(decrease_achieved=np.where(steps.step == 3, 0.012345, 0.01))
    held = run(run="b")
    kept = steps.assign(run="b", decrease_asked=np.nan, decrease_achieved=np.nan)
    details = run_details(frames([run(run="a"), held], steps=pd.concat([steps, kept])))
    curves = details["a"]["steps"]
    assert curves["every"] == 2 and curves["step"] == {"from": 1, "by": 2, "n": 160}
    assert curves["learning_rate"] == {"from": 0.001, "by": 0, "n": 160}
    assert curves["decrease_asked_percent"] == {"from": 1, "by": 0, "n": 160}
    assert curves["decrease_achieved_percent"][:3] == [1, 1.234, 1]
    assert not [name for name in details["b"]["steps"] if name.startswith("decrease")]


def test_numbers_of_the_page_are_short() -> None:
    assert short([0.123456, 3.0, float("nan")]) == [0.1235, 3, None]
    assert packed([1, 2, 4, 8]) == [1, 2, 4, 8]
    assert packed([np.nan] * 4) == [None] * 4
    assert packed([]) == []
    assert packed([0.1, 0.2, 0.3, 0.4]) == {"from": 0.1, "by": 0.1, "n": 4}
    assert packed([2e-13, 4e-13, 3e-13, 1e-13]) == [2e-13, 4e-13, 3e-13, 1e-13]


def test_places_in_an_inline_figure_are_short_and_like_marks_share_a_style() -> None:
    def paint(ax: Axes) -> None:
        ax.plot([0, 1 / 3, 1], [1, 2, 3], "o")

    element = svg.panel_svg(Panel("Marks", paint, "").figure(), name="marks")
    text = svg.inline_svg(element, alt="")
    assert not re.findall(r' (?:d|x|y)="[^"]*\.\d{3}', text)
    assert len(re.findall(r"<use [^>]*/>\n<use [^>]*/>\n<use [^>]*/>", text)) == 1
    assert re.search(r'<g clip-path="[^"]+" style="[^"]*fill[^"]*">\n<use (?!.*style)', text)


@pytest.mark.parametrize(
    "names",
    [
        ["neox-25k", "neox-100k", "neox-336k", "neox-793k"],
        ["pythia-410m-deduped", "pythia-1.4b-deduped", "pythia-2.8b-deduped"],
    ],
)
def test_no_legend_reaches_beyond_its_panel(names: list[str]) -> None:
    def paint(ax: Axes) -> None:
        for name in names:
            ax.plot([0, 1], [0, 1], marker="o", label=name)
        theme.legend_below(ax, columns=4)

    figure = Panel("", paint, "").figure()
    figure.draw_without_rendering()
    box = figure.axes[0].get_legend().get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    assert box.y0 >= 0


def test_a_long_title_is_broken_where_the_panel_ends() -> None:
    title = "pythia-410m-deduped, fixed 0.0005, 4 repeats, 25 % replay, cyclic order, 256 steps"
    panel_ = Panel(title, lambda ax: None, "")
    assert len(panel_.title_lines()) == 2 and " ".join(panel_.title_lines()) == title
    figure = panel_.figure()
    figure.draw_without_rendering()
    axes_title = figure.axes[0].get_title(loc="left")
    box = next(one for one in figure.findobj(Text) if one.get_text() == axes_title)
    extent = box.get_window_extent()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.x1 and extent.y1 <= figure.bbox.y1


def test_a_panel_is_as_high_as_its_legend_and_its_axes_stay_the_same() -> None:
    def panel_of(n_lines: int) -> Panel:
        def paint(ax: Axes) -> None:
            for line in range(n_lines):
                ax.plot([0, 1], [0, line], label=f"line {line}")
            theme.legend_below(ax, columns=1)

        return Panel("", paint, "")

    none, few, many = (panel_of(n).figure() for n in (0, 1, 6))
    assert none.get_figheight() < few.get_figheight() < many.get_figheight()
    heights = [one.axes[0].get_position().height * one.get_figheight() for one in (none, few, many)]
    assert heights == pytest.approx([heights[0]] * 3)
    for figure in (few, many):
        figure.draw_without_rendering()
        assert figure.axes[0].get_legend().get_window_extent().y0 >= 0


def test_courses_show_a_followed_decrease_beside_the_rates_that_are_kept() -> None:
    policies = [("follow", 0.01), ("hold", 0.01), ("hold", 0.05), ("fixed", np.nan)]
    runs = [
        run(run=f"{kind} {f}", policy=kind, policy_label=f"{kind} {f}", decrease_asked=f)
        | {"model": model, "n_params": n_params, "run": f"{model} {kind} {f}"}
        for model, n_params in (("small", 10**5), ("middle", 10**6), ("large", 10**7))
        for kind, f in policies
        if (model, kind) != ("large", "follow")
    ]
    runs.append(run(replay_fraction=0.5, policy_label="hold 0.05", run="mixed"))
    steps = pd.concat(
        pd.DataFrame({"run": one["run"], "step": [1, 2, 3, 4], "learning_rate": 1e-3})
        .assign(loss_new_nats=[5.0, 4.0, 3.0, 2.0], loss_replay_nats=np.nan)
        .assign(decrease_asked=0.01 if one["policy"] == "follow" else np.nan)
        .assign(decrease_achieved=[0.02, 0.01, 0.01, 0.02])
        for one in runs
    )
    held_out = pd.DataFrame(
        {"run": one["run"], "checkpoint_step": [0, 4], "corpus": "original", "domain": "d"}
        | {"loss_nats": [4.0, 4.5], "n_tokens": 10}
        for one in runs
    ).explode(["checkpoint_step", "loss_nats"])
    held_out = held_out.astype({"checkpoint_step": int, "loss_nats": float})
    drawing = courses(frames(runs, steps=steps, held_out=held_out))
    assert isinstance(drawing, Drawing)
    named = [f"{kind} {f}" for kind, f in policies]
    assert set(drawing.data.policy_label) == set(named)
    assert set(drawing.data.model) == {"small", "middle"}, "where a decrease was followed"
    assert "mixed" not in set(drawing.data.run)
    assert len(drawing.panels) == 2 * 4
    decrease = drawing.panels[-1].figure().axes[0]
    labels = [text.get_text() for text in decrease.get_legend().get_texts()]
    assert sorted(labels) == sorted([*named, "asked"])
    lines = {str(line.get_label()): line.get_ydata() for line in decrease.lines}
    assert lines["follow 0.01"].tolist() == pytest.approx([1.5, 4 / 3, 4 / 3, 1.5])
    points = [line.get_ydata() for line in decrease.lines if line.get_marker() == "."]
    assert points[0].tolist() == [2, 1, 1, 2], "the raw points under their mean"
    assert "1.5 to 1.5" not in drawing.panels[-1].alt and "2 to 2" in drawing.panels[-1].alt


def test_courses_leave_out_a_rate_of_zero_and_a_main_policy_that_is_not_plain() -> None:
    other = {"policy": "fixed", "policy_label": "fixed 0.001, optimizer sgd"}
    runs = [run(run=f"sgd {ratio}", replay_fraction=ratio, **other) for ratio in (0.0, 0.5)]
    runs.append(run(run="falling", policy="cosine", policy_label="cosine 0.01"))
    steps = pd.DataFrame({"run": "falling", "step": [1, 2, 3], "loss_replay_nats": np.nan})
    steps = steps.assign(loss_new_nats=[3.0, 2.0, 1.0], learning_rate=[1e-2, 5e-3, 0.0])
    steps = steps.assign(decrease_asked=np.nan, decrease_achieved=np.nan)
    held_out = pd.DataFrame({"run": "falling", "checkpoint_step": [0, 3], "corpus": "original"})
    held_out = held_out.assign(domain="d", loss_nats=[4.0, 4.5], n_tokens=10)
    drawing = courses(frames(runs, steps=steps, held_out=held_out))
    assert isinstance(drawing, Drawing) and set(drawing.data.policy_label) == {"cosine 0.01"}
    (rate,) = (one for one in drawing.panels if "learning rate" in one.title)
    ax = rate.figure().axes[0]
    low, high = ax.get_ylim()
    assert low > 1e-3 and high > 1e-2
    assert all(np.isfinite(line.get_ydata()).all() for line in ax.lines)


def test_a_legend_reads_row_by_row() -> None:
    ax = panel().figure().axes[0]
    for name in "abcdef":
        ax.plot([0], [0], label=name)
    theme.legend_below(ax, columns=5)
    ax.figure.draw_without_rendering()
    boxes = [(text.get_window_extent(), text.get_text()) for text in ax.get_legend().get_texts()]
    boxes.sort(key=lambda one: (-round(one[0].y0), one[0].x0))
    assert [name for _, name in boxes] == ["line", *"abcdef"]
    assert len({round(box.y0) for box, _ in boxes}) == 2
