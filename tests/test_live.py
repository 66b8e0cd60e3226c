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
    """What a real stream tells: `sequence` names the batch, here the piece, of each update."""
    sequence = [number for _, number in sorted((s, i) for i, of in steps.items() for s in of)]
    return SimpleNamespace(
        pieces=tuple(piece(i) for i in steps),
        steps_of=steps.__getitem__,
        sequence=np.array(sequence),
        n_steps=len(sequence),
    )


def repeated(stream: Any, n: int) -> Any:
    """Let each batch be taken n times in a row, so that its updates are one visit."""
    stream.sequence = stream.sequence[::n]
    return stream


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
    return live.frame(progress)[["moment", "step", "piece", "visit"]]


def test_cyclic_pieces_are_measured_around_every_round(trainee: Trainee) -> None:
    live = Live(stream({0: [0, 2], 1: [1, 3]}))
    progress = Progress(first_step=100)
    found = moments(live, trainee, progress, 4)
    assert found.values.tolist() == [
        ["before_first", 100, 0, 0],
        ["after_last", 101, 0, 0],
        ["before_first", 101, 1, 0],
        ["before_first", 102, 0, 1],
        ["after_last", 102, 1, 0],
        ["after_last", 103, 0, 1],
        ["before_first", 103, 1, 1],
        ["after_last", 104, 1, 1],
    ]
    spans = live.pieces(progress)[["piece", "visit", "first_step", "last_step"]]
    assert spans.values.tolist() == [
        [0, 0, 101, 101],
        [0, 1, 103, 103],
        [1, 0, 102, 102],
        [1, 1, 104, 104],
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
    """After 5 of 8 updates: every piece has had one round, and the first its second."""
    live = Live(stream({0: [0, 4], 1: [1, 5], 2: [2, 6], 3: [3, 7]}))
    progress = Progress(stop_reason=None)
    for progress.n_steps in range(5):
        live.measure(trainee, progress)
    progress.n_steps, progress.stop_reason = 5, "accuracy"
    live.measure(trainee, progress)
    found = live.frame(progress)
    after = found[found.moment == "after_last"]
    assert after[["step", "piece", "visit"]].values.tolist() == [
        [1, 0, 0],
        [2, 1, 0],
        [3, 2, 0],
        [4, 3, 0],
        [5, 0, 1],
    ]
    assert len(found[(found.moment == "before_first") & (found.visit == 1)]) == 1
    spans = live.pieces(progress)[["first_step", "last_step"]]
    assert spans.iloc[:3].to_numpy()[0].tolist() == [1, 1]
    assert spans.iloc[1].tolist() == [5, 5] and spans.iloc[3].isna().all()


def test_a_repeated_batch_is_measured_after_every_repeat(trainee: Trainee) -> None:
    live = Live(repeated(stream({0: [0, 1, 2], 1: [3, 4, 5]}), 3))
    progress = Progress()
    moments(live, trainee, progress, 6)
    found = live.frame(progress)[["moment", "step", "piece", "repeat"]]
    assert found[found.piece == 1].values.tolist() == [
        ["before_first", 3, 1, 0],
        ["after_repeat", 4, 1, 0],
        ["after_repeat", 5, 1, 1],
        ["after_last", 6, 1, 2],
    ]


def test_repeats_that_stop_half_way_are_measured_after_what_was_their_last(
    trainee: Trainee,
) -> None:
    live = Live(repeated(stream({0: [0, 1, 2, 3]}), 4))
    progress = Progress()
    live.measure(trainee, progress)
    progress.n_steps, progress.stop_reason = 2, "diverged"
    live.measure(trainee, progress)
    found = live.frame(progress)[["moment", "step", "repeat"]]
    assert found.values.tolist() == [["before_first", 0, 0], ["after_last", 2, 1]]
