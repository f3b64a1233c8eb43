"""What gradient descent on the logistic loss ends at: the minimiser, or where there is none the largest margin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field as Bound

from shattering.core.errors import ModelError
from shattering.core.spec import Number, Whole
from shattering.simulations.registry import Bench, Numbers, simulation
from shattering.theory.margin_limits import limit_error, margin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

RATIOS = (0.05, 0.1, 0.15, 0.2, 0.24, 0.26, 0.28, 0.3, 0.32, 0.36, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
"""κ = p/n; dense around the thresholds of the default signal."""


def seen_signal(profile: str, ratio: float, whole: float) -> float:
    """s(κ): all of r where it is constant, r √(1 - (1 + κ)⁻²) where more features carry more of it."""
    return whole if profile == "constant" else whole * math.sqrt(1 - (1 + ratio) ** -2)


def seconds(fields: Mapping[str, Any]) -> float:
    """About how long a run takes: mostly the largest margins."""
    return float(8e-8 * fields.get("examples", 300) ** 3 * fields.get("repetitions", 5))


@simulation(
    summary="test error of unregularised logistic regression against features per example, simulated and in the limit",
    paper="Deng, Kammoun & Thrampoulidis (2019)",
    units={
        "ratio": "",
        "simulated_error": "1",
        "formula_error": "1",
        "threshold": "",
        "separable": "1",
    },
    seconds=seconds,
)
def margin_classifiers(
    bench: Bench,
    *,
    world: Literal["mixture", "logistic"] = "mixture",
    profile: Literal["growing", "constant"] = "growing",
    strength: Annotated[Number, Bound(gt=0)] = 1.5,
    examples: Annotated[Whole, Bound(ge=10)] = 300,
    repetitions: Annotated[Whole, Bound(ge=1)] = 5,
) -> Iterator[Numbers]:
    """Two classes of normal examples, of whose features p are used; the rest of the signal acts as noise.

    Where the examples are not separable by a hyperplane through the origin, the logistic loss is minimised by Newton's
    method; else the largest margin is found exactly, as a least-distance problem. Both are where gradient descent goes.

    Args:
        bench: streams.
        world: ``mixture``: x = yμ + z, ‖μ‖ = r; ``logistic``: y drawn with odds exp(x·β), ‖β‖ = r.
        profile: whether the signal seen grows with the features or is all seen by the first of them.
        strength: r.
        examples: n.
        repetitions: independent data sets that errors are averaged over.

    Yields:
        For each κ = p/n: mean test error, exact for each classifier; its limit; the threshold κ* of that signal; and
        the share of separable data sets.
    """
    import numpy as np

    widest = max(2, round(RATIOS[-1] * examples))
    inputs = bench.normals("simulation/inputs", repetitions * examples, widest).reshape(repetitions, examples, widest)
    noises = bench.normals("simulation/noise", repetitions * examples, 1).reshape(repetitions, examples)
    uniform = bench.stream("simulation/noise").words(np.arange(repetitions * examples))[:, 1] / 2.0**32
    uniform = uniform.reshape(repetitions, examples)
    for number, ratio in enumerate(RATIOS):
        bench.desk.told(number, len(RATIOS))
        width = max(2, round(ratio * examples))
        seen = seen_signal(profile, width / examples, strength)
        law = margin(world, seen, strength)
        errors, separable = [], 0
        for drawn, rest, coins in zip(inputs, noises, uniform, strict=True):
            used = drawn[:, :width].copy()
            if world == "mixture":
                used[:, 0] += seen  # y x = μ + y z, and y z is distributed as z
            else:
                logits = seen * used[:, 0] + math.sqrt(max(strength**2 - seen**2, 0.0)) * rest
                used *= np.where(coins < 1 / (1 + np.exp(-logits)), 1.0, -1.0)[:, None]
            weights = largest_margin_weights(used)
            separable += weights is not None
            if weights is None:
                weights = logistic_weights(used)
            errors.append(law.error(float(weights[0] / np.linalg.norm(weights))))
        expected, threshold = limit_error(world, width / examples, seen, strength)
        yield {
            "ratio": width / examples,
            "simulated_error": float(np.mean(errors)),
            "formula_error": expected,
            "threshold": threshold,
            "separable": separable / repetitions,
        }


def largest_margin_weights(signed: Matrix) -> Matrix | None:
    """The shortest w with ``signed @ w >= 1``; none where there is no such w.

    Lawson & Hanson's least-distance programming: with u ≥ 0 nearest to solving [signedᵀ; 1ᵀ] u = (0, …, 0, 1) and r the
    residual, w = -r₁…p / r₍p₊₁₎, and the inequalities contradict each other where r = 0.
    """
    import numpy as np
    from scipy.optimize import nnls

    stacked = np.vstack([signed.T, np.ones(len(signed))])
    wanted = np.zeros(len(stacked))
    wanted[-1] = 1.0
    found, size = nnls(stacked, wanted, maxiter=50 * len(signed))
    if size < 1e-7:
        return None
    residual = stacked @ found - wanted
    weights: Matrix = -residual[:-1] / residual[-1]
    return weights


def logistic_weights(signed: Matrix) -> Matrix:
    """The minimiser of Σ log(1 + exp(-signed @ w)) by damped Newton steps, to a gradient of 1e-8 for each example.

    Raises:
        ModelError: ``logistic-not-converged`` where 200 steps were not enough, as for separable examples.
    """
    import numpy as np

    def loss(weights: Matrix) -> float:
        return float(np.logaddexp(0, -signed @ weights).sum())

    weights = np.zeros(signed.shape[1])
    for _ in range(200):
        fall = 1 / (1 + np.exp(np.clip(signed @ weights, -500, 500)))
        gradient = -signed.T @ fall
        if float(np.abs(gradient).max()) < 1e-8 * len(signed):
            return weights
        step = np.linalg.solve((signed.T * (fall * (1 - fall))) @ signed + 1e-12 * np.eye(len(weights)), gradient)
        size, before = 1.0, loss(weights)
        while loss(weights - size * step) > before - 1e-4 * size * float(gradient @ step) and size > 1e-6:
            size /= 2
        weights = weights - size * step
    raise ModelError(
        "logistic-not-converged", "Newton's method found no minimum of the logistic loss; are the examples separable?"
    )
