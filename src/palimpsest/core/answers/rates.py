"""Questions 1, 5 and 6: rates against size, steps beyond the edge, rates that never learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import beta, norm
from scipy.stats import t as student

from palimpsest.core.answers.answer import SHARED, Answer, Question, Verdict, decide, some
from palimpsest.core.answers.fitted import parameter, reason
from palimpsest.core.answers.frames import Frames, each
from palimpsest.core.answers.numbers import (
    MINUS,
    NARROW,
    between,
    count,
    nats,
    percent,
    plain,
    rate,
)
from palimpsest.core.seeds import over_seeds, reach

BY_SIZE = Question(
    1,
    words="How do the loss decrease per step, the rate for a given decrease, the best decrease and "
    "the edge depend on model size?",
    asked="Does the rate that gives a certain decrease in one step change with model size?",
    rule="κ is fitted to the probes without replay: the rate falls with the number of parameters "
    "to the power κ. Yes when its 95 % interval leaves out zero; no when the interval lies within "
    "±0.05. The table has medians over seeds, the fitted laws' 95 % intervals in brackets, and "
    "what the laws expect of ten times the largest size.",
    lines="""\
rates:
  model: {sizes}
  seed: [0, 1, 2]
  policy: {kind: hold, decrease: 0.05}
""",
    figures=("rates", "landscape"),
)
BEYOND = Question(
    5,
    words="Why does a fixed rate sometimes raise the loss?",
    asked="Is there a setting in which a fixed rate lies beyond the step's own edge on more than "
    "5 % of the steps?",
    rule="Per size, rate and replay: the share of the steps whose edge was found on which the "
    "rate lies above it. Steps of one run are not independent: the 95 % interval is that of a "
    "share (Clopper and Pearson) on as many steps as the spread over seeds, pooled over settings, "
    "says that they are worth (Korn and Graubard); where every setting lies at 0 or 100 %, the "
    "spread says nothing, and each run counts as one draw; without a second seed there is none. "
    "Yes when "
    f"one setting's interval lies above 5 % {SHARED}, no when every one lies below.",
    lines="""\
edges:
  model: {sizes}
  seed: [0, 1, 2]
  policy: {kind: fixed, learning_rate: [1.0e-3, 1.0e-2]}
  measure_edge_every: 4
""",
    figures=("beyond-edge",),
)
NEVER = Question(
    6,
    words="What happens beyond the edge, and are there sensible rates that never learn?",
    asked="Are there sensible rates, from the one that lowers the loss by the smallest probed "
    "share in one step up to the edge, at which a run learns nothing?",
    rule="Needs runs on the new text at three or more rates in one size whose probe found both "
    "ends. Sensible "
    "settings by their size's medians over probes without replay; nothing learned: the upper 95 % "
    f"bound of learning on unseen episodes, over seeds (its own spread from three seeds "
    f"on), is below 0.01 nats {SHARED}. Yes when "
    "there is such a setting; no when the lower bounds of all lie above.",
    lines="""\
rates:
  model: {sizes}
  seed: [0, 1, 2]
  policy: {kind: fixed, learning_rate: [1.0e-4, 1.0e-3, 1.0e-2, 1.0e-1]}
edges:
  model: {sizes}
  policy: {kind: hold, decrease: 0.05}
""",
    figures=("landscape",),
)
RATE_FITS = {
    "a given decrease": "rate/decrease/r=0",
    "best": "rate/best/r=0",
    "edge": "rate/edge/r=0",
}
FLAT_EXPONENT = 0.05
RATE_FIT = RATE_FITS["a given decrease"]
FEW_STEPS = 0.05
NOTHING_LEARNED_NATS = 0.01
SETTING = ["model", "policy_label", "replay_fraction", "order", "repeats", "epochs", "n_steps"]
STEPS = ["n_params", *SETTING]


def by_size(frames: Frames) -> Answer:
    """Answer question 1 from the fitted exponent and the probes' medians."""
    medians = probe_medians(frames.rates)
    if medians.empty:
        return BY_SIZE.not_run("probe that found a rate", frames)
    header, rows = _rate_rows(medians, frames.fits["rates"])
    kappa = parameter(frames.fits, RATE_FIT, "kappa")
    if kappa is None:
        sentence = (
            f"No exponent: {reason(frames.fits, RATE_FIT)}. Measured medians stand in the table."
            + not_reached(frames.rates)
        )
        return BY_SIZE.answered("not decidable", sentence=sentence, header=header, rows=rows)
    value, low, high = kappa
    verdict = decide(abs_low(low, high), abs_high(low, high), yes_above=0, no_below=FLAT_EXPONENT)
    return BY_SIZE.answered(
        verdict,
        sentence=f"With ten times the parameters the rate for the same decrease is "
        f"{plain(10**-value)} times as high. {_other_exponents(frames)}Measured medians stand in "
        "the table." + not_reached(frames.rates),
        value=f"κ = {plain(value)}",
        interval=between(low, high, decimals=2),
        header=header,
        rows=rows + _far_row(frames),
    )


def probe_medians(rates: pd.DataFrame) -> pd.DataFrame:
    """Return the found rates at the lowest replay, medians over seeds, with a column `wanted`."""
    lowest = rates[rates.replay_fraction == rates.replay_fraction.min()]
    named = lowest.assign(wanted=[_wanted(row.target, row.decrease) for row in each(lowest)])
    columns = ["decrease", "median_learning_rate", "q1", "q3", "n_found", "n_batches"]
    keys = ["model", "n_params", "target", "wanted"]
    medians = named.groupby(keys, as_index=False)[columns].median()
    return medians.sort_values(["n_params", "median_learning_rate"], ignore_index=True)


def not_reached(rates: pd.DataFrame) -> str:
    """Return in words which rates have no median, since fewer than half of the batches have one."""
    lowest = rates[rates.replay_fraction == rates.replay_fraction.min()]
    asked = lowest[(lowest.target == "decrease") | (lowest.target == "edge")]
    absent = asked[asked.median_learning_rate.isna()].sort_values(["n_params", "seed"])
    largest = lowest[lowest.target == "largest_decrease"].set_index(["model", "seed"]).decrease
    parts = []
    for (model, target, decrease), ours in absent.groupby(
        ["model", "target", "decrease"], sort=False, dropna=False
    ):
        seeds = "; ".join(_few_found(row, largest) for row in each(ours))
        parts.append(f"{_wanted(target, decrease)} at {model} ({seeds})")
    if not parts:
        return ""
    words = ", ".join(parts)
    return f" No rate is given where fewer than half of the batches have one: {words}."


def _few_found(row: Any, largest: pd.Series) -> str:
    """Return how many batches of one probe reached what was sought, and what they did reach."""
    words = f"seed {row.seed}: {row.n_found} of {row.n_batches}"
    share = percent(largest.get((row.model, row.seed), np.nan), decimals=1)
    if row.target == "edge":
        return f"{words}, at no probed rate is the loss raised" if not row.n_found else words
    return f"{words}, the best step lowers the loss by {share}"


def _wanted(target: str, decrease: float) -> str:
    """Name what a rate was sought for; a decrease with all its digits, by which rows are joined."""
    if target != "decrease":
        return target
    return f"{100 * decrease:g}{NARROW}%".replace("-", MINUS)


def beyond_edge(frames: Frames) -> Answer:
    """Answer question 5 from the measured share of steps beyond the edge, per setting."""
    cells = edge_shares(frames)
    if cells.empty:
        missing = "fixed-rate run whose steps were measured against their edge"
        return BEYOND.not_run(missing, frames)
    verdict: Verdict = "no" if (cells.high < FEW_STEPS).all() else "not decidable"
    verdict = "yes" if (cells.surely_above > FEW_STEPS).any() else verdict
    largest = int(cells["mean"].to_numpy().argmax())
    return BEYOND.answered(
        verdict,
        sentence=f"In {int((cells.low > FEW_STEPS).sum())} of {len(cells)} settings the interval "
        f"lies above {percent(FEW_STEPS)}. The largest share: {_place(cells.iloc[largest])}.",
        value=percent(cells["mean"].iloc[largest], decimals=1),
        interval=_shares(cells.low[largest], cells.high[largest]),
        header=("setting", "steps beyond their edge", "interval", "steps measured", "seeds"),
        rows=tuple(
            (
                _place(row),
                percent(row["mean"], decimals=1),
                _shares(row.low, row.high),
                str(int(row.n)),
                str(int(row.n_seeds)),
            )
            for _, row in cells.iterrows()
        ),
    )


def edge_shares(frames: Frames) -> pd.DataFrame:
    """Return each fixed-rate setting's share of steps beyond the edge: mean, low, high (95 %).

    `surely_above` is the lower end of an interval that shares its 5 % with all settings.
    """
    runs = frames.runs[frames.runs.policy == "fixed"].dropna(subset=["share_beyond_edge"])
    if runs.empty:
        return pd.DataFrame()
    cells, n_free = _shares_beyond(runs, frames.steps)
    low, high = share_bounds(cells, n_free=n_free, n_tests=1)
    surely_above, _ = share_bounds(cells, n_free=n_free, n_tests=len(cells))
    return cells.assign(low=low, high=high, surely_above=surely_above)


def _shares_beyond(runs: pd.DataFrame, steps: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Return each setting's share of steps, and the degrees of freedom of what a step is worth.

    `n_effective` is how many independent steps its steps are worth: seeds apart by more than so
    many draws would be (pooled over settings, in units of the binomial variance) make them fewer.
    Where all lie at 0 or 1, the spread says nothing: each run counts as one draw, exactly.
    """
    counts = steps.dropna(subset=["edge_learning_rate"]).groupby("run").size()
    once = runs.drop_duplicates([*STEPS, "seed"]).assign(n=runs.run.map(counts))
    cells = over_seeds(once, "share_beyond_edge", by=STEPS)
    cells = cells.merge(once.groupby(STEPS).n.sum().reset_index(), on=STEPS)
    n_free = int((cells.n_seeds - 1).sum())
    away = once.share_beyond_edge - once.groupby(STEPS).share_beyond_edge.transform("mean")
    of_draws = float(((cells.n_seeds - 1) * cells["mean"] * (1 - cells["mean"])).sum())
    if n_free and not of_draws:
        return cells.assign(n_effective=cells.n_seeds), np.inf
    crowding = max(float((away**2 * once.n).sum()) / of_draws, 1.0) if n_free else 1.0
    return cells.assign(n_effective=cells.n / crowding), n_free


def share_bounds(
    cells: pd.DataFrame, *, n_free: float, n_tests: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of shares of steps that come in runs; NaN where no setting was repeated.

    Clopper and Pearson's interval at the effective number of steps, made fewer by Student's
    quantile over Gauss's, since few seeds tell how far they lie apart (Korn and Graubard 1998,
    Survey Methodology 24, 193).
    """
    if n_free < 1:
        return np.full(len(cells), np.nan), np.full(len(cells), np.nan)
    tail = 0.05 / (2 * n_tests)
    n = cells.n_effective * (norm.ppf(tail) / student.ppf(tail, n_free)) ** 2
    hits = cells["mean"] * n
    low = np.nan_to_num(beta.ppf(tail, hits, n - hits + 1), nan=0.0)
    return low, np.nan_to_num(beta.ppf(1 - tail, hits + 1, n - hits), nan=1.0)


def never_learn(frames: Frames) -> Answer:
    """Answer question 6 from runs at several rates, below and beyond their size's edge."""
    runs = _with_ends(frames)
    rounded = runs.learning_rate.map(rate)
    if runs.empty or rounded.groupby(runs.model).nunique().max() < 3:
        missing = "runs at three or more rates in one size with a known edge"
        return NEVER.not_run(missing, frames)
    cells = over_seeds(runs, "learning_nats", by=["n_params", *SETTING], own=True)
    ends = runs.groupby(SETTING)[["learning_rate", "least", "edge", "forgetting_nats"]].mean()
    cells = cells.merge(ends.reset_index(), on=SETTING)
    sensible = cells.learning_rate.between(cells.least, cells.edge)
    inside, beyond = cells[sensible], cells[cells.learning_rate > cells.edge]
    idle = some(inside.assign(mean=-inside["mean"]), -NOTHING_LEARNED_NATS)
    n_idle = int((inside["mean"] + reach(inside) < NOTHING_LEARNED_NATS).sum())
    worst = f", the least {nats(beyond['mean'].min())} nats" if len(beyond) else ""
    return NEVER.answered(
        idle,
        sentence=f"{n_idle} of {len(inside)} sensible settings learned nothing; {len(beyond)} "
        f"settings lie beyond the edge{worst}.",
        value=f"{n_idle} of {len(inside)} settings",
        interval="by each setting's interval over seeds",
        header=("setting", "rate / edge", "learning, nats", "interval", "forgetting, nats"),
        rows=tuple(
            _learning_row(row)
            for _, row in cells.sort_values(["n_params", "learning_rate"]).iterrows()
        ),
    )


def _learning_row(row: pd.Series) -> tuple[str, ...]:
    """Return how a setting's rate lies to the edge, and what it learned and forgot."""
    return (
        _place(row),
        plain(row.learning_rate / row.edge),
        nats(row["mean"], signed=True),
        between(row.low, row.high),
        nats(row.forgetting_nats, signed=True),
    )


def _with_ends(frames: Frames) -> pd.DataFrame:
    """Return the runs on new text with the sensible ends of their size: `least` and `edge`."""
    on_text = (frames.runs.replay_fraction < 1) & (frames.runs.stream != "questions")
    runs = frames.runs[on_text].dropna(subset=["learning_nats"])
    probed = frames.rates[frames.rates.replay_fraction == frames.rates.replay_fraction.min()]
    asked = probed[(probed.target == "decrease") & (probed.decrease > 0)]
    smallest = asked[asked.decrease == asked.decrease.min()]
    edges = probed[probed.target == "edge"].groupby("model").median_learning_rate.median()
    least = smallest.groupby("model").median_learning_rate.median()
    known = runs.assign(edge=runs.model.map(edges), least=runs.model.map(least))
    return known.dropna(subset=["edge", "least"])


def _place(row: pd.Series) -> str:
    """Name a setting: size, policy, replay, and whatever is not the usual."""
    extras = [str(row.order)] if row.order != "time" else []
    extras += [f"{row.repeats} repeats"] if row.repeats != 1 else []
    extras += [f"{row.epochs} epochs"] if row.epochs != 1 else []
    name = f"{row.model}, {row.policy_label}, {percent(row.replay_fraction)} replay"
    return ", ".join([name, *extras])


def _shares(low: float, high: float) -> str:
    if not np.isfinite([low, high]).all():
        return "no interval"
    return f"{percent(max(low, 0), decimals=1)} to {percent(min(high, 1), decimals=1)}"


def abs_low(low: float, high: float) -> float:
    """Return the smallest magnitude in an interval: 0 when it holds zero."""
    return 0.0 if low <= 0 <= high else float(min(abs(low), abs(high)))


def abs_high(low: float, high: float) -> float:
    """Return the largest magnitude in an interval."""
    return float(np.maximum(abs(low), abs(high)))


def _other_exponents(frames: Frames) -> str:
    """Return κ of the best rate and of the edge, where they were fitted."""
    known = {what: parameter(frames.fits, RATE_FITS[what], "kappa") for what in ("best", "edge")}
    parts = [
        f"κ of the {what} {'rate ' if what == 'best' else ''}is {plain(found.value)} "
        f"({between(found.low, found.high, decimals=2)})"
        for what, found in known.items()
        if found is not None
    ]
    return f"{'; '.join(parts)}. " if parts else ""


def _rate_rows(
    medians: pd.DataFrame, laws: list[dict[str, Any]]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return per size the measured rates, with the interval of the law in brackets."""
    order = _order(medians)
    largest = medians[medians.target == "largest_decrease"].set_index("model").decrease
    rows = []
    for model, ours in medians[medians.wanted.isin(order)].groupby("model", sort=False):
        by_target = ours.set_index("wanted").median_learning_rate
        size = int(ours.n_params.iloc[0])
        cells = (rate(by_target.get(w, np.nan)) + _by_law(laws, size, w) for w in order)
        share = percent(largest.get(model, np.nan), decimals=1)
        rows.append((f"{model} ({count(size)})", *cells, share))
    names = [w if w in ("best", "edge") else f"η for {w}" for w in order]
    return ("size", *names, "largest decrease"), tuple(rows)


def _order(medians: pd.DataFrame) -> list[str]:
    """Return what was probed for, by rising rate."""
    found = medians[medians.target != "largest_decrease"]
    middle = found.groupby("wanted").median_learning_rate.median().sort_values()
    return [str(wanted) for wanted in middle.index]


def _by_law(laws: list[dict[str, Any]], n_params: int, wanted: str) -> str:
    """Return the interval of a fitted rate in brackets; nothing where there is none."""
    for row in laws:
        name = _wanted(row["target"], row["decrease"])
        if (row["n_params"], name) == (n_params, wanted) and row["low"] is not None:
            return f" ({rate(row['low'])} to {rate(row['high'])})"
    return ""


def _far_row(frames: Frames) -> tuple[tuple[str, ...], ...]:
    """Return what the laws expect beyond the largest size that was probed, if anything."""
    laws = frames.fits["rates"]
    size = max((row["n_params"] for row in laws), default=0)
    cells = [
        _by_law(laws, size, w).strip(" ()") or "–" for w in _order(probe_medians(frames.rates))
    ]
    return ((f"by the laws ({count(size)})", *cells, "–"),) if set(cells) - {"–"} else ()
