"""Random problems, and the slow obvious twins of what solves them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

KINDS = ("real", "signs", "classes")


def problem(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points and targets of random size: n from 1 to 120, d from 1 to 30, scales over six decades."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 121)), int(rng.integers(1, 31))
    points = rng.normal(size=(n, d)) * 10 ** rng.uniform(-3, 3)
    kind = KINDS[seed % 3]
    if kind == "signs":
        return points, rng.choice([-1.0, 1.0], n)
    if kind == "classes":
        return points, rng.integers(0, 10, n).astype(float)
    return points, rng.normal(size=n) * 10 ** rng.uniform(-3, 3)


def exact_solution(projections: NDArray, thresholds: NDArray, targets: NDArray) -> list[Fraction]:
    """``A w = y`` by forward substitution in fractions, row by row, nothing rounded."""
    z, b, y = ([Fraction(float(value)) for value in column] for column in (projections, thresholds, targets))
    solution: list[Fraction] = []
    for i in range(len(z)):
        done = sum((w * max(z[i] - b[j], Fraction(0)) for j, w in enumerate(solution)), Fraction(0))
        solution.append((y[i] - done) / (z[i] - b[i]))
    return solution


def exact_value(place: float, thresholds: NDArray, weights: NDArray) -> Fraction:
    """``Σ w_j max(z - b_j, 0)`` in fractions, for weights as they are stored."""
    z = Fraction(float(place))
    pairs = zip(thresholds, weights, strict=True)
    return sum((Fraction(float(w)) * max(z - Fraction(float(b)), Fraction(0)) for b, w in pairs), Fraction(0))
