"""Turns the learning rates of a run into its annealing area, an input of `cpt-dynamics`."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from palimpsest.core.laws.form import Array

MEMORY = 0.999  # per step (Tissue 2408.11029)


def annealing_area(learning_rates: Array, *, memory: float = MEMORY) -> Array:
    """Return S2 after each step: the sum over steps of the remembered fall of the rate."""
    fall = -np.diff(learning_rates, prepend=learning_rates[:1])
    momentum = lfilter([1.0], [1.0, -memory], fall)
    return np.asarray(np.cumsum(momentum))
