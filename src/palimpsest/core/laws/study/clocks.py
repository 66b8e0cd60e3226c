"""On which clock do the forgetting curves of all sizes and rates fall on one line?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.clocks import CLOCKS
from palimpsest.core.laws import load, log_linear
from palimpsest.core.laws.form import Array, Law
from palimpsest.core.laws.intervals import interval, replicate_noise
from palimpsest.core.laws.points import Points
from palimpsest.core.laws.study.curves import WITHOUT_GAIN, curve_points
from palimpsest.core.laws.study.entry import Options
from palimpsest.core.laws.validation import errors, misses_points, quick_fit, splits_of

Rows = list[dict[str, Any]]
LINE_SHARE = 0.10  # of the effect: what a line may err on sizes and rates it has not seen
UNSEEN = ("largest N left out", "each rate left out in turn")


def clocks(curves: pd.DataFrame, options: Options) -> Rows:
    """Return how well one line over each clock predicts sizes and rates that it has not seen.

    Once over the runs without replay, once over all with the replay ratio as a factor. A line
    knows nothing of size and rate but the clock. `place` is `best`; `as good` or `worse` by the
    interval of the difference to the best, runs resampled. `one_line` is `no` when the runs lie
    farther from the line than seeds lie apart, `yes` when they do not and the error on unseen
    sizes and rates is at most 10 % of the effect.
    """
    if not options.wants("joint"):
        return []
    alone = curves[curves.replay_fraction == 0]
    rows: Rows = []
    for subset, part in (("without replay", alone), ("with replay", curves)):
        lines = {clock: line_over(part, clock, subset=subset) for clock in CLOCKS}
        fitted = {clock: line for clock, line in lines.items() if not line["reason"]}
        best = min(fitted, key=lambda clock: float(fitted[clock]["error_nats"]), default=None)
        for clock, line in lines.items():
            compared = place(line, fitted[best], options) if clock in fitted and best else {}
            shown = {key: value for key, value in line.items() if key != "by_run"}
            head = {"subset": subset, "clock": clock, "place": "not decidable"}
            rows.append({**head, "worse_by": None, "low": None, "high": None, **shown, **compared})
    return rows


def line_over(curves: pd.DataFrame, clock: str, *, subset: str) -> dict[str, Any]:
    """Return the better one of two lines over a clock, with its error on unseen sizes and rates."""
    points = curve_points(curves, clock)
    row: dict[str, Any] = {"n_runs": points.n_runs, "n_points": len(points)}
    row |= {"form": None, "error_nats": None, "share_of_effect": None, "one_line": "not decidable"}
    masks = [mask for split in UNSEEN for mask in splits_of(points).get(split, [])]
    if any(split not in splits_of(points) for split in UNSEEN):
        return row | {"reason": "needs two sizes and two rates on this clock"}
    found = [unseen(form, points, masks) for form in lines(with_replay=subset == "with replay")]
    known = [line for line in found if not line["reason"]]
    if not known:
        return row | {"reason": found[0]["reason"]}
    return row | min(known, key=lambda line: float(line["error_nats"]))


def lines(*, with_replay: bool) -> list[Law]:
    """Return the forms of a line: saturating (`joint` without size) and straight in ln S."""
    joint = load("joint").fix(**WITHOUT_GAIN, g=0.0)
    if with_replay:
        return [replace(joint, distinct={"S": 5, "p": 3}), over_clock(["S", "p"])]
    alone = joint.fix(a=0.0, B_p=1.0)
    return [replace(alone, distinct={"S": 5}), over_clock(["S"])]


def over_clock(inputs: list[str]) -> Law:
    """Return the line that is straight in the logarithm of the clock."""
    return replace(log_linear.over(inputs), target="F")


def unseen(form: Law, points: Points, masks: list[Array]) -> dict[str, Any]:
    """Return a form's errors where a size or a rate was left out, and whether it fits at all."""
    noise = replicate_noise(points, form)
    sigma = noise.sigma if noise else None
    fitted = quick_fit(form, points, noise=sigma)
    sizes, reason = np.full((len(masks), len(points)), np.nan), fitted.reason
    for fold, mask in enumerate(masks if fitted.fitted else []):
        sizes[fold], reason = errors(form, points, [mask], noise=sigma, near=fitted.theta)
        if reason:
            break
    if reason or not fitted.fitted:
        return {"form": form.name, "reason": reason}
    misses = misses_points(fitted, points, noise=noise)
    by_run = {int(n): float(np.nanmean(sizes[:, points.run == n])) for n in told(sizes, points)}
    error = float(np.mean(list(by_run.values())))
    share = error / float(np.ptp(points.y))
    return {
        "form": form.name,
        "error_nats": error,
        "share_of_effect": share,
        "one_line": one_line(misses, share),
        "by_run": by_run,
        "reason": "",
    }


def one_line(misses: bool | None, share_of_effect: float) -> str:
    """Say whether all runs lie on the line: nearer than seeds explain, and well predicted."""
    if misses:
        return "no"
    near = misses is False and share_of_effect <= LINE_SHARE
    return "yes" if near else "not decidable"


def told(sizes: Array, points: Points) -> Array:
    """Return the runs of which some point was left out."""
    assert points.run is not None
    return np.unique(points.run[np.isfinite(sizes).any(axis=0)])


def place(line: dict[str, Any], best: dict[str, Any], options: Options) -> dict[str, Any]:
    """Compare a line with the best one over the runs that both predict."""
    if line is best:
        return {"place": "best"}
    runs = sorted(set(line["by_run"]) & set(best["by_run"]))
    apart = np.array([line["by_run"][run] - best["by_run"][run] for run in runs])
    drawn = np.random.default_rng(options.seed).integers(
        len(apart), size=(options.n_draws, len(apart))
    )
    low, high = interval(apart[drawn].mean(axis=1), confidence=options.confidence)
    row = {"worse_by": float(apart.mean()), "low": float(low), "high": float(high)}
    return row | {"place": "worse" if low > 0 else "as good"}
