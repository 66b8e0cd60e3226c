"""Streams: from settings, corpora, a replay ratio and a seed to the batches of one epoch.

A kind of stream is the module of that name, with its `Settings` and its `cut`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from palimpsest.core.plug_ins import plug_in
from palimpsest.core.rows import Ints
from palimpsest.core.streams.cutting import Cut, Setup
from palimpsest.core.streams.orders import Difficulty, epoch_sequences, orders_taken
from palimpsest.core.streams.replay import draw, original_rows, read_ratio, replay_counts
from palimpsest.core.streams.settings import Replayed
from palimpsest.core.streams.stream import Stream
from palimpsest.core.validation import parse
from palimpsest.faults import Fault

__all__ = ["Stream", "make_stream", "original_rows"]


def make_stream(
    settings: dict,
    *,
    new: NDArray[np.integer] | None,
    original: NDArray[np.integer] | None,
    replay_fraction: float | dict,
    seed: int,
    epoch: int = 0,
    epochs: int | None = 1,
    questions: Sequence[tuple[Sequence[int], Sequence[int]]] | None = None,
    end_token: int | None = None,
    difficulty: Difficulty | None = None,
    replay_difficulty: Difficulty | None = None,
    context_length: int | None = None,
) -> Stream:
    """Return the batches of epoch `epoch` (0-based) of a phase.

    new, original: token ids. replay_fraction: share of all training targets that is replayed, or
    {start, end} to change linearly over the `epochs` of the phase. questions: pairs of question
    ids and answer ids; end_token closes an answer. difficulty: one number per piece, and
    replay_difficulty: per row of `original_rows`, for the orders that go by it. context_length:
    what the model can attend to; None does not check.
    """
    ratio = read_ratio(replay_fraction)
    setup = Setup(new, questions, end_token, context_length, seed=seed, ratio=ratio)
    chosen, cut = _read_and_cut(settings, setup)
    orders = orders_taken(chosen.model_dump(), pure_replay=ratio[0] == 1)
    chosen = chosen.model_copy(update=orders)
    sequences = epoch_sequences(
        chosen,
        n_batches=len(cut.n_targets),
        difficulty=difficulty,
        seed=seed,
        n_epochs=epoch + 1,
    )
    counts = _replay_counts(chosen, cut, sequences, ratio=ratio, epochs=epochs)
    replay = draw(chosen, original, counts=counts, difficulty=replay_difficulty, seed=seed)
    return Stream(cut, sequences[-1], chosen.repeats, replay, pure_replay=ratio[0] == 1)


def _read_and_cut(settings: dict, setup: Setup) -> tuple[Replayed, Cut]:
    """Validate the settings by their kind and cut the new part by them."""
    kind = settings.get("kind")
    module = plug_in("streams", kind, "stream")
    chosen = parse(module.Settings, settings, f"stream {kind}")
    limit = setup.context_length
    if limit is not None and chosen.sequence_length > limit:
        raise Fault(
            f"stream {kind}: sequence_length {chosen.sequence_length} is beyond the model's"
            f" context of {limit}: lower it"
        )
    return chosen, module.cut(chosen, setup)


def _replay_counts(
    settings: Replayed,
    cut: Cut,
    sequences: Ints,
    *,
    ratio: tuple[float, float],
    epochs: int | None,
) -> Ints:
    """Return the targets that each update replays, of shape (epochs so far, batches, repeats)."""
    if ratio[0] != ratio[1] and (epochs is None or len(sequences) > epochs):
        raise Fault(
            f"stream: a changing replay_fraction needs the number of epochs of its phase, at least"
            f" {len(sequences)} here, got {epochs}"
        )
    n_new_tokens = np.repeat(cut.n_targets[sequences.ravel()], settings.repeats)
    n_phase_steps = sequences.shape[1] * settings.repeats * (epochs or 1)
    counts = replay_counts(ratio, n_new_tokens=n_new_tokens, n_phase_steps=n_phase_steps)
    return counts.reshape(*sequences.shape, settings.repeats)
