"""How unequally something is spread over many."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def gini(values: ArrayLike) -> float:
    """The Gini coefficient: Σᵢⱼ |gᵢ - gⱼ| / (2 n² mean(g)).

    Source: as used on loss sensitivities by Arpit et al. (2017).

    Args:
        values: ``[n]``, none below 0.

    Returns:
        From 0, where all are equal or all are 0, to (n - 1) / n, where one has everything.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count, total = len(ordered), float(ordered.sum())
    if total == 0:
        return 0.0
    # Sorted, the i-th value is the larger one of a pair i times and the smaller one n - 1 - i times.
    ranks = 2 * np.arange(1, count + 1) - count - 1
    return float(ranks @ ordered) / (count * total)
