"""Whether a quantity rises with a level, tested by permutation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shattering.core.statistics import PermutationTest, permutation_p
from shattering.core.streams import Stream

PERMUTATIONS = 999


def rising_trend(levels: Sequence[float], values: Sequence[float]) -> tuple[float, PermutationTest]:
    """Spearman's rank correlation of values with levels, with its one-sided permutation test.

    The permutations are those of ``Stream(0, "trend")``, so the p-value is the same every time.

    Args:
        levels: at least two distinct ones.
        values: one per level given, repeated levels for repeated runs; at least two distinct ones.

    Returns:
        The correlation, in [-1, 1], and the test; its smallest attainable p is 0.001.
    """
    ranks, scores = _ranks(levels), _ranks(values)
    observed = float(np.corrcoef(ranks, scores)[0, 1])
    orders = Stream(0, "trend").permutations(np.arange(PERMUTATIONS), len(scores))
    centred = ranks - ranks.mean()
    shuffled = scores[orders] - scores.mean()
    permuted = shuffled @ centred / (len(scores) * ranks.std() * scores.std())
    # Ties with the observed value must count; sums in another order differ in the last bits.
    return observed, permutation_p(observed, [float(value) for value in np.round(permuted + 1e-12, 12)])


def _ranks(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Ranks with ties averaged."""
    array = np.asarray(values, dtype=np.float64)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2.0)[inverse].astype(np.float64)
