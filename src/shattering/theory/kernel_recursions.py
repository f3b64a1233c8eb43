"""Kernels of infinitely wide erf networks, layer by layer: that of their outputs at the start, and the tangent kernel.

Xiao, Pennington & Schoenholz (2020), "Disentangling trainability and generalization in deep neural networks". Weights
are N(0, σ_w²/fan-in), biases N(0, σ_b²).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def expected_product(kernel: Matrix) -> Matrix:
    """E erf(u) erf(v) for normal (u, v) with covariances ``kernel``, ``[m, m]``: (2/π) asin(2k/√((1+2q)(1+2q')))."""
    scale = np.sqrt(1 + 2 * np.diag(kernel))
    found: Matrix = 2 / math.pi * np.arcsin(np.clip(2 * kernel / np.outer(scale, scale), -1, 1))
    return found


def expected_slopes(kernel: Matrix) -> Matrix:
    """E erf'(u) erf'(v): (4/π) / √((1+2q)(1+2q') - 4k²)."""
    scale = 1 + 2 * np.diag(kernel)
    found: Matrix = 4 / math.pi / np.sqrt(np.outer(scale, scale) - 4 * kernel**2)
    return found


def kernels(inputs: Matrix, depth: int, weight_variance: float, bias_variance: float) -> tuple[Matrix, Matrix]:
    """Covariance K of the outputs at random weights, and tangent kernel Θ, of a network with ``depth`` erf layers.

    K₁ = σ_w² X Xᵀ/d + σ_b² = Θ₁, then K ← σ_w² E erf erf + σ_b² and Θ ← K + σ_w² E erf' erf' ∘ Θ for each layer.

    Args:
        inputs: ``[m, d]``.
        depth: number of hidden layers, at least 0.
        weight_variance: σ_w², positive.
        bias_variance: σ_b², at least 0.
    """
    kernel = weight_variance * inputs @ inputs.T / inputs.shape[1] + bias_variance
    tangent = kernel.copy()
    for _ in range(depth):
        slopes = weight_variance * expected_slopes(kernel)
        kernel = weight_variance * expected_product(kernel) + bias_variance
        tangent = kernel + slopes * tangent
    return kernel, tangent


def fixed_variance(weight_variance: float, bias_variance: float) -> float:
    """q*, the variance that a layer's units tend to with depth: q = σ_w² E erf(√q z)² + σ_b²."""
    variance = 1.0
    for _ in range(100_000):
        new = weight_variance * 2 / math.pi * math.asin(2 * variance / (1 + 2 * variance)) + bias_variance
        if abs(new - variance) < 1e-14 * max(variance, 1e-300):
            break
        variance = new
    return variance


def slope_factor(weight_variance: float, bias_variance: float) -> float:
    """χ = σ_w² E erf'(√q* z)²: below 1 differences between inputs die out with depth (order), above 1 they grow."""
    variance = fixed_variance(weight_variance, bias_variance)
    return weight_variance * 4 / math.pi / math.sqrt(1 + 4 * variance)


def critical_weight_variance(bias_variance: float) -> float:
    """The σ_w² at which χ = 1, by bisection between π/4, where erf is linear, and 50."""
    low, high = math.pi / 4, 50.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if slope_factor(middle, bias_variance) < 1 else (low, middle)
    return (low + high) / 2


def condition_number(kernel: Matrix) -> float:
    """Largest eigenvalue over the smallest, at least 1; infinite where the smallest is not positive in float64."""
    values = np.linalg.eigvalsh(kernel)
    return float(values[-1] / values[0]) if values[0] > 0 else math.inf


def off_diagonal(kernel: Matrix) -> float:
    """Mean element off the diagonal over the mean on it, from -1 to 1 for a covariance with an equal diagonal."""
    count = len(kernel)
    trace = float(np.trace(kernel))
    return (float(kernel.sum()) - trace) / (count - 1) / trace


def mean_predictor(kernel: Matrix, labels: Matrix, train: int) -> Matrix:
    """What a network trained to convergence predicts on average: Θ(x, X) Θ(X, X)⁻¹ Y.

    Args:
        kernel: Θ of the training inputs and then the others, ``[train + tested, train + tested]``.
        labels: Y, ``[train]`` or ``[train, outputs]``.
        train: how many are training inputs.
    """
    found: Matrix = kernel[train:, :train] @ np.linalg.solve(kernel[:train, :train], labels)
    return found


def critical_condition(examples: int) -> float:
    """The condition number of Θ at χ = 1 in the limit of depth: (m + 2)/2, as its elements' ratio tends to 1/3."""
    return (examples + 2) / 2
