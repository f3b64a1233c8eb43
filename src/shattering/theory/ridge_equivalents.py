"""Deterministic equivalents of ridge regression: one renormalised ridge κ gives bias, variance, train and test error.

Atanasov, Zavatone-Veth & Pehlevan (2024), "Scaling and renormalization in high-dimensional regression". Σ has
eigenvalues s, the target coefficients w along its eigenvectors; the estimator minimises (1/n) ‖y - Xw‖² + λ ‖w‖².
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def degrees_of_freedom(spectrum: Numbers, ridge: float, order: int = 1) -> float:
    """dfⱼ(κ) = tr Σʲ (Σ + κ)⁻ʲ, from 0 to the number of eigenvalues, which it is at κ = 0."""
    return float(((spectrum / (spectrum + ridge)) ** order).sum())


def renormalised_ridge(spectrum: Numbers, examples: int, ridge: float, features: int | None = None) -> float:
    """The κ ≥ λ with κ (1 - df₁(κ)/n) (1 - df₁(κ)/N) = λ; without features N, the last factor is left out.

    Args:
        spectrum: eigenvalues of Σ, positive, ``[d]``.
        examples: n.
        ridge: λ, at least 0; at 0 there must be fewer examples, or features, than eigenvalues.
        features: N of linear random features.

    Returns:
        κ by bisection of its logarithm, to twelve digits; 0 at λ = 0 where nothing limits the degrees of freedom.
    """

    def below(kappa: float) -> bool:
        used = degrees_of_freedom(spectrum, kappa)
        left = 1 - used / examples
        other = 1.0 if features is None else 1 - used / features
        return left <= 0 or other <= 0 or kappa * left * other < ridge

    limit = min(examples, features or examples)
    if ridge == 0 and len(spectrum) <= limit:
        return 0.0
    high = max(ridge, float(spectrum.max()))
    while below(high):
        high *= 2
    low = max(ridge, high * 1e-18)
    for _ in range(70):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if below(middle) else (low, middle)
    return math.sqrt(low * high)


@dataclass(frozen=True)
class Errors:
    """What the equivalents say of one regression.

    Args:
        kappa: the renormalised ridge.
        bias: κ² Σ s w² / (s + κ)², the error of the mean estimator.
        test: mean squared error on new noisy examples.
        train: on the training examples.
    """

    kappa: float
    bias: float
    test: float
    train: float


def ridge_errors(spectrum: Numbers, target: Numbers, examples: int, ridge: float, noise: float = 0.0) -> Errors:
    """Test error [bias + σ²] / (1 - df₂(κ)/n), and the training error (λ/κ)² times that.

    Args:
        spectrum, examples, ridge: as in `renormalised_ridge`.
        target: coefficients w along the eigenvectors, ``[d]``.
        noise: σ².
    """
    kappa = renormalised_ridge(spectrum, examples, ridge)
    bias = float((kappa**2 * spectrum * target**2 / (spectrum + kappa) ** 2).sum()) if kappa else 0.0
    test = (bias + noise) / (1 - degrees_of_freedom(spectrum, kappa, 2) / examples)
    shrink = ridge / kappa if kappa else 1 - len(spectrum) / examples
    return Errors(kappa, bias, test, test * shrink**2)


def shrunk_overlap(spectrum: Numbers, target: Numbers, kappa: float) -> float:
    """⟨w*, Σ E ŵ⟩, of the mean estimator Σ(Σ + κ)⁻¹ w*: from 0 to ⟨w*, Σ w*⟩, which it is at κ = 0."""
    return float((spectrum**2 / (spectrum + kappa) * target**2).sum())


def power_laws(count: int, decay: float, source: float) -> tuple[Numbers, Numbers]:
    """Eigenvalues i⁻ᵃ and coefficients w with s w² = i⁻ᵇ, for i = 1 … ``count``, with a = ``decay``, b = ``source``."""
    places = np.arange(1, count + 1, dtype=np.float64)
    return places**-decay, np.sqrt(places ** (decay - source))


def error_exponent(decay: float, source: float) -> float:
    """How fast the noise-free ridgeless test error falls with n: b - 1, and no faster than 2a.

    κ falls as n⁻ᵃ, since about n eigenvalues lie above it. What lies beyond them is missed, which sums to n⁻⁽ᵇ⁻¹⁾; of
    what lies before them κ² Σ i²ᵃ⁻ᵇ is missed, which is the same where the sum grows, and n⁻²ᵃ where it converges.
    """
    return min(source - 1, 2 * decay)


def slope(places: Sequence[float] | Numbers, values: Sequence[float] | Numbers) -> float:
    """The exponent of a power law: the least-squares slope of log value on log place."""
    found = np.polyfit(np.log(np.asarray(places)), np.log(np.asarray(values)), 1)
    return float(found[0])
