"""How fast is the loss matrix, next to the bare forward passes of the same model?

Per model size of the default study: checkpoints × batches, as the recall stage measures them
(weights switched in place from their files, losses by `core.losses`), against the same model's
forward passes at the same shapes that end in logits, and those that end in Hugging Face's own
loss. Interleaved checkpoint by checkpoint in one process, one thread; medians over checkpoints.

Run from the project's root: python bench/recall.py
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from palimpsest.core.losses import Packed, micro_batch_tokens, pack, row_losses
from palimpsest.core.models import device, new_neox, save_causal_lm
from palimpsest.core.rows import Row
from palimpsest.core.swap import swap_weights

SIZES = {"neox-25k": (32, 2, 2), "neox-100k": (64, 2, 4), "neox-336k": (96, 3, 4)}
SIZES |= {"neox-793k": (128, 4, 4)}
VOCAB, CONTEXT = 2048, 128
N_CHECKPOINTS, N_BATCHES, ROWS_PER_BATCH = 12, 16, 4
Model = torch.nn.Module


def main() -> None:
    """Print one line per size: milliseconds per checkpoint, and the two ratios."""
    torch.set_num_threads(1)
    print(
        f"{N_CHECKPOINTS} checkpoints × {N_BATCHES} batches of {ROWS_PER_BATCH} × {CONTEXT} tokens"
    )
    print(
        "size        logits ms  HF loss ms  ours ms  switch ms  logits/ours  HF loss/ours  switch"
    )
    for name, shape in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            print(line(name, measure(shape, Path(folder))))


def measure(shape: tuple[int, int, int], folder: Path) -> dict[str, float]:
    """Return the median milliseconds per checkpoint of each way."""
    model = make(shape, seed=0)
    (folder / "no-tokenizer").mkdir()
    checkpoints = [folder / f"step-{i}" for i in range(N_CHECKPOINTS)]
    for seed, checkpoint in enumerate(checkpoints):
        save_causal_lm(make(shape, seed=seed), checkpoint, folder / "no-tokenizer")
    packed = pack(rows(), max_tokens=micro_batch_tokens(model), device=device())
    ways: dict[str, Callable[[], object]] = {
        "logits": lambda: forward(model, packed, with_loss=False),
        "hf_loss": lambda: forward(model, packed, with_loss=True),
        "losses": lambda: row_losses(model, packed),
    }
    for way in ways.values():
        way()
    taken: dict[str, list[float]] = {name: [] for name in ("switch", *ways)}
    for checkpoint in checkpoints:
        taken["switch"].append(milliseconds(lambda to=checkpoint: swap_weights(model, to)))
        for name, way in ways.items():
            taken[name].append(milliseconds(way))
    return {name: statistics.median(times) for name, times in taken.items()}


def forward(model: Model, packed: list[Packed], *, with_loss: bool) -> None:
    """Run the model as anyone would, keeping nothing."""
    with torch.inference_mode():
        for micro in packed:
            labels = micro.inputs_BT if with_loss else None
            model(input_ids=micro.inputs_BT, labels=labels, use_cache=False)


def make(shape: tuple[int, int, int], *, seed: int) -> Model:
    """Return a model of the default study's vocabulary and context."""
    hidden_size, layers, heads = shape
    return new_neox(
        hidden_size=hidden_size,
        layers=layers,
        heads=heads,
        vocab_size=VOCAB,
        context_length=CONTEXT,
        seed=seed,
    )


def rows() -> list[Row]:
    """Return all batches' rows, of equal length as in the default study."""
    random = np.random.default_rng(0)
    tokens = random.integers(0, VOCAB, size=(N_BATCHES * ROWS_PER_BATCH, CONTEXT + 1))
    return [Row(row, "new", 0, piece=0) for row in tokens]


def milliseconds(way: Callable[[], object]) -> float:
    """Return how long one call takes."""
    began = time.perf_counter()
    way()
    return 1000 * (time.perf_counter() - began)


def line(name: str, found: dict[str, float]) -> str:
    """Return one row of the table."""
    ours = found["losses"] + found["switch"]
    return (
        f"{name:10} {found['logits']:10.1f} {found['hf_loss']:11.1f} {ours:8.1f}"
        f" {found['switch']:10.2f} {found['logits'] / ours:12.0%} {found['hf_loss'] / ours:13.0%}"
        f" {found['switch'] / ours:7.1%}"
    )


if __name__ == "__main__":
    main()
