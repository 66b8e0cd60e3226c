"""Builds the frames of small imagined studies, column by column as the tables stage has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.answers.frames import Frames

NO_FITS: dict[str, Any] = {
    "fits": {},
    "clocks": [],
    "cost_of_replay": [],
    "critical_ratios": [],
    "equal_learning": [],
    "forecast": [],
    "forgetting_per_nat": [],
    "half_lives": [],
    "joint_ablations": [],
    "pareto": [],
    "pareto_checkpoints": [],
    "rates": [],
    "advice": {
        "tolerance_nats": 0.05,
        "policy": "hold 5 %",
        "decrease": 0.05,
        "sizes": [],
        "ratios": [],
        "runs": [],
        "measured": [],
        "laws": {
            what: {"fit": None, "beside": [], "reason": "no runs"}
            for what in ("forgetting", "learning", "learning_rate")
        },
    },
}
COLUMNS = {
    "experiments": ["experiment", "run"],
    "memory": [
        *("run", "control_run", "order_memory", "low", "high"),
        *("n_returns", "F_between", "anticipation_nats", "recovery", "n_pieces_left_out"),
    ],
    "repeats": ["run", "piece", "visit", "repeat", "n_seen", "F_after"],
    "shifts": ["run", "round", "shift", "change_nats", "n_pairs"],
    "neighbours": ["run", "again", "distance", "change_nats", "excess_nats", "n_pairs"],
    "rates": [
        *("model", "n_params", "seed", "replay_fraction", "target", "decrease"),
        *("median_learning_rate", "q1", "q3", "n_found", "n_batches"),
    ],
    "evals_checkpoints": [
        *("run", "model", "seed", "replay_fraction", "policy_label", "checkpoint_step"),
        *("n_new_tokens", "task", "metric", "collapse", "collapse_stderr", "tolerance"),
    ],
    "evals": [
        *("run", "model", "seed", "replay_fraction", "policy_label", "task", "metric"),
        *("collapse", "collapse_stderr", "low", "high", "tolerance", "verdict"),
    ],
    "bases": [
        *("model", "seed", "n_params", "n_params_total", "step", "n_tokens", "final"),
        *("loss_original_nats", "loss_new_nats"),
    ],
    "steps": [
        *("run", "step", "learning_rate", "decrease_asked", "decrease_achieved"),
        *("loss_new_nats", "loss_replay_nats", "edge_learning_rate"),
    ],
    "held_out": ["run", "checkpoint_step", "corpus", "domain", "loss_nats", "n_tokens"],
    "recall": ["run", "checkpoint_step", "piece", "repeat", "loss_nats", "measured"],
    "drift": ["run", "checkpoint_step", "layer", "group", "n_weights", "mad"],
    "pieces": ["run", "piece", "position_rank", "last_step", "F_before", "F_after"],
    "lag": [
        *("run", "piece", "lag_steps", "lag_sum_learning_rate", "lag_update_norm"),
        *("lag_relative_drift", "lag_sum_decrease", "F"),
    ],
    "landscape": [
        *("model", "n_params", "seed", "replay_fraction", "batch", "measured_on"),
        *("learning_rate", "loss_nats"),
    ],
    "predictions": ["fit", "n_params", "replay_fraction", "decrease", "y", "low", "high"],
}


def frames(runs: list[dict[str, Any]], **tables: Any) -> Frames:
    """Return a study of these runs; what is not given is an empty table or no fits."""
    empty = {name: pd.DataFrame(columns=columns) for name, columns in COLUMNS.items()}
    known = pd.DataFrame(runs or [run()]).iloc[: len(runs)]
    if "memory" in tables:  # a planted one names the columns that it is about
        tables["memory"] = tables["memory"].reindex(
            columns=list(dict.fromkeys([*tables["memory"], *COLUMNS["memory"]]))
        )
    return Frames(**{**empty, "fits": NO_FITS, "runs": known, **tables})


def run(**changes: Any) -> dict[str, Any]:
    """Return one run of the small model without replay that learns 1 nat and forgets 0.5."""
    row = {
        "model": "small",
        "n_params": 100_000,
        "seed": 0,
        "policy": "hold",
        "policy_label": "hold 5 %",
        "learning_rate": 1e-3,
        "replay_fraction": 0.0,
        "stream": "chunks",
        "order": "time",
        "repeats": 1,
        "epochs": 1,
        "n_phases": 1,
        "n_steps": 64,
        "n_new_tokens": 65_536,
        "n_replay_tokens": 0,
        "decrease_asked": 0.05,
        "stop_reason": "steps done",
        "learning_nats": 1.0,
        "forgetting_nats": 0.5,
        "forgetting_against_control_nats": np.nan,
        "loss_original_base_nats": 4.0,
        "mad_drift": 1e-3,
        "relative_drift": 1e-2,
        "kl_original_nats": 0.1,
        "share_beyond_edge": np.nan,
        "method": "plain",
        "method_strength": np.nan,
        "base_step": "final",
        "window": np.nan,
        "stride": np.nan,
        "max_tokens": np.nan,
        "stride_fraction": np.nan,
        "whole_corpus": True,
        **changes,
    }
    name = f"{row['model']}-{row['policy_label']}-{row['replay_fraction']}-{row['seed']}"
    return {"run": changes.get("run", f"{name}-{row['order']}-{row['repeats']}"), **row}


def sweep(forgetting: dict[float, float], *, spread: float = 0.001) -> list[dict[str, Any]]:
    """Return two seeds at each replay fraction, `spread` above and below the given forgetting."""
    return [
        run(replay_fraction=ratio, seed=seed, forgetting_nats=value + sign * spread)
        for ratio, value in forgetting.items()
        for seed, sign in ((0, -1), (1, 1))
    ]
