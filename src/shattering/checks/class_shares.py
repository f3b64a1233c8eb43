"""How the classes are shared out: between the splits, and in the accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shattering.core.statistics import permutation_p, proportion_interval
from shattering.core.streams import Stream
from shattering.data.dataset import Splits

EXPECTED = 5.0
"""With fewer expected examples in a cell, p comes from permutations."""

MOST_LABELS = 10_000_000
"""Labels that all permutations together may deal out."""

PERMUTATIONS = (199, 1999)
_WORDS = 1 << 20


@dataclass(frozen=True)
class LabelShift:
    """Whether classes have the same shares in both splits.

    Args:
        distance: half the sum of absolute differences of shares, in [0, 1].
        p: of Pearson's chi-square test; none where there is only one class.
        how: where p comes from.
    """

    distance: float
    p: float | None
    how: str


@dataclass(frozen=True)
class Balanced:
    """Accuracy with all classes counted alike.

    Args:
        value, low, high: the mean over classes of their accuracies, with its 95% interval.
        classes: how many have a tested example.
        worst: the class with the lowest accuracy, the first of several.
        worst_accuracy, worst_count: its accuracy, and its examples.
    """

    value: float
    low: float
    high: float
    classes: int
    worst: int
    worst_accuracy: float
    worst_count: int


def label_shift(splits: Splits) -> LabelShift:
    """Pearson's chi-square over the table of splits and classes.

    Where every expected count is at least 5, p is that of the chi-square distribution; else labels are dealt out anew
    between the splits, 199 to 1,999 times (stream ``label-shift``), and p = (b + 1)/(m + 1).
    """
    train, test = splits.train.labels, splits.test.labels
    classes = splits.train.num_classes
    counts = np.stack([np.bincount(labels, minlength=classes) for labels in (train, test)]).astype(np.float64)
    counts = counts[:, counts.sum(axis=0) > 0]
    shares = counts / counts.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    if counts.shape[1] < 2:
        return LabelShift(distance, None, "there is one class")
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    observed = float(((counts - expected) ** 2 / expected).sum())
    if expected.min() >= EXPECTED:
        from scipy.special import chdtrc

        p = max(float(chdtrc(counts.shape[1] - 1, observed)), 1e-300)
        return LabelShift(distance, p, "p from the chi-square distribution")
    pooled = np.concatenate([train, test])
    permutations = max(PERMUTATIONS[0], min(PERMUTATIONS[1], MOST_LABELS // len(pooled)))
    statistics = _dealt_anew(pooled, len(test), permutations, expected)
    # The same table gives the same sum up to rounding, and must count as a tie.
    p = permutation_p(observed * (1 - 1e-9), statistics).p
    return LabelShift(distance, p, f"p from {permutations:,} random permutations, since some classes are small")


def _dealt_anew(
    pooled: NDArray[np.int64], tested: int, permutations: int, expected: NDArray[np.float64]
) -> list[float]:
    """The statistic for labels dealt out at random between the splits."""
    total = np.bincount(pooled)
    there = np.flatnonzero(total)
    stream, at_once = Stream(0, "label-shift"), max(1, _WORDS // len(pooled))
    found: list[float] = []
    for first in range(0, permutations, at_once):
        numbers = np.arange(first, min(permutations, first + at_once))
        drawn = pooled[stream.permutations(numbers, len(pooled))[:, :tested]]
        dealt = np.stack([(drawn == label).sum(axis=1) for label in there], axis=1)  # [permutations, classes]
        tables = np.stack([total[there] - dealt, dealt], axis=1)
        found += ((tables - expected) ** 2 / expected).sum(axis=(1, 2)).tolist()
    return found


def balanced_accuracy(hits: NDArray[np.float64], labels: NDArray[np.int64]) -> Balanced:
    """The mean over classes of the accuracy within each.

    The interval recovers variances from the classes' exact intervals: the lower end lies √Σ(pᵢ - lᵢ)²/k below the mean
    over k classes, the upper one √Σ(uᵢ - pᵢ)²/k above (Donner & Zou 2012).

    Args:
        hits: ``[n]``, 1 where an example is predicted right, 0 where wrong, NaN where it was not tested; at least one
            was.
        labels: ``[n]`` classes.
    """
    found = []
    for label in np.unique(labels[np.isfinite(hits)]):
        own = hits[(labels == label) & np.isfinite(hits)]
        found.append((int(label), len(own), *proportion_interval(int(own.sum()), len(own))))
    value = math.fsum(p for _, _, p, _, _ in found) / len(found)
    below = math.sqrt(math.fsum((p - low) ** 2 for _, _, p, low, _ in found)) / len(found)
    above = math.sqrt(math.fsum((high - p) ** 2 for _, _, p, _, high in found)) / len(found)
    worst = min(found, key=lambda each: each[2])
    return Balanced(value, max(0.0, value - below), min(1.0, value + above), len(found), worst[0], worst[2], worst[1])
