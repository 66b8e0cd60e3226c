"""Chunks worked out by hand on a corpus of 40 tokens; a token's value is 100 + its index."""

from collections import Counter

import numpy as np
import pytest

from palimpsest.core.streams import make_stream
from palimpsest.core.streams.cutting import cut_offset

NEW = np.arange(100, 140, dtype=np.uint16)
DIFFICULTY = [3.0, 1.0, 2.0, 1.0, 5.0]


def seed_with(offset):
    return next(seed for seed in range(4) if cut_offset(seed, sequence_length=4) == offset)


def stream(*, offset=0, epoch=0, **settings):
    return make_stream(
        {"kind": "chunks", "sequence_length": 4, "batch_tokens": 8, **settings},
        new=NEW,
        original=None,
        replay_fraction=0,
        seed=seed_with(offset),
        epoch=epoch,
        difficulty=DIFFICULTY,
    )


def spans(rows):
    """First and last token of each row, as indices in the corpus."""
    for row in rows:
        assert row.tokens.tolist() == list(range(row.tokens[0], row.tokens[-1] + 1))
        assert row.position == row.tokens[0] - 100
        assert row.tokens.dtype == np.int64 and row.source == "new" and row.n_context == 0
    return [(int(row.tokens[0]) - 100, int(row.tokens[-1]) - 100) for row in rows]


def pieces_by_step(one):
    return [one.batch(step).new[0].piece for step in range(one.n_steps)]


def test_the_whole_corpus_with_the_last_batch_cut():
    one = stream()
    assert [spans(one.batch(step).new) for step in range(one.n_steps)] == [
        [(0, 4), (4, 8)],
        [(8, 12), (12, 16)],
        [(16, 20), (20, 24)],
        [(24, 28), (28, 32)],
        [(32, 36), (36, 39)],
    ]
    assert [one.batch(step).n_new_tokens for step in range(5)] == [8, 8, 8, 8, 7]
    assert all(one.batch(step).replay == () for step in range(5))


def test_an_offset_moves_every_row():
    one = stream(offset=3)
    assert [spans(one.batch(step).new) for step in range(one.n_steps)] == [
        [(3, 7), (7, 11)],
        [(11, 15), (15, 19)],
        [(19, 23), (23, 27)],
        [(27, 31), (31, 35)],
        [(35, 39)],
    ]


def test_a_batch_that_is_no_multiple_of_a_row_ends_with_a_shorter_one():
    one = stream(batch_tokens=6, n_new_tokens=15)
    assert [spans(one.batch(step).new) for step in range(one.n_steps)] == [
        [(0, 4), (4, 6)],
        [(6, 10), (10, 12)],
        [(12, 15)],
    ]


def test_a_batch_larger_than_the_corpus_holds_all_of_it():
    one = stream(batch_tokens=1000, sequence_length=32, n_new_tokens=8)
    assert (one.n_steps, one.batch(0).n_new_tokens) == (1, 8)


def test_a_piece_is_the_new_part_of_its_batch():
    one = stream(offset=3)
    assert [(p.piece, p.position, p.n_tokens) for p in one.pieces] == [
        (0, 4, 8),
        (1, 12, 8),
        (2, 20, 8),
        (3, 28, 8),
        (4, 36, 4),
    ]
    assert spans(one.pieces[1].rows) == spans(one.batch(1).new)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("time", [0, 1, 2, 3, 4]),
        ("reversed", [4, 3, 2, 1, 0]),
        ("easy-first", [1, 3, 2, 0, 4]),
        ("hard-first", [4, 0, 2, 1, 3]),
        ("cyclic", [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4]),
    ],
)
def test_orders(order, expected):
    one = stream(order=order, cycles=3)
    assert pieces_by_step(one) == expected
    for piece in range(5):
        assert one.steps_of(piece) == [s for s, here in enumerate(expected) if here == piece]


def test_shuffled_takes_each_piece_once_and_another_order_in_another_epoch_or_seed():
    one = stream(order="shuffled", batch_tokens=2)
    orders = [
        pieces_by_step(stream(order="shuffled", batch_tokens=2, offset=offset, epoch=epoch))
        for offset, epoch in [(0, 0), (0, 1), (1, 0)]
    ]
    assert orders[0] == pieces_by_step(one)
    assert [sorted(order) for order in orders] == [[*range(20)], [*range(20)], [*range(19)]]
    assert orders[0] != orders[1] and orders[0] != [*range(20)]
    assert [piece for piece in orders[0] if piece < 19] != orders[2]


def test_repeats_stay_on_a_batch():
    one = stream(order="reversed", repeats=3)
    assert pieces_by_step(one) == [4, 4, 4, 3, 3, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0]
    assert one.steps_of(3) == [3, 4, 5]


@pytest.mark.parametrize("order", ["time", "shuffled", "reversed", "easy-first", "hard-first"])
@pytest.mark.parametrize("repeats", [1, 2])
def test_each_token_is_a_target_once_per_repeat(order, repeats):
    one = stream(order=order, repeats=repeats, offset=2)
    assert targets_seen(one) == {100 + index: repeats for index in range(3, 40)}


def test_each_token_is_a_target_once_per_cycle():
    assert targets_seen(stream(order="cyclic", cycles=4)) == {100 + i: 4 for i in range(1, 40)}


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("time", [1, 2, 3]),
        ("reversed", [3, 2, 1]),
        ("easy-first", [1, 3, 2]),
        ("hard-first", [2, 1, 3]),
        ("cyclic", [1, 2, 3, 1, 2, 3]),
    ],
)
def test_a_part_is_cut_as_the_whole_and_comes_in_its_order(order, expected):
    """.2 to .8 of five batches are the batches 1 to 3."""
    one = stream(order=order, part={"start": 0.2, "end": 0.8})
    assert pieces_by_step(one) == expected
    assert spans(one.batch(0).new) == spans(stream().batch(expected[0]).new)
    assert len(one.pieces) == 5 and one.steps_of(0) == one.steps_of(4) == []
    assert one.steps_of(2) == [s for s, here in enumerate(expected) if here == 2]


def test_a_part_too_short_for_a_batch_is_one_batch():
    assert pieces_by_step(stream(part={"start": 0.5, "end": 0.51})) == [2]
    assert pieces_by_step(stream(part={"start": 0.99})) == [4]


def targets_seen(one):
    return Counter(
        int(token)
        for step in range(one.n_steps)
        for row in one.batch(step).new
        for token in row.tokens[1:]
    )
