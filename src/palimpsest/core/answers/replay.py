"""Questions 2 and 3: the replay fraction that prevents collapse, and what mixing costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.answers.answer import Answer, Question, Verdict, decide
from palimpsest.core.answers.fitted import critical_words
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import between, nats, percent
from palimpsest.core.answers.seeds import difference, over_seeds

PREVENTS = Question(
    2,
    words="Which replay ratio prevents collapse at a given decrease per step, and how does it "
    "depend on size?",
    asked="Does some mixture with new text keep forgetting within tolerance at every size?",
    rule="A setting is prevented when the upper 95 % bound of forgetting is within tolerance and "
    "every benchmark with a verdict is prevented too (their errors are over items, not seeds), "
    "collapsed when the lower bound of forgetting or of a benchmark "
    "is beyond its tolerance, else not decidable. The critical ratio is the smallest one that is "
    "prevented together with all larger ones (below 100 %); fitted ones are solved from the law "
    "with the least error on ratios it has not seen. Yes when every size has one; no when at "
    "some size even the largest ratio is collapsed.",
    figures=("forgetting", "benchmarks"),
)
COST = Question(
    3,
    words="What does mixing cost in learning, at each size?",
    asked="Does replay, at equal new tokens, lower what is learned of the new text?",
    rule="Learning without replay minus learning with it (the ratio with the most runs), per "
    "size. Yes when the 95 % interval of the mean over sizes lies above zero; no when it lies "
    "below 5 % of what is learned without replay.",
    figures=("learning",),
)
SMALL_COST_SHARE = 0.05
SETTING = ["model", "n_params", "replay_fraction"]


def prevents(frames: Frames) -> Answer:
    """Answer question 2 from seed intervals and benchmark verdicts of the main policy."""
    cells = settings_judged(frames)
    if cells[cells.replay_fraction > 0].empty:
        return PREVENTS.not_run("run with replay at the main policy")
    critical = {str(m): critical_ratio(ours) for m, ours in cells.groupby("model", sort=False)}
    verdict, sentence = _overall(cells, critical)
    header = (
        "size",
        *(percent(r) for r in sorted(cells.replay_fraction.unique())),
        "critical ratio",
    )
    return PREVENTS.answered(
        verdict,
        sentence=f"Policy {frames.main_policy}, tolerance {frames.tolerance_nats:g} nats. "
        + sentence,
        value=_briefly({model: critical_words(frames.fits, model) for model in critical}),
        interval="fitted critical ratio for forgetting alone",
        header=header,
        rows=_verdict_rows(cells, critical),
    )


def settings_judged(frames: Frames) -> pd.DataFrame:
    """Return the main policy's mixed settings with forgetting, its interval and a verdict each."""
    runs = frames.plain_runs
    runs = runs[(runs.policy_label == frames.main_policy) & (runs.replay_fraction < 1)]
    cells = over_seeds(runs, "forgetting_nats", by=SETTING)
    evals = frames.evals[frames.evals.run.isin(runs.run)]
    told = {
        verdict: set(rows[["model", "replay_fraction"]].itertuples(index=False, name=None))
        for verdict, rows in evals.groupby("verdict")
    }
    verdicts = [_judged(row, told, tolerance=frames.tolerance_nats) for row in each(cells)]
    return cells.assign(verdict=verdicts).sort_values(["n_params", "replay_fraction"])


def _judged(row: Any, told: dict[Any, set[tuple[Any, ...]]], *, tolerance: float) -> str:
    """Judge one setting: collapsed by anything, prevented only by everything."""
    place = (row.model, row.replay_fraction)
    if row.low > tolerance or place in told.get("collapsed", set()):
        return "collapsed"
    if row.high <= tolerance and place not in told.get("not decidable", set()):
        return "prevented"
    return "not decidable"


def critical_ratio(cells: pd.DataFrame) -> tuple[float | None, str]:
    """Return a size's smallest ratio from which on all are prevented (None if none), and words."""
    falling = cells.sort_values("replay_fraction", ascending=False)
    prevented = []
    for row in each(falling):
        if row.verdict != "prevented":
            break
        prevented.append(float(row.replay_fraction))
    if prevented:
        return prevented[-1], "none needed" if prevented[-1] == 0 else percent(prevented[-1])
    largest = falling.iloc[0]
    if largest.verdict == "collapsed":
        return None, f"none up to {percent(largest.replay_fraction)}"
    return None, "not decidable"


def cost(frames: Frames) -> Answer:
    """Answer question 3: learning at no replay against learning at the best-measured mixture."""
    runs = frames.plain_runs
    runs = runs[(runs.policy_label == frames.main_policy) & (runs.replay_fraction < 1)]
    mixed = runs[runs.replay_fraction > 0].dropna(subset=["learning_nats"])
    if mixed.empty or runs[runs.replay_fraction == 0].empty:
        return COST.not_run("pair of runs with and without replay at the main policy")
    counts = mixed.replay_fraction.value_counts().sort_index(ascending=False)
    ratio = float(counts.index[int(counts.to_numpy().argmax())])
    costs = _costs(runs, ratio)
    mean = float(costs.cost.mean())
    half = float(np.linalg.norm(costs.half.to_numpy())) / len(costs)  # NaN without replicates
    small = SMALL_COST_SHARE * float(costs.learned.mean())
    return COST.answered(
        decide(mean - half, mean + half, yes_above=0, no_below=small),
        sentence=f"A replay share of {percent(ratio)} at equal new tokens changes what is learned "
        f"by {nats(-mean, signed=True)} nats on average over sizes "
        f"({percent(-mean / costs.learned.mean())} of it).",
        value=f"{nats(mean)} nats",
        interval=between(mean - half, mean + half),
        header=("size", "learned without replay", f"cost of {percent(ratio)} replay", "interval"),
        rows=tuple(
            (
                row.model,
                nats(row.learned),
                nats(row.cost),
                between(row.cost - row.half, row.cost + row.half),
            )
            for row in each(costs)
        ),
    )


def _costs(runs: pd.DataFrame, ratio: float) -> pd.DataFrame:
    cells = over_seeds(runs, "learning_nats", by=SETTING)
    rows = []
    for model, ours in cells.sort_values("n_params").groupby("model", sort=False):
        mixed, alone = (ours[ours.replay_fraction == share] for share in (ratio, 0.0))
        if len(mixed) and len(alone):
            middle, low, _ = difference(mixed.iloc[0], alone.iloc[0])
            rows.append((str(model), float(alone["mean"].iloc[0]), middle, middle - low))
    return pd.DataFrame(rows, columns=["model", "learned", "cost", "half"])


def _overall(
    cells: pd.DataFrame, critical: dict[str, tuple[float | None, str]]
) -> tuple[Verdict, str]:
    if all(ratio is not None for ratio, _ in critical.values()):
        return "yes", "Every size has a tested ratio from which on collapse is prevented."
    largest = cells.groupby("model").replay_fraction.transform("max") == cells.replay_fraction
    lost = cells[largest & (cells.verdict == "collapsed")].model
    if len(lost):
        return "no", f"Even the largest tested share does not prevent it at: {', '.join(lost)}."
    return "not decidable", "The intervals of some sizes reach beyond the tolerance."


def _briefly(words: dict[str, str]) -> str:
    if len(set(words.values())) == 1 and len(words) > 1:
        return f"{next(iter(words.values()))} (every size)"
    return "; ".join(f"{model}: {one}" for model, one in words.items())


def _verdict_rows(
    cells: pd.DataFrame, critical: dict[str, tuple[float | None, str]]
) -> tuple[tuple[str, ...], ...]:
    ratios = sorted(cells.replay_fraction.unique())
    rows = []
    for model, ours in cells.groupby("model", sort=False):
        by_ratio = ours.set_index("replay_fraction")
        texts = [
            f"{nats(by_ratio.loc[r, 'mean'])} ({by_ratio.loc[r, 'verdict']})"
            if r in by_ratio.index
            else "–"
            for r in ratios
        ]
        rows.append((str(model), *texts, critical[str(model)][1]))
    return tuple(rows)
