"""What an artifact will cost, before it is built: tokens, floating-point operations, bytes.

The estimates balance batches and fill `palimpsest plan`; no key and no result hangs on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from palimpsest.shapes import Shape

# By stage: seconds of an artifact, per token, per operation. Least squares over the 148 torch
# artifacts of the default study (25 k to 793 k parameters, fp32, torch 2.13) on two AVX2 cores that
# both worked. A folder's own records correct them (overview.py).
PACES = {
    "corpora": (0.8, 0.0, 0.0),
    "tokens": (1.1, 0.0, 0.0),
    "bases": (0.0, 16e-6, 1.42e-11),
    "probes": (0.9, 2.1e-6, 2.17e-11),
    "train": (0.5, 9.2e-6, 1.87e-11),
    "recall": (0.3, 4.4e-6, 1.41e-11),
    "evals": (1.0, 6.2e-6, 1.69e-11),
    "tables": (2.5, 0.0, 0.0),
    "fits": (7.6, 0.0, 0.0),
    "report": (11.0, 0.0, 0.0),
}
BYTES = {  # of an artifact besides its weights, as the default study wrote them
    "corpora": 1.3e6,
    "tokens": 2.3e6,
    "bases": 0.5e6,
    "probes": 14e3,
    "train": 160e3,
    "recall": 26e3,
    "evals": 16e3,
    "tables": 0.7e6,
    "fits": 0.8e6,
    "report": 4.5e6,
}
BYTES_PER_NEW_TOKEN = 3.2  # of English text at 2,048 entries of byte-level BPE
# Items of the stock tasks' evaluated splits: hellaswag's validation, lambada_openai's test.
N_ITEMS = {"hellaswag": 10_042, "lambada_openai": 5_153}
TOKENS_PER_ITEM = 170
# What an H100 is taken to reach in `palimpsest plan`: a fifth of its 989 TFLOP/s in bfloat16, in
# which training multiplies matrices, and about half of its 67 TFLOP/s in fp32, in which all losses
# are measured (NVIDIA's data sheet, dense). Assumptions, not measured.
GPU_BF16_OPERATIONS_PER_SECOND = 2e14
GPU_FP32_OPERATIONS_PER_SECOND = 3e13
GPU_START_UP_SECONDS = 60.0  # a job that imports torch and loads weights to a GPU, assumed


@dataclass(frozen=True)
class Cost:
    """Work of one artifact: operations, tokens pushed through a model, bytes written, its size.

    `fp32_flops` are those of the operations that a GPU makes in fp32.
    """

    flops: float = 0.0
    fp32_flops: float = 0.0
    n_tokens: float = 0.0
    n_bytes: float = 0.0
    seconds: float = 0.0
    n_parameters: int = 0


def benchmark_tokens(tasks: tuple[str, ...], limit: int | None) -> float:
    """Return about how many tokens the requests of some tasks hold."""
    items = (min(limit or N_ITEMS.get(task, 500), N_ITEMS.get(task, 500)) for task in tasks)
    return float(sum(items)) * TOKENS_PER_ITEM


def parameters(shape: Shape) -> tuple[int, int]:
    """Return (non-embedding, all) parameters: as counted, else of a GPT-NeoX with an untied head.

    That has per layer 12 h² + 13 h (attention, MLP, two norms), a final norm, two matrices of
    vocab × h.
    """
    if shape.counts is not None:
        return shape.counts.n_params, shape.counts.n_params_total
    h = shape.hidden_size
    non_embedding = shape.layers * (12 * h * h + 13 * h) + 2 * h
    return non_embedding, non_embedding + 2 * shape.vocab_size * h


def training(shape: Shape | None, n_tokens: float, *, row: int) -> Cost:
    """Return the cost of training on `n_tokens` in rows of `row` tokens; unknown shapes count none.

    6 operations per matrix weight and token, and 12 per layer, width and token of the row for
    attention: the whole square, as Chowdhery et al. 2022 (arXiv 2204.02311, appendix B) count.
    """
    if shape is None:
        return Cost(n_tokens=n_tokens)
    matrices = 6.0 * _matrix_weights(shape) * n_tokens
    attention = 12.0 * shape.layers * shape.hidden_size * row * n_tokens
    return Cost(
        flops=matrices + attention,
        n_tokens=n_tokens,
        n_parameters=parameters(shape)[1],
    )


def forward(shape: Shape | None, n_tokens: float, *, row: int) -> Cost:
    """Return the cost of measuring, a forward pass in fp32: a third of training's operations."""
    cost = training(shape, n_tokens, row=row)
    return replace(cost, flops=cost.flops / 3, fp32_flops=cost.flops / 3)


def gpu_seconds(flops: float, *, fp32_flops: float) -> float:
    """Return how long a GPU takes at the assumed speeds; `fp32_flops` are a part of `flops`."""
    in_bf16 = (flops - fp32_flops) / GPU_BF16_OPERATIONS_PER_SECOND
    return in_bf16 + fp32_flops / GPU_FP32_OPERATIONS_PER_SECOND


def paced(stage: str, cost: Cost) -> Cost:
    """Return what an artifact of a stage costs: seconds, and the bytes that all of them take."""
    fixed, per_token, per_operation = PACES.get(stage, (0.0, 0.0, 0.0))
    seconds = fixed + per_token * cost.n_tokens + per_operation * cost.flops
    return replace(cost, seconds=seconds, n_bytes=cost.n_bytes + BYTES.get(stage, 0.0))


def plus(*costs: Cost) -> Cost:
    """Return the sum of costs, and the largest model."""
    return Cost(
        flops=sum(cost.flops for cost in costs),
        fp32_flops=sum(cost.fp32_flops for cost in costs),
        n_tokens=sum(cost.n_tokens for cost in costs),
        n_bytes=sum(cost.n_bytes for cost in costs),
        seconds=sum(cost.seconds for cost in costs),
        n_parameters=max(cost.n_parameters for cost in costs),
    )


def weight_bytes(shape: Shape | None) -> int:
    """Return the size of one fp32 checkpoint."""
    return 0 if shape is None else 4 * parameters(shape)[1]


def _matrix_weights(shape: Shape) -> int:
    """Return the weights that a token is multiplied with: no biases, norms, look-ups."""
    if shape.counts is not None:
        return shape.counts.n_multiplied
    h = shape.hidden_size
    return 12 * shape.layers * h * h + shape.vocab_size * h
