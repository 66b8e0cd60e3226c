"""Two sets of weights → how far they lie apart, per layer and group; two models → their KL.

Shapes: B rows of a micro-batch, T targets, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

from palimpsest.core.flat import Segment
from palimpsest.core.losses import NOT_COUNTED, Packed


def drift(
    now: Tensor, base: Tensor, segments: Iterable[Segment], *, previous: Tensor | None = None
) -> pd.DataFrame:
    """Compare flat weights with the base's: one row per layer and group, every weight counted once.

    mad = mean |θ − θ₀|; relative_norm = ‖θ − θ₀‖/‖θ₀‖ (NaN where θ₀ is 0); share_unchanged counts
    bit-equal weights; cosine_previous compares θ − θ₀ with `previous` − θ₀, the drift at the
    checkpoint before (NaN without one, or where one of the two is 0).
    """
    earlier = base if previous is None else previous
    rows = []
    for _, layer, group, start, stop in segments:
        sums = _sums(now[start:stop], base[start:stop], earlier[start:stop])
        rows.append({"layer": layer, "group": group} | sums)
    total = pd.DataFrame(rows).groupby(["layer", "group"], sort=True).sum().reset_index()
    scale = (total.square * total.earlier_square) ** 0.5
    return total[["layer", "group", "n_weights"]].assign(
        mad=total.absolute / total.n_weights,
        relative_norm=_ratio(total.square**0.5, total.base_square**0.5),
        share_unchanged=total.n_unchanged / total.n_weights,
        cosine_previous=_ratio(total["product"], scale),
    )


def base_log_probabilities(model: nn.Module, packed: Sequence[Packed]) -> list[Tensor]:
    """Return the base's log-probabilities over the vocabulary for each micro-batch, to keep."""
    return [_log_probabilities(model, micro) for micro in packed]


def kl_nats(model: nn.Module, packed: Sequence[Packed], base: Sequence[Tensor]) -> float:
    """Return KL(base ‖ now), the mean over counted positions, in nats per token."""
    total, n_tokens = 0.0, 0
    for micro, base_BTV in zip(packed, base, strict=True):
        now_BTV = _log_probabilities(model, micro)
        kl_BT = kl_div(now_BTV, base_BTV, reduction="none", log_target=True).sum(-1)
        counted = micro.targets_BT != NOT_COUNTED
        total += float(kl_BT[counted].double().sum())
        n_tokens += int(counted.sum())
    return total / n_tokens


def _sums(now: Tensor, base: Tensor, previous: Tensor) -> dict[str, float]:
    """Return what adds up over a group's parameters."""
    change, earlier = (now - base).double(), (previous - base).double()
    return {
        "n_weights": change.numel(),
        "absolute": float(change.abs().sum()),
        "square": float(change @ change),
        "base_square": float(base.double().square().sum()),
        "n_unchanged": int((now == base).sum()),
        "product": float(change @ earlier),
        "earlier_square": float(earlier @ earlier),
    }


def _ratio(numerator: pd.Series, denominator: pd.Series) -> pd.Series:
    return numerator / denominator.where(denominator > 0)


def _log_probabilities(model: nn.Module, micro: Packed) -> Tensor:
    with torch.no_grad():
        logits_BTV = model(input_ids=micro.inputs_BT, use_cache=False).logits
    return log_softmax(logits_BTV, dim=-1)
