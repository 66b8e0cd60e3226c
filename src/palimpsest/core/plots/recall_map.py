"""The recall matrix as a heat map: loss of every piece under every checkpoint, against the base."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.settings import setting_words
from palimpsest.core.plots import theme
from palimpsest.core.plots.drawing import Drawing, Missing, Panel
from palimpsest.core.plots.memory import strongest

NAME, TITLE = "recall-map", "Recall: every piece under every checkpoint"
CAPTION = (
    "Change of the loss on each piece (columns, in the order of training) at each checkpoint "
    "(rows, the base first), against the base model, nats per token. Blue: better than the base; "
    "orange: worse; each panel has its own scale. The line is the moment at which a piece was last "
    "trained on. Of each setting the first seed is drawn"
)


def recall_map(frames: Frames) -> Drawing | Missing:
    """Draw M[c, b] − M[0, b] for the runs whose pieces the memory figure draws."""
    rows, left_out = strongest(frames)
    table = frames.recall[
        frames.recall.run.isin(rows.run) & (frames.recall.measured == "checkpoint")
    ]
    if table.empty:
        return Missing(NAME, TITLE, "no run with a shuffled control measured its recall")
    matrices = {
        str(row.run): change_of_loss(table, frames.pieces, str(row.run)) for row in each(rows)
    }
    panels = tuple(
        Panel(
            setting_words(row),
            partial(
                _paint,
                matrix=matrices[str(row.run)],
                last_steps=_last_steps(frames.pieces, str(row.run)),
            ),
            f"Heat map of the change of loss by piece and checkpoint, model {row.model}, "
            f"{setting_words(row)}; {_in_words(matrices[str(row.run)])}",
        )
        for row in each(rows)
    )
    return Drawing(NAME, TITLE, f"{CAPTION}{left_out}.", panels, _long(matrices))


def change_of_loss(table: pd.DataFrame, pieces: pd.DataFrame, run: str) -> pd.DataFrame:
    """Return M[c, b] − M[0, b] of a run: checkpoints × pieces in the order of training."""
    ours = table[table.run == run]
    losses = ours.pivot_table(index="checkpoint_step", columns="piece", values="loss_nats")
    order = pieces[pieces.run == run].sort_values("position_rank").piece
    losses = losses[[piece for piece in order if piece in losses.columns]]
    return losses - losses.iloc[0]


def _last_steps(pieces: pd.DataFrame, run: str) -> np.ndarray:
    return pieces[pieces.run == run].sort_values("position_rank").last_step.to_numpy()


def _paint(ax: Axes, *, matrix: pd.DataFrame, last_steps: np.ndarray) -> None:
    largest = float(np.nanmax(np.abs(matrix.to_numpy()), initial=1e-6))
    image = ax.imshow(
        matrix.to_numpy(),
        cmap=theme.signed_colours(),
        vmin=-largest,
        vmax=largest,
        aspect="auto",
        interpolation="nearest",
    )
    ax.grid(visible=False)
    steps = matrix.index.to_numpy()
    seen = np.searchsorted(steps, last_steps) - 0.5
    ax.step(np.arange(len(seen)), seen, where="mid", color=theme.INK, linewidth=0.9)
    shown = range(0, len(steps), max(1, len(steps) // 8))
    ax.set_yticks(list(shown), [str(steps[row]) for row in shown])
    ax.set_ylim(len(steps) - 0.5, -0.5)
    ax.set_xlabel("piece, in the order of training")
    ax.set_ylabel("checkpoint, step")
    scale = ax.inset_axes((0.1, -0.34, 0.8, 0.045))  # where other panels have their legend
    bar = ax.figure.colorbar(image, cax=scale, orientation="horizontal")
    bar.outline.set_visible(False)


def _long(matrices: dict[str, pd.DataFrame]) -> pd.DataFrame:
    frames = [
        matrix.reset_index().melt("checkpoint_step", value_name="change_nats").assign(run=run)
        for run, matrix in matrices.items()
    ]
    columns = ["run", "checkpoint_step", "piece", "change_nats"]
    return pd.concat(frames, ignore_index=True)[columns]


def _in_words(matrix: pd.DataFrame) -> str:
    last = matrix.iloc[-1]
    return f"at the end {int((last < 0).sum())} of {len(last)} pieces are better than at the base."
