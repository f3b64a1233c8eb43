"""Gradient descent on least squares with a growing number of features: risk, smallest eigenvalue, and the bound."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field as Bound

from shattering.core.spec import Number, Whole
from shattering.simulations.registry import Bench, Numbers, simulation
from shattering.theory.descent_bound import (
    TRUNCATED_VARIANCE,
    descended,
    edge,
    excess_bound,
    smallest_positive,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
"""Features used beside the number of examples; the last is all there are."""

RATE = 0.05
TIMES = (100, 1000, 10_000, 1_000_000)


def seconds(fields: Mapping[str, Any]) -> float:
    """About how long a run takes: an eigendecomposition for every number of features, time and repetition."""
    return 2e-7 * float(fields.get("repetitions", 50)) * float(fields.get("examples", 20) * 5) ** 2


@simulation(
    summary="least squares by gradient descent against its number of features, at several times",
    paper="Kuzborskij et al. (2021), the synthetic experiment",
    units={
        "features": "features",
        "ratio": "",
        "simulated_eigenvalue": "",
        "formula_eigenvalue": "",
        "optimisation": "",
        **{f"risk_{steps}": "" for steps in TIMES},
        **{f"bound_{steps}": "" for steps in TIMES},
    },
    seconds=seconds,
)
def descent_least_squares(
    bench: Bench,
    *,
    examples: Annotated[Whole, Bound(ge=5)] = 20,
    target: Literal["all features", "used features"] = "all features",
    noise: Annotated[Number, Bound(ge=0)] = 0.0,
    repetitions: Annotated[Whole, Bound(ge=1)] = 50,
) -> Iterator[Numbers]:
    """Risk after T steps of size 0.05 from w₀ ~ N(0, I/d), features standard normal truncated to [-1, 1].

    Args:
        bench: streams.
        examples: n; there are 5 n features.
        target: whether labels depend on all 5 n features or only on those used; ‖w*‖ is 1 either way.
        noise: variance of the labels' noise.
        repetitions: independent data sets that everything is averaged over.

    Yields:
        For each number of features: the smallest positive eigenvalue of the sample covariance and Bai and Yin's limit,
        the mean of (1 - αl)²ᵀ at T = 1000, and for each T the excess risk E (x·w - x·w*)²/2, exact for each fit, and
        the bound, which is meant for labels that depend on the features used.
    """
    import numpy as np

    whole = 5 * examples
    words = bench.stream("simulation/inputs").words(np.arange(repetitions * examples), blocks=-(-whole // 4))
    inputs = truncated(words[:, :whole]).reshape(repetitions, examples, whole)
    directions = bench.normals("simulation/target", repetitions, whole)
    starts = bench.normals("simulation/weights", repetitions, whole)
    noises = math.sqrt(noise) * bench.normals("simulation/noise", repetitions, examples)
    for number, part in enumerate(PARTS):
        bench.desk.told(number, len(PARTS))
        used = round(part * examples)
        sums: dict[str, float] = {}
        for drawn, direction, first, rest in zip(inputs, directions, starts, noises, strict=True):
            wanted = direction.copy()
            if target == "used features":
                wanted[used:] = 0
            wanted /= np.linalg.norm(wanted)
            seen = drawn[:, :used]
            covariance, pull = seen.T @ seen / examples, seen.T @ (drawn @ wanted + rest) / examples
            start = first[:used] / math.sqrt(used)
            found, values = descended(covariance, pull, start, RATE, TIMES)
            outside = _outside(seen, wanted[:used])
            for steps, weights in zip(TIMES, found, strict=True):
                away = float(((weights - wanted[:used]) ** 2).sum() + (wanted[used:] ** 2).sum())
                _add(sums, f"risk_{steps}", TRUNCATED_VARIANCE * away / 2)
                bound = excess_bound(
                    values, outside, rate=RATE, steps=steps, size=1.0, start=1 / used, noise=noise, examples=examples
                )
                _add(sums, f"bound_{steps}", bound)
            low = smallest_positive(values)
            _add(sums, "simulated_eigenvalue", low)
            _add(sums, "optimisation", (1 - RATE * low) ** 2000.0)
        yield {
            "features": used,
            "ratio": used / examples,
            "formula_eigenvalue": TRUNCATED_VARIANCE * edge(used / examples),
            **{name: value / repetitions for name, value in sums.items()},
        }


def truncated(words: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Standard normal numbers given that they lie in [-1, 1]: the quantile of (word + ½) / 2³² of that law."""
    from scipy.special import ndtr, ndtri

    low, high = ndtr(-1.0), ndtr(1.0)
    values: NDArray[np.float64] = ndtri(low + (high - low) * (words + 0.5) / 2.0**32)
    return values


def _outside(inputs: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Squared length of what of the weights the inputs' span does not hold."""
    import numpy as np

    if inputs.shape[1] <= inputs.shape[0]:
        return 0.0
    held = np.linalg.qr(inputs.T)[0].T @ weights
    return max(float(weights @ weights - held @ held), 0.0)


def _add(sums: dict[str, float], name: str, value: float) -> None:
    sums[name] = sums.get(name, 0.0) + value
