"""Orders: from the number of batches to the sequence in which one epoch takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palimpsest.core.rows import Ints
from palimpsest.core.streams.settings import Order, Ordered, Replayed
from palimpsest.faults import Fault

Difficulty = Sequence[float] | NDArray[np.floating]
SHUFFLE = 1  # keeps the draws of the shuffle apart from those of replay under the same seed


def orders_taken(stream: Mapping[str, Any], *, pure_replay: bool) -> dict[str, Any]:
    """Return the orders that a stream's settings come to, as changes to them.

    Replay alone has no new text to order: there `order` is that of the replayed rows, unless
    `replay_order` says another. Plain `time` leaves the replayed rows in the order of the draw.
    """
    order = stream.get("order", "time")
    if not pure_replay or order in ("time", "shuffled"):
        return {}
    changes = {} if order == "cyclic" else {"order": "time"}
    if stream["replay_order"] == "shuffled":
        changes |= {"replay_order": order, "replay_cycles": stream["cycles"]}
    return changes


def epoch_sequences(
    settings: Replayed,
    *,
    n_batches: int,
    difficulty: Difficulty | None,
    seed: int,
    n_epochs: int,
) -> Ints:
    """Return the batches (numbered in time order) as each epoch takes them, one row per epoch.

    A shuffled order is another one in every epoch; a cyclic one is `cycles` times as long. Of a
    phase that trains on a part only, the batches of that part come in the same order.
    """
    sequences = _whole(
        settings, n_batches=n_batches, difficulty=difficulty, seed=seed, n_epochs=n_epochs
    )
    part = settings.part if isinstance(settings, Ordered) else None
    if part is None:
        return sequences
    taken = part.batches(n_batches)
    inside = (sequences >= taken.start) & (sequences < taken.stop)
    return sequences[inside].reshape(n_epochs, -1)


def _whole(
    settings: Replayed,
    *,
    n_batches: int,
    difficulty: Difficulty | None,
    seed: int,
    n_epochs: int,
) -> Ints:
    """Return the sequence of every epoch over all batches."""
    order = settings.order if isinstance(settings, Ordered) else "time"
    if order == "shuffled":
        shuffles = [np.random.default_rng([seed, SHUFFLE, epoch]) for epoch in range(n_epochs)]
        return np.stack([shuffle.permutation(n_batches) for shuffle in shuffles])
    if order in ("easy-first", "hard-first"):
        check_difficulty(difficulty, n=n_batches, what="piece of the new corpus")
    sequence = arrange(order, n=n_batches, difficulty=difficulty)
    n_rounds = settings.cycles if isinstance(settings, Ordered) and order == "cyclic" else 1
    return np.tile(sequence, (n_epochs, n_rounds))


def arrange(order: Order, *, n: int, difficulty: Difficulty | None) -> Ints:
    """Return one round over n things that stand in time order; equal difficulties keep theirs."""
    if order == "reversed":
        return np.arange(n)[::-1]
    if order == "easy-first":
        return np.argsort(np.asarray(difficulty), kind="stable")
    if order == "hard-first":
        return np.argsort(-np.asarray(difficulty), kind="stable")
    return np.arange(n)


def check_difficulty(difficulty: Difficulty | None, *, n: int, what: str) -> None:
    """Raise a Fault unless there is one finite number for each of the n things."""
    if difficulty is None:
        raise Fault(f"stream: an order by difficulty needs the base's loss for each {what}")
    if len(difficulty) != n or not np.isfinite(np.asarray(difficulty)).all():
        raise Fault(
            f"stream: difficulty has {len(difficulty)} numbers, needs {n} finite ones,"
            f" one for each {what}: measure it again"
        )
