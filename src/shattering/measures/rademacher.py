"""Empirical Rademacher complexity: how well a class of functions can follow random signs on a sample."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from shattering.core.errors import SpecError
from shattering.core.record import Record, Status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def sign_correlation(record: Record) -> float | None:
    """How far a run on random signs followed them: (1/n) Σ σᵢ·sign h(xᵢ) = 2·a - 1 for the training accuracy a.

    For one draw of the signs, a lower bound of sup_h over what the network can express, since training need not find
    the best h; where it is 1 it is the supremum itself. With more than two outputs a prediction of any other class
    counts as wrong for either sign, which can only lower it.

    Args:
        record: a run with the corruption ``random_signs``.

    Returns:
        In [-1, 1]: 1 where every sign is followed, about 0 for a function that knows nothing of them; none for a run
        that did not end or had other labels.
    """
    ended = record.status in (Status.DONE, Status.NOT_FITTED)
    if record.spec.corruption.name != "random_signs" or not ended or "train_accuracy" not in record.last:
        return None
    return 2 * float(record.last["train_accuracy"]) - 1


def least_squares_correlation(features: int, examples: int) -> float:
    """What least squares with independent Gaussian features can be expected to follow of random signs.

    The fit is Pσ, P the projection on the features' span. With P_ii close to its mean r = d/n, (Pσ)ᵢ is about
    r σᵢ + √(r (1 - r)) z with z standard normal, which has the sign σᵢ with probability Φ(√(r / (1 - r))).

    Args:
        features: d, at least 1.
        examples: n, at least 1.

    Returns:
        2 Φ(√(d / (n - d))) - 1, in (0, 1]: 1 where d ≥ n.
    """
    _require(features, examples)
    if features >= examples:
        return 1.0
    return math.erf(math.sqrt(features / (examples - features) / 2))


def separable_probability(features: int, examples: int) -> float:
    """Probability that a plane through the origin realises a random labelling of points in general position.

    2^{1-n} Σ_{k<d} C(n-1, k), the share of the 2ⁿ labellings that are linearly separable (Cover 1965, Theorem 1).

    Args:
        features: d, at least 1.
        examples: n, at least 1.

    Returns:
        In (0, 1]: 1 where d ≥ n, one half at n = 2d.
    """
    _require(features, examples)
    dichotomies = sum(math.comb(examples - 1, k) for k in range(min(features, examples)))
    return float(Fraction(dichotomies, 2 ** (examples - 1)))


def bounded_norm_complexity(inputs: NDArray[np.float64], signs: NDArray[np.float64], bound: float = 1.0) -> float:
    """Rademacher complexity of the linear functions x ↦ ⟨w, x⟩ with ‖w‖ ≤ B: (B/n) E_σ ‖Σ σᵢ xᵢ‖.

    The supremum over w is taken at w = B Σσᵢxᵢ / ‖Σσᵢxᵢ‖ (Cauchy-Schwarz). By Jensen's inequality it is at most
    (B/n) √(Σ‖xᵢ‖²).

    Args:
        inputs: ``[n, d]``.
        signs: ``[draws, n]`` of -1 and 1, over which the mean is taken; all 2ⁿ of them give the exact value.
        bound: B, at least 0.

    Returns:
        At least 0.
    """
    import numpy as np

    return float(bound * np.linalg.norm(signs @ inputs, axis=1).mean() / len(inputs))


def _require(features: int, examples: int) -> None:
    if features < 1 or examples < 1:
        raise SpecError(
            "rademacher-sizes", f"{features} features and {examples} examples make no class; give at least 1 of each."
        )
