"""What fits.json says about a law: a parameter with its interval, or why there is none."""

from __future__ import annotations

from typing import Any


def fit_of(fits: dict[str, Any], law: str, *, parameter: str) -> tuple[float, float, float] | None:
    return None


def fit_reason(fits: dict[str, Any], law: str) -> str:
    return "no law was fitted"
