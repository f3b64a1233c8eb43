"""Ridge regression on isotropic Gaussian inputs, with ever more examples or ever more projected features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Bound

from shattering.core.spec import Number, Whole
from shattering.simulations.registry import Bench, Numbers, simulation
from shattering.theory.isotropic_ridge import limit_risk, optimal_ridge, projected, risk_given_design

Matrix = NDArray[np.float64]

RATIOS = (1 / 3, 1 / 2, 2 / 3, 5 / 6, 11 / 12, 1.0, 13 / 12, 7 / 6, 4 / 3, 5 / 3, 2.0)
"""Examples for each dimension, or features for each example: 1 exactly, and dense around it."""

SEARCHED = tuple(2 ** (step / 8) for step in range(-16, 17))
"""Ridges that are searched for the best, in multiples of the formula's: a quarter to four times."""

NOTHING_BELOW = 1e-12
"""A singular value smaller than this part of the largest is a rounding error."""


def _seconds(fields: Mapping[str, Any]) -> float:
    return 0.02 * float(fields.get("draws", 100))


@simulation(
    summary="risk of ridge regression on isotropic Gaussian inputs, measured and by the exact formula",
    paper="Nakkiran, Venkat, Kakade & Ma (2020), isotropic ridge regression and random projections",
    units={
        "ratio": "1",
        "examples": "examples",
        "features": "features",
        "ridge": "1",
        "risk": "1",
        "formula": "1",
        "limit": "1",
        "best_factor": "x",
    },
    seconds=_seconds,
)
def ridge_risk(
    bench: Bench,
    *,
    axis: Literal["examples", "features"] = "examples",
    factor: Annotated[Number, Bound(ge=0)] = 1.0,
    dimension: Annotated[Whole, Bound(ge=4)] = 60,
    noise: Annotated[Number, Bound(gt=0)] = 0.25,
    draws: Annotated[Whole, Bound(ge=1)] = 100,
) -> Iterator[Numbers]:
    """Draws designs and noise, solves, and averages the risk over the draws; ‖β‖² = 1.

    Args:
        bench: index ``draw · n + i`` of the stream ``design`` gives example i, index ``draw`` of ``design-noise`` its
            noise, and index ``draw · p + i`` of ``projection`` row i of the matrix whose QR is the projection.
        axis: ``examples``: n = d/3 … 2d in d = ``dimension``; ``features``: a random projection of 2 · ``dimension``
            inputs to d = n/3 … 2n features, at n = ``dimension``.
        factor: λ in multiples of the best one by formula; 0: the solution of least norm.
        dimension: d, or n.
        noise: σ².
        draws: designs at each place.

    Yields:
        ``ratio`` n/d or d/n; ``risk``, σ² included, averaged over draws; ``formula``, the exact risk given the same
        designs' singular values, averaged; ``limit``, for infinitely large n and d (0 where it is infinite, at n = d
        without ridge); ``best_factor``, the measured best ridge over that of the formula, between ¼ and 4.
    """
    size = 2 * dimension
    for place, ratio in enumerate(RATIOS):
        bench.desk.told(place, len(RATIOS))
        other = max(2, round(ratio * dimension))
        examples, features = (other, dimension) if axis == "examples" else (dimension, other)
        signal, seen_noise = (1.0, noise) if axis == "examples" else projected(size, features, 1.0, noise)
        best = optimal_ridge(features, signal, seen_noise)
        ridge = factor * best
        design, targets, truth = _draw(bench, draws, examples, features, axis == "features", size, noise)
        left, values, right = np.linalg.svd(design, full_matrices=False)
        turned, aim = np.einsum("rnk,rn->rk", left, targets), np.einsum("rkd,rd->rk", right, truth)
        # What the examples do not span stays at zero; what a projection loses is noise to everyone.
        unseen = noise + 1.0 - (aim * aim).sum(axis=1)
        distances = _distances(values, turned, aim, np.array([ridge, *(best * step for step in SEARCHED)]))
        squares = np.pad(values**2, [(0, 0), (0, features - values.shape[1])])
        limit = limit_risk(features / examples, ridge / examples, signal, seen_noise)
        yield {
            "ratio": ratio,
            "examples": examples,
            "features": features,
            "ridge": ridge,
            "risk": float((unseen + distances[0]).mean()),
            "formula": float(risk_given_design(squares, ridge, signal, seen_noise).mean()),
            "limit": limit if np.isfinite(limit) else 0.0,
            "best_factor": SEARCHED[int(np.argmin(distances[1:].mean(axis=1)))],
        }


def _distances(values: Matrix, turned: Matrix, aim: Matrix, ridges: Matrix) -> Matrix:
    """Squared distances between solution and truth within what the examples span: ``[ridges, draws]``."""
    added = ridges[:, None, None]
    kept = (values > values[:, :1] * NOTHING_BELOW) | (added > 0)
    shrunk = np.divide(values * turned, values**2 + added, out=np.zeros(kept.shape), where=kept)
    found: Matrix = ((shrunk - aim) ** 2).sum(axis=2)
    return found


def _draw(
    bench: Bench, draws: int, examples: int, features: int, project: bool, size: int, noise: float
) -> tuple[Matrix, Matrix, Matrix]:
    """Designs, targets, and what of the true weights the features can say, for each draw."""
    width = size if project else features
    inputs = bench.normals("design", draws * examples, width).reshape(draws, examples, width)
    truth = np.full(width, width**-0.5)
    targets = inputs @ truth + noise**0.5 * bench.normals("design-noise", draws, examples)
    if not project:
        return inputs, targets, np.tile(truth, (draws, 1))
    bases, _ = np.linalg.qr(bench.normals("projection", draws * size, features).reshape(draws, size, features))
    return inputs @ bases, targets, np.einsum("rpd,p->rd", bases, truth)
