"""Ridge regression on isotropic Gaussian inputs: its risk exactly, its limit, and its best ridge.

Inputs ``x ~ N(0, I_d)``, ``y = ⟨x, β⟩ + N(0, σ²)``, estimator ``argmin ‖Xb - y‖² + λ‖b‖²``: λ is not multiplied by n.
Risks are expected squared errors on a new example, its own noise σ² included. Nakkiran, Venkat, Kakade & Ma (2020).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import SpecError


def risk_given_design(squares: NDArray[np.float64], ridge: float, signal: float, noise: float) -> NDArray[np.float64]:
    """The risk given the singular values γ of the design, expected over its singular vectors and the noise.

    ``R = σ² + Σᵢ [‖β‖² λ²/d + σ² γᵢ²] / (γᵢ² + λ)²``; at λ = 0 a direction that no example has costs ``‖β‖²/d``.

    Args:
        squares: γ² ``[…, d]``, filled up with zeros where n < d.
        ridge: λ, at least 0.
        signal: ‖β‖².
        noise: σ².

    Returns:
        ``[…]``: at least σ², and σ² + ‖β‖² as λ grows.

    Raises:
        SpecError: ``ridge-negative`` for a λ below 0.
    """
    if ridge < 0:
        raise SpecError("ridge-negative", f"A ridge of {ridge} has no risk here; give a number of at least 0.")
    each = signal / squares.shape[-1]
    if ridge == 0:
        seen = squares > squares.max(axis=-1, keepdims=True) * squares.shape[-1] * np.finfo(np.float64).eps
        terms = np.where(seen, noise / np.where(seen, squares, 1.0), each)
    else:
        terms = (each * ridge**2 + noise * squares) / (squares + ridge) ** 2
    found: NDArray[np.float64] = noise + terms.sum(axis=-1)
    return found


def optimal_ridge(dimension: int, signal: float, noise: float) -> float:
    """``λ = d σ² / ‖β‖²``, the best at every n, since it minimises each term of `risk_given_design` by itself."""
    return dimension * noise / signal


def limit_risk(ratio: float, ridge: float, signal: float, noise: float) -> float:
    """The risk as n and d grow with d/n fixed, by the law of Marchenko and Pastur.

    With ``m(ℓ) = ∫ 1/(s + ℓ)`` over the law's spectrum of ``XᵀX/n``, ``R = σ² + ‖β‖² ℓ² m₂ + σ² (d/n) (m - ℓ m₂)``,
    ``m₂ = -m′``. Without ridge it is σ²g/(1 - g) above σ² for g = d/n < 1, and ‖β‖²(1 - 1/g) + σ²/(g - 1) for g > 1.

    Args:
        ratio: d/n, positive.
        ridge: ℓ = λ/n, at least 0.
        signal: ‖β‖².
        noise: σ².

    Returns:
        At least σ²; infinite at d/n = 1 without ridge.
    """
    if ridge == 0:
        if ratio == 1:
            return math.inf
        if ratio < 1:
            return noise * (1 + ratio / (1 - ratio))
        return noise + signal * (1 - 1 / ratio) + noise / (ratio - 1)
    middle = 1 - ratio + ridge
    first = (math.sqrt(middle**2 + 4 * ratio * ridge) - middle) / (2 * ratio * ridge)
    second = (ratio * first**2 + first) / (2 * ratio * ridge * first + middle)
    return noise + signal * ridge**2 * second + noise * ratio * (first - ridge * second)


def projected(inputs: int, features: int, signal: float, noise: float) -> tuple[float, float]:
    """Signal and noise that a ridge regression on a random projection of the inputs sees.

    What the projection to d of p dimensions loses of the signal acts as noise:
    ``‖β‖² = (d/p) ‖θ‖²`` and ``σ² + (1 - d/p) ‖θ‖²``.

    Args:
        inputs: p.
        features: d, at most p.
        signal: ‖θ‖².
        noise: σ².

    Raises:
        SpecError: ``projection-too-wide`` where d > p.
    """
    if not 1 <= features <= inputs:
        raise SpecError(
            "projection-too-wide", f"{inputs} inputs have no projection to {features} features; take 1 to {inputs}."
        )
    share = features / inputs
    return share * signal, noise + (1 - share) * signal
