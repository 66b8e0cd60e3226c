"""When pieces are due: on a hand-made stream of three batches, each taken twice."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from training_inputs import OPTIMIZER, VOCAB, walk

from palimpsest.core.course import Progress, Trainee
from palimpsest.core.live import Live
from palimpsest.core.losses import mean_loss
from palimpsest.core.models import new_neox
from palimpsest.core.rows import Piece, Row

TOKENS = walk(100, seed=2).astype(np.int64)


def piece(number: int) -> Piece:
    start = 10 * number
    row = Row(TOKENS[start : start + 13], "new", start, piece=number, n_context=2)
    return Piece(piece=number, position=start + 3, n_tokens=10, rows=(row,))


def stream(steps: dict[int, list[int]]) -> Any:
    return SimpleNamespace(pieces=tuple(piece(i) for i in steps), steps_of=steps.__getitem__)


@pytest.fixture(scope="module")
def trainee() -> Trainee:
    model = new_neox(hidden_size=8, layers=1, heads=2, vocab_size=VOCAB, context_length=16, seed=0)
    return Trainee(model, OPTIMIZER)


def moments(live: Live, trainee: Trainee, progress: Progress, n_steps: int) -> pd.DataFrame:
    for step in range(n_steps + 1):
        progress.n_steps = step
        if step == n_steps and progress.stop_reason is None:
            progress.stop_reason = "epochs"
        live.measure(trainee, progress)
    return live.frame(progress)[["moment", "step", "piece", "repeat"]]


def test_cyclic_pieces_are_measured_before_their_first_and_after_their_last_step(
    trainee: Trainee,
) -> None:
    live = Live(stream({0: [0, 3], 1: [1, 4], 2: [2, 5]}))
    found = moments(live, trainee, Progress(first_step=100), 6)
    assert found.values.tolist() == [
        ["before_first", 100, 0, 0],
        ["before_first", 101, 1, 0],
        ["before_first", 102, 2, 0],
        ["after_last", 104, 0, 1],
        ["after_last", 105, 1, 1],
        ["after_last", 106, 2, 1],
    ]


def test_context_does_not_count_and_the_loss_is_the_measured_one(trainee: Trainee) -> None:
    progress = Progress()
    live = Live(stream({0: [0]}))
    moments(live, trainee, progress, 1)
    first = live.frame(progress).iloc[0]
    assert first.n_tokens == 10
    packed = trainee.pack(piece(0).rows, pieces=True)
    assert first.loss_nats == pytest.approx(mean_loss(trainee.model, packed), rel=1e-6)


def test_a_phase_cut_short_measures_the_pieces_of_its_last_update_only(trainee: Trainee) -> None:
    """After 5 of 6 updates: 0 and 1 are done, 2 was trained once, long ago; 3 never."""
    live = Live(stream({0: [0, 3], 1: [1, 4], 2: [2, 5], 3: [5]}))
    progress = Progress(stop_reason=None)
    for progress.n_steps in range(5):
        live.measure(trainee, progress)
    progress.n_steps, progress.stop_reason = 5, "accuracy"
    live.measure(trainee, progress)
    found = live.frame(progress)
    after = found[found.moment == "after_last"]
    assert after[["step", "piece", "repeat"]].values.tolist() == [[4, 0, 1], [5, 1, 1]]
    assert 3 not in set(found.piece)
    spans = live.pieces(progress)[["first_step", "last_step"]]
    assert spans.iloc[:3].values.tolist() == [[1, 4], [2, 5], [3, 3]]
    assert spans.iloc[3].isna().all()


def test_repeats_that_stop_half_way_are_measured_after_what_was_their_last(
    trainee: Trainee,
) -> None:
    live = Live(stream({0: [0, 1, 2, 3]}))
    progress = Progress()
    live.measure(trainee, progress)
    progress.n_steps, progress.stop_reason = 2, "diverged"
    live.measure(trainee, progress)
    found = live.frame(progress)[["moment", "step", "repeat"]]
    assert found.values.tolist() == [["before_first", 0, 0], ["after_last", 2, 1]]
