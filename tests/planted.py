"""Studies in which each question has a known answer: yes, no, or hidden in the noise.

Every case is made of tables; what the fits stage derives from them is derived here by the same
code. `spread` moves the seeds of a setting apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from report_frames import NO_FITS, frames, run

from palimpsest.core.answers.frames import Frames
from palimpsest.core.laws.study.entry import Options, pooled_noise
from palimpsest.core.laws.study.forecast import forecasts
from palimpsest.core.laws.study.fronts import equal_learning, fronts
from palimpsest.core.laws.study.rates import rate_fits

OPTIONS = Options(laws=("decrease-lr",), n_draws=200, confidence=0.95, seed=0, tolerance_nats=0.05)
SIZES = {"small": 100_000, "large": 400_000}
SEEDS = (0, 1, 2)
APART = (-1.0, 0.2, 0.8)  # of the seeds, in units of `spread`
TIGHT, LOOSE = 0.002, 0.5
KEYS = ("model", "n_params", "seed", "policy_label", "replay_fraction", "stream", "order")
KEYS += ("repeats", "epochs", "n_phases", "n_steps", "base_step")


def study(runs: list[dict[str, Any]], **tables: Any) -> Frames:
    """Return the frames of these runs, with fronts, comparisons and forecasts made from them."""
    table = pd.DataFrame(runs)
    curves = tables.pop("curves", pd.DataFrame(columns=[*KEYS, "run", "checkpoint_step"]))
    rates = tables.get("rates", frames([]).rates)
    bases = tables.get("bases", frames([]).bases)
    mixed = table[table.replay_fraction < 1]
    noises = {
        column: pooled_noise(table, column) for column in ("forgetting_nats", "learning_nats")
    }
    fits = {
        **NO_FITS,
        "fits": {entry.name: entry.record for entry in rate_fits(rates, OPTIONS)},
        "pareto": fronts(table, tables.get("evals", frames([]).evals), OPTIONS),
        "equal_learning": equal_learning(curves) if len(curves) else [],
        "forecast": forecasts(mixed, rates, bases, noises, OPTIONS),
    }
    return frames(runs, fits=fits, **tables)


def seeded(spread: float, *columns: str, **changes: Any) -> list[dict[str, Any]]:
    """Return one setting at every size and seed; the seeds lie apart in `columns`."""
    rows = []
    for model, n_params in SIZES.items():
        for seed, away in zip(SEEDS, APART, strict=True):
            row = run(model=model, n_params=n_params, seed=seed, **changes)
            rows.append(row | {name: row[name] + away * spread for name in columns})
    return rows


def rates_over_size(kappa: float, spread: float) -> Frames:
    """Question 1: η = 0.1 N^-κ f at four sizes and three seeds."""
    random = np.random.default_rng(0)
    rows = []
    for n_params in (25_000, 100_000, 400_000, 1_600_000):
        for seed in SEEDS:
            noise = spread * random.standard_normal()
            for decrease in (0.01, 0.05, 0.1):
                rate = 0.1 * n_params**-kappa * decrease * np.exp(noise)
                head = (f"n{n_params}", n_params, seed, 0.0, "decrease", decrease)
                rows.append((*head, rate, 0.9 * rate, 1.1 * rate, 8, 8))
    return study([run()], rates=pd.DataFrame(rows, columns=frames([]).rates.columns))


def replay(forgetting: Iterable[tuple[float, float]], spread: float) -> Frames:
    """Questions 2 and 10: (ratio, forgetting) per setting; learning falls a little with replay."""
    rows = []
    for ratio, forgot in forgetting:
        values = {"forgetting_nats": forgot, "learning_nats": 1 - 0.2 * ratio}
        columns = ("forgetting_nats", "learning_nats")
        rows += seeded(spread, *columns, replay_fraction=ratio, **values)
    return study(rows)


def mixing(cost: float, spread: float) -> Frames:
    """Question 3: what replay takes from learning 1 nat."""
    mixed = {"replay_fraction": 0.5, "learning_nats": 1 - cost}
    return study(seeded(0.0) + seeded(spread, "learning_nats", **mixed))


def followed(
    gap: float, spread: float, *, steps: tuple[int, ...] = (0, 1, 2, 4, 8), idle: bool = False
) -> Frames:
    """Question 4: forgetting is learning under `hold`, and `gap` more under `follow`.

    idle: a lower kept rate was run too, which learns next to nothing.
    """
    runs = seeded(0.0, policy="hold", policy_label="hold 1 %")
    runs += seeded(0.0, policy="follow", policy_label="follow 1 %")
    low = {"policy": "fixed", "policy_label": "fixed 1e-05", "learning_rate": 1e-5}
    runs += seeded(0.0, learning_nats=0.01, **low) if idle else []
    rows = []
    for one in runs:
        apart = APART[one["seed"]] * spread if one["policy"] == "follow" else 0.0
        for step in steps:
            learned = step / max(steps) * (0.01 if one["policy"] == "fixed" else 1)
            forgot = learned + (gap + apart) * (one["policy"] == "follow") * (step > 0)
            row = {key: one[key] for key in ("run", *KEYS)} | {"checkpoint_step": step}
            rows.append(row | {"learning_nats": learned, "forgetting_nats": forgot})
    return study(runs, curves=pd.DataFrame(rows))


def edges(share: float, spread: float, *, n_steps: int = 400) -> Frames:
    """Question 5: the share of steps beyond the edge at a fixed rate."""
    fixed = {"policy": "fixed", "policy_label": "fixed 0.01", "share_beyond_edge": share}
    runs = seeded(spread, "share_beyond_edge", **fixed)
    steps = pd.DataFrame(
        [(one["run"], step, 1e-2) for one in runs for step in range(n_steps)],
        columns=["run", "step", "edge_learning_rate"],
    )
    return study(runs, steps=steps)


def rates_that_learn(least: float, spread: float) -> Frames:
    """Question 6: three rates, the lowest of which learns `least`; the edge is at 1e-2."""
    runs = []
    for rate, learned in ((1e-4, least), (1e-3, 1.0), (3e-2, 0.1)):
        fixed = {"policy": "fixed", "policy_label": f"fixed {rate:g}", "learning_rate": rate}
        apart = spread if rate == 1e-4 else TIGHT
        runs += seeded(apart, "learning_nats", learning_nats=learned, **fixed)
    rows = [
        (model, n_params, 0, 0.0, target, decrease, rate, rate, rate, 8, 8)
        for model, n_params in SIZES.items()
        for target, decrease, rate in (("decrease", 0.01, 5e-5), ("edge", np.nan, 1e-2))
    ]
    return study(runs, rates=pd.DataFrame(rows, columns=frames([]).rates.columns))


def drifting(order: Callable[[int], float], n_settings: int) -> Frames:
    """Question 7: forgetting of the k-th setting by drift is `order(k)`, with and without replay.

    The larger size drifts and forgets ten times as much: only ranks within a size may count.
    """
    runs = []
    for ratio in (0.0, 0.5):
        for k in range(n_settings):
            for one in seeded(0.0, policy_label=f"p{k}", replay_fraction=ratio):
                size = 10 if one["model"] == "large" else 1
                drift, forgot = size * (1 + k) * 1e-3, size * order(k)
                runs.append(one | {"mad_drift": drift, "forgetting_nats": forgot})
    return study(runs)


def remembered(rho: float, spread: float, *, seeds: int = 3) -> Frames:
    """Question 8: order memory of one setting over seeds, with a shuffled control each."""
    runs, rows = [], []
    for seed, away in list(zip(SEEDS, APART, strict=True))[:seeds]:
        runs += [run(run=f"t{seed}", seed=seed), run(run=f"c{seed}", seed=seed, order="shuffled")]
        row = {"run": f"t{seed}", "control_run": f"c{seed}", "order_memory": rho + away * spread}
        row |= {"low": rho - 0.1, "high": rho + 0.1}
        row |= {f"{n}_nats{e}": 0.1 for n in ("primacy", "recency") for e in ("", "_low", "_high")}
        row |= {"spearman": rho, "spearman_control": -away * spread, "spearman_control_story": 0.04}
        row |= {f"F_after_control_story_fifth_{k}": 0.3 for k in range(1, 6)}
        rows.append(row | {f"F_after_fifth_{k}": 0.1 * k for k in range(1, 6)})
    return study(runs, memory=pd.DataFrame(rows))


def epochs(first: float, last: float, error: float) -> Frames:
    """Question 9: the collapse of a benchmark after one epoch and after four."""
    runs, rows = [], []
    for model, n_params in SIZES.items():
        for n_epochs, collapse in ((1, first), (2, 0.9), (4, last)):
            name = f"{model}-{n_epochs}"
            one = run(run=name, model=model, n_params=n_params, epochs=n_epochs)
            low, high = collapse - 1.96 * error, collapse + 1.96 * error
            verdict = "collapsed" if low > 0.1 else "prevented" if high < 0.1 else "not decidable"
            row = {k: one[k] for k in ("run", "model", "seed", "replay_fraction", "policy_label")}
            row |= {"task": "t", "metric": "acc", "collapse": collapse, "collapse_stderr": error}
            rows.append(row | {"low": low, "high": high, "tolerance": 0.1, "verdict": verdict})
            runs.append(one)
    return study(runs, evals=pd.DataFrame(rows))


def knees(ratio_of: dict[str, float], spread: float) -> Frames:
    """Question 10: one setting of each size learns much and forgets little: its knee."""
    runs = []
    for ratio in (0.0, 0.25, 0.5, 0.75):
        for one in seeded(0.0, replay_fraction=ratio):
            learned, forgot = 1 - 0.8 * ratio, 1 - ratio
            if ratio == ratio_of[one["model"]]:
                learned, forgot = 0.99 - 0.01 * ratio, 0.26
            away = APART[one["seed"]] * spread
            moved = {"learning_nats": learned + away, "forgetting_nats": forgot - away}
            runs.append(one | moved)
    return study(runs)


def ordered(gain: float, spread: float, *, ratio: float = 0.0) -> Frames:
    """Question 11: what easy-first order gains in learning, or in forgetting at replay alone."""
    changed = {"learning_nats": 1 + gain} if ratio < 1 else {"forgetting_nats": 0.5 - gain}
    plain = seeded(0.0, replay_fraction=ratio)
    easy = {"order": "easy-first", "replay_fraction": ratio, **changed}
    return study(plain + seeded(spread, next(iter(changed)), **easy))


def replay_ordered(gain: float) -> Frames:
    """Question 11: what an order of the replayed text alone keeps of the old."""
    half = {"replay_fraction": 0.5, "forgetting_nats": 0.2 - gain}
    easy = half | {"policy_label": "hold 5 %, replay_order easy-first"}
    usual = seeded(0.0, replay_fraction=0.5, forgetting_nats=0.2)
    return study(usual + seeded(TIGHT, "forgetting_nats", **easy))


def protected(gain: float, spread: float, *, learned: float = 0.9, **tables: Any) -> Frames:
    """Question 12: consolidation forgets `gain` less than plain replay at equal learning."""
    return study(protected_runs(gain, spread, learned=learned), **tables)


def protected_apart(gain: float) -> Frames:
    """Question 12: as `protected`, but the large size learns less than any of its mixtures."""
    runs = protected_runs(gain, TIGHT)
    beyond = {"learning_nats": 0.7, "forgetting_nats": 0.0}
    return study(
        [
            one | beyond if one["model"] == "large" and one["method"] != "plain" else one
            for one in runs
        ]
    )


def protected_runs(gain: float, spread: float, *, learned: float = 0.9) -> list[dict[str, Any]]:
    """Return plain runs at two ratios, and runs of consolidation beside them."""
    runs = []
    for ratio in (0.0, 0.5):  # forgetting 0.5 at learning 1, 0.1 at learning 0.8
        plain = {"learning_nats": 1 - 0.4 * ratio, "forgetting_nats": 0.5 - 0.8 * ratio}
        runs += seeded(0.0, replay_fraction=ratio, **plain)
    again = {"n_phases": 2, "replay_fraction": 1.0, "learning_nats": learned}
    again |= {"method": "consolidation"}
    expected = 0.1 + 2 * (learned - 0.8)
    forgot = {"forgetting_nats": expected - gain}
    for one in seeded(spread, "forgetting_nats", **again, **forgot):
        runs.append(one | {"run": f"again-{one['model']}-{one['seed']}"})
    return runs


def bases(gap: float, spread: float) -> Frames:
    """Question 13: runs from the base at its end forget `gap` more than from its step 100."""
    early = seeded(0.0, policy_label="hold 5 %, base step 100")
    late = seeded(spread, "forgetting_nats", forgetting_nats=0.5 + gap)
    columns = frames([]).bases.columns
    rows = [
        (model, seed, n, n, step, step * 1024, step == 800, 4.0, 5.0)
        for model, n in SIZES.items()
        for seed in SEEDS
        for step in (100, 800)
    ]
    return study(early + late, bases=pd.DataFrame(rows, columns=columns))


def one_clock(noise: float, per_setting: float, *, per_seed: float = 0.0) -> Frames:
    """Question 14: forgetting is ln(1 + Σ learning rate), times a factor of setting and seed."""
    random = np.random.default_rng(0)
    runs, curves = [], []
    for k, (model, n_params) in enumerate(SIZES.items()):
        for rate in (5e-4, 1e-3, 2e-3, 4e-3):
            for seed in SEEDS:
                label, name = f"fixed {rate:g}", f"{model}-{rate:g}-{seed}"
                keys = {"model": model, "n_params": n_params, "policy_label": label, "seed": seed}
                runs.append(run(run=name, learning_rate=rate, **keys))
                lags = np.arange(1, 121)
                height = 1 + per_setting * (2 * k - 1) * (1 if rate > 1e-3 else -1)
                height += per_seed * APART[seed]
                clock = lags * rate / 1e-3
                rows = {"run": name, "piece": 0, "lag_steps": lags, "lag_sum_learning_rate": clock}
                rows |= {"lag_update_norm": lags * n_params, "lag_relative_drift": np.nan}
                F = height * np.log1p(clock) + noise * random.standard_normal(len(lags))
                curves.append(pd.DataFrame(rows | {"lag_sum_decrease": np.nan, "F": F}))
    return study(runs, lag=pd.concat(curves))
