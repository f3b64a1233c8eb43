"""Piecewise linear sums in exact arithmetic: a float is an integer times a power of two, and integers are exact."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def as_integers(values: Floats) -> tuple[list[int], int]:
    """Integers and one exponent e with ``values == integers · 2^e``, exactly."""
    mantissas, exponents = np.frexp(values)
    whole = (mantissas * 2.0**53).astype(np.int64)
    lowest = int(exponents[whole != 0].min(initial=0)) if whole.any() else 0
    shifts = np.where(whole != 0, exponents - lowest, 0)
    return [int(m) << int(s) for m, s in zip(whole, shifts, strict=True)], lowest - 53


def as_float(integer: int, exponent: int) -> float:
    """``integer · 2^exponent``, rounded once; `OverflowError` where no float64 is that large."""
    return quotient(integer, 1, exponent)


def quotient(above: int, below: int, exponent: int) -> float:
    """``above / below · 2^exponent``, rounded once."""
    return (above << exponent) / below if exponent >= 0 else above / (below << -exponent)


class HingeSum:
    """``f(z) = Σ_j w_j max(z - b_j, 0)`` for increasing ``b_j``, exactly, hinge after hinge.

    To the right of all its hinges it is ``z Σ w_j - Σ w_j b_j``; the two sums are kept as integers.

    Args:
        exponent: of the integers that stand for places on the axis, ``b`` and ``z``.
    """

    def __init__(self, exponent: int) -> None:
        self.places = exponent
        self.weights = 0
        self.slope = 0
        self.offset = 0

    def add(self, weight: float, threshold: int) -> None:
        """One more hinge, to the right of the others."""
        if weight == 0:
            return
        above, below = weight.as_integer_ratio()
        exponent = 1 - below.bit_length()
        if exponent < self.weights:
            self.slope <<= self.weights - exponent
            self.offset <<= self.weights - exponent
            self.weights = exponent
        scaled = above << (exponent - self.weights)
        self.slope += scaled
        self.offset += scaled * threshold

    def at(self, place: int) -> tuple[int, int]:
        """The value at a place to the right of all hinges, as an integer and its exponent."""
        return place * self.slope - self.offset, self.weights + self.places


def hinge_weights(projections: Floats, thresholds: Floats, targets: Floats) -> Floats:
    """Weights with ``Σ_j w_j max(z_i - b_j, 0) = y_i``: forward substitution in which only each weight is rounded.

    ``w_i = (y_i - Σ_{j<i} w_j (z_i - b_j)) / (z_i - b_i)`` with the *rounded* earlier weights in an exact sum, so that
    each equation makes up for the roundings before it and errors do not grow with n. Time O(n).
    """
    count = len(projections)
    places, exponent = as_integers(np.concatenate([projections, thresholds]))
    wanted, height = as_integers(targets)
    total = HingeSum(exponent)
    weights = np.empty(count)
    for index in range(count):
        place, threshold = places[index], places[count + index]
        reached, at = total.at(place)
        common = min(height, at)
        missing = (wanted[index] << (height - common)) - (reached << (at - common))
        weights[index] = weight = quotient(missing, place - threshold, common - exponent)
        total.add(weight, threshold)
    return weights


def pieces(thresholds: Floats, weights: Floats) -> Iterator[tuple[float, float]]:
    """For each threshold the sum's value there and its slope to the right of it, each rounded once."""
    places, exponent = as_integers(thresholds)
    total = HingeSum(exponent)
    for place, weight in zip(places, weights.tolist(), strict=True):
        value = as_float(*total.at(place))
        total.add(weight, place)
        yield value, as_float(total.slope, total.weights)
