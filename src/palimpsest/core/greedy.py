"""A model and tokenised questions → which answers it gives by heart, word for word.

Shapes: Q questions, T tokens (the longest question and what is generated), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

SPARE_TOKENS = 4  # beyond the answer's own length: the same text may be spelt with more tokens


@dataclass(frozen=True)
class Question:
    """A question's tokens, its answer's text and tokens."""

    question_ids: tuple[int, ...]
    answer: str
    answer_ids: tuple[int, ...]


def share_correct(
    model: torch.nn.Module,
    questions: Sequence[Question],
    *,
    decode: Callable[[list[int]], str],
    end_token: int,
) -> float:
    """Return the share of questions whose greedy answer equals the true one, normalised.

    An answer ends at the end token; one that does not stop by itself is not exact.
    """
    n_new = max(len(question.answer_ids) for question in questions) + SPARE_TOKENS
    answers = most_likely(
        [question.question_ids for question in questions], model=model, n_new=n_new
    )
    right = [
        normalise(decode(_until(answer, end_token))) == normalise(question.answer)
        for answer, question in zip(answers, questions, strict=True)
    ]
    return sum(right) / len(right)


def normalise(text: str) -> str:
    """Lower the case and make every run of white space one blank, none at the ends."""
    return " ".join(text.casefold().split())


@torch.no_grad()
def most_likely(
    prompts: Sequence[Sequence[int]], *, model: torch.nn.Module, n_new: int
) -> list[list[int]]:
    """Return the `n_new` most likely next tokens of each prompt, one after the other.

    Prompts are padded on the right: attention looks back only, so that no padding is ever seen.
    """
    device = next(model.parameters()).device
    lengths_Q = torch.tensor([len(prompt) for prompt in prompts], device=device)
    tokens_QT = torch.zeros(len(prompts), int(lengths_Q.max()) + n_new, dtype=torch.long)
    for row_T, prompt in zip(tokens_QT, prompts, strict=True):
        row_T[: len(prompt)] = torch.tensor(list(prompt))
    tokens_QT = tokens_QT.to(device)
    rows_Q = torch.arange(len(prompts), device=device)
    for i in range(n_new):
        logits_QTV = model(input_ids=tokens_QT[:, : int(lengths_Q.max()) + i]).logits
        next_Q = logits_QTV[rows_Q, lengths_Q + i - 1].argmax(-1)
        tokens_QT[rows_Q, lengths_Q + i] = next_Q
    return [
        row_T[length : length + n_new]
        for row_T, length in zip(tokens_QT.tolist(), lengths_Q.tolist(), strict=True)
    ]


def _until(tokens: list[int], end_token: int) -> list[int]:
    return tokens[: tokens.index(end_token)] if end_token in tokens else tokens
