"""What sets one setting apart from another, its seeds left out, and its name for people."""

from __future__ import annotations

from typing import Any

from palimpsest.core.answers.numbers import percent

SETTING = ["model", "policy_label", "replay_fraction", "stream", "order", "repeats", "epochs"]
SETTING += ["n_phases", "n_steps"]


def setting_words(row: Any) -> str:
    """Name a setting: size, policy, and what of the stream is not the usual."""
    words = [str(row.model), str(row.policy_label)]
    ratio, order = row.replay_fraction, str(row.order)
    words += [f"{percent(ratio)} replay"] if ratio else []
    words += [f"{order} order"] if order != "time" else []
    for name in ("repeats", "epochs", "n_phases"):
        count = int(getattr(row, name))
        words += [f"{count} {name.removeprefix('n_')}"] if count > 1 else []
    return ", ".join([*words, f"{row.n_steps} steps"])
