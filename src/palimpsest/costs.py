"""What an artifact will cost, before it is built: tokens, floating-point operations, bytes.

The estimates balance batches and fill `palimpsest plan`; no key and no result hangs on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from palimpsest.params import Size

# One AVX2 core, torch 2.13, fp32, measured on four sizes from 25 k to 793 k parameters:
# seconds per training token = SECONDS_PER_TOKEN + operations / OPERATIONS_PER_SECOND.
SECONDS_PER_TOKEN = 38e-6
OPERATIONS_PER_SECOND = 5.1e10
BYTES_PER_NEW_TOKEN = 3.2  # of English text at 2,048 entries of byte-level BPE


@dataclass(frozen=True)
class Cost:
    """Work of one artifact: operations, tokens pushed through a model, bytes written, its size."""

    flops: float = 0.0
    n_tokens: float = 0.0
    n_bytes: float = 0.0
    seconds: float = 0.0
    n_parameters: int = 0


def parameters(size: Size, vocab_size: int) -> tuple[int, int]:
    """Return (non-embedding, all) parameters of a GPT-NeoX with untied input and output matrices.

    Per layer 12 h² + 13 h (attention, MLP, two norms), one final norm, two matrices of vocab × h.
    """
    h = size.hidden_size
    non_embedding = size.layers * (12 * h * h + 13 * h) + 2 * h
    return non_embedding, non_embedding + 2 * vocab_size * h


def training(size: Size, vocab_size: int, n_tokens: float) -> Cost:
    """Return the cost of training on `n_tokens`: 6 operations per matrix weight and token."""
    flops = 6.0 * _matrix_weights(size, vocab_size) * n_tokens
    seconds = n_tokens * SECONDS_PER_TOKEN + flops / OPERATIONS_PER_SECOND
    n_parameters = parameters(size, vocab_size)[1]
    return Cost(flops=flops, n_tokens=n_tokens, seconds=seconds, n_parameters=n_parameters)


def forward(size: Size, vocab_size: int, n_tokens: float) -> Cost:
    """Return the cost of a forward pass: a third of training."""
    cost = training(size, vocab_size, n_tokens)
    return replace(cost, flops=cost.flops / 3, seconds=cost.seconds / 3)


def plus(*costs: Cost) -> Cost:
    """Return the sum of costs, and the largest model."""
    return Cost(
        flops=sum(cost.flops for cost in costs),
        n_tokens=sum(cost.n_tokens for cost in costs),
        n_bytes=sum(cost.n_bytes for cost in costs),
        seconds=sum(cost.seconds for cost in costs),
        n_parameters=max(cost.n_parameters for cost in costs),
    )


def weight_bytes(size: Size, vocab_size: int) -> int:
    """Return the size of one fp32 checkpoint."""
    return 4 * parameters(size, vocab_size)[1]


def _matrix_weights(size: Size, vocab_size: int) -> int:
    return parameters(size, vocab_size)[0] + vocab_size * size.hidden_size
