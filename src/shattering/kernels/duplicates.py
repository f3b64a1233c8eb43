"""Points that occur more than once: with different labels nothing passes through them all."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError


def require_finite(inputs: NDArray[Any]) -> None:
    """Raises `DataError` ``kernel-not-finite`` where a feature is NaN or infinite, naming the first such example."""
    # A sum is finite where all its terms are, and costs no array of truth values; one that is not is looked into.
    for index, row in enumerate(inputs.reshape(len(inputs), -1)):
        if not np.isfinite(row.sum(dtype=np.float64)) and not np.isfinite(row).all():
            feature = int(np.flatnonzero(~np.isfinite(row))[0])
            raise DataError(
                "kernel-not-finite",
                f"Feature {feature} of training example {index} is {row[feature]}, and a kernel needs finite numbers; "
                "remove the example or repair it.",
            )


def first_of_each(inputs: NDArray[Any]) -> NDArray[np.int64]:
    """For each point the index of the first one that equals it in every feature: its own where there is none before.

    Args:
        inputs: ``[n, …]``; 0 and -0 are equal.
    """
    seen: dict[bytes, int] = {}
    first = np.empty(len(inputs), np.int64)
    for index, row in enumerate(inputs):
        # Adding 0 turns -0 into 0.
        first[index] = seen.setdefault(blake2b((row + row.dtype.type(0)).tobytes(), digest_size=16).digest(), index)
    return first


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
