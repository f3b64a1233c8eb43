"""Fisher's linear discriminant by the pseudo-inverse: its error with ever more examples, or ever more features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Bound

from shattering.core.spec import Number, Whole
from shattering.simulations.registry import Bench, Numbers, simulation
from shattering.theory.pseudo_fisher import bayes_error, limit_error, normal_tail

Matrix = NDArray[np.float64]

EXAMPLES = (0.08, 0.16, 0.24, 0.32, 0.4, 0.48, 0.6, 0.72, 0.8, 0.92, 1.0, 1.04, 1.08, 1.2, 1.4, 1.6, 2.4, 4.0, 8.0)
"""n/d of the learning curve."""

FEATURES = (0.1, 0.2, 0.35, 0.5, 0.75, 0.9, 0.95, 0.975, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0)
"""p/n of the feature curve; the last has all features."""


def _seconds(fields: Mapping[str, Any]) -> float:
    return 0.03 * float(fields.get("draws", 100))


@simulation(
    summary="pseudo-Fisher discriminant on two Gaussian classes, learning curve or feature curve",
    paper="Loog, Viering, Mey, Krijthe & Tax (2020); Duin (1995)",
    units={
        "ratio": "1",
        "examples": "examples",
        "features": "features",
        "error": "1",
        "formula": "1",
        "bayes": "1",
        "norm": "1",
    },
    seconds=_seconds,
)
def pseudo_fisher(
    bench: Bench,
    *,
    axis: Literal["examples", "features"] = "examples",
    size: Annotated[Whole, Bound(ge=10)] = 50,
    distance: Annotated[Number, Bound(gt=0)] = 3.0,
    ridge: Annotated[Number, Bound(ge=0)] = 0.0,
    draws: Annotated[Whole, Bound(ge=1)] = 100,
) -> Iterator[Numbers]:
    """Centres the examples, takes ``w = X⁺y`` for y = ±1 and the plane through the mean, and averages its exact error.

    Args:
        bench: index ``draw · n + i`` of the stream ``design`` gives example i.
        axis: ``examples``: n grows at d = ``size`` features; ``features``: p grows at n = ``size`` examples: the first
            p of 5 n features that share the distance equally.
        size: d, or n (even).
        distance: δ between the means, of all features.
        ridge: λ/d: ``w = (XᵀX + λI)⁻¹Xᵀy``; 0: the pseudo-inverse.
        draws: training sets at each place.

    Yields:
        ``ratio`` n/d or p/n; the mean ``error`` over draws, each exact for its plane, ``½ Σ± Φ(-(⟨w, μ⟩ ± b)/‖w‖)``;
        ``formula``, its limit in many dimensions without ridge; ``bayes``, the smallest error there is with these
        features; ``norm``, the mean ‖w‖.
    """
    ratios, half = (EXAMPLES if axis == "examples" else FEATURES), size // 2
    for place, ratio in enumerate(ratios):
        bench.desk.told(place, len(ratios))
        examples = 2 * max(1, round(ratio * half)) if axis == "examples" else 2 * half
        features = size if axis == "examples" else max(1, round(ratio * examples))
        own = distance if axis == "examples" else distance * (features / (FEATURES[-1] * examples)) ** 0.5
        mean = np.full(features, own / 2 / features**0.5)
        signs = np.where(np.arange(examples) < examples // 2, -1.0, 1.0)
        noise = bench.normals("design", draws * examples, features).reshape(draws, examples, features)
        weights, middles = _planes(noise + signs[:, None] * mean, signs, ridge * features)
        lengths = np.linalg.norm(weights, axis=1)
        along, offsets = weights @ mean / lengths, (weights * middles).sum(axis=1) / lengths
        errors = [0.5 * (normal_tail(a - b) + normal_tail(a + b)) for a, b in zip(along, offsets, strict=True)]
        yield {
            "ratio": examples / features if axis == "examples" else features / examples,
            "examples": examples,
            "features": features,
            "error": float(np.mean(errors)),
            "formula": limit_error(examples, features, own),
            "bayes": bayes_error(own),
            "norm": float(lengths.mean()),
        }


def _planes(rows: Matrix, signs: Matrix, ridge: float) -> tuple[Matrix, Matrix]:
    """Weights ``[draws, d]`` and the points that their planes pass through."""
    middles = rows.mean(axis=1)
    left, values, right = np.linalg.svd(rows - middles[:, None], full_matrices=False)
    # Centring takes one dimension, whose singular value is a rounding error where n ≤ d.
    kept = values > values[:, :1] * max(rows.shape[1:]) * np.finfo(np.float64).eps * 8
    turned = np.einsum("rnk,n->rk", left, signs)
    shrunk = np.divide(values * turned, values**2 + ridge, out=np.zeros_like(values), where=kept)
    return np.einsum("rkd,rk->rd", right, shrunk), middles
