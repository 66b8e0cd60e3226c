"""Advice and laws of the fits stage → which rate and replay ratio to take, its cost, how sure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from palimpsest.core.answers.answer import Verdict
from palimpsest.core.answers.fitted import Fitted, triple
from palimpsest.core.answers.numbers import between, count, nats, percent
from palimpsest.faults import Fault

RULE = (
    "At a size that was run: among its settings of one pass over the new text, the one that learns "
    "most while the upper 95 % bound of its forgetting is within tolerance. At any other size: the "
    "smallest replay share from which on the upper bound of the fitted law is within tolerance. "
    "Where no bound is, but a mean is, that setting is shown as not decidable; where every lower "
    "bound is beyond the tolerance, there is none."
)
SAME_SIZE = 0.005  # sizes nearer than half a percent are the same
LOUD_FACTOR = 10.0
NO_NUMBER = Fitted(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Setting:
    """A rate and a replay share with what is expected of them, nats per token."""

    policy_label: str
    replay_fraction: float
    learning_rate: Fitted
    decrease: float
    forgetting: Fitted
    learning: Fitted
    n_seeds: int
    benchmarks: dict[str, int]
    runs: tuple[str, ...]

    @property
    def tokens_factor(self) -> float:
        """Return how many tokens are trained on for each token of new text."""
        return 1 / (1 - self.replay_fraction)


@dataclass(frozen=True)
class Recommendation:
    """What to take for one size; `answer` is yes where the whole interval meets the demands."""

    n_params: float
    model: str
    answer: Verdict
    why: str
    max_forgetting_nats: float
    min_learning_nats: float | None
    setting: Setting | None
    learning_lost_nats: float
    n_settings: int
    beyond: float
    source: str

    @property
    def loud(self) -> bool:
        """Return whether the size lies more than ten times beyond those that were run."""
        return self.beyond > LOUD_FACTOR


@dataclass(frozen=True)
class Demands:
    """What a setting must meet, nats per token."""

    max_forgetting_nats: float
    min_learning_nats: float | None = None

    def surely(self, one: Setting) -> bool:
        """Return whether the whole intervals meet the demands."""
        learns = self.min_learning_nats is None or one.learning.low >= self.min_learning_nats
        return one.forgetting.high <= self.max_forgetting_nats and learns

    def likely(self, one: Setting) -> bool:
        """Return whether the middle values meet the demands."""
        learns = self.min_learning_nats is None or one.learning.value >= self.min_learning_nats
        return one.forgetting.value <= self.max_forgetting_nats and learns

    def surely_not(self, one: Setting) -> bool:
        """Return whether an interval lies wholly on the wrong side."""
        idle = self.min_learning_nats is not None and one.learning.high < self.min_learning_nats
        return one.forgetting.low > self.max_forgetting_nats or idle


def of_measured(advice: dict[str, Any]) -> list[Recommendation]:
    """Recommend a setting for every size that was run, at the study's tolerance."""
    sizes = sorted({row["n_params"] for row in advice["measured"]})
    demands = Demands(advice["tolerance_nats"])
    return [recommend(advice, pd.DataFrame(), size, demands) for size in sizes]


def recommend(
    advice: dict[str, Any], surface: pd.DataFrame, n_params: float, demands: Demands
) -> Recommendation:
    """Recommend for any size: from its runs where it was run, else from the laws."""
    rows = [r for r in advice["measured"] if abs(r["n_params"] / n_params - 1) < SAME_SIZE]
    if rows:
        settings = [_measured(row) for row in rows]
        n_seeds = sum(one.n_seeds for one in settings)
        source = f"{n_seeds} run{'' if n_seeds == 1 else 's'} of {rows[0]['model']}"
        return _chosen(settings, demands, n_params, model=rows[0]["model"], source=source)
    beyond = _beyond(advice["sizes"], n_params)
    asked = ["forgetting"] + ["learning"] * (demands.min_learning_nats is not None)
    for what in asked:
        law = advice["laws"][what]
        if law["fit"] is None:
            why = f"no law speaks of {what} at a size that was not run ({law['reason']})"
            return _rate_alone(advice, surface, n_params, demands, why=why, beyond=beyond)
    law = advice["laws"]["forgetting"]
    settings = _from_here_on(_expected(advice, surface, n_params), demands)
    source = f"the law {law['fit']}, fitted to {len(advice['runs'])} runs of "
    source += ", ".join(count(size) for size in advice["sizes"]) + " parameters"
    return _chosen(settings, demands, n_params, model="", source=source, beyond=beyond)


def _chosen(
    settings: list[Setting],
    demands: Demands,
    n_params: float,
    *,
    model: str,
    source: str,
    beyond: float = 1.0,
) -> Recommendation:
    answer, one, why = _pick(settings, demands)
    most = max((s.learning.value for s in settings), default=math.nan)
    return Recommendation(
        n_params=n_params,
        model=model,
        answer=answer,
        why=why,
        max_forgetting_nats=demands.max_forgetting_nats,
        min_learning_nats=demands.min_learning_nats,
        setting=one,
        learning_lost_nats=most - one.learning.value,
        n_settings=len(settings),
        beyond=beyond,
        source=source,
    )


def _pick(settings: list[Setting], demands: Demands) -> tuple[Verdict, Setting, str]:
    asked = f"forgetting within {demands.max_forgetting_nats:g} nats"
    if demands.min_learning_nats is not None:
        asked += f" and learning of {demands.min_learning_nats:g} nats or more"
    surely = [one for one in settings if demands.surely(one)]
    if surely:
        return "yes", _most_learnt(surely), f"the whole interval keeps {asked}"
    likely = [one for one in settings if demands.likely(one)]
    if likely:
        one = _most_learnt(likely)
        known = math.isfinite(one.forgetting.high)
        words = f"the middle value keeps {asked}, but " + (
            "an interval reaches beyond" if known else "no setting was repeated: no interval"
        )
        return "not decidable", one, words
    least = min(settings, key=lambda one: one.forgetting.value)
    if all(demands.surely_not(one) for one in settings):
        return "no", least, f"no setting keeps {asked}; this one forgets least"
    return "not decidable", least, f"no middle value keeps {asked}; this one forgets least"


def _most_learnt(settings: list[Setting]) -> Setting:
    """Return the setting that learns most; of equal or unknown ones the least replay."""
    return max(settings, key=lambda one: (np.nan_to_num(one.learning.value), -one.replay_fraction))


def _rate_alone(
    advice: dict[str, Any],
    surface: pd.DataFrame,
    n_params: float,
    demands: Demands,
    *,
    why: str,
    beyond: float,
) -> Recommendation:
    """Return what is known where replay cannot be decided: the rate without replay, if any."""
    alone = None
    if advice["laws"]["learning_rate"]["fit"] is not None:
        first = next(_expected(advice, surface, n_params))
        alone = replace(first, replay_fraction=math.nan, forgetting=NO_NUMBER, learning=NO_NUMBER)
    return Recommendation(
        n_params=n_params,
        model="",
        answer="not decidable",
        why=why,
        max_forgetting_nats=demands.max_forgetting_nats,
        min_learning_nats=demands.min_learning_nats,
        setting=alone,
        learning_lost_nats=math.nan,
        n_settings=0,
        beyond=beyond,
        source=f"the law {advice['laws']['learning_rate']['fit']}" if alone else "",
    )


def _measured(row: dict[str, Any]) -> Setting:
    rate = float(row["learning_rate"])
    return Setting(
        policy_label=row["policy_label"],
        replay_fraction=float(row["replay_fraction"]),
        learning_rate=Fitted(rate, math.nan, math.nan),
        decrease=math.nan if row["decrease"] is None else float(row["decrease"]),
        forgetting=triple(row["forgetting_nats"]),
        learning=triple(row["learning_nats"]),
        n_seeds=int(row["n_seeds"]),
        benchmarks=row["benchmarks"],
        runs=tuple(row["runs"]),
    )


def _beyond(sizes: list[int], n_params: float) -> float:
    """Return how many times a size lies beyond the nearest end of those that were run."""
    if not sizes:
        return math.inf
    return max(n_params / max(sizes), min(sizes) / n_params, 1.0)


def _expected(advice: dict[str, Any], surface: pd.DataFrame, n_params: float) -> Iterator[Setting]:
    """Yield what the laws expect at a size, by rising replay share; between sizes interpolated."""
    sizes = surface.n_params
    if not sizes.min() <= n_params <= sizes.max():
        raise Fault(
            f"--params {n_params:g}: the laws are written down for {sizes.min():.3g} to "
            f"{sizes.max():.3g} parameters; ask for a size between them"
        )
    for ratio in sorted(surface.replay_fraction.unique()):
        rows = surface[surface.replay_fraction == ratio]
        at = _interpolated(rows, n_params)
        yield Setting(
            policy_label=str(advice["policy"]),
            replay_fraction=float(ratio),
            learning_rate=at("learning_rate", True),
            decrease=math.nan if advice["decrease"] is None else float(advice["decrease"]),
            forgetting=at("forgetting_nats", False),
            learning=at("learning_nats", False),
            n_seeds=0,
            benchmarks={},
            runs=tuple(advice["runs"]),
        )


def _interpolated(rows: pd.DataFrame, n_params: float) -> Callable[[str, bool], Fitted]:
    """Return a reader of a column's value, low and high; rates are joined on a log scale."""
    x = np.log(rows.n_params.to_numpy())

    def read(name: str, on_log: bool) -> Fitted:
        found = []
        for end in ("", "_low", "_high"):
            values = rows[name + end].to_numpy(dtype=float)
            y = np.interp(np.log(n_params), x, np.log(values) if on_log else values)
            found.append(float(np.exp(y) if on_log else y))
        return Fitted(*found)

    return read


def _from_here_on(settings: Iterator[Setting], demands: Demands) -> list[Setting]:
    """Leave out ratios above which forgetting goes beyond the tolerance once more."""
    rising = list(settings)
    limit = demands.max_forgetting_nats
    for tested in (lambda one: one.forgetting.high, lambda one: one.forgetting.value):
        beyond = [place for place, one in enumerate(rising) if not tested(one) <= limit]
        kept = rising[beyond[-1] + 1 :] if beyond else rising
        if kept:
            return kept
    return rising


def words(one: Recommendation) -> list[str]:
    """Return a recommendation in lines for a terminal."""
    lines = [f"{count(one.n_params)} parameters: {one.answer}: {one.why}."]
    if one.loud:
        lines.append(
            f"BEWARE: this size lies {one.beyond:.3g} times beyond those that were run. "
            "Nothing here was checked at such a distance."
        )
    elif one.beyond > 1:
        lines.append(f"This size lies {one.beyond:.3g} times beyond those that were run.")
    if one.setting is None:
        return lines
    return [*lines, *_setting_words(one.setting), f"Evidence: {one.source}."]


def _setting_words(one: Setting) -> list[str]:
    rate, step = one.learning_rate, percent(one.decrease, decimals=1)
    of_rate = f"{rate.value:.2e}" if math.isfinite(rate.value) else "not decidable from these runs"
    if math.isfinite(rate.low):
        of_rate += f" (95 %: {rate.low:.2e} to {rate.high:.2e})"
    of_step = (
        f"lowers the loss by {step} in one step" if step != "–" else "one-step decrease unknown"
    )
    replay = (
        f"{percent(one.replay_fraction)} of all training tokens, {one.tokens_factor:.3g} times the "
        "tokens of the new text alone"
        if math.isfinite(one.replay_fraction)
        else "not decidable from these runs; the rate is that without replay"
    )
    lines = [
        f"Learning rate: {of_rate}; {of_step} (policy {one.policy_label})",
        f"Replay: {replay}",
        f"Learns: {_with_ends(one.learning)}",
        f"Forgets: {_with_ends(one.forgetting)}",
    ]
    if one.benchmarks:
        told = ", ".join(f"{n} {verdict}" for verdict, n in sorted(one.benchmarks.items()))
        lines.append(f"Benchmarks: {told}")
    return lines


def _with_ends(value: Fitted) -> str:
    if not math.isfinite(value.value):
        return "not decidable from these runs"
    return f"{nats(value.value, signed=True)} nats per token ({between(value.low, value.high)})"
