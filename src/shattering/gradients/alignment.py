"""How far the gradients of single examples point the same way."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Alignment:
    """The coherence of m gradients over some parameters: a tensor's, a layer's, or all of them.

    α = ‖Σgᵢ‖² / (m Σ‖gᵢ‖²), and m-coherence = m·α = ‖Σgᵢ‖² / Σ‖gᵢ‖²
    (Chatterjee & Zielinski 2022, the definition of α, and 2020, m-coherence).

    Args:
        examples: m.
        squared_norm_of_sum: ‖Σgᵢ‖², at least 0.
        sum_of_squared_norms: Σ‖gᵢ‖², at least 0.
        roundoff: u, relative error of one gradient's entries: the machine epsilon of the arithmetic they came from.
    """

    examples: int
    squared_norm_of_sum: float
    sum_of_squared_norms: float
    roundoff: float

    @property
    def alpha(self) -> float:
        """α in [0, 1]: 0 if the mean gradient is zero, 1 if all gradients are equal; NaN if all are zero."""
        return self.m_coherence / self.examples

    @property
    def m_coherence(self) -> float:
        """m·α in [0, m]: 1 if gradients are orthogonal, m if identical, below 1 if they cancel; NaN if all are zero.

        It reads: how many examples of the sample, itself included, a step along one example's gradient helps.
        """
        if self.sum_of_squared_norms == 0:
            return math.nan
        return self.squared_norm_of_sum / self.sum_of_squared_norms

    @property
    def floor(self) -> float:
        """The α that rounding alone leaves of gradients that cancel exactly: u²/m."""
        return self.roundoff**2 / self.examples

    @property
    def resolved(self) -> bool:
        """Whether α stands at least tenfold above its floor; below, it tells rounding, not the network."""
        return self.alpha >= 10 * self.floor

    @property
    def mean_gradient_norm(self) -> float:
        """‖ḡ‖, the Euclidean norm of the mean gradient."""
        return math.sqrt(self.squared_norm_of_sum) / self.examples

    @property
    def mean_squared_norm(self) -> float:
        """(1/m) Σ‖gᵢ‖²."""
        return self.sum_of_squared_norms / self.examples

    def __str__(self) -> str:
        if math.isnan(self.m_coherence):
            return f"every gradient is zero (m = {self.examples:,})"
        shown = f"{self.alpha:.3g}" if self.resolved else f"< {10 * self.floor:.1g}, the resolution floor"
        return f"m-coherence {self.m_coherence:.4g} of {self.examples:,} (α {shown})"
