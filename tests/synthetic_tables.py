"""Writes every table of a study, drawn from known laws, for tests of fits and report.

The laws and their constants stand at the top; noise is small and per seed. N: non-embedding
parameters, r: replay fraction, f: asked decrease per step.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SIZES = {"tiny": 25_000, "small": 100_000, "medium": 336_000, "large": 793_000}
TOTALS = {"tiny": 157_000, "small": 362_000, "medium": 729_000, "large": 1_320_000}
RATIOS = (0.0, 0.25, 0.5, 0.75, 1.0)
N_STEPS = 64
N_LAYERS = 2
N_PIECES = 32
TOKENS_PER_STEP = 1024
CHECKPOINT_STEPS = (0, 1, 2, 4, 8, 16, 32, 64)
TASKS = ("hellaswag_local", "lambada_local")

RATE = {"c": 0.12, "kappa": 0.25, "nu": 0.8}  # eta_f = c N^-kappa f^nu
BASE_LOSS = {"E": 3.2, "A": 9.0, "alpha": 0.19}  # loss_original = E + A N^-alpha
FORGET = {"scale": 0.9, "B": 12.0, "a": 0.6, "g": 0.12}  # scale (1+B r)^-a (N/1e5)^-g
LEARN = {"scale": 0.8, "cost": 0.25}  # scale (1 - cost r^2) (N/1e5)^0.03
NOISE_NATS = 0.008
HALF_LIFE_STEPS = 15.0  # of every run's forgetting curve, 3 % apart between seeds
LAG_CLOCKS = ("steps", "sum_learning_rate", "update_norm", "relative_drift", "sum_decrease")


def write_tables(
    folder: Path,
    *,
    seed: int,
    sizes: dict[str, int] | None = None,
    ratios: tuple[float, ...] = RATIOS,
    seeds: tuple[int, ...] = (0, 1, 2),
    noise_nats: float = NOISE_NATS,
) -> pd.DataFrame:
    """Write all tables of the default study into `folder` and return the runs.

    Every size is run at every ratio with the first seed; the other seeds only at ratios 0 and .5
    of the two smallest sizes. `sizes` maps a model's name to its non-embedding parameters.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = SIZES if sizes is None else sizes
    random = np.random.default_rng(seed)
    runs = runs_frame(sizes, ratios=ratios, seeds=seeds, random=random, noise_nats=noise_nats)
    frames = {
        "runs.csv": runs,
        "experiments.csv": experiments_frame(runs),
        "bases.csv": bases_frame(sizes, seeds),
        "evals.csv": (evals := evals_frame(runs, random)),
        "evals_checkpoints.csv": along(runs, evals),
        "memory.csv": memory_frame(runs, random),
        "lag_fits.csv": lag_fits_frame(runs, seed),
        "steps.parquet": per_run(runs, steps_of, random),
        "held_out.parquet": per_run(runs, held_out_of, random),
        "recall.parquet": per_run(runs, recall_of, random),
        "drift.parquet": per_run(runs, drift_of, random),
        "pieces.parquet": per_run(runs, pieces_of, random),
        "repeats.parquet": per_run(runs, repeats_of, random),
        "shifts.csv": per_run(runs, shifts_of, random),
        "neighbours.csv": per_run(runs, neighbours_of, random),
        "lag.parquet": per_run(runs, lag_of, random),
        "landscape.parquet": landscape_frame(sizes, random),
    }
    by_batch = rates_by_batch_frame(sizes, seeds, random)
    frames["rates_by_batch.parquet"] = by_batch
    frames["rates.csv"] = rates_frame(by_batch)
    for name, frame in frames.items():
        write(frame, folder / name)
    return runs


def write(frame: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)


def target_rate(n_params: float, decrease: float) -> float:
    return float(RATE["c"] * n_params ** -RATE["kappa"] * decrease ** RATE["nu"])


def forgetting(n_params: float, replay: float) -> float:
    size = (n_params / 1e5) ** -FORGET["g"]
    return float(FORGET["scale"] * (1 + FORGET["B"] * replay) ** -FORGET["a"] * size)


def learning(n_params: float, replay: float) -> float:
    if replay == 1:
        return 0.02
    return float(LEARN["scale"] * (1 - LEARN["cost"] * replay**2) * (n_params / 1e5) ** 0.03)


def base_loss(n_params: float, tokens_share: float = 1.0) -> float:
    tokens_term = 0.25 * (tokens_share**-0.5 - 1)
    return float(BASE_LOSS["E"] + BASE_LOSS["A"] * n_params ** -BASE_LOSS["alpha"] + tokens_term)


def runs_frame(
    sizes: dict[str, int],
    *,
    ratios: tuple[float, ...],
    seeds: tuple[int, ...],
    random: np.random.Generator,
    noise_nats: float,
) -> pd.DataFrame:
    smallest = sorted(sizes, key=lambda model: sizes[model])[:2]
    rows = []
    for model, n_params in sizes.items():
        for policy in ("hold", "fixed"):
            wanted = ratios if policy == "hold" else tuple(r for r in (0.0, 0.5) if r in ratios)
            for ratio in wanted:
                again = policy == "hold" and model in smallest and ratio in (0.0, 0.5)
                for run_seed in seeds if again else seeds[:1]:
                    rows.append(run_row(model, n_params, policy, ratio, run_seed))
    runs = pd.DataFrame(rows)
    for column in ("learning_nats", "forgetting_nats"):
        runs[column] += noise_nats * random.standard_normal(len(runs))
    runs["loss_new_nats"] = runs.loss_new_base_nats - runs.learning_nats
    runs["loss_original_nats"] = runs.loss_original_base_nats + runs.forgetting_nats
    control = runs[runs.replay_fraction == 1].set_index(["model", "policy", "seed"])
    keys = pd.MultiIndex.from_frame(runs[["model", "policy", "seed"]])
    against = control.forgetting_nats.reindex(keys).to_numpy()
    runs["forgetting_against_control_nats"] = runs.forgetting_nats - against
    runs["forgetting_per_nat"] = runs.forgetting_nats / runs.learning_nats
    return runs.sort_values("run", ignore_index=True)


def run_row(model: str, n_params: int, policy: str, ratio: float, seed: int) -> dict[str, object]:
    rate = target_rate(n_params, 0.05) if policy == "hold" else 1e-3
    strength = (rate / target_rate(n_params, 0.05)) ** 0.7
    forgot = -0.05 if ratio == 1 else forgetting(n_params, ratio) * strength
    n_new = 0 if ratio == 1 else N_STEPS * TOKENS_PER_STEP
    n_replay = N_STEPS * TOKENS_PER_STEP if ratio == 1 else round(n_new * ratio / (1 - ratio))
    learned = learning(n_params, ratio) * strength**0.5
    return {
        "run": f"{model}-{policy}-r{ratio:.2f}-s{seed}",
        "model": model,
        "n_params": n_params,
        "n_params_total": TOTALS.get(model, n_params + 500_000),
        "seed": seed,
        "policy": policy,
        "policy_label": "hold 5 %" if policy == "hold" else "fixed 1e-03",
        "decrease_asked": 0.05 if policy == "hold" else np.nan,
        "learning_rate": rate,
        "replay_fraction": ratio,
        "stream": "chunks",
        "order": "time",
        "repeats": 1,
        "epochs": 1,
        "n_phases": 1,
        "method": "plain",
        "method_strength": None,
        "base_step": "final",
        "window": None,
        "stride": None,
        "max_tokens": None,
        "stride_fraction": None,
        "whole_corpus": True,
        "n_steps": N_STEPS,
        "n_new_tokens": n_new,
        "n_replay_tokens": n_replay,
        "stop_reason": "steps done",
        "loss_new_base_nats": base_loss(n_params) + 0.9,
        "loss_new_nats": np.nan,
        "learning_nats": learned,
        "train_learning_nats": learned * 1.1,
        "loss_original_base_nats": base_loss(n_params),
        "loss_original_nats": np.nan,
        "forgetting_nats": forgot,
        "forgetting_against_control_nats": np.nan,
        "forgetting_per_nat": np.nan,
        "mad_drift": 0.3 * rate * N_STEPS**0.6,
        "relative_drift": 4.0 * rate * N_STEPS**0.6,
        "kl_new_nats": 0.6 * learned,
        "kl_original_nats": 0.5 * abs(forgot),
        "sum_learning_rate": rate * N_STEPS,
        "sum_update_norm": rate * N_STEPS * np.sqrt(n_params),
        "sum_decrease": 0.02 * N_STEPS,
        "share_beyond_edge": np.nan,
    }


def experiments_frame(runs: pd.DataFrame) -> pd.DataFrame:
    held = runs[runs.policy == "hold"].assign(experiment="replay")
    policies = runs[runs.replay_fraction.isin([0.0, 0.5])].assign(experiment="policies")
    both = pd.concat([held, policies])[["experiment", "run"]]
    return both.sort_values(["experiment", "run"], ignore_index=True)


def bases_frame(sizes: dict[str, int], seeds: tuple[int, ...]) -> pd.DataFrame:
    rows = []
    for model, n_params in sizes.items():
        for seed in seeds:
            for step in (100, 200, 400, 800):
                loss = base_loss(n_params, step / 800) + 0.002 * seed
                rows.append(
                    {
                        "model": model,
                        "seed": seed,
                        "n_params": n_params,
                        "n_params_total": TOTALS.get(model, n_params + 500_000),
                        "step": step,
                        "n_tokens": step * TOKENS_PER_STEP,
                        "loss_original_nats": loss,
                        "loss_new_nats": loss + 0.9,
                        "final": step == 800,
                    }
                )
    return pd.DataFrame(rows)


def evals_frame(runs: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    rows = []
    for run in runs.itertuples():
        for task in TASKS:
            base, chance, stderr = 0.6, 0.25, 0.015
            lost = 0.5 * (base - chance) * np.tanh(2 * max(run.forgetting_nats, 0.0))
            value = base - lost + 0.3 * stderr * random.standard_normal()
            collapse = (base - value) / (base - chance)
            spread = float(np.hypot(stderr, stderr) / (base - chance))
            low, high = collapse - 1.96 * spread, collapse + 1.96 * spread
            rows.append(
                {
                    "run": run.run,
                    "model": run.model,
                    "seed": run.seed,
                    "replay_fraction": run.replay_fraction,
                    "policy_label": run.policy_label,
                    "task": task,
                    "metric": "acc",
                    "value": value,
                    "stderr": stderr,
                    "base_value": base,
                    "base_stderr": stderr,
                    "chance": chance,
                    "collapse": collapse,
                    "collapse_stderr": spread,
                    "low": low,
                    "high": high,
                    "tolerance": 0.10,
                    "verdict": verdict(low, high=high, tolerance=0.10),
                    "n_items": 400,
                }
            )
    return pd.DataFrame(rows + base_evals(runs))


def along(runs: pd.DataFrame, evals: pd.DataFrame) -> pd.DataFrame:
    """Return benchmarks at a quarter, half and all of each run, the collapse growing evenly."""
    rows = evals.merge(runs[["run", "n_steps", "n_new_tokens"]], on="run")
    parts = []
    for share in (0.25, 0.5, 1.0):
        part = rows.assign(collapse=share * rows.collapse)
        half = 1.96 * part.collapse_stderr
        part = part.assign(low=part.collapse - half, high=part.collapse + half)
        seen = {"checkpoint_step": (share * rows.n_steps).astype(int)}
        parts.append(part.assign(**seen, n_new_tokens=share * rows.n_new_tokens))
    return pd.concat(parts, ignore_index=True).drop(columns="n_steps")


def base_evals(runs: pd.DataFrame) -> list[dict[str, object]]:
    bases = runs[["model", "seed"]].drop_duplicates()
    blank = dict.fromkeys(["collapse", "collapse_stderr", "low", "high", "tolerance"], np.nan)
    return [
        {
            "run": f"base:{model}:s{seed}",
            "model": model,
            "seed": seed,
            "replay_fraction": np.nan,
            "policy_label": "",
            "task": task,
            "metric": "acc",
            "value": 0.6,
            "stderr": 0.015,
            "base_value": 0.6,
            "base_stderr": 0.015,
            "chance": 0.25,
            "verdict": "undefined",
            "n_items": 400,
            **blank,
        }
        for model, seed in zip(bases.model, bases.seed, strict=True)
        for task in TASKS
    ]


def verdict(low: float, *, high: float, tolerance: float) -> str:
    if high <= tolerance:
        return "prevented"
    return "collapsed" if low > tolerance else "not decidable"


def per_run(
    runs: pd.DataFrame,
    build: Callable[[Any, np.random.Generator], pd.DataFrame],
    random: np.random.Generator,
) -> pd.DataFrame:
    frames = []
    for run in runs.itertuples():
        frame = build(run, random)
        frame.insert(0, "run", run.run)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def steps_of(run: Any, random: np.random.Generator) -> pd.DataFrame:
    step = np.arange(1, N_STEPS + 1)
    share = 1 - np.exp(-step / 20)
    noise = 0.01 * random.standard_normal(N_STEPS)
    loss = run.loss_new_base_nats - run.learning_nats * share + noise
    empty = np.full(N_STEPS, np.nan)
    replay = run.replay_fraction
    rate = run.learning_rate
    drift = run.mad_drift * (step / N_STEPS) ** 0.6
    return pd.DataFrame(
        {
            "step": step,
            "epoch": 0,
            "learning_rate": rate,
            "decrease_asked": run.decrease_asked,
            "decrease_achieved": 0.02,
            "loss_new_nats": empty if replay == 1 else loss,
            "loss_replay_nats": empty if replay == 0 else loss - 0.8,
            "loss_new_after_nats": loss - 0.02 * loss,
            "grad_norm": 1.0,
            "slope": -0.5,
            "update_norm": rate * np.sqrt(run.n_params),
            "sum_learning_rate": rate * step,
            "mad_drift": drift,
            "relative_drift": drift * 12,
            "n_new_tokens": run.n_new_tokens * step // N_STEPS,
            "n_replay_tokens": run.n_replay_tokens * step // N_STEPS,
            "share_rounded_away": np.where(step == 1, 1e-6, np.nan),
            "edge_learning_rate": np.nan,
            "n_forward": 0,
        }
    )


def held_out_of(run: Any, random: np.random.Generator) -> pd.DataFrame:
    rows = []
    for step in CHECKPOINT_STEPS:
        share = (1 - np.exp(-step / 20)) / (1 - np.exp(-N_STEPS / 20))
        new = run.loss_new_base_nats - run.learning_nats * share
        forgot = run.forgetting_nats * share
        original = run.loss_original_base_nats + forgot
        for corpus, domain, loss in [("new", "dnd", new), ("original", "books", original)]:
            rows.append(
                {
                    "checkpoint_step": step,
                    "corpus": corpus,
                    "domain": domain,
                    "loss_nats": loss,
                    "n_tokens": 8192,
                    "bits_per_byte": loss / np.log(2) / 2.8,
                }
            )
    return pd.DataFrame(rows)


def recall_of(run: Any, random: np.random.Generator) -> pd.DataFrame:
    piece = np.arange(N_PIECES)
    seen_at = (piece + 1) * N_STEPS // N_PIECES
    frames = []
    for step in CHECKPOINT_STEPS:
        lag = step - seen_at
        gained = np.where(lag >= 0, 0.6 * np.exp(-np.maximum(lag, 0) / 40), 0.02 * step / N_STEPS)
        start = run.loss_new_base_nats
        loss = start - gained + 0.02 * random.standard_normal(N_PIECES)
        frames.append(
            pd.DataFrame(
                {
                    "checkpoint_step": step,
                    "piece": piece,
                    "repeat": 0,
                    "loss_nats": loss.astype(np.float32),
                    "n_tokens": TOKENS_PER_STEP * N_STEPS // N_PIECES,
                    "measured": "checkpoint",
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def drift_of(run: Any, random: np.random.Generator) -> pd.DataFrame:
    groups = [(-1, "embedding"), (N_LAYERS, "norm"), (N_LAYERS, "head")]
    groups += [(layer, g) for layer in range(N_LAYERS) for g in ("attention", "mlp", "norm")]
    rows = []
    for step in CHECKPOINT_STEPS:
        for layer, group in groups:
            share = (step / N_STEPS) ** 0.6
            rows.append(
                {
                    "checkpoint_step": step,
                    "layer": layer,
                    "group": group,
                    "n_weights": run.n_params // len(groups),
                    "mad": run.mad_drift * share * (1 + 0.1 * layer),
                    "relative_norm": run.relative_drift * share,
                    "share_unchanged": 1.0 if step == 0 else 0.0,
                }
            )
    return pd.DataFrame(rows)


def pieces_of(run: Any, random: np.random.Generator) -> pd.DataFrame:
    rank = np.linspace(0, 1, N_PIECES)
    first = (np.arange(N_PIECES) + 1) * N_STEPS // N_PIECES
    before = np.full(N_PIECES, run.loss_new_base_nats)
    after = before - 0.6
    end = before - 0.6 + 0.4 * (1 - rank) + 0.05 * random.standard_normal(N_PIECES)
    return pd.DataFrame(
        {
            "piece": np.arange(N_PIECES),
            "position_rank": rank,
            "first_step": first,
            "last_step": first,
            "loss_first_before_nats": before,
            "loss_last_after_nats": after,
            "loss_end_nats": end,
            "F_before": end - before,
            "F_after": end - after,
        }
    )


def repeats_of(run: Any, random: np.random.Generator) -> pd.DataFrame:
    pieces = pieces_of(run, random)
    return pd.DataFrame(
        {
            "piece": pieces.piece,
            "visit": 0,
            "repeat": 1,
            "n_seen": 1,
            "step": pieces.last_step,
            "loss_before_nats": pieces.loss_first_before_nats,
            "loss_after_nats": pieces.loss_last_after_nats,
            "F_after": pieces.F_after,
        }
    )


def shifts_of(run: Any, random: np.random.Generator) -> pd.DataFrame:
    shift = np.arange(1 - N_PIECES, N_PIECES)
    change = np.where(shift < 0, -0.1, -0.6 * np.exp(-np.maximum(shift, 0) / 20))
    change = change + 0.02 * random.standard_normal(len(shift))
    pairs = N_PIECES - np.abs(shift)
    return pd.DataFrame({"round": 0, "shift": shift, "change_nats": change, "n_pairs": pairs})


def neighbours_of(run: Any, random: np.random.Generator) -> pd.DataFrame:
    distance = np.arange(1, N_PIECES // 2)
    excess = -0.1 / distance + 0.01 * random.standard_normal(len(distance))
    return pd.DataFrame(
        {
            "again": False,
            "distance": distance,
            "change_nats": excess - 0.05,
            "excess_nats": excess,
            "n_pairs": 4,
        }
    )


def memory_frame(runs: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    rows = []
    for run in runs.itertuples():
        memory = -0.5 + 0.05 * random.standard_normal()
        row = {
            "run": run.run,
            "control_run": "",
            "spearman": memory + 0.1,
            "spearman_control": np.nan,
            "spearman_control_story": np.nan,
            "n_pieces_left_out": 0,
            "order_memory": np.nan,
            "low": np.nan,
            "high": np.nan,
            "primacy_nats": -0.1,
            "recency_nats": 0.2,
            "primacy_nats_low": -0.15,
            "primacy_nats_high": -0.05,
            "recency_nats_low": 0.12,
            "recency_nats_high": 0.28,
            "n_returns": np.nan,
            "F_between": np.nan,
            "anticipation_nats": np.nan,
            "recovery": np.nan,
        }
        for fifth in range(1, 6):
            row[f"F_after_fifth_{fifth}"] = 0.45 - 0.09 * fifth
            row[f"F_after_control_story_fifth_{fifth}"] = np.nan
            row[f"F_before_fifth_{fifth}"] = -0.15 - 0.09 * fifth
        rows.append(row)
    return pd.DataFrame(rows)


def lag_fits_frame(runs: pd.DataFrame, seed: int) -> pd.DataFrame:
    random = np.random.default_rng([seed, 1])
    rows = []
    for run in runs.itertuples():
        steps = HALF_LIFE_STEPS * np.exp(0.03 * random.standard_normal())
        for clock in LAG_CLOCKS:
            half_life = steps * (run.learning_rate if clock == "sum_learning_rate" else 1.0)
            for form, aicc in (("exponential", -90.0), ("power", -80.0)):
                row = {"run": run.run, "clock": clock, "form": form, "height": 0.5}
                row |= {"half_life": half_life, "exponent": np.nan, "rss": 0.01, "aicc": aicc}
                rows.append(row | {"n_points": 30, "better": form == "exponential"})
    return pd.DataFrame(rows)


def lag_of(run: Any, random: np.random.Generator) -> pd.DataFrame:
    rows = []
    rate = run.learning_rate
    for piece in range(0, N_PIECES, 4):
        seen_at = (piece + 1) * N_STEPS // N_PIECES
        for step in CHECKPOINT_STEPS:
            if step < seen_at:
                continue
            lag = step - seen_at
            rows.append(
                {
                    "piece": piece,
                    "checkpoint_step": step,
                    "lag_steps": lag,
                    "lag_sum_learning_rate": lag * rate,
                    "lag_update_norm": lag * rate * np.sqrt(run.n_params),
                    "lag_relative_drift": 4 * rate * lag**0.6,
                    "lag_sum_decrease": 0.02 * lag,
                    "F": 0.5 * (1 - np.exp(-lag / 20)) + 0.02 * random.standard_normal(),
                }
            )
    return pd.DataFrame(rows)


def landscape_frame(sizes: dict[str, int], random: np.random.Generator) -> pd.DataFrame:
    frames = []
    rates = np.logspace(-5, -1, 17)
    for model, n_params in sizes.items():
        best = target_rate(n_params, 0.12)
        for replay in (0.0, 0.5):
            for batch in range(3):
                for measured_on, depth in (("same", 0.6), ("next", 0.3), ("original", -0.1)):
                    loss = base_loss(n_params) + 0.9 - depth * (rates / best) * (2 - rates / best)
                    frames.append(
                        pd.DataFrame(
                            {
                                "model": model,
                                "n_params": n_params,
                                "seed": 0,
                                "replay_fraction": replay,
                                "usual": True,
                                "batch": batch,
                                "measured_on": measured_on,
                                "learning_rate": rates,
                                "loss_nats": np.minimum(loss, 20.0)
                                + 0.01 * random.standard_normal(),
                            }
                        )
                    )
    return pd.concat(frames, ignore_index=True)


def rates_by_batch_frame(
    sizes: dict[str, int], seeds: tuple[int, ...], random: np.random.Generator
) -> pd.DataFrame:
    wanted = [("decrease", f, f, 1.0) for f in (0.01, 0.05, 0.1)]
    wanted += [("best", np.nan, 0.14, 1.0), ("edge", np.nan, 0.14, 3.0)]
    smallest = sorted(sizes, key=lambda model: sizes[model])[:2]
    rows = []
    for model, n_params in sizes.items():
        before = base_loss(n_params) + 0.9
        for seed in seeds if model in smallest else seeds[:1]:
            for replay in (0.0, 0.5):
                for batch in range(8):
                    for target, asked, reached, times in wanted:
                        rate = times * target_rate(n_params, reached)
                        factor = np.exp(0.08 * random.standard_normal())
                        rows.append(
                            {
                                "model": model,
                                "n_params": n_params,
                                "seed": seed,
                                "replay_fraction": replay,
                                "usual": True,
                                "batch": batch,
                                "target": target,
                                "decrease": reached if target == "best" else asked,
                                "learning_rate": rate * factor,
                                "loss_before_nats": before,
                                "loss_after_nats": before * (1 - reached * (times == 1)),
                                "next_loss_before_nats": before,
                                "next_loss_after_nats": before * (1 - 0.4 * reached),
                                "n_forward": 6,
                                "reason": "found",
                            }
                        )
    return pd.DataFrame(rows)


def rates_frame(by_batch: pd.DataFrame) -> pd.DataFrame:
    keys = ["model", "n_params", "seed", "replay_fraction", "usual", "target"]
    asked = by_batch.assign(decrease=by_batch.decrease.where(by_batch.target == "decrease"))
    grouped = asked.groupby([*keys, "decrease"], dropna=False, sort=True).learning_rate
    table = grouped.quantile([0.25, 0.5, 0.75]).unstack()
    table.columns = pd.Index(["q1", "median_learning_rate", "q3"])
    table = table.assign(n_found=grouped.count(), n_batches=grouped.size()).reset_index()
    largest = table[table.target == "best"].assign(target="largest_decrease", decrease=0.14)
    largest[["median_learning_rate", "q1", "q3"]] = np.nan
    columns = [*keys, "decrease", "median_learning_rate", "q1", "q3", "n_found", "n_batches"]
    return pd.concat([table, largest])[columns].sort_values(keys, ignore_index=True)
