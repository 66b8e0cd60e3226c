"""The smallest changes taken back: weights that moved least return to the base."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from torch import Tensor


class Settings(BaseModel, extra="forbid", frozen=True):
    """A phase without training: the smallest |θ − θ₀| return to θ₀."""

    kind: Literal["prune_drift"]
    fraction: float = Field(ge=0, le=1, description="share of all weights that return")


def label(settings: Settings) -> str:
    """Name the edit in tables and figures."""
    return f"prune_drift {settings.fraction:g}"


def edit(weights: Tensor, base: Tensor, settings: Settings) -> Tensor:
    """Return the weights, the fraction that moved least put back; of equals, the first ones."""
    n_back = round(settings.fraction * weights.numel())
    back = (weights - base).abs().argsort(stable=True)[:n_back]
    pruned = weights.clone()
    pruned[back] = base[back]
    return pruned
