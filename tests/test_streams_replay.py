"""Replay worked out by hand: 39 new targets in batches of 8, rows of 4 targets."""

from fractions import Fraction

import numpy as np
import pytest

from palimpsest.core.streams import make_stream, original_rows
from palimpsest.core.streams.cutting import cut_offset
from palimpsest.faults import Fault

NEW = np.arange(100, 140, dtype=np.uint16)
ORIGINAL = np.arange(500, 540, dtype=np.uint16)  # 9 complete rows of 4 targets, 3 left out
SEED = next(seed for seed in range(4) if cut_offset(seed, sequence_length=4) == 0)


def stream(replay_fraction, *, new=NEW, original=ORIGINAL, seed=SEED, epoch=0, epochs=1, **more):
    difficulty = more.pop("replay_difficulty", None)
    return make_stream(
        {"kind": "chunks", "sequence_length": 4, "batch_tokens": 8, **more},
        new=new,
        original=original,
        replay_fraction=replay_fraction,
        seed=seed,
        epoch=epoch,
        epochs=epochs,
        replay_difficulty=difficulty,
    )


def replayed(one):
    """All replayed targets of an epoch, in order."""
    batches = [one.batch(step) for step in range(one.n_steps)]
    return [int(t) for batch in batches for row in batch.replay for t in row.tokens[1:]]


def counts(one):
    return [one.batch(step).n_replay_tokens for step in range(one.n_steps)]


@pytest.mark.parametrize(
    ("replay_fraction", "expected"),
    [
        (0, [0, 0, 0, 0, 0]),
        # owed in all: 8/9, 16/9, 24/9, 32/9, 39/9
        (0.1, [1, 1, 1, 1, 0]),
        # 8/3, 16/3, 8, 32/3, 13
        (0.25, [3, 2, 3, 3, 2]),
        (0.5, [8, 8, 8, 8, 7]),
        (0.75, [24, 24, 24, 24, 21]),
        (1, [8, 8, 8, 8, 7]),
        # ratios 0, 1/8, 1/4, 3/8, 1/2, so 0, 8/7, 8/3, 24/5, 7; in all 0, 1.14, 3.81, 8.61, 15.61
        ({"start": 0, "end": 0.5}, [0, 1, 3, 5, 7]),
        ({"start": 0.5, "end": 0.5}, [8, 8, 8, 8, 7]),
    ],
)
def test_counts(replay_fraction, expected):
    assert counts(stream(replay_fraction)) == expected


def test_a_ratio_changes_over_all_epochs_of_the_phase():
    # ten updates from 0 to 0.9: the ratio is 0, .1 … .9; owed per batch: 8/9, 2, 24/7, 16/3, …
    ramp = {"start": 0, "end": 0.9}
    first, second = (stream(ramp, epoch=epoch, epochs=2) for epoch in (0, 1))
    # in all: 0, .89, 2.89, 6.32, 10.98 (the last of the epoch is 7 · 4/6)
    assert counts(first) == [0, 1, 2, 3, 5]
    # 18.98, 30.98, 49.65, 81.65, 144.65
    assert counts(second) == [8, 12, 19, 32, 63]


@pytest.mark.parametrize("replay_fraction", ["0.1", "0.25", "1/3", "0.5", "0.75", "0.9", "0.99"])
@pytest.mark.parametrize("order", ["time", "shuffled"])
@pytest.mark.parametrize("repeats", [1, 3])
def test_the_sum_is_exact_to_one_token_after_every_update_of_every_epoch(
    replay_fraction, order, repeats
):
    new = np.arange(1000)
    share = Fraction(replay_fraction)
    n_new = n_replayed = 0
    for epoch in range(3):
        one = stream(float(share), new=new, epoch=epoch, order=order, repeats=repeats)
        for step in range(one.n_steps):
            batch = one.batch(step)
            n_new += batch.n_new_tokens
            n_replayed += batch.n_replay_tokens
            assert abs(n_replayed - share / (1 - share) * n_new) <= 1
    assert n_new == 3 * repeats * 999


def test_the_new_part_is_the_same_at_every_ratio():
    plain = stream(0)
    for replay_fraction in (0.1, 0.5, 0.75, {"start": 0.9, "end": 0.1}):
        mixed = stream(replay_fraction)
        for step in range(plain.n_steps):
            rows = zip(plain.batch(step).new, mixed.batch(step).new, strict=True)
            assert all(a.tokens.tolist() == b.tokens.tolist() for a, b in rows)


def test_the_last_row_of_a_batch_is_cut_and_its_rest_opens_the_next():
    one = stream(0.25)  # 3, 2, 3, 3, 2 targets of rows of 4
    rows = [one.batch(step).replay for step in range(5)]
    assert [[row.n_targets for row in here] for here in rows] == [[3], [1, 1], [3], [3], [1, 1]]
    assert rows[1][0].position == rows[0][0].position + 3
    assert rows[1][0].tokens[0] == rows[0][0].tokens[-1]
    assert rows[2][0].position == rows[1][1].position + 1
    for row in (row for here in rows for row in here):
        assert (row.source, row.piece, row.n_context) == ("replay", -1, 0)
        assert row.tokens.tolist() == ORIGINAL[row.position :][: row.n_targets + 1].tolist()
        assert row.tokens.dtype == np.int64


def test_draws_are_nested_and_go_on_over_epochs():
    longest = replayed(stream(0.9))
    assert len(longest) == 351
    for replay_fraction in (0.1, 0.25, 0.5, 0.75):
        draw = replayed(stream(replay_fraction)) + replayed(stream(replay_fraction, epoch=1))
        assert draw == longest[: len(draw)]
    assert replayed(stream(1)) == longest[:39]


def test_rows_come_once_in_a_round_and_another_shuffle_follows():
    longest = replayed(stream(0.9))
    rounds = [longest[start : start + 36] for start in range(0, 324, 36)]
    assert all(sorted(one) == list(range(501, 537)) for one in rounds)
    assert len({tuple(one) for one in rounds}) == 9


def test_another_seed_draws_otherwise():
    assert replayed(stream(1, seed=SEED)) != replayed(stream(1, seed=SEED + 4))


def test_repeats_replay_the_same_rows():
    # 8/3 owed per update: in all 3, 5, 8, 11, 13, 16 …; a batch moves on by its longer update
    one = stream(0.25, repeats=2, n_new_tokens=24)
    assert counts(one) == [3, 2, 3, 3, 2, 3]
    by_step = [
        [int(t) for row in one.batch(step).replay for t in row.tokens[1:]] for step in range(6)
    ]
    draw = replayed(stream(0.9))
    assert by_step == [draw[:3], draw[:2], draw[3:6], draw[3:6], draw[6:8], draw[6:9]]


@pytest.mark.parametrize(
    ("replay_order", "key"),
    [
        ("time", lambda position: position),
        ("reversed", lambda position: -position),
        ("easy-first", lambda position: (position // 4 - 4) ** 2 + position / 100),
        ("hard-first", lambda position: -((position // 4 - 4) ** 2) + position / 100),
    ],
)
@pytest.mark.parametrize("epoch", [0, 1])
def test_orders_rearrange_what_an_epoch_draws(replay_order, key, epoch):
    difficulty = [(row - 4.0) ** 2 for row in range(9)]
    drawn = stream(0.25, epoch=epoch)
    ordered = stream(0.25, epoch=epoch, replay_order=replay_order, replay_difficulty=difficulty)
    assert sorted(replayed(ordered)) == sorted(replayed(drawn))
    assert counts(ordered) == counts(drawn)
    positions = [token - 501 for token in replayed(ordered)]
    rows = [position // 4 for position in positions]
    assert rows == sorted(rows, key=lambda row: key(row * 4))


def test_orders_apply_to_pure_replay():
    # 35 of the 36 targets: in time order they are those of the corpus but one
    one = stream(1, replay_order="time", n_new_tokens=35)
    assert replayed(one) == sorted(replayed(one))
    assert len(set(replayed(one))) == 35


@pytest.mark.parametrize("order", ["reversed", "easy-first", "hard-first", "cyclic"])
def test_replay_alone_takes_the_order_of_the_stream(order):
    """What `order` says is what `replay_order` would: but new text of other orders needs losses."""
    hard = {"replay_difficulty": [(row - 4.0) ** 2 for row in range(9)], "n_new_tokens": 24}
    ours, theirs = stream(1, order=order, **hard), stream(1, replay_order=order, **hard)
    if order == "cyclic":
        theirs = stream(1, order="cyclic", replay_order="cyclic", **hard)
    assert replayed(ours) == replayed(theirs) != replayed(stream(1, n_new_tokens=24))
    if order != "cyclic":
        kept = stream(1, order=order, replay_order="time", **hard)
        assert replayed(kept) == replayed(stream(1, replay_order="time", **hard))


def test_cyclic_replay_goes_round_a_smaller_draw():
    # 24 targets in two rounds: the first 12 of the draw, in time order, twice
    one = stream(0.5, replay_order="cyclic", replay_cycles=2, n_new_tokens=24)
    draw = replayed(stream(0.9))
    assert replayed(one) == sorted(draw[:12]) * 2
    after = stream(0.5, replay_order="cyclic", replay_cycles=2, n_new_tokens=24, epoch=1)
    assert replayed(after) == sorted(draw[12:24]) * 2


def test_the_rows_a_difficulty_is_measured_on():
    rows = original_rows(ORIGINAL, sequence_length=4)
    assert [row.position for row in rows] == [0, 4, 8, 12, 16, 20, 24, 28, 32]
    assert rows[8].tokens.tolist() == [532, 533, 534, 535, 536]


@pytest.mark.parametrize("original", [None, ORIGINAL[:4]])
def test_replay_without_a_row_to_draw_is_refused(original):
    with pytest.raises(Fault, match="the original corpus has"):
        stream(0.1, original=original)
