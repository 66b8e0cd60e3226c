"""Questions 2 and 3: the replay fraction that prevents collapse, and what mixing costs."""

from __future__ import annotations

from typing import Any

import pandas as pd

from palimpsest.core.answers.answer import SHARED, Answer, Question, Verdict, every
from palimpsest.core.answers.fitted import critical_words, with_ends
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import between, count, nats, percent
from palimpsest.core.seeds import over_seeds, paired

SWEEP = """\
replay:
  model: {sizes}
  seed: [0, 1, 2]
  replay_fraction: [0.0, 0.25, 0.5, 0.75]
"""
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
    lines=SWEEP,
    figures=("forgetting", "critical", "benchmarks"),
)
COST = Question(
    3,
    words="What does mixing cost in learning, at each size?",
    asked="Does replay, at equal new tokens, cost some of what is learned of the new text at every "
    "size?",
    rule="Learning without replay minus learning with it (the ratio with the most runs), seed by "
    "seed at each size; the spread over seeds is pooled over sizes and ratios. Yes when every "
    "size's 95 % interval lies above zero; else no when one size's lies below 5 % of what it "
    f"learns without replay {SHARED}. Beside it, what the law of learning over replay gives.",
    lines=SWEEP,
    figures=("learning",),
)
SMALL_COST_SHARE = 0.05
SETTING = ["model", "n_params", "replay_fraction"]


def prevents(frames: Frames) -> Answer:
    """Answer question 2 from seed intervals and benchmark verdicts of the main policy."""
    cells = settings_judged(frames)
    if cells[cells.replay_fraction > 0].empty:
        return PREVENTS.not_run("run with replay at the main policy", frames)
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
        + sentence
        + control_words(frames.runs),
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


def control_words(runs: pd.DataFrame) -> str:
    """Return that the replay-only control sees fewer original tokens than high ratios do."""
    replayed = runs[runs.repeats == 1].groupby("replay_fraction").n_replay_tokens.median()
    mixed = replayed[replayed.index < 1]
    largest = max((float(ratio) for ratio in runs.replay_fraction if ratio < 1), default=0.0)
    if 1.0 not in replayed.index or mixed.empty or mixed.get(largest, 0) <= replayed[1.0]:
        return ""
    return (
        f" The replay-only control (100 %) trains on {count(replayed[1.0])} original tokens, "
        f"fewer than the {count(mixed[largest])} of the runs at {percent(largest)}: it shows "
        "what as many tokens as the new text has do alone, not what more replay does."
    )


def cost(frames: Frames) -> Answer:
    """Answer question 3: learning without replay minus learning with it, seed by seed."""
    runs = frames.plain_runs
    runs = runs[(runs.policy_label == frames.main_policy) & (runs.replay_fraction < 1)]
    costs = replay_costs(runs)
    if costs.empty:
        missing = "pair of runs with and without replay at the main policy"
        return COST.not_run(missing, frames)
    counts = runs[runs.replay_fraction > 0].replay_fraction.value_counts().sort_index()
    ratio = float(counts.index[int(counts.to_numpy().argmax())])
    ours = costs[costs.replay_fraction == ratio]
    shares = ours["mean"] / ours.learned
    return COST.answered(
        _costs_some(ours),
        sentence=f"At a replay share of {percent(ratio)} and equal new tokens, sizes learn "
        f"{percent(shares.min(), decimals=1)} to {percent(shares.max(), decimals=1)} less than "
        f"without replay, by runs that are {1 / (1 - ratio):.3g} times as long.",
        value="; ".join(f"{row.model}: {nats(row.mean)} nats" for row in each(ours)),
        interval="; ".join(between(row.low, row.high) for row in each(ours)),
        header=(
            "size",
            "replay",
            "learned without",
            "cost, nats",
            "interval",
            "seeds",
            "by its law",
        ),
        rows=tuple(_cost_row(frames.fits, row) for row in each(costs)),
    )


def _cost_row(fits: dict[str, Any], row: Any) -> tuple[str, ...]:
    """Return what one ratio costs at one size, as measured and by the law."""
    return (
        row.model,
        percent(row.replay_fraction),
        nats(row.learned),
        nats(row.mean, signed=True),
        between(row.low, row.high),
        str(row.n_seeds),
        _by_law(fits, row.model, row.replay_fraction),
    )


def _by_law(fits: dict[str, Any], model: str, ratio: float) -> str:
    """Return the cost in learning that a size's own law over replay gives, with its interval."""
    for row in fits["cost_of_replay"]:
        if (row["model"], row["replay_fraction"]) == (model, ratio):
            return with_ends(row)
    return "–"


def _costs_some(cells: pd.DataFrame) -> Verdict:
    """Say yes when every size loses something, no when one surely loses next to nothing."""
    if every(cells, 0.0) == "yes":
        return "yes"
    small = every(cells, SMALL_COST_SHARE * cells.learned)
    return "no" if small == "no" else "not decidable"


def replay_costs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return per size and ratio what replay costs in learning (rows of `over_seeds`), `learned`."""
    alone = runs[runs.replay_fraction == 0]
    parts = [
        paired(mixed, alone, "learning_nats", by=["model", "n_params"]).assign(replay_fraction=r)
        for r, mixed in runs[runs.replay_fraction > 0].groupby("replay_fraction")
    ]
    gaps = pd.concat(parts) if parts else pd.DataFrame(columns=[*SETTING, "seed", "gap"])
    cells = over_seeds(gaps, "gap", by=SETTING)
    learned = alone.groupby("model").learning_nats.mean()
    return cells.assign(learned=cells.model.map(learned)).sort_values(SETTING[1:])


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
