"""Kernel ridge regression on ever larger shards of a training set, its ridge tuned on each: a learning curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Bound

from shattering.core.errors import DataError
from shattering.core.spec import Number, Whole
from shattering.simulations.registry import Bench, Numbers, simulation

Matrix = NDArray[np.float64]

RIDGES = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
FEWEST = 10
"""Examples of the smallest shard, at least."""


def _seconds(fields: Mapping[str, Any]) -> float:
    return 4.0


@simulation(
    summary="kernel ridge regression on shards of a training set, in powers of two, ridge tuned on each",
    paper="Hestness et al. (2017), the method of shards",
    units={"examples": "examples", "ridge": "1", "validation_mse": "1", "test_mse": "1", "test_error": "1"},
    seconds=_seconds,
)
def shard_curve(
    bench: Bench,
    *,
    shards: Annotated[Whole, Bound(ge=2)] = 7,
    gamma: Annotated[Number, Bound(gt=0)] = 0.02,
    validation: Annotated[Number, Bound(gt=0, lt=1)] = 0.2,
) -> Iterator[Numbers]:
    """Gaussian kernel ``exp(-γ‖x - x′‖²)``, one-hot targets, mean of the shard taken off; shards are nested.

    Args:
        bench: real data. The stream ``shards`` permutes the training examples: the first part of them is the validation
            set, and the shards are the beginnings of the rest.
        shards: how many, each half of the next; the largest is all of the rest.
        gamma: γ, for inputs as the spec prepares them.
        validation: share of the training examples on which the ridge is chosen, the same for every shard.

    Yields:
        For each shard its ``examples``; the ``ridge`` λ of ``(K + λI)`` with the least ``validation_mse`` of eight;
        ``test_mse``, the mean of ‖f(x) - y‖² over test examples, and their 0-1 ``test_error``.

    Raises:
        DataError: ``shards-too-few-examples`` where the smallest shard would have fewer than 10.
    """
    train, test = bench.splits.train, bench.splits.test
    rows, outside = bench.inputs("train"), bench.inputs("test")
    order = bench.stream("shards").permutation(len(rows))
    held = round(validation * len(rows))
    chosen, judged = order[held:], order[:held]
    sizes = [len(chosen) // 2**step for step in reversed(range(shards))]
    if sizes[0] < FEWEST:
        raise DataError(
            "shards-too-few-examples",
            f"The smallest of {shards} shards of {len(chosen):,} examples would have {sizes[0]}, fewer than {FEWEST}; "
            "raise data.train_size or lower model.fields.shards.",
        )
    hot = np.eye(train.num_classes)
    labels = np.asarray(test.labels)
    kernel = _kernel(rows[chosen], rows[chosen], gamma)
    to_judge, to_test = (_kernel(part, rows[chosen], gamma) for part in (rows[judged], outside))
    wanted, aims = hot[train.labels[chosen]], hot[train.labels[judged]]
    for place, size in enumerate(sizes):
        bench.desk.told(place, shards)
        mean = wanted[:size].mean(axis=0)
        duals = _duals(kernel[:size, :size], wanted[:size] - mean)
        errors = [float(((to_judge[:, :size] @ dual + mean - aims) ** 2).sum(axis=1).mean()) for dual in duals]
        best = int(np.argmin(errors))
        scores = to_test[:, :size] @ duals[best] + mean
        yield {
            "examples": size,
            "ridge": RIDGES[best],
            "validation_mse": errors[best],
            "test_mse": float(((scores - hot[labels]) ** 2).sum(axis=1).mean()),
            "test_error": float((scores.argmax(axis=1) != labels).mean()),
        }


def _kernel(first: Matrix, second: Matrix, gamma: float) -> Matrix:
    squares = (first * first).sum(axis=1)[:, None] + (second * second).sum(axis=1) - 2 * (first @ second.T)
    np.maximum(squares, 0, out=squares)
    squares *= -gamma
    found: Matrix = np.exp(squares, out=squares)
    return found


def _duals(kernel: Matrix, targets: Matrix) -> list[Matrix]:
    """``(K + λI)⁻¹ Y`` for every ridge."""
    from scipy.linalg import cho_factor, cho_solve

    found = []
    for ridge in RIDGES:
        matrix = kernel.copy()
        matrix.flat[:: len(matrix) + 1] += ridge
        found.append(cho_solve(cho_factor(matrix, overwrite_a=True, check_finite=False), targets))
    return found
