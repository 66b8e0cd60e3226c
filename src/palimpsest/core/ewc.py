"""Elastic weight consolidation: after each step, weights that old text hangs on are pulled back.

The penalty λ/2 Σ Fᵢ (θᵢ − θ₀ᵢ)² (Kirkpatrick et al. 1612.00796) is not added to the loss: an
adaptive optimiser would divide its gradient by itself, and a strong penalty would only make the
weights swing around θ₀. It is taken implicitly, in the optimiser's own metric: after θ' = θ − ηu,
the new θ is the minimum of λ/2 Σ Fᵢ (θᵢ − θ₀ᵢ)² + Σ sᵢ/(2η) (θᵢ − θ'ᵢ)², where sᵢ is what the
optimiser divides the gradient by (1 − momentum for SGD). Its points of rest are those of the
penalised loss, and no strength is too large.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

LARGEST = 1e37


class Anchor(NamedTuple):
    """θ₀ and what holds to it: λF, one number per weight."""

    reference: Tensor
    stiffness: Tensor

    @classmethod
    def of(cls, reference: Tensor, fisher: Tensor, *, strength: float) -> Anchor:
        """Return the anchor of one strength; λF stays a finite number."""
        return cls(reference, (fisher * strength).clamp_(max=LARGEST))

    def pull(self, weights: Tensor, learning_rate: float, *, scale: Tensor | float) -> None:
        """Move the weights towards θ₀ in place, by the share ηλF/(s + ηλF); 0 moves none."""
        share = 1 / (1 + scale / (learning_rate * self.stiffness))
        weights.lerp_(self.reference, share)
