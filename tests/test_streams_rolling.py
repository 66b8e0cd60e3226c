"""Rolling windows worked out by hand on a corpus of 40 tokens; a token is 100 + its index."""

from collections import Counter

import numpy as np
import pytest

from palimpsest.core.streams import make_stream
from palimpsest.core.streams.cutting import cut_offset
from palimpsest.faults import Fault

NEW = np.arange(100, 140, dtype=np.uint16)
ORIGINAL = np.arange(500, 900, dtype=np.uint16)


def seed_with(offset):
    return next(seed for seed in range(4) if cut_offset(seed, sequence_length=4) == offset)


def stream(*, offset=0, replay_fraction=0.0, context_length=None, **settings):
    return make_stream(
        {"kind": "rolling", "sequence_length": 4, **settings},
        new=NEW,
        original=ORIGINAL,
        replay_fraction=replay_fraction,
        seed=seed_with(offset),
        context_length=context_length,
        difficulty=[3.0, 1.0, 2.0, 1.0, 5.0],
    )


def spans(rows):
    """First token, last token and context targets of each row."""
    for row in rows:
        assert row.tokens.tolist() == list(range(row.tokens[0], row.tokens[-1] + 1))
        assert row.position == row.tokens[0] - 100 and row.source == "new"
    return [(row.position, row.position + row.n_targets, row.n_context) for row in rows]


def windows(one):
    return [spans(one.batch(step).new) for step in range(one.n_steps)]


def pieces(one):
    return [(p.position, p.n_tokens, spans(p.rows)) for p in one.pieces]


def test_windows_with_the_last_one_cut():
    one = stream(window=16, stride=8)
    assert windows(one) == [[(0, 16, 8)], [(8, 24, 8)], [(16, 32, 8)], [(24, 39, 8)]]
    assert pieces(one) == [
        (9, 8, [(0, 16, 8)]),
        (17, 8, [(8, 24, 8)]),
        (25, 8, [(16, 32, 8)]),
        (33, 7, [(24, 39, 8)]),
    ]


def test_windows_that_end_with_the_corpus():
    one = stream(window=16, stride=8, n_new_tokens=32)
    assert windows(one) == [[(0, 16, 8)], [(8, 24, 8)], [(16, 32, 8)]]


def test_an_offset_moves_every_window():
    one = stream(window=20, stride=15, offset=2)
    assert windows(one) == [[(2, 22, 5)], [(17, 37, 5)], [(32, 39, 5)]]
    assert [(p.position, p.n_tokens) for p in one.pieces] == [(8, 15), (23, 15), (38, 2)]


@pytest.mark.parametrize(
    ("n_new_tokens", "window", "piece"),
    [
        (16, (0, 16, 12), (13, 4)),
        (15, (0, 15, 11), (12, 4)),
        (5, (0, 5, 1), (2, 4)),
        (4, (0, 4, 0), (1, 4)),
        (3, (0, 3, 0), (1, 3)),
    ],
)
def test_a_corpus_shorter_than_a_window_is_one_batch(n_new_tokens, window, piece):
    one = stream(window=16, stride=4, n_new_tokens=n_new_tokens)
    assert windows(one) == [[window]]
    assert [(p.position, p.n_tokens) for p in one.pieces] == [piece]
    assert one.steps_of(0) == [0]


def test_a_stride_as_long_as_the_window_leaves_no_context():
    one = stream(window=16, stride=16)
    assert windows(one) == [[(0, 16, 0)], [(16, 32, 0)], [(32, 39, 0)]]
    assert [one.steps_of(piece) for piece in range(3)] == [[0], [1], [2]]


def test_a_stride_of_one():
    one = stream(window=36, stride=1)
    assert windows(one) == [[(0, 36, 35)], [(1, 37, 35)], [(2, 38, 35)], [(3, 39, 35)]]
    assert [one.steps_of(piece) for piece in range(4)] == [[0, 1, 2, 3], [1, 2, 3], [2, 3], [3]]


def test_each_token_is_trained_on_in_every_window_over_it():
    one = stream(window=16, stride=8)
    seen = Counter(
        int(t) - 100 for s in range(4) for row in one.batch(s).new for t in row.tokens[1:]
    )
    twice = set(range(9, 33))
    assert seen == {index: 2 if index in twice else 1 for index in range(1, 40)}
    assert [one.steps_of(piece) for piece in range(4)] == [[0, 1], [1, 2], [2, 3], [3]]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("time", [0, 1, 2, 3, 4]),
        ("reversed", [4, 3, 2, 1, 0]),
        ("easy-first", [1, 3, 2, 0, 4]),
        ("hard-first", [4, 0, 2, 1, 3]),
        ("cyclic", [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]),
    ],
)
def test_orders(order, expected):
    one = stream(window=8, stride=8, order=order)
    assert [one.batch(step).new[0].piece for step in range(one.n_steps)] == expected


def test_a_part_holds_the_windows_of_that_stretch():
    one = stream(window=16, stride=8, part={"start": 0.25, "end": 0.75})
    assert windows(one) == [[(8, 24, 8)], [(16, 32, 8)]]
    assert [one.steps_of(piece) for piece in range(4)] == [[0], [0, 1], [1], []]


def test_shuffled_takes_each_window_once():
    one = stream(window=8, stride=2, order="shuffled")
    order = [one.batch(step).new[0].piece for step in range(one.n_steps)]
    assert sorted(order) == list(range(17)) and order != list(range(17))


def test_replay_is_counted_on_the_whole_window():
    one = stream(window=16, stride=8, replay_fraction=0.25)
    # 16/3 owed per window, 5 for the last of 15: in all 5.33, 10.67, 16, 21
    assert [one.batch(step).n_replay_tokens for step in range(4)] == [5, 6, 5, 5]


@pytest.mark.parametrize(
    ("replay_fraction", "window", "stride", "n_replay"),
    [
        (0.0, 16, 4, 0),
        (0.25, 12, 3, 4),
        (0.5, 8, 2, 8),
        (0.75, 4, 1, 12),
        (0.9, 1, 1, 9),  # (1 − r)·16 is 1.6; nine times the window are 9
        (1.0, 16, 4, 16),
    ],
)
def test_fractions_share_out_a_fixed_total(replay_fraction, window, stride, n_replay):
    one = stream(max_tokens=16, stride_fraction=0.25, replay_fraction=replay_fraction)
    first, second = one.pieces[:2]
    assert first.rows[0].n_targets == window
    assert second.position - first.position == second.n_tokens == stride
    assert one.batch(0).n_replay_tokens == n_replay


def test_fractions_do_not_lose_a_token_to_rounding():
    one = stream(max_tokens=10, stride_fraction=1.0, replay_fraction=0.9)
    assert (one.batch(0).n_new_tokens, one.batch(0).n_replay_tokens) == (1, 9)


def test_a_window_beyond_the_context_is_split_from_its_end():
    one = stream(window=16, stride=8, context_length=6, beyond_context="split")
    assert windows(one)[0] == [(0, 4, 4), (4, 10, 4), (10, 16, 0)]
    assert windows(one)[3] == [(24, 27, 3), (27, 33, 5), (33, 39, 0)]
    assert pieces(one)[0] == (9, 8, [(4, 10, 4), (10, 16, 0)])
    assert sum(row.n_targets - row.n_context for row in one.pieces[3].rows) == 7
    assert one.pieces[3].n_tokens == 7


def test_a_window_beyond_the_context_is_fed_whole_to_extrapolate():
    one = stream(window=16, stride=8, context_length=6, beyond_context="extrapolate")
    assert windows(one)[0] == [(0, 16, 8)]


@pytest.mark.parametrize("beyond_context", [None, "split", "extrapolate"])
def test_a_window_as_long_as_the_context_is_not_beyond_it(beyond_context):
    one = stream(window=16, stride=8, context_length=16, beyond_context=beyond_context)
    assert windows(one)[0] == [(0, 16, 8)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 16, "stride": 8, "context_length": 6}, "window of 16 is beyond"),
        ({"window": 16}, "window and stride go together"),
        ({"max_tokens": 16}, "max_tokens and stride_fraction go together"),
        ({}, "give either window and stride, or"),
        (
            {"window": 16, "stride": 8, "max_tokens": 16, "stride_fraction": 0.5},
            "give either window and stride, or",
        ),
        ({"window": 8, "stride": 9}, "stride beyond the window"),
        (
            {"max_tokens": 8, "stride_fraction": 0.5, "replay_fraction": {"start": 0, "end": 0.5}},
            "give window and stride",
        ),
        (
            {"max_tokens": 2, "stride_fraction": 0.5, "replay_fraction": 0.75},
            "leaves no window",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(settings, message):
    with pytest.raises(Fault, match=message) as caught:
        stream(**settings)
    assert "\n" not in str(caught.value)
