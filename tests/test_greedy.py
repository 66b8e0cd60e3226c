from types import SimpleNamespace

import torch
from torch import Tensor, nn

from palimpsest.core.greedy import Question, most_likely, normalise, share_correct
from palimpsest.core.models import new_neox


class Counting(nn.Module):
    """After token i comes i + 1; token 0 ends a text and follows 9."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=nn.functional.one_hot((input_ids + 1) % 10, 10).float())


def spell(tokens: list[int]) -> str:
    return " ".join(
        ["zero", "one", "Two", "three", "four", "five", "six", "seven", "eight", "nine"][t]
        for t in tokens
    )


def test_an_answer_must_be_whole_and_stop_by_itself() -> None:
    questions = [
        Question((7,), "eight  NINE", (8, 9)),  # then the end: right
        Question((6, 7), "eight", (8,)),  # goes on with nine: wrong
        Question((3,), "four five", (4, 5)),  # does not stop: wrong
        Question((1, 2, 7), " eight nine", (8, 9)),
    ]
    share = share_correct(Counting(), questions, decode=spell, end_token=0)
    assert share == 0.5


def test_prompts_of_unequal_length_go_on_as_they_would_alone() -> None:
    model = new_neox(hidden_size=8, layers=2, heads=2, vocab_size=30, context_length=16, seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)
    prompts = [(4, 5, 6, 7, 8), (9,), (11, 3)]
    alone = [most_likely([prompt], model=model, n_new=5)[0] for prompt in prompts]
    assert most_likely(prompts, model=model, n_new=5) == alone
    assert len({tuple(tokens) for tokens in alone}) == 3


def test_normalising_joins_white_space_and_ignores_case() -> None:
    assert normalise("  The\tRed \n tower ") == "the red tower"
