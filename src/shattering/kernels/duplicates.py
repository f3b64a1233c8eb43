"""Points that occur more than once: with different labels nothing passes through them all."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError

NUMBERS_AT_ONCE = 2**16
"""So few that what is made of them on the way stays in a core's cache."""


def _chunks(inputs: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Index of the first of some rows, and these rows ``[rows, features]``."""
    flat = inputs.reshape(len(inputs), -1)
    height = max(1, NUMBERS_AT_ONCE // max(1, flat.shape[1]))
    return ((start, flat[start : start + height]) for start in range(0, len(flat), height))


def require_finite(inputs: NDArray[Any]) -> None:
    """Raises `DataError` ``kernel-not-finite`` where a feature is NaN or infinite, naming the first such example."""
    for start, rows in _chunks(inputs):
        finite = np.isfinite(rows)
        if not finite.all():
            row, feature = (int(x[0]) for x in np.nonzero(~finite))
            raise DataError(
                "kernel-not-finite",
                f"Feature {feature} of training example {start + row} is {rows[row, feature]}, and a kernel needs "
                "finite numbers; remove the example or repair it.",
            )


def first_of_each(inputs: NDArray[Any]) -> NDArray[np.int64]:
    """For each point the index of the first one that equals it in every feature: its own where there is none before.

    Args:
        inputs: float ``[n, …]``; 0 and -0 are equal.
    """
    first = np.arange(len(inputs))
    # Few points share even the sum of their bits with another, and only these are looked into.
    sums = np.zeros(len(inputs), np.uint64)
    for start, rows in _chunks(inputs):
        bits = _plain(rows).view(f"u{inputs.itemsize}")
        sums[start : start + len(rows)] = bits.sum(axis=1, dtype=np.uint64)
    _, group, sizes = np.unique(sums, return_inverse=True, return_counts=True)
    seen: dict[bytes, int] = {}
    for index in np.flatnonzero(sizes[group] > 1):
        first[index] = seen.setdefault(blake2b(_plain(inputs[index]).tobytes(), digest_size=16).digest(), int(index))
    return first


def _plain(rows: NDArray[Any]) -> NDArray[Any]:
    """With 0 for -0: equal numbers then have equal bits."""
    plain: NDArray[Any] = np.ascontiguousarray(rows) + rows.dtype.type(0)
    return plain


def require_consistent(first: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
    """Raises `DataError` ``kernel-conflicting-duplicates`` where equal points have different labels.

    Args:
        first: from `first_of_each`.
        labels: ``[n]``.
    """
    conflicts = np.flatnonzero(labels[first] != labels)
    if len(conflicts):
        later = int(conflicts[0])
        earlier = int(first[later])
        raise DataError(
            "kernel-conflicting-duplicates",
            f"Training examples {earlier} and {later} are equal but labelled {labels[earlier]} and {labels[later]} "
            f"({len(conflicts)} such examples), so no function fits them all: remove one or "
            "give a ridge with --set model.fields.ridge=0.001.",
        )
