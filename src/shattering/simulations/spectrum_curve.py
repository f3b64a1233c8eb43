"""The interpolant of least norm on Gaussian inputs whose spectrum and target fall as powers: a learning curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field as Bound

from shattering.core.spec import Number, Whole
from shattering.simulations.registry import Bench, Numbers, simulation
from shattering.theory.ridge_equivalents import power_laws, ridge_errors

SIZES = (40, 60, 90, 135, 200, 300, 400)
"""One decade."""


def _seconds(fields: Mapping[str, Any]) -> float:
    return 0.002 * float(fields.get("dimension", 1000))


@simulation(
    summary="least-norm regression on a power-law spectrum, measured and by its deterministic equivalent",
    paper="Hestness et al. (2017); Atanasov, Zavatone-Veth & Pehlevan (2024), power laws",
    units={"examples": "examples", "test_mse": "1", "formula": "1"},
    seconds=_seconds,
)
def spectrum_curve(
    bench: Bench,
    *,
    decay: Annotated[Number, Bound(gt=1)] = 1.5,
    source: Annotated[Number, Bound(gt=1)] = 2.0,
    dimension: Annotated[Whole, Bound(ge=500)] = 4000,
    draws: Annotated[Whole, Bound(ge=1)] = 3,
) -> Iterator[Numbers]:
    """Inputs with variances i⁻ᵃ, coefficients with s w² = i⁻ᵇ, no noise; ``ŵ = X⁺y`` on n = 40 … 400 examples.

    Args:
        bench: index ``draw · n + i`` of the stream ``design`` gives example i.
        decay: a, over 1.
        source: b, over 1.
        dimension: d; the spectrum ends there.
        draws: designs at each n.

    Yields:
        ``examples`` n; ``test_mse``, Σ s (ŵ - w)² averaged over draws; ``formula``, its deterministic equivalent.
    """
    from scipy.linalg import solve

    spectrum, target = power_laws(dimension, decay, source)
    for place, size in enumerate(SIZES):
        bench.desk.told(place, len(SIZES))
        errors = []
        for draw in range(draws):
            design = bench.normals("design", size, dimension, draw * size) * np.sqrt(spectrum)
            # The tail of the spectrum acts as a ridge, so the Gram matrix is far from singular.
            weights = design.T @ solve(design @ design.T, design @ target, assume_a="pos")
            errors.append(float((spectrum * (weights - target) ** 2).sum()))
        yield {
            "examples": size,
            "test_mse": float(np.mean(errors)),
            "formula": ridge_errors(spectrum, target, size, 0.0).test,
        }
