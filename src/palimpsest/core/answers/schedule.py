"""Questions 9, 11 and 13: epochs, order by difficulty, and longer pretraining."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.answers.answer import SHARED, Answer, Question, any_of, every
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import between, nats, percent, plain
from palimpsest.core.seeds import over_seeds, paired, reach

RETURN = Question(
    9,
    words="Do benchmarks come back over many epochs?",
    asked="Does every benchmark that collapsed after the fewest epochs come back after the most?",
    rule="Per size, setting and benchmark: collapse after the fewest epochs that were run, minus "
    "collapse after the most; nothing is chosen by its outcome. Only where the first was a "
    "collapse (lower bound beyond tolerance). Errors are over items, added as if the two were "
    "independent, which is too wide for answers to the same items. Yes when every 95 % interval "
    f"lies above 0.05, no when one lies below {SHARED}; where nothing collapsed, not decidable.",
    lines="""\
epochs:
  model: {sizes}
  policy: {kind: hold, decrease: 0.05}
  epochs: [1, 4]
""",
    figures=("epochs", "benchmark-curves", "benchmarks"),
)
DIFFICULTY = Question(
    11,
    words="Does ordering by difficulty help, of the new data and of the replayed?",
    asked="Does easy-first or hard-first order help by more than 0.01 nats at every size?",
    rule="New data: learning in the order minus learning in time order. Replayed data: forgetting "
    "with the usual order of replay minus forgetting with the order. Seed by seed, of the "
    "same setting; spread over seeds pooled. An order helps when its 95 % interval lies above 0.01 "
    f"nats at every size and setting, and does not when one lies below {SHARED}. Yes when one "
    "order helps (orders share the 5 %), no when none does.",
    lines="""\
difficulty:
  model: {sizes}
  seed: [0, 1, 2]
  stream: {order: [time, easy-first, hard-first]}
  replay_fraction: [0.0, 1.0]
""",
    figures=("difficulty",),
)
LONGER = Question(
    13,
    words="Does a base trained for longer forget more?",
    asked="Does the longest-trained base of every size forget more than its least-trained one, by "
    "more than 0.01 nats?",
    rule="Forgetting from the base with the most pretraining minus that from the base with the "
    "least, of the same size, setting and seed; spread over seeds pooled. Yes when every size's "
    f"95 % interval lies above 0.01 nats, no when one lies below {SHARED}.",
    lines="""\
bases:
  model: {sizes}
  seed: [0, 1, 2]
  base_step: [{early}, final]
""",
    figures=("longer-base",),
)
SETTING = ["model", "n_params", "policy_label", "replay_fraction", "stream", "repeats"]
EPOCHS = [*SETTING, "order", "seed", "task", "metric"]
CAME_BACK = 0.05
SMALL_NATS = 0.01
ORDERS = ("easy-first", "hard-first")


def come_back(frames: Frames) -> Answer:
    """Answer question 9 from settings that were evaluated after several numbers of epochs."""
    ends = _first_and_last(frames)
    if ends.empty:
        missing = "setting with benchmarks after several numbers of epochs"
        return RETURN.not_run(missing, frames)
    cells = ends[ends.verdict_first == "collapsed"].reset_index(drop=True)
    half = reach(cells)
    low, high = (cells["mean"] - half).min(), (cells["mean"] + half).max()
    return RETURN.answered(
        every(cells, CAME_BACK),
        sentence=f"{len(cells)} of {len(ends)} benchmark results were a collapse after the fewest "
        "epochs; the table says how much of it came back.",
        value=_came_back(cells),
        interval=f"all intervals: {between(low, high, decimals=2)}" if len(cells) else "",
        header=("size", "setting", "benchmark", "epochs", "collapse first", "last", "came back"),
        rows=tuple(_epoch_row(row) for row in each(ends)),
    )


def _came_back(cells: pd.DataFrame) -> str:
    """Return the median and the range of what came back, over sizes, settings and benchmarks."""
    if cells.empty:
        return "–"
    back = cells["mean"]
    return f"{plain(back.median())} (median; {plain(back.min())} to {plain(back.max())})"


def by_epochs(frames: Frames) -> pd.DataFrame:
    """Return the collapse of each setting, seed and benchmark that has several epochs."""
    columns = ["run", "n_params", "stream", "order", "repeats", "epochs"]
    evals = frames.evals.dropna(subset=["collapse", "collapse_stderr"])
    evals = evals.merge(frames.runs[columns], on="run").sort_values("epochs", kind="stable")
    several = evals.groupby(EPOCHS).epochs.transform("nunique") > 1
    return evals[several]


def _first_and_last(frames: Frames) -> pd.DataFrame:
    """Return what came back between the fewest and the most epochs: mean, stderr, n_free."""
    ordered = by_epochs(frames).groupby(EPOCHS)
    names = ["epochs", "collapse", "collapse_stderr", "verdict"]
    ends = ordered[names].first().join(ordered[names].last(), lsuffix="_first", rsuffix="_last")
    ends = ends.reset_index()
    error = np.hypot(ends.collapse_stderr_first, ends.collapse_stderr_last)
    return ends.assign(mean=ends.collapse_first - ends.collapse_last, stderr=error, n_free=10**6)


def _epoch_row(row: Any) -> tuple[str, ...]:
    return (
        row.model,
        f"{row.policy_label}, {percent(row.replay_fraction)} replay, seed {row.seed}",
        f"{row.task}, {row.metric}",
        f"{row.epochs_first} and {row.epochs_last}",
        f"{plain(row.collapse_first)} ({row.verdict_first})",
        f"{plain(row.collapse_last)} ({row.verdict_last})",
        f"{plain(row.mean, signed=True)} ± {plain(1.96 * row.stderr)}",
    )


def difficulty(frames: Frames) -> Answer:
    """Answer question 11 from runs in easy-first or hard-first order and their time-order pairs."""
    cells = order_gains(frames)
    if cells.empty:
        missing = "run ordered by difficulty beside one in time order"
        return DIFFICULTY.not_run(missing, frames)
    claims = cells.groupby(["of", "order"])
    verdicts = {key: every(ours, SMALL_NATS, among=len(claims)) for key, ours in claims}
    return DIFFICULTY.answered(
        any_of(list(verdicts.values())),
        sentence="; ".join(
            f"{order}, {of} data: {verdict}" for (of, order), verdict in verdicts.items()
        )
        + ".",
        value="; ".join(
            f"{order} ({of}), {row.model}: {nats(row.mean, signed=True)} nats"
            for (of, order), ours in cells.groupby(["of", "order"])
            for row in each(ours)
        ),
        interval="; ".join(between(row.low, row.high) for row in each(cells)),
        header=("size", "data", "order", "policy", "replay", "gain, nats", "interval", "seeds"),
        rows=tuple(
            (
                *(row.model, row.of, row.order, row.policy_label, percent(row.replay_fraction)),
                *_gap_cells(row),
            )
            for row in each(cells)
        ),
    )


def _gap_cells(row: Any) -> tuple[str, str, str]:
    """Return a mean over seeds, its interval and how many seeds there were."""
    return nats(row.mean, signed=True), between(row.low, row.high), str(row.n_seeds)


def order_gains(frames: Frames) -> pd.DataFrame:
    """Return what each order gains at each setting, over seeds: of, order, mean, low, high."""
    return over_seeds(_gains(frames.runs), "gap", by=["of", "order", *SETTING])


def _gains(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what each order gains against time order, seed by seed: order, of, gap."""
    once = runs[runs.n_phases == 1]
    replayed = once.policy_label.str.extract(REPLAY_ORDER)[0].fillna(once.order)
    plain = once.policy_label.str.replace(REPLAY_ORDER, "", regex=True)
    alike = once.assign(policy_label=plain, replay_order=replayed)
    alone = alike.replay_fraction == 1
    sides: list[tuple[str, pd.DataFrame, str, str, int]] = [
        ("new", alike[~alone & (replayed == alike.order)], "order", "learning_nats", 1),
        ("replayed", alike[alone | (alike.order == "time")], "replay_order", "forgetting_nats", -1),
    ]
    parts = []
    for order in ORDERS:
        for of, ours, name_of, column, sign in sides:
            usual, sorted_ = (ours[ours[name_of] == name] for name in ("time", order))
            gaps = paired(usual, sorted_, column, by=[*SETTING, "epochs", "n_steps"])
            parts.append(gaps.assign(gap=sign * gaps.gap, order=order, of=of))
    return pd.concat(parts, ignore_index=True)


def longer_base(frames: Frames) -> Answer:
    """Answer question 13 from settings that were run from several bases of one size and seed."""
    bases = by_base(frames)
    if bases.empty:
        missing = "setting that was run from several checkpoints of one base"
        return LONGER.not_run(missing, frames)
    gaps = bases[bases.longest]
    cells = over_seeds(gaps, "gap", by=["model", "n_params"]).sort_values("n_params")
    return LONGER.answered(
        every(cells, SMALL_NATS),
        sentence="Forgetting from the longest-trained base minus that from the least-trained, "
        f"over {len(gaps)} pairs of size and seed; settings are averaged.",
        value="; ".join(f"{row.model}: {nats(row.mean, signed=True)} nats" for row in each(cells)),
        interval="; ".join(between(row.low, row.high) for row in each(cells)),
        header=("size", "longest minus least trained, nats", "interval", "seeds"),
        rows=tuple((row.model, *_gap_cells(row)) for row in each(cells)),
    )


def by_base(frames: Frames) -> pd.DataFrame:
    """Return forgetting by size, seed and base step where there are several; settings averaged.

    `gap` is forgetting minus that of the same settings from their least-trained base.
    """
    last = frames.final_bases.groupby("model").step.max()
    runs = frames.runs[(frames.runs.order == "time") & (frames.runs.replay_fraction < 1)]
    found = runs.policy_label.str.extract(BASE_STEP)[0].astype(float)
    runs = runs.assign(
        base_step=found.fillna(runs.model.map(last)),
        policy_label=runs.policy_label.str.replace(BASE_STEP, "", regex=True),
    ).dropna(subset=["base_step", "forgetting_nats"])
    keys = [*SETTING, "epochs", "n_phases", "n_steps", "seed"]
    ordered = runs.sort_values("base_step", kind="stable")
    settings = ordered.groupby(keys)
    steps = settings.base_step
    ordered = ordered.assign(
        gap=ordered.forgetting_nats - settings.forgetting_nats.transform("first"),
        longest=ordered.base_step == steps.transform("max"),
    )[steps.transform("max") > steps.transform("min")]
    by = ["model", "n_params", "seed", "base_step", "longest"]
    return ordered.groupby(by)[["forgetting_nats", "gap"]].mean().reset_index()


REPLAY_ORDER = r", replay_order (easy-first|hard-first)"
BASE_STEP = r", base step (\d+)"
