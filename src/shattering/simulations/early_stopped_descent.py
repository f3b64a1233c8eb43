"""Gradient descent on least squares with features of two scales, step by step, beside the sum of two U-curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field as Bound

from shattering.core.spec import Number, Whole
from shattering.simulations.registry import Bench, Numbers, simulation
from shattering.theory.early_stopping import excess_risk

DEVIATIONS = (1.0, 0.15)
COEFFICIENTS = (0.45, 3.0)
"""The two kinds of features in the paper's Figure 2."""

RATE = 0.1
PLACES_PER_DECADE = 16

Positive = Annotated[Whole, Bound(ge=1)]


def places(last: int) -> list[int]:
    """Numbers of steps from 1 to ``last``, about `PLACES_PER_DECADE` of them a decade."""
    count = int(PLACES_PER_DECADE * math.log10(last))
    spaced = {round(10 ** (place / PLACES_PER_DECADE)) for place in range(count + 1)} if last > 1 else set()
    return sorted(spaced | {1, last})


def seconds(fields: Mapping[str, Any]) -> float:
    """About how long a run takes: drawing the examples, then the steps."""
    features, steps = 2 * fields.get("copies", 100), fields.get("steps", 2000)
    drawing = 1e-7 * fields.get("examples", 10_000) * features
    return float(drawing + 2e-9 * steps * features**2)


@simulation(
    summary="risk of least squares along gradient descent, features of two scales",
    paper="Heckel & Yilmaz (2021), Section 2, Figure 2",
    units={"steps": "steps", "simulated": "", "formula": ""},
    seconds=seconds,
)
def early_stopped_descent(
    bench: Bench,
    *,
    copies: Positive = 100,
    examples: Positive = 10_000,
    noise: Annotated[Number, Bound(ge=0)] = 10.0,
    second_rate: Annotated[Number, Bound(gt=0)] = 1.0,
    steps: Positive = 2000,
    draws: Positive = 40,
) -> Iterator[Numbers]:
    """Excess risk of w after k full steps on (1/2n) ‖Xw - y‖² from zero, y = Xw* + noise.

    Features come in two kinds, (deviation, coefficient) = (1, 0.45) and (0.15, 3), each split into ``copies``
    independent ones whose squared coefficients sum to the kind's: the formula then sees σ² copies / n for each kind,
    0.1 in the paper's figure, while d / n = 2 copies / n can be made as small as one likes.

    Args:
        bench: streams.
        copies: features of each kind.
        examples: n.
        noise: variance σ² of the labels.
        second_rate: factor on the step size of the second kind, which is else 0.1 as the first one's.
        steps: of gradient descent.
        draws: noise vectors that the risk is averaged over, on the same inputs.

    Yields:
        step, simulated excess risk, and the formula's.
    """
    import numpy as np

    deviations = np.repeat(DEVIATIONS, copies)
    target = np.repeat(COEFFICIENTS, copies)[:, None] / math.sqrt(copies)
    rates = RATE * np.repeat((1.0, second_rate), copies)[:, None]
    inputs = bench.normals("simulation/inputs", examples, 2 * copies) * deviations
    labels = bench.normals("simulation/noise", examples, draws) * math.sqrt(noise)
    covariance, pull = inputs.T @ inputs / examples, inputs.T @ labels / examples
    recorded = places(steps)
    formula = excess_risk(recorded, DEVIATIONS, COEFFICIENTS, (RATE, RATE * second_rate), noise * copies / examples)
    away = np.repeat(-target, draws, axis=1)
    done = 0
    for step, predicted in zip(recorded, formula, strict=True):
        for _ in range(step - done):
            away = away - rates * (covariance @ away - pull)
        done = step
        bench.desk.told(step, steps)
        simulated = float((deviations[:, None] ** 2 * away**2).sum(axis=0).mean())
        yield {"steps": step, "simulated": simulated, "formula": float(predicted)}
