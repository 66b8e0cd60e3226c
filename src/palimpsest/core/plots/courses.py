"""Training curves of policies side by side: both losses, the rate and the decrease of each step."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import percent
from palimpsest.core.plain_runs import is_bare
from palimpsest.core.plots import theme
from palimpsest.core.plots.curves import with_checkpoints
from palimpsest.core.plots.drawing import Drawing, Missing, Panel

NAME, TITLE = "courses", "Training curves of the policies"
MOST_POLICIES, MOST_FOLLOWED, MOST_POINTS = 4, 2, 160
LABELS = {
    "loss_new_nats": ("new text", "loss on new text, nats"),
    "loss_original_nats": ("original text", "loss on original text, nats"),
    "learning_rate": ("learning rate", "learning rate η"),
    "decrease_achieved": ("decrease in one step", "decrease in one step, %"),
}


def courses(frames: Frames) -> Drawing | Missing:
    """Draw L_D, L_P, η and the decrease against the step, one line for each of few policies."""
    runs = frames.plain_runs
    runs = runs[is_bare(runs.policy_label) & (runs.replay_fraction < 1)]
    if runs.empty or frames.steps.empty:
        return Missing(NAME, TITLE, "no finished run of one pass over the data in time order")
    shown = _shown(runs, _policies(frames, runs))
    data = with_checkpoints(frames, shown).merge(shown[["run", "model", "policy_label"]], on="run")
    shares = ["decrease_achieved", "decrease_asked"]
    in_percent = data.assign(**{name: 100 * data[name] for name in shares})
    panels = tuple(
        _panel(frames, ours, what, shown)
        for what in LABELS
        for _, ours in in_percent.groupby("model", sort=False)
        if len(_drawn(ours, what))
    )
    return Drawing(NAME, TITLE, _caption(runs, shown, data), panels, data)


def _policies(frames: Frames, runs: pd.DataFrame) -> list[str]:
    """Return few policies: followed decreases, kept rates beside them, then whatever else there is.

    Beside a followed decrease belong the rate that holds the same one, the main policy, and the
    fixed rate that was run most often.
    """
    asked = set(frames.steps[frames.steps.decrease_asked.notna()].run)
    follows = runs[runs.run.isin(asked)]
    held = runs[(runs.policy == "hold") & runs.decrease_asked.isin(follows.decrease_asked)]
    fixed = runs[runs.policy == "fixed"].policy_label.value_counts()
    ranked = [
        *sorted(follows.policy_label.unique())[:MOST_FOLLOWED],
        *sorted(held.policy_label.unique()),
        frames.main_policy,
        *sorted(fixed[fixed == fixed.max()].index)[:1],
        *sorted(runs.policy_label.unique()),
    ]
    there = set(runs.policy_label)  # the main policy's runs may all be of another kind
    return [policy for policy in dict.fromkeys(ranked) if policy in there][:MOST_POLICIES]


def _shown(runs: pd.DataFrame, policies: list[str]) -> pd.DataFrame:
    """Return one run of each policy for the smallest and largest size, least replay, first seed.

    Size and replay are among those at which the first policy was run.
    """
    first = runs[runs.policy_label == policies[0]]
    first = first[first.replay_fraction == first.replay_fraction.min()].sort_values("n_params")
    alike = runs[runs.replay_fraction == first.replay_fraction.iloc[0]]
    alike = alike[alike.model.isin(first.model.iloc[[0, -1]])]
    place = {policy: rank for rank, policy in enumerate(policies)}
    ranked = alike.assign(place=alike.policy_label.map(place)).dropna(subset=["place"])
    ranked = ranked.sort_values(["n_params", "place", "seed", "run"])
    return ranked.drop_duplicates(["model", "policy_label"])


def _panel(frames: Frames, data: pd.DataFrame, what: str, shown: pd.DataFrame) -> Panel:
    model, policies = str(data.model.iloc[0]), list(shown.policy_label.unique())
    looks = {
        policy: {
            "color": theme.size_colour(frames.sizes, model),
            "linestyle": theme.dashes(policies, policy),
            "linewidth": 1.2,
            "label": policy,
        }
        for policy in policies
    }
    words, label = LABELS[what]
    drawn = _drawn(data, what)
    ends = drawn.groupby("policy_label", sort=False)[what].agg(["first", "last"])
    spoken = "; ".join(f"{row.Index} {row.first:.3g} to {row.last:.3g}" for row in each(ends))
    return Panel(
        f"{model}: {words}",
        partial(_paint, known=drawn, what=what, looks=looks),
        f"{label} over the steps, model {model}, first to last: {spoken}.",
    )


def _drawn(data: pd.DataFrame, what: str) -> pd.DataFrame:
    """Return the steps at which a quantity has a place: a rate of 0 is on no logarithmic axis."""
    known = data.dropna(subset=[what])
    return known[known[what] > 0] if what == "learning_rate" else known


def _paint(ax: Axes, *, known: pd.DataFrame, what: str, looks: dict[str, dict[str, Any]]) -> None:
    for policy, look in looks.items():
        ours = known[known.policy_label == policy]
        if ours.empty:
            continue
        if what == "loss_original_nats":
            ax.plot(ours.step, ours[what], marker=".", markersize=3, **look)
        else:
            _points_and_mean(ax, ours, what, look)
    if what == "decrease_achieved":
        _asked(ax, known)
    if what == "learning_rate":
        _wide_enough(ax)
        theme.log_ticks(ax, "y")
    else:
        theme.few_ticks(ax)
    ax.set_xlabel("step")
    ax.set_ylabel(LABELS[what][1])
    theme.legend_below(ax, columns=3)


def _points_and_mean(ax: Axes, run: pd.DataFrame, what: str, look: dict[str, Any]) -> None:
    """Draw the steps as points, and their rolling mean over them: of logarithms for rates."""
    values = run[what].to_numpy()
    window = max(len(values) // 10, 3)
    if what == "learning_rate":
        mean = np.exp(theme.rolling_mean(np.log(values), window))
    else:
        mean = theme.rolling_mean(values, window)
    every = slice(None, None, thinning(len(values)))
    if np.ptp(values):  # points on a flat line would only fill the gaps between its dashes
        ax.plot(run.step[every], values[every], ".", color=look["color"], alpha=0.3, markersize=2.2)
    ax.plot(run.step, mean, **look)


def _wide_enough(ax: Axes) -> None:
    """Let an axis of rates span a factor of four, so that it has ticks to read them by."""
    low, high = ax.dataLim.intervaly
    room = max(2 / np.sqrt(high / low), 1.15)
    ax.set_ylim(low / room, high * room)


def _asked(ax: Axes, data: pd.DataFrame) -> None:
    """Draw the decrease that each step asked for, broad and behind the one it achieved."""
    theme.zero_line(ax)
    look: dict[str, Any] = {"color": theme.MUTED, "linewidth": 4.5, "alpha": 0.35, "zorder": 1}
    asked = data.dropna(subset=["decrease_asked"])
    for _, run in asked.groupby("policy_label", sort=False):
        ax.plot(run.step, run.decrease_asked, solid_capstyle="butt", **look)
    if len(asked):
        ax.plot([], [], label="asked", **look)


def thinning(n_points: int) -> int:
    """Return k such that every k-th of so many points are few enough to draw."""
    return -(-n_points // MOST_POINTS)


def _caption(runs: pd.DataFrame, shown: pd.DataFrame, data: pd.DataFrame) -> str:
    replay = float(shown.replay_fraction.iloc[0])
    n_policies = runs[runs.replay_fraction == replay].policy_label.nunique()
    seeds = ", ".join(str(seed) for seed in sorted(shown.seed.unique()))
    most = int(data.dropna(subset=["loss_new_nats"]).groupby("run").size().max())
    few = f", at most {MOST_POINTS} of a run" if thinning(most) > 1 else ""
    parts = [
        f"{shown.policy_label.nunique()} of {n_policies} policies at {percent(replay)} replay, "
        f"seed {seeds}, {_of(list(shown.model.unique()))}.",
        f"Points are single steps{few}; the lines over them are rolling averages over a tenth of "
        "the steps, of logarithms for the rate. Loss on new text: each batch before its step. Loss "
        "on original text: held-out, at checkpoints.",
    ]
    if data.decrease_achieved.notna().any():
        parts.append(
            "The decrease is what one step took off the loss of its own new text; it is drawn "
            "where it was measured."
        )
    if data.decrease_asked.notna().any():
        parts.append(
            "A followed policy searches the rate at which each step achieves the decrease that is "
            "asked for (broad line)."
        )
    return " ".join(parts)


def _of(models: list[str]) -> str:
    return f"for {models[0]}" if len(models) == 1 else f"for {models[0]} and {models[-1]}"
