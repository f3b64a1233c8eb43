"""Lemma 1 of Zhang et al. (2017): the triangular matrix of ReLU differences, its eigenvalues and condition."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.expressivity.exact import Floats, hinge_weights


def relu_matrix(projections: Floats, thresholds: Floats) -> Floats:
    """``A_ij = max(z_i - b_j, 0)`` for interleaving sequences ``b_1 < z_1 < b_2 < z_2 < … < b_n < z_n``.

    Lower triangular with a positive diagonal, hence of full rank. Source: Zhang et al. (2017), Lemma 1. It needs n²
    numbers; `condition`, `eigenvalues` and `solve` work without it.

    Args:
        projections: z, increasing, ``[n]``.
        thresholds: b, increasing, ``[n]``.

    Raises:
        DataError: ``memorise-not-interleaving`` where the sequences do not interleave.
    """
    require_interleaving(projections, thresholds)
    matrix: Floats = np.maximum(projections[:, None] - thresholds[None, :], 0.0)
    return matrix


def eigenvalues(projections: Floats, thresholds: Floats) -> Floats:
    """The eigenvalues of `relu_matrix`: its diagonal, ``z_i - b_i``, as of any triangular matrix; all positive.

    Their least is the smallest eigenvalue of Lemma 1. It is not the smallest singular value: how far rounding can be
    magnified is told by `condition`.
    """
    require_interleaving(projections, thresholds)
    return projections - thresholds


def condition(projections: Floats, thresholds: Floats) -> float:
    """Condition number of `relu_matrix` in the maximum norm, ``‖A‖ ‖A⁻¹‖``; at least 1. In closed form, O(n).

    ``A`` has non-negative entries, so ``‖A‖`` is the sum of its last row. Of the solution of ``A w = y``, the running
    sums of ``w`` are slopes ``s_j`` of a broken line, with
    ``s_j = (y_j - y_{j-1}) / h_j - r_j s_{j-1}``, ``h_j = z_j - b_j``, ``r_j = (b_j - z_{j-1}) / h_j``.
    In these recurrences no two terms of unlike sign meet at one ``y_i``, so absolute row sums of ``A⁻¹`` follow a
    recurrence too: with ``T_j = 2 / h_j + r_j T_{j-1}``, ``T_1 = 1 / h_1``, row j sums to
    ``2 / h_j + (1 + r_j) T_{j-1}``, and row 1 to ``T_1``.
    """
    require_interleaving(projections, thresholds)
    steps = projections - thresholds
    ratios = np.concatenate([[0.0], (thresholds[1:] - projections[:-1]) / steps[1:]])
    carried = largest = 1.0 / float(steps[0])
    for step, ratio in zip(steps[1:].tolist(), ratios[1:].tolist(), strict=True):
        largest = max(largest, 2.0 / step + (1.0 + ratio) * carried)
        carried = 2.0 / step + ratio * carried
    return float((projections[-1] - thresholds).sum()) * largest


def solve(projections: Floats, thresholds: Floats, targets: NDArray[np.floating]) -> Floats:
    """Solves ``A w = y`` by forward substitution with exact sums, each weight rounded once; ``[n]`` or ``[n, k]``.

    The residual is at most half a unit in the last place of ``w_i`` times ``z_i - b_i``, whatever n and the condition.
    Time O(n k); n² operations and their rounding are saved because all rows left of a point are one straight line.

    Raises:
        DataError: ``memorise-not-interleaving``, or ``memorise-overflow`` where a weight exceeds float64.
    """
    require_interleaving(projections, thresholds)
    columns = np.asarray(targets, dtype=np.float64).reshape(len(projections), -1)
    try:
        solved = [hinge_weights(projections, thresholds, column) for column in columns.T]
    except OverflowError:
        raise DataError(
            "memorise-overflow",
            "The targets are so large, or the points so close together, that a weight exceeds the range of float64; "
            "scale the targets down.",
        ) from None
    weights: Floats = np.stack(solved, axis=1).reshape(np.shape(targets))
    return weights


def require_interleaving(projections: Floats, thresholds: Floats) -> None:
    """Refuses sequences that are not ``b_1 < z_1 < b_2 < … < b_n < z_n``, naming the first place."""
    both = np.stack([thresholds, projections], axis=1).ravel() if len(projections) == len(thresholds) else np.zeros(2)
    wrong = np.flatnonzero(~(np.diff(both) > 0))
    if len(wrong):
        raise DataError(
            "memorise-not-interleaving",
            f"Thresholds and projections do not interleave at position {int(wrong[0]) // 2}; give as many of each, "
            "with b_1 < z_1 < b_2 < z_2 and so on.",
        )
