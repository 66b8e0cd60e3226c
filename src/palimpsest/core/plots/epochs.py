"""The collapse of each benchmark by the number of epochs (question 9)."""

from __future__ import annotations

from functools import partial

import pandas as pd
from scipy.stats import norm

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import percent
from palimpsest.core.answers.schedule import SETTING, by_epochs
from palimpsest.core.plots import forest
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "epochs", "Benchmark collapse by the number of epochs"
CAPTION = (
    "Collapse after each number of epochs of the same setting, means over seeds: falling means "
    "that a benchmark comes back. Bars are 95 % intervals over the items of the benchmark, as wide "
    "as those of a single seed, since all seeds answer the same items. Hollow: with replay, "
    "its share beside the size. Dashed: the tolerance."
)


def epochs(frames: Frames) -> Drawing | Missing:
    """Draw the collapses from which question 9 takes the first and the last."""
    table = by_epochs(frames)
    if table.empty:
        reason = "no setting has benchmarks after several numbers of epochs"
        return Missing(NAME, TITLE, reason)
    cells = _over_seeds(table)
    panels = tuple(
        _panel(frames, ours, f"{task}, {metric}")
        for (task, metric), ours in cells.groupby(["task", "metric"])
    )
    return Drawing(NAME, TITLE, CAPTION, panels, cells)


def _over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Return means over seeds by setting and epochs, with the interval of one seed's items."""
    by = [*SETTING, "order", "task", "metric", "epochs"]
    groups = table.groupby(by)
    cells = groups.agg(
        mean=("collapse", "mean"),
        stderr=("collapse_stderr", "mean"),
        n_seeds=("seed", "nunique"),
        tolerance=("tolerance", "first"),
    ).reset_index()
    half = norm.ppf(0.975) * cells.stderr
    cells = cells.assign(low=cells["mean"] - half, high=cells["mean"] + half)
    differing = [
        name for name in ("policy_label", "stream", "order", "repeats") if cells[name].nunique() > 1
    ]
    words = [
        ", ".join(
            [str(row.model), percent(row.replay_fraction)]
            + [str(getattr(row, name)) for name in differing]
        )
        for row in each(cells)
    ]
    return cells.assign(series=words, hollow=cells.replay_fraction > 0).sort_values(
        ["n_params", "replay_fraction", "epochs"], ignore_index=True
    )


def _panel(frames: Frames, cells: pd.DataFrame, what: str) -> Panel:
    at = sorted(cells.epochs.unique())
    tolerance = float(cells.tolerance.iloc[0])
    places = forest.Places(
        at="epochs",
        names=forest.named(at, [str(int(one)) for one in at]),
        x_label="epochs over the new text",
        y_label="ln perplexity / base"
        if "perplexity" in what
        else "lost share of lead over chance",
        claim=tolerance,
        claim_label=f"tolerance {tolerance:g}",
    )
    paint = partial(forest.paint, frames=frames, cells=cells, places=places)
    return Panel(what, paint, f"{TITLE}: {what}, epochs. {forest.spoken(cells, places)}.")
