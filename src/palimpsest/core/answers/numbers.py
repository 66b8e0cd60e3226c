"""Numbers as text: nats with three digits, rates in powers of ten, counts in k and M."""

from __future__ import annotations

import math

NARROW = "\u202f"  # a narrow space that does not break, between a number and its unit
MINUS = "−"  # a true minus sign, as wide as a plus


def nats(value: float, *, signed: bool = False) -> str:
    """Format nats per token with three decimals, e.g. 0.142."""
    return plain(value, decimals=3, signed=signed)


def plain(value: float, *, decimals: int = 2, signed: bool = False) -> str:
    """Format a number with fixed decimals and a true minus sign; a dash when it is not finite."""
    if value is None or not math.isfinite(value):
        return "–"
    value = round(value, decimals) + 0.0  # no −0.000
    sign = "+" if signed and value > 0 else ""
    return sign + f"{value:.{decimals}f}".replace("-", MINUS)


def rate(value: float) -> str:
    """Format a learning rate with two digits, e.g. 1.2e-3."""
    if value is None or not math.isfinite(value):
        return "–"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}e{int(power)}"


def percent(value: float, *, decimals: int = 0) -> str:
    """Format a share as a percentage, e.g. 25 %."""
    text = plain(100 * value, decimals=decimals)
    return text if text == "–" else f"{text}{NARROW}%"


def count(value: float) -> str:
    """Format a number of things with three digits, e.g. 25 k, 1.32 M."""
    if value is None or not math.isfinite(value):
        return "–"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{NARROW}{letter}"
    return f"{value:.3g}"


def between(low: float, high: float, *, decimals: int = 3) -> str:
    """Format an interval, e.g. 0.102 to 0.181; "no interval" when an end is not finite."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "no interval"
    return f"{plain(low, decimals=decimals)} to {plain(high, decimals=decimals)}"
