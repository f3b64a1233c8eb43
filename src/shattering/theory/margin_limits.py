"""Sharp limits of logistic regression and of the hard-margin classifier, on p of many normal features, n, p → ∞.

Deng, Kammoun & Thrampoulidis (2019), "A model of double descent for high-dimensional binary linear classification", by
the convex Gaussian min-max theorem: below κ* = p/n the logistic loss has a minimiser, above it gradient descent goes
to the classifier with the largest margin.

Everything depends on the margin Z along the direction of the signal: for the mixture (x = yμ + z, of which ‖μ‖ = s is
seen) Z = s + V; for labels drawn from a logistic model Z = V with the density 2 φ(v) E σ(sv + √(r² - s²) G).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
World = Literal["mixture", "logistic"]
FIRST_STARTS = ((0.0, -1.0, 0.0), (0.7, -0.5, -1.0), (-1.0, -1.0, -1.0), (1.0, 1.0, 2.0))
"""Logarithms of (μ, a, λ) that Newton steps begin at, for few features for each example."""

PATH = (0.4, 0.7, 0.85, 0.93, 0.97, 0.99)
"""Parts of κ* solved one after another on the way: near κ* only a neighbour's solution is a good beginning."""

NODES = 161
"""Equally spaced, of the normal variable that the loss is seen through, and in which it bends sharply near κ*."""


@dataclass(frozen=True)
class Margin:
    """The law of Z as nodes and weights that sum to 1, and the direction's own noise.

    Args:
        values, weights: of Z, ``[nodes]``.
        centre: s for the mixture; none for logistic labels, whose test error needs the law itself.
    """

    values: Numbers
    weights: Numbers
    centre: float | None

    def error(self, cosine: float) -> float:
        """Probability in [0, 1] that a new example is misclassified, for the cosine in [-1, 1] with the signal seen."""
        if self.centre is not None:
            return float(_below(np.array(-self.centre * cosine)))
        if abs(cosine) >= 1:
            return float(self.weights @ (self.values * cosine < 0))
        return float(self.weights @ _below(-cosine * self.values / math.sqrt(1 - cosine**2)))


def margin(world: World, seen: float, whole: float) -> Margin:
    """The law of Z where features of strength ``seen`` s in [0, r] are used, of r = ``whole`` there are."""
    nodes, weights = _normal(101)
    if world == "mixture":
        return Margin(seen + nodes, weights, seen)
    inner, inner_weights = _normal(101)
    logits = seen * nodes[:, None] + math.sqrt(max(whole**2 - seen**2, 0.0)) * inner
    tilted = 2 * weights * ((0.5 * (1 + np.tanh(logits / 2))) @ inner_weights)
    return Margin(nodes, tilted / tilted.sum(), None)


def separability(law: Margin) -> float:
    """κ* = min over t of E (G + tZ)₋²: with more features than that for each example, the examples are separable."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(lambda t: float(law.weights @ _negative_square(t * law.values)), bounds=(-50, 50),
                            method="bounded", options={"xatol": 1e-10})  # fmt: skip
    wide = minimize_scalar(lambda t: float(law.weights @ _negative_square(t * law.values)), bracket=(0.0, 0.5))
    return float(min(found.fun, wide.fun))


def logistic_cosine(law: Margin, ratio: float) -> float | None:
    """Cosine between the minimiser of the logistic loss and the signal seen, at p/n = ``ratio`` below κ*.

    With x = prox of λ log(1 + e⁻ᵗ) at aG + μZ, the unknowns (μ, a, λ) solve E Z ℓ'(x) = 0, λ² E ℓ'(x)² = a² κ and
    E 1/(1 + λ ℓ''(x)) = 1 - κ; the cosine is μ/√(μ² + a²).

    Returns:
        None where no solution was found, as from κ* on.
    """
    from scipy.optimize import least_squares

    nodes = np.linspace(-7, 7, NODES)
    weights = np.exp(-(nodes**2) / 2) / np.exp(-(nodes**2) / 2).sum()
    grid_weights = law.weights[:, None] * weights

    def equations(logs: Numbers, ratio: float) -> Numbers:
        mu, noise, step = np.exp(np.clip(logs, -20, 20))
        point = _prox(noise * nodes + mu * law.values[:, None], step)
        slope = -1 / (1 + np.exp(np.clip(point, -700, 700)))
        bend = -slope * (1 + slope)
        return np.array([
            float((grid_weights * law.values[:, None] * slope).sum()) * step / noise,
            math.log(float((grid_weights * slope**2).sum()) * step**2 / (noise**2 * ratio)),
            float((grid_weights / (1 + step * bend)).sum()) - 1 + ratio,
        ])  # fmt: skip

    threshold = separability(law)
    solution: Numbers | None = None
    for target in (*(part * threshold for part in PATH if part * threshold < ratio), ratio):
        starts = FIRST_STARTS if solution is None else (solution,)
        tries = (
            least_squares(equations, start, args=(target,), xtol=1e-15, ftol=1e-15, gtol=1e-15) for start in starts
        )
        solution = next((found.x for found in tries if found.cost < 1e-14), None)
        if solution is None:
            return None
    assert solution is not None
    mu, noise, _ = np.exp(solution)
    return float(mu / math.hypot(mu, noise))


def largest_margin(law: Margin, ratio: float) -> tuple[float, float]:
    """Normalised margin and cosine of the hard-margin classifier at p/n = ``ratio`` above κ*.

    The margin is the m where min over u of √E(m - √(1 - u²) G - uZ)₊² - √(κ(1 - u²)) is zero, and u there the cosine.
    """
    from scipy.optimize import brentq, minimize_scalar

    def gap(angle: float, wanted: float) -> float:
        across, along = math.cos(angle), math.sin(angle)
        lacking = float(law.weights @ _negative_square((along * law.values - wanted) / across)) * across**2
        return math.sqrt(lacking) - math.sqrt(ratio) * across

    def smallest(wanted: float) -> tuple[float, float]:
        coarse = np.linspace(-1.2, 1.55, 56)
        middle = int(np.argmin([gap(angle, wanted) for angle in coarse]))
        ends = (float(coarse[max(middle - 1, 0)]), float(coarse[min(middle + 1, len(coarse) - 1)]))
        found = minimize_scalar(lambda angle: gap(angle, wanted), bounds=ends, method="bounded",
                                options={"xatol": 1e-9})  # fmt: skip
        return float(found.fun), float(found.x)

    high = 1.0
    while smallest(high)[0] < 0:
        high *= 2
    size = float(brentq(lambda wanted: smallest(wanted)[0], 0.0, high, xtol=1e-9))
    return size, math.sin(smallest(size)[1])


@cache
def limit_error(world: World, ratio: float, seen: float, whole: float) -> tuple[float, float]:
    """Test error in the limit, and the threshold κ* of that signal: the minimiser's below it, the margin's above."""
    law = margin(world, seen, whole)
    threshold = separability(law)
    cosine = logistic_cosine(law, ratio) if ratio < threshold else None
    if cosine is None:
        cosine = largest_margin(law, max(ratio, threshold * (1 + 1e-6)))[1]
    return law.error(cosine), threshold


@cache
def _normal(count: int) -> tuple[Numbers, Numbers]:
    """Nodes and weights of the standard normal law."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes, weights / weights.sum()


def _below(values: Numbers) -> Numbers:
    """P(G < value) of a standard normal G."""
    from scipy.special import ndtr

    found: Numbers = ndtr(values)
    return found


def _negative_square(shift: Numbers) -> Numbers:
    """E (G + shift)₋² = (1 + c²) Φ(-c) - c φ(c), for a standard normal G and c = shift."""
    density = np.exp(-(shift**2) / 2) / math.sqrt(2 * math.pi)
    found: Numbers = (1 + shift**2) * _below(-shift) - shift * density
    return np.maximum(found, 0)


def _prox(points: Numbers, step: float) -> Numbers:
    """argmin over x of (x - point)²/2 + step log(1 + e⁻ˣ), between point and point + step: bisection, then Newton."""
    low, high = points, points + step
    for _ in range(max(0, math.ceil(math.log2(step + 1e-12))) + 3):
        x = (low + high) / 2
        left = x - points < step / (1 + np.exp(np.clip(x, -700, 700)))
        low, high = np.where(left, x, low), np.where(left, high, x)
    x = (low + high) / 2
    for _ in range(8):
        fall = 1 / (1 + np.exp(np.clip(x, -700, 700)))
        x = x - (x - points - step * fall) / (1 + step * fall * (1 - fall))
    return x
