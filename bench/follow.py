"""Does `follow` lower the loss by what was asked, and what does it cost beside a fixed rate?

Per size and asked decrease, along the default study's phase: on 30 sampled steps a dense grid of
rates, independent of the search, says whether the asked decrease can be reached at all; of those
steps, the share on which the step taken lies within 10 % of it. Then the same phase again, timed,
interleaved with one at a fixed rate.

Run from the project's root: python bench/follow.py [SIZE …]
"""

from __future__ import annotations

import sys
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from tools.chunks import Setting, setting_of

from palimpsest.core.course import Course, Progress
from palimpsest.core.landscape import Line, losses_at
from palimpsest.core.loop import train
from palimpsest.core.policies import fixed, follow
from palimpsest.core.stops import Settings as Stop

SIZES = ("neox-25k", "neox-100k")
DECREASES = (0.02, 0.05)
N_SAMPLED = 30
WITHIN = 0.1
GRID = np.geomspace(1e-5, 1e-1, 100)  # 10 % apart
REPEATS = 5


class Kept(NamedTuple):
    """How well a phase kept to what was asked."""

    n_reachable: int
    n_within: int
    forward_passes_per_step: float
    rates: list[float]


def main(sizes: tuple[str, ...]) -> None:
    """Print one line per size and decrease."""
    torch.set_num_threads(1)
    for model in sizes:
        setting = setting_of(model)
        for decrease in DECREASES:
            kept = keeps(setting, decrease)
            ratio, followed, plain = times(setting, decrease, rate=median(kept.rates))
            print(
                f"{model} follow {decrease:.0%}: {kept.n_within} of {kept.n_reachable} reachable "
                f"sampled steps within 10 % of the asked decrease (of {N_SAMPLED} sampled); "
                f"{kept.forward_passes_per_step:.2f} extra forward passes a step (at most 2); "
                f"{followed:.2f} s against {plain:.2f} s fixed: {ratio:.2f} (at most 1.8)",
                flush=True,
            )


def keeps(setting: Setting, decrease: float) -> Kept:
    """Follow a decrease along the phase and check the sampled steps on the dense grid."""
    n_steps = setting.stream.n_steps
    sampled = set(np.linspace(0, n_steps - 1, min(N_SAMPLED, n_steps)).round().astype(int).tolist())
    seen: dict[int, bool] = {}
    along: dict[str, Any] = {}

    def line(model, flat, u, packed, **known):
        along.update(model=model, flat=flat, u=u, packed=packed, loss=known["loss_nats"])
        return Line(model, flat, u, packed, **known)

    def policy(params, memory, step):
        if step.index in sampled:
            seen[step.index] = reachable(**along, decrease=decrease)
        return follow.rate(params, memory, step)

    params = follow.Params(kind="follow", decrease=decrease)
    progress = phase(setting, policy=policy, params=params, line=line)
    achieved = np.array([row["decrease_achieved"] for row in progress.log])
    near = np.abs(achieved / decrease - 1) <= WITHIN
    reached = [step for step, can in seen.items() if can]
    return Kept(
        n_reachable=len(reached),
        n_within=int(near[reached].sum()),
        forward_passes_per_step=float(np.mean([row["n_forward"] for row in progress.log])),
        rates=[row["learning_rate"] for row in progress.log],
    )


def reachable(*, model, flat, u, packed, loss: float, decrease: float) -> bool:
    """Say whether some rate of the dense grid lowers the loss by the asked share."""
    return any(
        losses_at(model, flat, u, [packed], float(rate))[0] <= (1 - decrease) * loss
        for rate in GRID
    )


def times(setting: Setting, decrease: float, *, rate: float) -> tuple[float, float, float]:
    """Return the median ratio of both phases' wall times, and the medians, interleaved."""
    chosen = follow.Params(kind="follow", decrease=decrease)
    plain = fixed.Params(kind="fixed", learning_rate=rate)
    followed, unsearched = [], []
    for _ in range(REPEATS):
        followed.append(seconds(setting, policy=follow.rate, params=chosen))
        unsearched.append(seconds(setting, policy=fixed.rate, params=plain))
    ratios = [one / other for one, other in zip(followed, unsearched, strict=True)]
    return median(ratios), median(followed), median(unsearched)


def seconds(setting: Setting, *, policy, params) -> float:
    """Return the wall time of all updates of a phase, logging included, loading left out."""
    progress = phase(setting, policy=policy, params=params, line=Line)
    return sum(progress.step_seconds)


def phase(setting: Setting, *, policy, params, line) -> Progress:
    """Train one epoch of the default study's phase."""
    trainee, progress = setting.trainee(), Progress()
    course = Course(
        batch=setting.stream.batch,
        n_steps=setting.stream.n_steps,
        policy=policy,
        policy_params=params,
        stops=Stop(),
        line=line,
        reference=trainee.flat.weights.clone(),
    )
    train(trainee, course, progress, after_step=lambda: None)
    return progress


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or SIZES)
