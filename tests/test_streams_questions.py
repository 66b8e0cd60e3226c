"""Questions worked out by hand: two questions, one batch of both at every update."""

import numpy as np
import pytest

from palimpsest.core.streams import make_stream
from palimpsest.faults import Fault

QUESTIONS = [([11, 12, 13], [14]), ([21], [22, 23])]
ORIGINAL = np.arange(500, 540, dtype=np.uint16)


def stream(*, questions=QUESTIONS, end_token=0, replay_fraction=0.0, context_length=None):
    return make_stream(
        {"kind": "questions", "sequence_length": 4, "n_batches": 3},
        new=None,
        original=ORIGINAL,
        replay_fraction=replay_fraction,
        seed=0,
        questions=questions,
        end_token=end_token,
        context_length=context_length,
    )


def test_every_batch_holds_all_questions():
    one = stream()
    assert one.n_steps == 3
    for step in range(3):
        batch = one.batch(step)
        assert [row.tokens.tolist() for row in batch.new] == [[11, 12, 13, 14, 0], [21, 22, 23, 0]]
        assert [(row.source, row.piece, row.position) for row in batch.new] == [
            ("question", 0, 0),
            ("question", 1, 1),
        ]
        assert batch.n_new_tokens == 7


def test_a_piece_is_the_answer_with_its_question_as_context():
    one = stream()
    assert [(p.piece, p.position, p.n_tokens) for p in one.pieces] == [(0, 0, 2), (1, 1, 3)]
    measured = [p.rows[0].tokens[1 + p.rows[0].n_context :].tolist() for p in one.pieces]
    assert measured == [[14, 0], [22, 23, 0]]
    assert [one.steps_of(piece) for piece in (0, 1)] == [[0, 1, 2], [0, 1, 2]]


def test_without_an_end_token_a_row_ends_with_the_answer():
    one = stream(end_token=None)
    assert [row.tokens.tolist() for row in one.batch(0).new] == [[11, 12, 13, 14], [21, 22, 23]]


def test_a_question_as_long_as_the_context_is_taken():
    assert stream(context_length=4).batch(0).new[0].n_targets == 4


def test_every_batch_has_replay_of_its_own():
    one = stream(replay_fraction=0.5)
    drawn = [int(t) for s in range(3) for row in one.batch(s).replay for t in row.tokens[1:]]
    assert [one.batch(step).n_replay_tokens for step in range(3)] == [7, 7, 7]
    assert len(set(drawn)) == 21


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"questions": None}, "no questions were given"),
        ({"questions": [([], [1])]}, "question 0 or its answer has no tokens"),
        ({"questions": [([1, 2, 3, 4], [5])], "context_length": 4}, "longest question has 5"),
    ],
)
def test_a_mistake_is_told_in_one_line(settings, message):
    with pytest.raises(Fault, match=message):
        stream(**settings)
