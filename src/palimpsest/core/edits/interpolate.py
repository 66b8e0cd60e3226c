"""Weights on the straight line from the base to what was trained (Wortsman et al. 2109.01903)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from torch import Tensor


class Settings(BaseModel, extra="forbid", frozen=True):
    """A phase without training: θ₀ + alpha·(θ − θ₀)."""

    kind: Literal["interpolate"]
    alpha: float = Field(ge=0, le=1, description="0 is the base, 1 what was trained")


def label(settings: Settings) -> str:
    """Name the edit in tables and figures."""
    return f"interpolate {settings.alpha:g}"


def edit(weights: Tensor, base: Tensor, settings: Settings) -> Tensor:
    """Return the point on the line; both ends are exact."""
    return base.lerp(weights, settings.alpha)
