"""What does the learning-rate probe cost, and is it right? By torch-lr-finder and a dense grid.

Per pretrained default size and batch: the rates for a decrease of 1, 5 and 10 %, best and edge by
one backward pass and some forward passes; their time beside the 20 rates of torch-lr-finder on the
same model and batch; each rate against a grid of its own, independent of the search.

torch-lr-finder is no dependency of the program: pip puts it into .bench/lr-finder. Where it cannot
be had, its published procedure stands in (20 optimiser steps with exponentially rising rates:
forward, backward, step; then the state of before), and the heading says so.

Run from the project's root: python bench/probe_cost.py [SIZE …]
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from tools.artifacts import BENCH
from tools.chunks import setting_of
from torch.nn.functional import cross_entropy

from palimpsest.core.flat import slope
from palimpsest.core.landscape import Line
from palimpsest.core.losses import batch_gradient
from palimpsest.core.models import load_causal_lm
from palimpsest.core.search import Found

SIZES = ("neox-25k", "neox-100k", "neox-336k", "neox-793k")
STEPS = (0, 20, 40, 60)  # batches of the default phase, which has 64
DECREASES = (0.01, 0.05, 0.1)
LOWEST, HIGHEST, N_RATES = 1e-5, 1e-1, 20
REPEATS = 5
PACKAGE = "torch-lr-finder==0.2.2"
COARSE = np.geomspace(1e-5, HIGHEST, 160)  # 6 % apart
CLOSE = 1.06 ** np.linspace(-1, 1, 61)  # 0.2 % apart


class Probed(NamedTuple):
    """What one probe found, by target, and what it took."""

    found: dict[str, Found]
    line: Line
    seconds: float


def main(sizes: tuple[str, ...]) -> None:
    """Print one line per size and batch, then the worst of all."""
    torch.set_num_threads(1)
    finder, name = lr_finder()
    print(f"20 rates by {name}; median of {REPEATS} interleaved runs; 512 tokens per batch")
    worst = {"forward passes": 0, "time ratio": 0.0, "rate off by": 0.0}
    for model in sizes:
        for step in STEPS:
            row = compare(model, step, finder)
            print(
                f"{model} batch {step}: {row['forward passes']} forward passes, "
                f"{1000 * row['ours']:.0f} ms against {1000 * row['theirs']:.0f} ms "
                f"(1/{1 / row['time ratio']:.1f}); rates off by at most {row['rate off by']:.2%} "
                f"({row['furthest']}); "
                f"{row['n_none']} of 5 out of reach",
                flush=True,
            )
            worst = {what: max(value, row[what]) for what, value in worst.items()}
    print(
        f"worst: {worst['forward passes']} forward passes (at most 14), "
        f"1/{1 / worst['time ratio']:.1f} of the time (at most 1/2.5), "
        f"a rate off by {worst['rate off by']:.2%} (at most 1 %)"
    )


def compare(model: str, step: int, finder: Callable[[torch.nn.Module, list], float]) -> dict:
    """Measure one batch: both ways interleaved, then every rate against the dense grid."""
    setting = setting_of(model)
    trainee = setting.trainee()
    packed = trainee.pack(setting.stream.batch(step).new)
    plain = load_causal_lm(setting.weights)
    probe(trainee, packed), finder(plain, packed)  # warm caches
    ours, theirs = [], []
    for _ in range(REPEATS):
        probed = probe(trainee, packed)
        ours.append(probed.seconds)
        theirs.append(finder(plain, packed))
    off = errors(probed, packed)
    furthest = max(off, key=lambda target: off[target])
    return {
        "forward passes": probed.line.forward_passes,
        "ours": median(ours),
        "theirs": median(theirs),
        "time ratio": median(ours) / median(theirs),
        "rate off by": off[furthest],
        "furthest": furthest,
        "n_none": sum(found.learning_rate is None for found in probed.found.values()),
    }


def probe(trainee, packed) -> Probed:
    """Search all five rates from one fresh gradient."""
    trainee.update.load({name: 0 * value for name, value in trainee.update.state().items()})
    began = time.perf_counter()
    gradient = batch_gradient(trainee.model, trainee.flat, new=packed, replay=[])
    u = trainee.update.direction()
    line = Line(
        trainee.model,
        trainee.flat,
        u,
        packed,
        loss_nats=float(gradient.loss_new_nats),
        slope=float(slope(gradient.new_gradient, u)),
        highest_rate=HIGHEST,
    )
    found = {f"{share:g}": line.target(share) for share in DECREASES}
    found |= {"best": line.best(), "edge": line.edge()}
    return Probed(found, line, time.perf_counter() - began)


def errors(probed: Probed, packed) -> dict[str, float]:
    """Return how far each rate is from that of the dense grid, relative; 0 where both say none."""
    line, before = probed.line, probed.line.loss_nats
    coarse = losses(line, packed, COARSE)
    levels = {f"{share:g}": (1 - share) * before for share in DECREASES}
    off = {}
    for target, found in probed.found.items():
        if target == "best":
            true = lowest_on(line, packed, COARSE[int(np.argmin(first_basin(coarse, before)))])
        elif target == "edge":
            true = first_on(line, packed, coarse > before, lambda loss: loss > before)
        else:
            level = levels[target]
            true = first_on(line, packed, coarse <= level, lambda loss, level=level: loss <= level)
        off[target] = difference(found.learning_rate, true)
    return off


def first_basin(coarse: np.ndarray, before: float) -> np.ndarray:
    """Return the losses up to the first that lies above the loss at θ, infinite from there on."""
    beyond = np.maximum.accumulate(coarse > before)
    return np.where(beyond, np.inf, coarse)


def first_on(line, packed, hits: np.ndarray, passes: Callable[[np.ndarray], np.ndarray]):
    """Return the smallest rate that passes, on a grid 0.2 % apart; None where no rate does."""
    if not hits.any():
        return None
    rates = COARSE[int(np.argmax(hits))] * CLOSE
    return float(rates[int(np.argmax(passes(losses(line, packed, rates))))])


def lowest_on(line, packed, near: float) -> float:
    """Return the minimum of the quartic in ln η through 61 losses within 12 % of a rate."""
    x = 2 * np.log(CLOSE)
    quartic = np.polyfit(x, losses(line, packed, near * np.exp(x)), 4)
    fine = np.linspace(x[0], x[-1], 2001)
    return float(near * np.exp(fine[int(np.argmin(np.polyval(quartic, fine)))]))


def losses(line, packed, rates: np.ndarray) -> np.ndarray:
    """Return the loss at each rate, by passes that the search does not see."""
    return np.array([line.others(float(rate), [packed])[0] for rate in rates])


def difference(found: float | None, true: float | None) -> float:
    """Return the relative difference of two rates; one without the other is infinitely far."""
    if found is None or true is None:
        return 0.0 if found is None and true is None else float("inf")
    return abs(found / true - 1)


def lr_finder() -> tuple[Callable[[torch.nn.Module, list], float], str]:
    """Return what times 20 rates on one batch, and its name."""
    folder = BENCH / "lr-finder"
    if not folder.is_dir():
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps")
        done = subprocess.run(
            (*pip, "--target", str(folder), PACKAGE), capture_output=True, text=True, check=False
        )
        if done.returncode:
            return twenty_steps, f"torch-lr-finder's procedure ({PACKAGE} cannot be had here)"
    sys.path.append(str(folder))
    return range_test, PACKAGE


def range_test(model: torch.nn.Module, packed: list) -> float:
    """Return the seconds that torch-lr-finder takes for 20 rates and to restore the state."""
    from torch_lr_finder import LRFinder, TrainDataLoaderIter

    batch = batch_of(packed)
    loader = TrainDataLoaderIter(torch.utils.data.DataLoader([batch], batch_size=None))
    wrapped = Logits(model)
    optimizer = adamw(wrapped)
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        finder = LRFinder(wrapped, optimizer, mean_nats)
        finder.range_test(loader, end_lr=HIGHEST, num_iter=N_RATES, diverge_th=1e9)
        finder.reset()
    seconds = time.perf_counter() - began
    assert len(finder.history["lr"]) == N_RATES
    return seconds


def twenty_steps(model: torch.nn.Module, packed: list) -> float:
    """Return the seconds of 20 optimiser steps with exponentially rising rates, state restored."""
    inputs, targets = batch_of(packed)
    wrapped = Logits(model)
    optimizer = adamw(wrapped)
    began = time.perf_counter()
    before = {name: value.clone() for name, value in wrapped.state_dict().items()}
    for rate in np.geomspace(LOWEST, HIGHEST, N_RATES):
        optimizer.param_groups[0]["lr"] = float(rate)
        optimizer.zero_grad()
        mean_nats(wrapped(inputs), targets).backward()
        optimizer.step()
    wrapped.load_state_dict(before)
    return time.perf_counter() - began


class Logits(torch.nn.Module):
    """A causal LM whose output is the logits, as an LR finder expects of a model."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs_BT):
        """Return logits_BTV."""
        return self.model(input_ids=inputs_BT, use_cache=False).logits


def mean_nats(logits_BTV, targets_BT):
    """Return the mean loss per token."""
    return cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())


def adamw(model: torch.nn.Module) -> torch.optim.Optimizer:
    """Return the study's optimiser at the lowest rate."""
    return torch.optim.AdamW(model.parameters(), lr=LOWEST, betas=(0.9, 0.95), weight_decay=0.0)


def batch_of(packed: list) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all rows of the micro-batches as one; here they all have the same length."""
    return (
        torch.cat([micro.inputs_BT for micro in packed]),
        torch.cat([micro.targets_BT for micro in packed]),
    )


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or SIZES)
