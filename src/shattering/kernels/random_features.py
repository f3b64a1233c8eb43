"""Random features that nobody trains, and least squares on them without normal equations where those would fail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from shattering.core.streams import NORMAL_ONE

if TYPE_CHECKING:
    from shattering.core.streams import Stream

Matrix = NDArray[np.float64]
Kind = Literal["fourier", "relu"]

WIDE = 2
"""From so many features an example on, or a ridge, normal equations are safe; nearer to N = n they are never formed."""


@dataclass(frozen=True, eq=False)
class RandomFeatures:
    """Features of a draw; those of fewer are the first of those of more.

    ``fourier`` (Rahimi & Recht 2007): feature 2j is ``cos⟨v_j, x⟩`` and 2j + 1 ``sin⟨v_j, x⟩``, v ~ N(0, scale² I).
    ``relu``: ``max(⟨v_j, x⟩, 0)``, v uniform on the unit sphere.

    Args:
        kind: of the features.
        directions: v, one a column: ``[d, N/2]``, rounded up, or ``[d, N]``.
    """

    kind: Kind
    directions: Matrix

    def of(self, rows: Matrix) -> Matrix:
        """The features of rows ``[n, d]``: ``[n, N]``, or one more for an odd N of ``fourier``."""
        seen = rows @ self.directions
        if self.kind == "relu":
            return np.maximum(seen, 0.0, out=seen)
        both = np.empty((len(rows), 2 * seen.shape[1]))
        np.cos(seen, out=both[:, ::2])
        np.sin(seen, out=both[:, 1::2])
        return both

    def mean_square(self, rows: Matrix) -> float:
        """The expected square of a feature over directions and these rows: ½, or ``mean ‖x‖² / 2d``."""
        if self.kind == "fourier":
            return 0.5
        return float((rows * rows).sum(axis=1).mean() / (2 * rows.shape[1]))


def draw_features(stream: Stream, kind: Kind, inputs: int, count: int, scale: float = 1.0) -> RandomFeatures:
    """Draws ``count`` features of ``inputs`` numbers.

    Args:
        stream: index j gives the normal numbers of direction j.
        kind: of the features.
        inputs: numbers of an example, d.
        count: features, N.
        scale: standard deviation of the frequencies of ``fourier``; ``relu`` has none.
    """
    wanted = -(-count // 2) if kind == "fourier" else count
    normals = stream.normals(np.arange(wanted), inputs).T / NORMAL_ONE
    if kind == "relu":
        return RandomFeatures(kind, normals / np.linalg.norm(normals, axis=0))
    return RandomFeatures(kind, normals * scale)


@dataclass(frozen=True, eq=False)
class Solution:
    """Weights of a linear model, and how well they are determined.

    Args:
        weights: ``[N, k]``.
        smallest: the smallest singular value that was not cut off; with a ridge, √(σ² + λ).
        condition: the largest over the smallest.
        rank: singular values that were kept; with a ridge, min(n, N).
    """

    weights: Matrix
    smallest: float
    condition: float
    rank: int


def solve(features: Matrix, targets: Matrix, ridge: float = 0.0) -> Solution:
    """``argmin ‖ΦW - Y‖² + λ‖W‖²``, without ridge the solution of least norm: ``W = Φ⁺Y``; float64 throughout.

    Without ridge by QR of the longer side, and by an SVD where the smallest singular value is below
    ``rcond = max(n, N) · ε`` of the largest: what lies below it is cut off. Normal equations of the shorter side are
    used with a ridge, or where N > 2n, which keeps their condition number far from 1/ε.

    Args:
        features: Φ ``[n, N]``.
        targets: Y ``[n, k]``.
        ridge: λ, at least 0; it is not multiplied by n.

    Cost: ``O(n N min(n, N))``.
    """
    count, width = features.shape
    if ridge > 0 or width > WIDE * count:
        found = _normal_equations(features, targets, ridge)
        if found is not None:
            return found
    return _orthogonal(features, targets)


RIDGES: tuple[float, ...] = tuple(10.0 ** (step / 4) for step in range(-12, 9))
"""Among which the leave-one-out error chooses: 0.001 … 100, four to a decade."""


def leave_one_out_ridge(features: Matrix, targets: Matrix) -> float:
    """The ridge of `RIDGES` with the least leave-one-out error, exact and by one eigendecomposition.

    ``error(λ) = Σᵢ ‖yᵢ - ŷᵢ‖² / (1 - hᵢᵢ)²``, ŷ the fit to all examples and h its hat matrix ``Φ(ΦᵀΦ + λ)⁻¹Φᵀ``.

    Args:
        features: Φ ``[n, N]``.
        targets: Y ``[n, k]``.
    """
    from scipy.linalg import eigh

    count, width = features.shape
    if width < count:
        values, vectors = eigh(features.T @ features)
        kept = values > values[-1] * count * np.finfo(np.float64).eps
        values, left = values[kept], (features @ vectors[:, kept]) / np.sqrt(values[kept])
    else:
        values, left = eigh(features @ features.T)
        values = np.maximum(values, 0.0)
    turned, squares = left.T @ targets, left * left
    errors = []
    for ridge in RIDGES:
        shrunk = values / (values + ridge)
        rest = targets - left @ (shrunk[:, None] * turned)
        errors.append(float((rest * rest / (1 - squares @ shrunk)[:, None] ** 2).sum()))
    return RIDGES[int(np.argmin(errors))]


def _normal_equations(features: Matrix, targets: Matrix, ridge: float) -> Solution | None:
    from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigvalsh

    count, width = features.shape
    wide = width > count
    gram = features @ features.T if wide else features.T @ features
    gram.flat[:: len(gram) + 1] += ridge
    ends = eigvalsh(gram)
    if ends[0] <= math.sqrt(np.finfo(np.float64).eps) * ends[-1] * (ridge == 0):
        return None
    try:
        factor = cho_factor(gram)
    except LinAlgError:  # a ridge that is nothing beside the largest eigenvalue
        return None
    if wide:
        dual = cho_solve(factor, targets)
        dual += cho_solve(factor, targets - gram @ dual)
        weights = features.T @ dual
    else:
        moments = features.T @ targets
        weights = cho_solve(factor, moments)
        weights += cho_solve(factor, moments - gram @ weights)
    return Solution(weights, math.sqrt(ends[0]), math.sqrt(ends[-1] / ends[0]), min(count, width))


def _orthogonal(features: Matrix, targets: Matrix) -> Solution:
    from scipy.linalg import qr, solve_triangular, svd, svdvals

    count, width = features.shape
    cut = max(count, width) * np.finfo(np.float64).eps
    tall = count >= width
    basis, triangle = qr(features if tall else features.T, mode="economic", check_finite=False)
    values = svdvals(triangle, check_finite=False)
    rank = int((values > cut * values[0]).sum()) if values[0] > 0 else 0
    if rank == 0:
        return Solution(np.zeros((width, targets.shape[1])), 0.0, math.inf, 0)
    if rank == len(values) and tall:
        weights = solve_triangular(triangle, basis.T @ targets)
    elif rank == len(values):
        weights = basis @ solve_triangular(triangle, targets, trans="T")
    else:
        left, values, right = svd(triangle)
        left, values, right = left[:, :rank], values[:rank], right[:rank]
        if tall:
            weights = right.T @ ((left.T @ (basis.T @ targets)) / values[:, None])
        else:
            weights = basis @ (left @ ((right @ targets) / values[:, None]))
    return Solution(weights, float(values[rank - 1]), float(values[0] / values[rank - 1]), rank)
