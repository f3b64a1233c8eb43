"""Early-stopped least squares as a sum of bias-variance curves, one for each feature.

Heckel & Yilmaz (2021), "Early stopping in deep networks: double descent and how to eliminate it", the linear model.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def excess_risk(
    steps: Sequence[int] | NDArray[np.integer],
    deviations: Sequence[float] | Numbers,
    coefficients: Sequence[float] | Numbers,
    rates: Sequence[float] | Numbers,
    variance_per_example: float,
) -> Numbers:
    """Excess risk after k steps of gradient descent from zero, for features with a diagonal covariance.

    Σᵢ sᵢ² tᵢ² (1 - ηᵢ sᵢ²)²ᵏ + (σ²/n) Σᵢ [1 - (1 - ηᵢ sᵢ²)ᵏ]²: a falling bias and a growing variance for each feature.
    It is exact as n/d → ∞, and neglects what features have to do with each other in a sample.

    Args:
        steps: numbers of steps k, at least 0, ``[places]``.
        deviations: standard deviation s of each feature, positive, ``[features]``.
        coefficients: t of each, ``[features]``.
        rates: step size η of each, with η s² in (0, 1], ``[features]``.
        variance_per_example: σ²/n, at least 0.

    Returns:
        ``[places]``, at least 0: Σ s² t² at step 0, d σ²/n in the limit.
    """
    spread, signal = np.square(deviations), np.square(coefficients)
    left = np.power(1 - np.asarray(rates) * spread, np.asarray(steps, dtype=np.float64)[:, None])  # [places, features]
    total: Numbers = (spread * signal * left**2 + variance_per_example * (1 - left) ** 2).sum(axis=1)
    return total


def matched_rates(
    rate: float,
    deviations: Sequence[float] | Numbers,
    coefficients: Sequence[float] | Numbers,
    variance_per_example: float,
) -> Numbers:
    """Step sizes for which every feature's curve has its minimum at the same step as the first feature's.

    Term i is smallest where (1 - ηᵢ sᵢ²)ᵏ = aᵢ = (σ²/n) / (sᵢ² tᵢ² + σ²/n).

    Args:
        rate: step size of the first feature, with η s² in (0, 1).
        deviations, coefficients: of the features, as in `excess_risk`.
        variance_per_example: σ²/n, above 0; without noise no curve has a minimum.

    Returns:
        ``[features]``, the first of them ``rate``.
    """
    spread, signal = np.square(deviations), np.square(coefficients)
    where = np.log(variance_per_example / (spread * signal + variance_per_example))
    step = where[0] / np.log1p(-rate * spread[0])
    rates: Numbers = -np.expm1(where / step) / spread
    return rates


def turning_points(values: Sequence[float] | Numbers) -> tuple[list[int], list[int]]:
    """Places of the local minima and maxima inside a curve, its ends left out; a flat stretch counts once."""
    numbers = np.asarray(values, dtype=np.float64)
    slopes = np.sign(np.diff(numbers))
    places = np.flatnonzero(slopes)
    minima, maxima = [], []
    for before, after in itertools.pairwise(places):
        if slopes[before] < 0 < slopes[after]:
            minima.append(int(before) + 1)
        elif slopes[after] < 0 < slopes[before]:
            maxima.append(int(before) + 1)
    return minima, maxima
