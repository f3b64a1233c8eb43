"""What the smallest positive eigenvalue of the sample covariance says of gradient descent on least squares.

Kuzborskij, Szepesvári, Rivasplata, Rannen-Triki & Pascanu (2021), "On the role of optimization in double descent: a
least squares study".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

TRUNCATED_VARIANCE = 1 - 2 * math.exp(-0.5) / math.sqrt(2 * math.pi) / math.erf(1 / math.sqrt(2))
"""Variance of a standard normal number given that it lies in [-1, 1]: 0.291."""

NULL = 1e-10
"""Eigenvalues below this part of the largest one count as zero."""


def smallest_positive(values: Matrix) -> float:
    """The smallest eigenvalue that is not zero, from ascending eigenvalues of a sample covariance."""
    return float(values[values > NULL * values[-1]][0])


def edge(ratio: float) -> float:
    """Bai and Yin's limit of the smallest positive eigenvalue for unit variance, (1 - √(d/n))²; 0 at d = n.

    Args:
        ratio: d/n, positive.
    """
    return (1 - math.sqrt(ratio)) ** 2


def descended(
    covariance: Matrix, pull: Matrix, start: Matrix, rate: float, times: Sequence[int]
) -> tuple[Matrix, Matrix]:
    """Weights after T full gradient steps on (1/2n) ‖Xw - y‖², in closed form, and the eigenvalues of the covariance.

    With Σ̂ = XᵀX/n and b = Xᵀy/n, along an eigenvector with eigenvalue l the weight is
    (1 - αl)ᵀ w₀ + (1 - (1 - αl)ᵀ) b / l, and w₀ where l is zero.

    Args:
        covariance: Σ̂, ``[d, d]``.
        pull: b, ``[d]``.
        start: w₀, ``[d]``.
        rate: step size α, with αl below 2.
        times: the T asked for, each at least 0.

    Returns:
        Weights ``[times, d]`` and eigenvalues ``[d]``, ascending.
    """
    values, vectors = np.linalg.eigh(covariance)
    positive = values > NULL * values[-1]
    counts = np.asarray(times, dtype=np.float64)[:, None]
    left = np.where(positive, (1 - rate * values) ** counts, 1.0)
    solved = np.where(positive, (vectors.T @ pull) / np.where(positive, values, 1.0), 0.0)
    return (left * (vectors.T @ start) + (1 - left) * solved) @ vectors.T, values


def excess_bound(
    values: Matrix, kept: float, *, rate: float, steps: int, size: float, start: float, noise: float, examples: int
) -> float:
    """The paper's bound for one draw of the inputs; its mean over draws bounds the expected excess risk.

    (1 - αl)²ᵀ (‖w*‖² + ν²(2 + d)) + ½ ‖w*‖² outside the inputs' span + 4 σ² / (n l²).

    Args:
        values: eigenvalues of the sample covariance, ascending, ``[d]``.
        kept: squared length of w* outside the span of the inputs, in [0, size].
        rate, steps: α and T.
        size: ‖w*‖².
        start: ν², variance of each weight at the start.
        noise: σ².
        examples: n.
    """
    low = smallest_positive(values)
    shrunk = (1 - rate * low) ** (2.0 * steps)
    return float(shrunk * (size + start * (2 + len(values))) + kept / 2 + 4 * noise / (examples * low**2))
