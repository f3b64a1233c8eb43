"""The error of Fisher's linear discriminant by the pseudo-inverse, for two Gaussian classes in many dimensions.

Classes ``N(±μ, I_d)``, equally likely; n examples in all, half of each class; ``m = ‖μ‖² = δ²/4``, δ their distance.
"""

from __future__ import annotations

import math


def normal_tail(value: float) -> float:
    """Φ(-value), the share of a standard normal number beyond ``value``."""
    return 0.5 * math.erfc(value / math.sqrt(2))


def bayes_error(distance: float) -> float:
    """Φ(-δ/2), the smallest error any classifier has."""
    return normal_tail(distance / 2)


def limit_error(examples: int, features: int, distance: float) -> float:
    """The error as n and d grow with their ratio fixed, exact in that limit.

    With ``g = d/(n - 1)``, one dimension being lost to the mean: ``Φ(-m √(1 - g) / √(m + g))`` for g < 1 (Raudys), and
    ``Φ(-m √(g - 1) / √(g (m + g)))`` for g > 1, where the solution of least norm has
    ``⟨w, μ⟩ = mκ/(1 + (1 + m)κ)`` and ``‖w‖² = κ(1 + κ)/(1 + (1 + m)κ)``, ``κ = 1/(g - 1)``.

    Args:
        examples: n, at least 2.
        features: d, at least 1.
        distance: δ, between the two means, in standard deviations.

    Returns:
        From the Bayes error to ½, which is its value at g = 1.
    """
    ratio, m = features / (examples - 1), distance**2 / 4
    if ratio <= 1:
        return normal_tail(m * math.sqrt((1 - ratio) / (m + ratio)))
    return normal_tail(m * math.sqrt((ratio - 1) / (ratio * (m + ratio))))
