"""The figures of means with intervals: what stands where, and the same cells as the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from planted import bases, edges, epochs, ordered, protected, protected_apart, replay_ordered

from palimpsest.core.answers import protections, schedule
from palimpsest.core.answers.frames import Frames
from palimpsest.core.answers.rates import edge_shares
from palimpsest.core.plots import beyond_edge, difficulty, forest, longer_base, theme
from palimpsest.core.plots import epochs as epochs_figure
from palimpsest.core.plots import protections as protections_figure
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

Case = tuple[Callable[[Frames], Drawing | Missing], Frames, list[str]]
CASES: dict[str, Case] = {
    "5": (beyond_edge.beyond_edge, edges(0.3, 0.1), ["0\u202f% replay"]),
    "9": (epochs_figure.epochs, epochs(0.6, 0.1, 0.02), ["t, acc"]),
    "11": (difficulty.difficulty, ordered(0.1, 0.002), ["new text, hold 5 %, 0\u202f% replay"]),
    "12": (
        protections_figure.protections,
        protected(0.1, 0.05),
        ["consolidation by replay only"],
    ),
    "13": (
        longer_base.longer_base,
        bases(0.2, 0.002),
        ["forgetting", "against the least-trained base"],
    ),
}


def drawn(name: str) -> Drawing:
    figure, planted, _ = CASES[name]
    drawing = figure(planted)
    assert isinstance(drawing, Drawing)
    return drawing


@pytest.mark.parametrize("name", CASES)
def test_every_mean_stands_in_its_panel_and_in_its_words(name: str) -> None:
    drawing = drawn(name)
    assert [panel.title for panel in drawing.panels] == CASES[name][2]
    for panel in drawing.panels:
        ax = panel.figure().axes[0]
        markers = [line for line in ax.get_lines() if line.get_marker() in theme.MARKERS]
        heights = np.concatenate([line.get_ydata() for line in markers])
        ours = drawing.data if "of" not in drawing.data or name == "11" else None
        ours = drawing.data[drawing.data.of == panel.title] if ours is None else ours
        assert sorted(heights) == pytest.approx(sorted(ours["mean"]))
        bars = [one for one in ax.collections if isinstance(one, LineCollection)]
        ends = np.array([[s[0][1], s[1][1]] for bar in bars for s in bar.get_segments()])
        assert sorted(ends[:, 0]) == pytest.approx(sorted(ours.low))
        assert sorted(ends[:, 1]) == pytest.approx(sorted(ours.high))
        assert all(f": {mean:.3f} (" in panel.alt for mean in ours["mean"])


def test_the_figures_show_the_cells_that_decide() -> None:
    """The same mean and ends as in the tables of the answers."""
    shares = edge_shares(CASES["5"][1])
    assert (
        drawn("5").data[["low", "high"]].values.tolist()
        == shares.sort_values("n_params")[["low", "high"]].to_numpy().tolist()
    )
    last = drawn("13").data.query("of == 'against the least-trained base'")
    table = {row[0]: row[1:3] for row in schedule.longer_base(CASES["13"][1]).rows}
    assert {row.model: f"+{row.mean:.3f}" for row in last.itertuples()} == {
        model: cells[0] for model, cells in table.items()
    }
    assert {row.model: f"{row.low:.3f} to {row.high:.3f}" for row in last.itertuples()} == {
        model: cells[1] for model, cells in table.items()
    }


def test_sizes_stand_side_by_side_at_their_place() -> None:
    """Two of at most four abreast over 0.7 of the way: 0.0875 to the left and to the right."""
    ax = drawn("12").panels[0].figure().axes[0]
    places = [line.get_xdata()[0] for line in ax.get_lines() if line.get_marker() in ("o", "s")]
    assert places == pytest.approx([-0.0875, 0.0875])


def test_the_claim_and_zero_are_drawn() -> None:
    ax = drawn("12").panels[0].figure().axes[0]
    flat = [line.get_ydata()[0] for line in ax.get_lines() if line.get_marker() == "None"]
    assert flat == [0, protections.SMALL_NATS]


def test_a_size_that_cannot_be_compared_has_no_point_and_is_said() -> None:
    drawing = protections_figure.protections(protected_apart(0.1))
    assert isinstance(drawing, Drawing)
    assert "large at : not comparable" not in drawing.panels[0].alt
    assert "large: not comparable" in drawing.panels[0].alt
    nothing = protections_figure.protections(protected(0.1, 0.002, learned=0.7))
    assert isinstance(nothing, Missing) and "learned as much" in nothing.reason


def test_a_place_without_any_point_has_words() -> None:
    cells = forest.by_size(
        pd.DataFrame(
            {"model": ["small"] * 2, "at": [1, 10], "mean": [0.1, np.nan]}
            | {"low": [0.0, np.nan], "high": [0.2, np.nan]}
        )
    )
    places = forest.Places(
        at="at", names={1: "1", 10: "10"}, x_label="x", y_label="y", words="not comparable"
    )
    planted = CASES["12"][1]

    def paint(ax) -> None:  # type: ignore[no-untyped-def]
        forest.paint(ax, frames=planted, cells=cells, places=places)

    ax = Panel("", paint, "").figure().axes[0]
    assert [(text.get_text(), text.get_position()[0]) for text in ax.texts] == [
        ("not comparable", 1)
    ]
    assert forest.spoken(cells, places) == (
        "small at 1: 0.100 (0.000 to 0.200); small at 10: not comparable"
    )


def test_orders_of_the_replayed_text_have_a_panel_of_their_own() -> None:
    drawing = difficulty.difficulty(replay_ordered(0.1))
    assert isinstance(drawing, Drawing)
    assert [one.title for one in drawing.panels] == ["replayed text, hold 5 %, 50\u202f% replay"]


def test_collapse_over_seeds_keeps_the_interval_of_one_seeds_items() -> None:
    """Seeds at 0.6 and 0.5 with errors of 0.02 and 0.04 over the same items: 0.55 ± 1.96 · 0.03."""
    planted = epochs(0.6, 0.1, 0.02)
    again = planted.evals.assign(
        run=planted.evals.run + "-1",
        seed=1,
        collapse=planted.evals.collapse - 0.1,
        collapse_stderr=0.04,
    )
    runs = planted.runs.assign(run=planted.runs.run + "-1", seed=1)
    both = replace(
        planted,
        runs=pd.concat([planted.runs, runs]),
        evals=pd.concat([planted.evals, again]),
    )
    drawing = epochs_figure.epochs(both)
    assert isinstance(drawing, Drawing)
    first = drawing.data[(drawing.data.model == "small") & (drawing.data.epochs == 1)].iloc[0]
    assert (first["mean"], first.n_seeds) == (pytest.approx(0.55), 2)
    assert first.high - first["mean"] == pytest.approx(1.96 * 0.03, abs=1e-5)
