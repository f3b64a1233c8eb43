"""Kernels of deep erf networks against depth, for the inputs drawn: how well conditioned, and what they predict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field as Bound

from shattering.core.spec import Number, Whole
from shattering.simulations.registry import Bench, Numbers, simulation
from shattering.theory.kernel_recursions import (
    condition_number,
    critical_condition,
    kernels,
    mean_predictor,
    off_diagonal,
    slope_factor,
)

DEPTHS = (1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 48, 64, 96, 128, 192, 256)
LARGEST_CONDITION = 1e11
"""Beyond it float64 says little of the smallest eigenvalue, and rows end."""


def seconds(fields: Mapping[str, Any]) -> float:
    """About how long a run takes."""
    return 0.1 + 2e-5 * float(fields.get("examples", 12)) ** 2


@simulation(
    summary="condition number and mean prediction of the tangent kernel of deep erf networks against depth",
    paper="Xiao, Pennington & Schoenholz (2020)",
    units={
        "depth": "layers",
        "chi": "",
        "simulated_condition": "",
        "formula_condition": "",
        "off_diagonal": "",
        "prediction": "",
    },
    seconds=seconds,
)
def kernel_phases(
    bench: Bench,
    *,
    weight_variance: Annotated[Number, Bound(gt=0)] = 1.5521,
    bias_variance: Annotated[Number, Bound(ge=0)] = 0.1,
    examples: Annotated[Whole, Bound(ge=4, multiple_of=2)] = 12,
    deepest: Annotated[Whole, Bound(ge=1)] = 256,
) -> Iterator[Numbers]:
    """The tangent kernel of m training inputs of 100 coordinates and length 10, and its prediction for m others.

    Args:
        bench: streams.
        weight_variance, bias_variance: σ_w² and σ_b².
        examples: m; half of the labels are 1 and half -1, so that a constant prediction is 0.
        deepest: most hidden layers.

    Yields:
        For each depth: χ; the condition number of Θ; the one of a kernel whose elements off the diagonal are a third of
        those on it, the limit at χ = 1; the mean ratio of the two kinds of elements; and the root mean square of the
        mean predictor at the other inputs.
    """
    import numpy as np

    inputs = bench.normals("simulation/inputs", 2 * examples, 100)
    inputs *= 10 / np.linalg.norm(inputs, axis=1, keepdims=True)
    labels = np.where(np.arange(examples) % 2, 1.0, -1.0)
    chi = slope_factor(weight_variance, bias_variance)
    for number, depth in enumerate(depth for depth in DEPTHS if depth <= deepest):
        bench.desk.told(number, len(DEPTHS))
        _, tangent = kernels(inputs, depth, weight_variance, bias_variance)
        shown = tangent[:examples, :examples]
        condition = condition_number(shown)
        if not condition < LARGEST_CONDITION:
            return
        yield {
            "depth": depth,
            "chi": chi,
            "simulated_condition": condition,
            "formula_condition": critical_condition(examples),
            "off_diagonal": off_diagonal(shown),
            "prediction": math.sqrt(float((mean_predictor(tangent, labels, examples) ** 2).mean())),
        }
