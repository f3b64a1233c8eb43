"""Two classes of real images on ever more random ReLU features, beside the classical bound on their risk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Bound

from shattering.core.errors import DataError
from shattering.core.spec import Number, Whole
from shattering.data.dataset import Dataset
from shattering.simulations.registry import Bench, Numbers, simulation
from shattering.theory.vc_bound import norm_dimension, vc_bound

RATIOS = (
    0.05,
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.7,
    0.9,
    0.95,
    0.98,
    1.0,
    1.02,
    1.05,
    1.1,
    1.2,
    1.4,
    1.7,
    2,
    3,
    4,
    6,
    8,
    12,
    16,
)


def _seconds(fields: Mapping[str, Any]) -> float:
    return 2.0


@simulation(
    summary="two classes on random ReLU features, beside the VC bound by number of features and by norm",
    paper="Lee & Cherkassky (2022), linear models on a fixed hidden layer",
    units={
        "features": "features",
        "ratio": "features for each example",
        "train_error": "1",
        "test_error": "1",
        "squared_norm": "1",
        "radius": "1",
        "feature_bound": "1",
        "norm_bound": "1",
        "smallest_singular_value": "1",
    },
    seconds=_seconds,
)
def vc_curve(
    bench: Bench,
    *,
    first: Annotated[Whole, Bound(ge=0)] = 5,
    second: Annotated[Whole, Bound(ge=0)] = 8,
    examples: Annotated[Whole, Bound(ge=10)] = 200,
    ridge: Annotated[Number, Bound(ge=0)] = 0.0,
) -> Iterator[Numbers]:
    """Least squares on N = 0.05 n … 16 n random ReLU features, to ±1; without ridge the solution of least norm.

    Args:
        bench: real data. Of the training split the first ``examples`` of the two classes are taken, of the test split
            all of them; directions come from the stream ``random-features``.
        first, second: the two classes.
        examples: n.
        ridge: λ on features of expected squared length 1.

    Yields:
        For each N: training and test error; ``squared_norm`` ‖w‖² on features of expected squared length 1, and their
        largest length ``radius``; ``feature_bound``, the bound with h = N + 1, and ``norm_bound``, with
        h = min(N, R²‖w‖²) + 1 (both from the training error, with practical constants; above 1 they say nothing).

    Raises:
        DataError: ``vc-too-few-examples`` where the training subset has fewer than n examples of the two classes, or
            the test subset none.
    """
    from shattering.kernels.random_features import draw_features, solve

    seen, signs = _two_classes(bench, "train", bench.splits.train, first, second)
    unseen, test_signs = _two_classes(bench, "test", bench.splits.test, first, second)
    if len(signs) < examples or not len(test_signs):
        raise DataError(
            "vc-too-few-examples",
            f"{len(signs)} training and {len(test_signs)} test examples are of classes {first} and {second}, and "
            f"{examples} are wanted; raise data.train_size and data.test_size, or lower model.fields.examples.",
        )
    rows, targets = seen[:examples], signs[:examples, None]
    counts = [max(1, round(ratio * examples)) for ratio in RATIOS]
    drawn = draw_features(bench.stream("random-features"), "relu", rows.shape[1], counts[-1])
    mean_square = drawn.mean_square(rows)
    inside, outside = drawn.of(rows), drawn.of(unseen)
    for place, count in enumerate(dict.fromkeys(counts)):
        bench.desk.told(place, len(counts))
        unit = (count * mean_square) ** 0.5
        phi = inside[:, :count] / unit
        found = solve(phi, targets, ridge)
        weights = found.weights
        train_error = float((np.sign(phi @ weights) != targets).mean())
        radius, norm = float(np.linalg.norm(phi, axis=1).max()), float(np.linalg.norm(weights))
        yield {
            "features": count,
            "ratio": count / examples,
            "train_error": train_error,
            "test_error": float((np.sign(outside[:, :count] @ weights)[:, 0] != test_signs).mean()),
            "squared_norm": norm**2,
            "radius": radius,
            "feature_bound": vc_bound(train_error, count + 1, examples),
            "norm_bound": vc_bound(train_error, norm_dimension(count, radius, norm), examples),
            "smallest_singular_value": found.smallest,
        }


def _two_classes(
    bench: Bench, name: str, split: Dataset, first: int, second: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows of two classes of a split, and -1 or 1 for each."""
    kept = np.isin(split.labels, (first, second))
    return bench.inputs(name)[kept], np.where(np.asarray(split.labels)[kept] == first, -1.0, 1.0)
