"""Tokens and seconds of a training → its speed: operations, their share of the peak, memory.

Operations: 6·N per token, N the non-embedding weights (Kaplan 2001.08361), measuring left out.
MFU = operations / (seconds · peak), the peak being the maker's figure for dense bf16 products. It
is left out where no peak is known, as on CPUs.
"""

from __future__ import annotations

import resource

import torch

from palimpsest.core.course import Trainee
from palimpsest.core.models import count_parameters

# Operations per second, dense bf16, by what the device's name holds: NVIDIA's data sheets.
PEAK_OPERATIONS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}


def speed(trainee: Trainee, *, n_tokens: int, wall_seconds: float) -> dict[str, float]:
    """Return what the record of a training says about its speed."""
    n_params, _ = count_parameters(trainee.model)
    flops = 6.0 * n_params * n_tokens
    found = {"n_tokens": n_tokens, "wall_seconds": wall_seconds, "flops": flops}
    found["peak_memory_bytes"] = _peak_memory_bytes(trainee.flat.weights.device)
    peak = peak_operations(trainee.flat.weights.device)
    if peak is not None and wall_seconds > 0:
        found |= {"peak_operations_per_second": peak, "mfu": flops / (wall_seconds * peak)}
    return found


def peak_operations(device: torch.device, name: str | None = None) -> float | None:
    """Return a device's peak; None where it is not known."""
    if device.type != "cuda":
        return None
    name = name or torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_OPERATIONS.items() if part in name), None)


def _peak_memory_bytes(device: torch.device) -> float:
    """Return the most memory taken so far: on the accelerator, else by this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
