"""What holds for streams of every kind: purity, seeds, the updates of a piece, and mistakes."""

import numpy as np
import pytest

from palimpsest.core.streams import make_stream
from palimpsest.core.streams.cutting import cut_offset
from palimpsest.faults import Fault

NEW = np.arange(100, 140, dtype=np.uint16)
ORIGINAL = np.arange(500, 600, dtype=np.uint16)
QUESTIONS = [([11, 12], [13]), ([21], [22, 23])]
KINDS = {
    "chunks": {"kind": "chunks", "sequence_length": 4, "batch_tokens": 8},
    "rolling": {"kind": "rolling", "sequence_length": 4, "window": 8, "stride": 4},
    "questions": {"kind": "questions", "sequence_length": 4, "n_batches": 5},
}
RATIOS = [0, 0.1, 0.25, 0.5, 0.75, 1]


def stream(kind="chunks", *, replay_fraction=0.25, seed=0, epoch=0, **settings):
    return make_stream(
        {**KINDS[kind], **settings},
        new=NEW,
        original=ORIGINAL,
        replay_fraction=replay_fraction,
        seed=seed,
        epoch=epoch,
        epochs=2,
        questions=QUESTIONS,
        end_token=0,
        difficulty=[3.0, 1.0, 2.0, 1.0, 5.0],
    )


def content(batch):
    return [(row.source, row.position, row.tokens.tolist()) for row in batch.new + batch.replay]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("replay_fraction", [*RATIOS, {"start": 0.1, "end": 0.6}])
def test_a_batch_does_not_depend_on_what_was_asked_before(kind, replay_fraction):
    def fresh():
        return stream(kind, replay_fraction=replay_fraction, seed=3, epoch=1, repeats=2)

    used = fresh()
    in_order = [content(used.batch(step)) for step in range(used.n_steps)]
    for step in (4, 0, 9, 4, 1):
        assert content(used.batch(step)) == in_order[step]
        assert content(fresh().batch(step)) == in_order[step]


@pytest.mark.parametrize("kind", ["chunks", "rolling"])
@pytest.mark.parametrize("replay_fraction", RATIOS)
def test_two_seeds_differ_at_every_ratio(kind, replay_fraction):
    epochs = [
        [content(one.batch(step)) for step in range(one.n_steps)]
        for seed in range(4)
        for one in [stream(kind, replay_fraction=replay_fraction, seed=seed)]
    ]
    assert all(epochs[a] != epochs[b] for a in range(4) for b in range(a))


def test_seeds_in_a_row_take_all_offsets():
    assert sorted(cut_offset(seed, sequence_length=128) for seed in range(5, 133)) == [*range(128)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["time", "reversed", "shuffled", "cyclic"])
def test_the_updates_of_a_piece_are_those_that_train_on_its_tokens(kind, order):
    settings = {} if kind == "questions" else {"order": order, "cycles": 3}
    one = stream(kind, repeats=2, **settings)
    for piece in one.pieces:
        counted = {
            (row.source, int(token))
            for row in piece.rows
            for token in row.tokens[1 + row.n_context :]
        }
        trains = [
            step
            for step in range(one.n_steps)
            for batch in [one.batch(step)]
            if counted & {(row.source, int(t)) for row in batch.new for t in row.tokens[1:]}
        ]
        assert one.steps_of(piece.piece) == trains


@pytest.mark.parametrize("kind", KINDS)
def test_pure_replay_keeps_the_pieces_and_trains_on_none(kind):
    control, plain = stream(kind, replay_fraction=1), stream(kind, replay_fraction=0)
    assert control.n_steps == plain.n_steps
    assert [piece.position for piece in control.pieces] == [p.position for p in plain.pieces]
    assert all(control.steps_of(piece.piece) == [] for piece in control.pieces)
    for step in range(plain.n_steps):
        assert control.batch(step).new == ()
        assert control.batch(step).n_replay_tokens == plain.batch(step).n_new_tokens


def test_a_step_outside_the_epoch_is_refused():
    with pytest.raises(IndexError, match="step 5 lies outside the epoch's 5 updates"):
        stream(seed=0).batch(5)


def test_tokens_of_the_new_corpus_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        stream().batch(0).new[0].tokens[0] = 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_token": 8}, "batch_token: unknown key; did you mean batch_tokens"),
        ({"batch_tokens": 0}, r"batch_tokens: .* greater than or equal to 1 \(got 0\)"),
        ({"order": "easy"}, r"order: .*'easy-first'.* \(got 'easy'\)"),
        ({"sequence_length": 40}, "has 40 tokens, .* needs 41"),
        ({"n_new_tokens": 37}, "37 is more than the 36 that every seed's offset leaves"),
        ({"order": "easy-first", "batch_tokens": 4}, "difficulty has 5 numbers, needs"),
        ({"replay_order": "hard-first"}, "loss for each row of the original corpus"),
    ],
)
def test_a_mistake_is_told_in_one_line(settings, message):
    with pytest.raises(Fault, match=message) as caught:
        stream("chunks", **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("replay_fraction", "message"),
    [
        (1.5, "1.5 is no share"),
        ({"start": 0.5, "end": 1.0}, "end: .*less than 1"),
        ({"start": 0.5, "stop": 0.6}, r"replay_fraction\.end: missing"),
    ],
)
def test_a_ratio_that_is_none_is_refused(replay_fraction, message):
    with pytest.raises(Fault, match=message):
        stream(replay_fraction=replay_fraction)


@pytest.mark.parametrize("epochs", [None, 2])
def test_a_changing_ratio_needs_the_length_of_its_phase(epochs):
    with pytest.raises(Fault, match="needs the number of epochs of its phase, at least 3 here"):
        make_stream(
            KINDS["chunks"],
            new=NEW,
            original=ORIGINAL,
            replay_fraction={"start": 0.0, "end": 0.5},
            seed=0,
            epoch=2,
            epochs=epochs,
        )


@pytest.mark.parametrize("kind", ["chunk", "rows", None])
def test_a_kind_that_is_none_is_refused(kind):
    with pytest.raises(Fault, match=rf"stream\.kind: {kind!r} is unknown"):
        make_stream({"kind": kind}, new=NEW, original=None, replay_fraction=0, seed=0)


def test_rows_beyond_the_models_context_are_refused():
    with pytest.raises(Fault, match="sequence_length 4 is beyond the model's context of 3"):
        make_stream(
            KINDS["chunks"], new=NEW, original=None, replay_fraction=0, seed=0, context_length=3
        )
