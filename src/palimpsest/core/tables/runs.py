"""Settings, training logs and held-out losses of all runs → one row per run."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.measures import at_last_checkpoint

Entry = dict[str, Any]

# What may differ between a run and its control: neither what is learned nor how fast.
NOT_COMPARED = ("checkpoints", "stop", "measure_edge_every", "measure_decrease", "probe_replay")
SEEDLESS = {"base": None, "seed": None}
ROLLING = ("window", "stride", "max_tokens", "stride_fraction")
RUN_COLUMNS = [
    *("run", "model", "n_params", "n_params_total", "seed", "policy", "policy_label"),
    *("decrease_asked", "learning_rate", "replay_fraction", "stream", "order", "repeats"),
    *("epochs", "n_phases", "n_steps", "n_new_tokens", "n_replay_tokens", "stop_reason"),
    *("loss_new_base_nats", "loss_new_nats", "learning_nats", "train_learning_nats"),
    *("loss_original_base_nats", "loss_original_nats", "forgetting_nats"),
    *("bits_per_byte_new_base", "bits_per_byte_new"),
    *("bits_per_byte_original_base", "bits_per_byte_original"),
    *("forgetting_against_control_nats", "forgetting_per_nat", "mad_drift", "relative_drift"),
    *("kl_new_nats", "kl_original_nats", "sum_learning_rate", "sum_update_norm"),
    *("sum_decrease", "share_beyond_edge", "share_correct", "method", "method_strength"),
    *("base_step", "window", "stride", "max_tokens", "stride_fraction", "whole_corpus"),
]


def settings_table(entries: list[Entry]) -> pd.DataFrame:
    """Return what was asked of each run, one row per run, sorted by run."""
    rows = [_settings(entry) for entry in entries]
    return pd.DataFrame(rows).sort_values("run", ignore_index=True)


def experiments_table(entries: list[Entry]) -> pd.DataFrame:
    """Return which run belongs to which experiments."""
    rows = [(name, entry["run"]) for entry in entries for name in entry["experiments"]]
    table = pd.DataFrame(rows, columns=["experiment", "run"])
    return table.sort_values(["experiment", "run"], ignore_index=True)


def runs_table(
    settings: pd.DataFrame,
    *,
    steps: pd.DataFrame,
    held_out: pd.DataFrame,
    recall: pd.DataFrame,
    kl: pd.DataFrame,
    pure_replay: dict[str, str],
) -> pd.DataFrame:
    """Join settings with what came of them; losses and KL in nats per token.

    pure_replay names each run's r = 1 control, where there is one. A sum over steps is NaN when a
    step was not measured.
    """
    table = settings.set_index("run")
    table = table.join([_training(steps), _losses(held_out), _train_learning(recall), _kl(kl)])
    table["learning_nats"] = table.loss_new_base_nats - table.loss_new_nats
    table["forgetting_nats"] = table.loss_original_nats - table.loss_original_base_nats
    control = table.forgetting_nats.reindex([pure_replay.get(str(run), "") for run in table.index])
    table["forgetting_against_control_nats"] = table.forgetting_nats - control.to_numpy()
    per_nat = table.forgetting_nats / table.learning_nats
    table["forgetting_per_nat"] = per_nat.where(table.learning_nats > 0)
    return table.reset_index()[RUN_COLUMNS]


def pure_replay_controls(entries: list[Entry]) -> dict[str, str]:
    """Return run → its r = 1 control: same base, policy, seed, stream and, where run, order."""
    controls: dict[str, dict[str, str]] = {}
    for entry in entries:
        if entry["phase"]["replay_fraction"] == 1:
            orders = controls.setdefault(_alike(entry, "replay_fraction"), {})
            orders[_order(entry)] = entry["run"]
    found = {}
    for entry in entries:
        orders = controls.get(_alike(entry, "replay_fraction"), {})
        control = orders.get(_order(entry), orders.get("time"))
        if control is not None:
            found[entry["run"]] = control
    return found


def shuffled_controls(entries: list[Entry]) -> dict[str, str]:
    """Return run → the run of the same setting in shuffled order, for runs of one phase."""
    alone = [entry for entry in entries if entry["n_phases"] == 1]
    shuffled = {_alike(entry): entry["run"] for entry in alone if _order(entry) == "shuffled"}
    return {
        entry["run"]: shuffled[_alike(entry)]
        for entry in alone
        if _order(entry) != "shuffled" and _alike(entry) in shuffled
    }


def settings_without_seed(entries: list[Entry]) -> dict[str, str]:
    """Return run → what runs share that differ only in their seeds."""
    return {
        entry["run"]: json.dumps([entry["model"], _order(entry), _alike(entry | SEEDLESS)])
        for entry in entries
    }


def _settings(entry: Entry) -> dict[str, Any]:
    phase, stream = entry["phase"], entry["phase"]["stream"]
    ratio = phase["replay_fraction"]
    return {
        "run": entry["run"],
        **{name: entry[name] for name in ("model", "n_params", "n_params_total", "seed")},
        "policy": phase["policy"]["kind"],
        "policy_label": entry["label"],
        "decrease_asked": float(phase["policy"].get("decrease", np.nan)),
        "replay_fraction": _mean_ratio(ratio),
        "stream": stream["kind"],
        "order": _order(entry),
        "repeats": stream.get("repeats", 1),
        "epochs": entry["epochs"],
        "n_phases": entry["n_phases"],
        "method": entry["method"],
        "method_strength": entry["method_strength"],
        "stop_reason": entry["stop_reason"],
        "base_step": str(entry["asked_base_step"]),
        **{name: stream.get(name) for name in ROLLING},
        "whole_corpus": stream.get("n_new_tokens") is None and stream.get("part") is None,
    }


def _mean_ratio(ratio: float | dict[str, float]) -> float:
    return (ratio["start"] + ratio["end"]) / 2 if isinstance(ratio, dict) else float(ratio)


def _order(entry: Entry) -> str:
    return str(entry["phase"]["stream"].get("order", "time"))


def _alike(entry: Entry, *free: str) -> str:
    """Return what two runs share that differ only in order and in the settings named `free`."""
    phase = {k: v for k, v in entry["phase"].items() if k not in (*NOT_COMPARED, *free)}
    stream = {k: v for k, v in phase["stream"].items() if k not in ("order", "cycles")}
    shared = [entry["base"], entry["base_step"], entry["seed"], entry["n_phases"], entry["epochs"]]
    shared += [entry["earlier"], entry["method"], entry["method_strength"]]
    return json.dumps([shared, phase | {"stream": stream}], sort_keys=True)


def _training(steps: pd.DataFrame) -> pd.DataFrame:
    grouped = steps.groupby("run")
    last = grouped.last()
    edge = steps.edge_learning_rate
    beyond = (steps.learning_rate > edge).astype(float).where(edge.notna())
    return pd.DataFrame(
        {
            "learning_rate": grouped.learning_rate.median(),
            "n_steps": grouped.size(),
            **{name: last[name] for name in ("n_new_tokens", "n_replay_tokens")},
            **{name: last[name] for name in ("mad_drift", "relative_drift", "sum_learning_rate")},
            "sum_update_norm": grouped.update_norm.sum(),
            "sum_decrease": grouped.decrease_achieved.agg(lambda x: x.sum(skipna=False)),
            "share_beyond_edge": beyond.groupby(steps.run).mean(),
            "share_correct": grouped.share_correct.last(),
        }
    )


def _losses(held_out: pd.DataFrame) -> pd.DataFrame:
    """Return both corpora's mean loss per token and byte over all domains, at θ₀ and at the end."""
    nats = held_out.loss_nats * held_out.n_tokens
    n_bytes = nats / np.log(2) / held_out.bits_per_byte
    amounts = pd.DataFrame({"nats": nats, "n_tokens": held_out.n_tokens, "n_bytes": n_bytes})
    sums = amounts.groupby([held_out[name] for name in ("run", "corpus", "checkpoint_step")]).sum()
    means = pd.DataFrame(
        {"loss": sums.nats / sums.n_tokens, "bits": sums.nats / np.log(2) / sums.n_bytes}
    ).reset_index()
    columns = {}
    for corpus, rows in means.groupby("corpus"):
        by_run = rows.groupby("run")
        columns[f"loss_{corpus}_base_nats"] = by_run.loss.first()
        columns[f"loss_{corpus}_nats"] = by_run.loss.last()
        columns[f"bits_per_byte_{corpus}_base"] = by_run.bits.first()
        columns[f"bits_per_byte_{corpus}"] = by_run.bits.last()
    return pd.DataFrame(columns)


def _train_learning(recall: pd.DataFrame) -> pd.DataFrame:
    checkpoints = recall[recall.measured == "checkpoint"]
    means = [
        _mean_loss(rows)
        for rows in (checkpoints[checkpoints.checkpoint_step == 0], at_last_checkpoint(recall))
    ]
    return pd.DataFrame({"train_learning_nats": means[0] - means[1]})


def _mean_loss(rows: pd.DataFrame) -> pd.Series:
    nats = (rows.loss_nats.astype(float) * rows.n_tokens).groupby(rows.run).sum()
    return nats / rows.groupby("run").n_tokens.sum()


def _kl(kl: pd.DataFrame) -> pd.DataFrame:
    last = kl.sort_values("checkpoint_step").groupby(["run", "corpus"]).kl_nats.last().unstack()
    return last.rename(columns={"new": "kl_new_nats", "original": "kl_original_nats"})
