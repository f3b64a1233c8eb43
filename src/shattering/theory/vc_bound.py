"""The classical bound on risk by training error and VC dimension, in the form of Cherkassky and Mulier."""

from __future__ import annotations

import math

from shattering.core.errors import SpecError


def vc_bound(error: float, dimension: float, examples: int, *, practical: bool = True) -> float:
    """``R ≤ R_emp + (ε/2)(1 + √(1 + 4 R_emp/ε))``, ``ε = (a₁/n)[h(ln(a₂ n/h) + 1) - ln(η/4)]``, ``η = min(4/√n, 1)``.

    With no training error the bound is ε.

    Args:
        error: R_emp, the share of training examples misclassified, from 0 to 1.
        dimension: h, the VC dimension or an estimate of it, positive; above a₂ n it counts as a₂ n, where ε is largest.
        examples: n.
        practical: a₁ = a₂ = 1, as is usual in practice; else 4 and 2, as in the theory.

    Returns:
        A bound on the risk; above 1 it says nothing.

    Raises:
        SpecError: ``vc-wrong-argument`` for numbers outside these ranges.
    """
    if not (0 <= error <= 1 and dimension > 0 and examples >= 1):
        raise SpecError(
            "vc-wrong-argument",
            f"A training error of {error}, a dimension of {dimension} and {examples} examples have no bound; the first "
            "lies from 0 to 1, the others are positive.",
        )
    first, second = (1.0, 1.0) if practical else (4.0, 2.0)
    h = min(dimension, second * examples)
    confidence = min(4 / math.sqrt(examples), 1.0)
    epsilon = first / examples * (h * (math.log(second * examples / h) + 1) - math.log(confidence / 4))
    return error + epsilon / 2 * (1 + math.sqrt(1 + 4 * error / epsilon))


def norm_dimension(features: int, radius: float, norm: float) -> float:
    """``min(N, R²‖w‖²) + 1``: the dimension of linear functions of N features bounded by R with weights of this norm.

    Args:
        features: N.
        radius: R, the largest length of an example's features.
        norm: ‖w‖.
    """
    return min(float(features), (radius * norm) ** 2) + 1
