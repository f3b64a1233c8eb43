"""How much more often one kind of training is right than another, with seeds and test examples both left to chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import ShatteringError
from shattering.core.statistics import CONFIDENCE, FEWEST_RUNS


@dataclass(frozen=True)
class PairedDifference:
    """A difference of accuracies.

    Args:
        value: in [-1, 1].
        low, high: its 95% interval; none with fewer than three seeds or two test examples.
        p: two-sided, of no difference, in (0, 1]; none where there is no interval.
        seeds: pairs of runs.
        examples: test examples.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    seeds: int
    examples: int


def paired_difference(right: NDArray[Any], base: NDArray[Any]) -> PairedDifference:
    """The mean difference, with an interval that other seeds *and* other test examples would respect.

    With d_kj the difference in being right of seed k on test example j, its mean d has variance

        MS_seeds/(KN) + MS_examples/(KN) - MS_rest/(KN)

    by the two-way analysis of variance with seeds and examples at random (mean squares of K seeds, N examples and what
    is left; Searle, Casella & McCulloch 1992, Chapter 4), never taken to be smaller than either of the first two parts
    alone. Student's interval has Satterthwaite's (1946) degrees of freedom of their sum.

    Args:
        right: ``[K, N]``, whether each seed's run was right on each test example.
        base: the same of the runs compared with, paired by seed.

    Raises:
        ShatteringError: ``difference-unpaired`` where shapes differ or are empty.
    """
    if right.shape != base.shape or right.ndim != 2 or 0 in right.shape:
        raise ShatteringError(
            "difference-unpaired",
            f"Accuracies of shapes {right.shape} and {base.shape} cannot be paired by seed and example; give two "
            "tables of one shape.",
        )
    differences = right.astype(np.float64) - base.astype(np.float64)
    seeds, examples = differences.shape
    mean = float(differences.mean())
    if seeds < FEWEST_RUNS or examples < 2:
        return PairedDifference(mean, None, None, None, seeds, examples)
    by_seed, by_example = differences.mean(axis=1), differences.mean(axis=0)
    from_seeds = float(by_seed.var(ddof=1)) / seeds
    from_examples = float(by_example.var(ddof=1)) / examples
    rest = differences - by_seed[:, None] - by_example[None, :] + mean
    left = float((rest**2).sum()) / ((seeds - 1) * (examples - 1)) / (seeds * examples)
    variance = max(from_seeds + from_examples - left, from_seeds, from_examples)
    if variance <= 0:
        return PairedDifference(mean, mean, mean, 1.0 if mean == 0 else 2.0**-seeds, seeds, examples)
    from scipy.special import stdtr, stdtrit

    freedom = (from_seeds + from_examples) ** 2 / (from_seeds**2 / (seeds - 1) + from_examples**2 / (examples - 1))
    error = math.sqrt(variance)
    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(mean) / error))
    return PairedDifference(mean, mean - half, mean + half, min(1.0, max(p, 1e-12)), seeds, examples)
