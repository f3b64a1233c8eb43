"""A linear model on random Fourier or ReLU features: the solution of least norm, or with a ridge."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Bound

from shattering.core.errors import DataError
from shattering.core.spec import Number, Whole
from shattering.learners.registry import Fitted, Material, learner

EXACT = 1e-6
"""The largest relative residual that counts as interpolation."""

BLOCK = 4096
"""Examples scored at a time."""


def _memory(train: int, test: int, features: int, classes: int, fields: Mapping[str, Any]) -> float:
    count = float(fields.get("count", 1000))
    least = min(train, count)
    return 8.0 * (3 * train * count + 4 * least * least + features * (train + count) + BLOCK * count)


@learner(
    summary="linear model on random Fourier or ReLU features, of least norm or with ridge",
    paper="Rahimi & Recht (2007); Belkin, Hsu, Ma & Mandal (2018)",
    units={
        "train_mse": "1",
        "norm": "1",
        "coefficient_norm": "1",
        "residual": "1",
        "smallest_singular_value": "1",
        "condition": "1",
        "rank": "dimensions",
        "features": "features",
    },
    growth=2.0,
    memory=_memory,
)
def random_features(
    material: Material,
    *,
    count: Annotated[Whole, Bound(ge=1)] = 1000,
    kind: Literal["fourier", "relu"] = "fourier",
    scale: Annotated[Number, Bound(gt=0)] = 0.2,
    ridge: Annotated[Number, Bound(ge=0)] = 0.0,
) -> Fitted:
    """``W = argmin ‖ΦW - Y‖² + λ‖W‖²`` on N random features, Y the one-hot labels; without ridge W of least norm.

    Features are divided by the root of N times their expected square, so that an example has expected squared length 1
    whatever N, and λ and the norm mean the same at every N. All in float64 (`kernels.random_features.solve`): by QR or
    SVD with ``rcond = max(n, N) · ε`` near N = n.

    Args:
        material: what to learn from; inputs are flattened. Directions come from the stream ``random-features``.
        count: N, features: half of them cosines and half sines of ``fourier``.
        kind: ``fourier``, cos and sin of ⟨v, x⟩, v ~ N(0, scale² I); ``relu``, max(⟨v, x⟩, 0), v on the unit sphere.
        scale: standard deviation of the frequencies; 0.2 suits MNIST's pixels in 0 … 1. ``relu`` has none.
        ridge: λ; it is not multiplied by n.

    Returns:
        Facts: ``train_mse``, mean of ‖f(x) - y‖² over the training examples (0 for an interpolant, at most 1 without
        ridge); ``norm`` ‖W‖ on the divided features, which tends to the norm in the kernel's Hilbert space as N grows;
        ``coefficient_norm``, ‖W‖ on features as they are; ``residual`` ‖ΦW - Y‖ / ‖Y‖; ``smallest_singular_value`` of
        the divided Φ, its ``condition`` and ``rank``; ``features`` N. Not exact where the residual exceeds 1e-6.

    Raises:
        DataError: ``random-features-not-finite`` where an input is not.

    Cost: ``O(n N min(n, N))``, and memory for three matrices n × N of float64.
    """
    from shattering.kernels.random_features import draw_features, solve

    rows = material.rows.astype(np.float64)
    if not np.isfinite(rows).all():
        raise DataError(
            "random-features-not-finite", "A training input is not finite, so it has no features; mend or leave it out."
        )
    drawn = draw_features(material.stream("random-features"), kind, rows.shape[1], count, scale)
    unit = math.sqrt(count * (drawn.mean_square(rows) or 1.0))
    with material.desk.waiting():
        phi = drawn.of(rows)[:, :count] / unit
        targets = np.eye(material.num_classes)[material.labels]
        found = solve(phi, targets, ridge)
    scores_here = phi @ found.weights
    wrong = float(np.linalg.norm(scores_here - targets))
    norm = float(np.linalg.norm(found.weights))
    facts: dict[str, float | int] = {
        "train_mse": wrong**2 / len(rows),
        "norm": norm,
        "coefficient_norm": norm / unit,
        "residual": wrong / math.sqrt(len(rows)),
        "smallest_singular_value": found.smallest,
        "rank": found.rank,
        "features": count,
        **({"condition": found.condition} if math.isfinite(found.condition) else {}),
    }

    def scores(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        flat = inputs.reshape(len(inputs), -1)
        parts = []
        for first in range(0, len(flat), BLOCK):
            material.desk.should_stop()
            block = flat[first : first + BLOCK].astype(np.float64)
            parts.append(drawn.of(block)[:, :count] @ (found.weights / unit))
        return np.concatenate(parts)

    return Fitted(
        scores,
        facts,
        {"weights": found.weights, "directions": drawn.directions},
        train_scores=scores_here,
        exact=facts["residual"] <= EXACT,
    )
