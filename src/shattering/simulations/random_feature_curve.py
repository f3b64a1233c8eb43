"""Least squares on random features of real examples, with ever more of them: through N = n and beyond."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field as Bound

from shattering.core.spec import Number
from shattering.simulations.registry import Bench, Numbers, simulation

Ridge = Annotated[Number, Bound(ge=0)] | Literal["leave_one_out"]

RATIOS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98, 1.0, 1.02, 1.05, 1.1, 1.3, 1.7, 2.5, 4.0, 8.0)
"""Features for each training example: 1 exactly, and dense within a tenth of it."""


def feature_counts(examples: int, largest: float) -> list[int]:
    """Numbers of features for so many training examples, ascending: N = n among them."""
    return sorted({max(1, round(ratio * examples)) for ratio in RATIOS if ratio <= max(largest, 1.0)})


def _seconds(fields: Mapping[str, Any]) -> float:
    return 8.0


@simulation(
    summary="least squares on random Fourier or ReLU features, from few to many times as many as there are examples",
    paper="Belkin, Hsu, Ma & Mandal (2018), random Fourier and random ReLU features",
    units={
        "features": "features",
        "ratio": "features for each example",
        "train_mse": "1",
        "train_error": "1",
        "test_mse": "1",
        "test_error": "1",
        "norm": "1",
        "coefficient_norm": "1",
        "smallest_singular_value": "1",
        "condition": "1",
        "rank": "dimensions",
        "ridge": "1",
    },
    seconds=_seconds,
)
def random_feature_curve(
    bench: Bench,
    *,
    kind: Literal["fourier", "relu"] = "fourier",
    scale: Annotated[Number, Bound(gt=0)] = 0.2,
    ridge: Ridge = 0.0,
    largest: Annotated[Number, Bound(gt=0)] = 8.0,
) -> Iterator[Numbers]:
    """Fits the training examples on N = 0.05 n … 8 n features; the features of fewer are the first of those of more.

    Args:
        bench: real data; the labels are those trained on, and the test set is clean. Directions come from the stream
            ``random-features``.
        kind, scale: as of the learner ``random_features``.
        ridge: λ on features of expected squared length 1; 0: the solution of least norm; ``leave_one_out``: for each N
            that of 0.001 … 100 with the least leave-one-out error on the training examples.
        largest: the most features for each example.

    Yields:
        For each N: mean of ‖f(x) - y‖² over training and test examples, y one-hot (``train_mse``, ``test_mse``); their
        0-1 errors; ``norm``, ``coefficient_norm``, ``smallest_singular_value``, ``condition`` and ``rank`` as of the
        learner; and the ``ridge``.
    """
    from shattering.kernels.random_features import draw_features, leave_one_out_ridge, solve

    train, test = bench.splits.train, bench.splits.test
    rows = bench.inputs("train")
    counts = feature_counts(len(rows), largest)
    drawn = draw_features(bench.stream("random-features"), kind, rows.shape[1], counts[-1], scale)
    mean_square = drawn.mean_square(rows)
    seen, unseen = drawn.of(rows), drawn.of(bench.inputs("test"))
    hot = np.eye(train.num_classes)
    for place, count in enumerate(counts):
        bench.desk.told(place, len(counts))
        unit = math.sqrt(count * mean_square)
        phi = seen[:, :count] / unit
        own_ridge = leave_one_out_ridge(phi, hot[train.labels]) if isinstance(ridge, str) else ridge
        found = solve(phi, hot[train.labels], own_ridge)
        fitted, guessed = phi @ found.weights, unseen[:, :count] @ (found.weights / unit)
        norm = float(np.linalg.norm(found.weights))
        yield {
            "features": count,
            "ratio": count / len(rows),
            "train_mse": float(((fitted - hot[train.labels]) ** 2).sum(axis=1).mean()),
            "train_error": float((fitted.argmax(axis=1) != train.labels).mean()),
            "test_mse": float(((guessed - hot[test.labels]) ** 2).sum(axis=1).mean()),
            "test_error": float((guessed.argmax(axis=1) != test.labels).mean()),
            "norm": norm,
            "coefficient_norm": norm / unit,
            "smallest_singular_value": found.smallest,
            "condition": found.condition,
            "rank": found.rank,
            "ridge": own_ridge,
        }
