"""How the time to fit grows with the number of examples: a curve through subsets, carried on to a larger number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shattering.core.statistics import CONFIDENCE

Floats = NDArray[np.floating[Any]]

BEND = 0.1
"""How much the exponent may drift for each factor e of examples: standard deviation of the prior on the curvature.

A straight line in the logarithms is a habit, not a law: the exponents of the networks measured for this project rose by
about 0.1 for each factor e. An interval that took the line for granted would be far too narrow ten times further on."""

BEND_OF_RATIO = 0.05
"""The same for the ratio of two times, whose curves bend together."""

WANDER = 5.0
"""How much more, beyond the largest size seen, the exponent wanders on its own: in multiples of `BEND`, for each root
of a factor e of examples.

The bend of the sizes seen need not go on: on CIFAR-10 an MLP fitted random labels of 2,048, 4,096, 16,384 and 22,936
examples in about 270, 540, 4,700 and 11,500 updates. Without this, its times at four times the largest subset lay
outside their intervals; with half of it, those on random labels still did."""

FEWEST_SIZES = 3
"""Sizes, below which nothing is said of a larger one."""

_ROUNDS, _CLOSE = 100, 1e-4


@dataclass(frozen=True)
class Seen:
    """A positive quantity seen at a number of examples.

    Args:
        examples: number of training examples.
        value: the quantity, such as updates until the fit criterion was met.
        bound: ``exact``; ``lower`` where the truth is at least ``value``, ``upper`` where it is at most that.
        resolution: smallest relative step in which it could have been seen, in [0, 1): an epoch over the updates.
    """

    examples: int
    value: float
    bound: Literal["exact", "lower", "upper"] = "exact"
    resolution: float = 0.0


@dataclass(frozen=True)
class Predicted:
    """What one further run is predicted to show.

    Args:
        value: its median.
        low, high: ends of the 95% prediction interval.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Curve:
    """log quantity = a + b·t + c·t²/2 + ε, with t = log examples − centre and ε normal; c has a prior around 0.

    Args:
        centre: mean of log examples over the points.
        coefficients: a, b, c.
        covariance: of the coefficients, ``[3, 3]``.
        scatter: standard deviation of ε, from run to run.
        freedom: degrees of freedom of the scatter.
        widening: factor of at least 1 on every interval, where a check has shown them too narrow.
        reach: logarithm of the largest number of examples seen.
        wander: standard deviation of the exponent's own way beyond it, for each root of a factor e of examples.
        beyond, least: for more than ``beyond`` examples nothing below ``least`` is predicted: a time to fit does not
            fall as examples are added.
    """

    centre: float
    coefficients: Floats
    covariance: Floats
    scatter: float
    freedom: int
    widening: float = 1.0
    reach: float = math.inf
    wander: float = 0.0
    beyond: float = math.inf
    least: float = 0.0

    def at(self, examples: float) -> tuple[float, float]:
        """Median and standard deviation of the logarithm of one further run.

        An exponent that goes its own way like a Brownian motion over a distance s moves the logarithm by a normal
        number of variance wander² s³/3, its integral.
        """
        basis = _basis(np.array([math.log(examples) - self.centre]))[0]
        ahead = max(0.0, math.log(examples) - self.reach)
        variance = self.scatter**2 + float(basis @ self.covariance @ basis) + self.wander**2 * ahead**3 / 3
        return float(basis @ self.coefficients), self.widening * math.sqrt(variance)

    def predict(self, examples: float) -> Predicted:
        """Median and prediction interval of one further run: exp(median ± t(freedom) · deviation)."""
        middle, deviation = self.at(examples)
        half = _quantile(self.freedom) * deviation
        least = self.least if examples > self.beyond else 0.0
        return Predicted(*(max(least, _exp(value)) for value in (middle, middle - half, middle + half)))

    def exponent(self, examples: float) -> float:
        """d log quantity / d log examples there."""
        _, slope, bend = self.coefficients
        return float(slope + bend * (math.log(examples) - self.centre))

    def probability_below(self, examples: float, value: float) -> float:
        """Probability in [0, 1] that one further run shows at most ``value``."""
        from scipy.special import stdtr

        middle, deviation = self.at(examples)
        return float(stdtr(self.freedom, (math.log(value) - middle) / deviation))


def fit_curve(points: Sequence[Seen], *, bend: float = BEND, rising: bool = False) -> Curve | None:
    """Fits the curve by penalised maximum likelihood; bounds count as bounds.

    The penalty is (c / bend)², the prior on the curvature. Points that are only bounds enter by expectation and
    maximisation (Dempster, Laird and Rubin, 1977; for censored regression, Schmee and Hahn, 1979): each stands at the
    mean of what it may be, and weighs as much as it tells (its share of the Fisher information), so it widens the
    interval. The scatter comes from the residuals about a curve without penalty, and is not smaller than rounding to
    whole epochs would make it.

    Args:
        points: what was seen, in any order.
        bend: standard deviation of the prior on c.
        rising: whether the quantity cannot fall as examples are added.

    Returns:
        the curve; none where fewer than two sizes have an exact point, or too few runs tell the scatter.
    """
    exact = [point for point in points if point.bound == "exact"]
    sizes = len({point.examples for point in exact})
    free = len(exact) - min(sizes, 3)
    if sizes < 2 or free < 1:
        return None
    logs = np.log([point.examples for point in points])
    seen = np.log([point.value for point in points])
    side = np.array([{"exact": 0.0, "lower": 1.0, "upper": -1.0}[point.bound] for point in points])
    centre = float(np.log([point.examples for point in exact]).mean())
    basis, open_ended = _basis(logs - centre), side != 0
    plain = basis[:, : min(sizes, 3)]
    rounding = float(np.mean([math.log1p(point.resolution) ** 2 for point in exact])) / 12
    penalty = np.diag([0.0, 0.0, bend**-2])
    filled: Floats = seen.copy()
    spread: Floats = np.zeros(len(seen))
    weights: Floats = np.ones(len(seen))
    likeliest = 1e-2
    for _ in range(_ROUNDS):
        residuals = filled - plain @ np.linalg.lstsq(plain, filled, rcond=None)[0]
        before, likeliest = likeliest, max(float(residuals @ residuals + spread.sum()) / len(seen), rounding, 1e-8)
        middle = basis @ np.linalg.solve(basis.T @ basis / likeliest + penalty, basis.T @ filled / likeliest)
        if abs(likeliest - before) <= _CLOSE * likeliest:
            break
        if open_ended.any():
            filled, spread, weights = _filled_in(seen, side, middle, math.sqrt(likeliest))
    # The likeliest variance is too small by the parameters that were fitted; bounds tell of it least.
    variance = max(float(likeliest) * len(exact) / free, rounding)
    coefficients: Floats = np.linalg.solve(basis.T @ basis / variance + penalty, basis.T @ filled / variance)
    covariance: Floats = np.linalg.inv((basis * weights[:, None]).T @ basis / variance + penalty)
    largest = max(point.examples for point in exact)
    reach, wander = math.log(largest), WANDER * bend
    curve = Curve(centre, coefficients, covariance, math.sqrt(variance), free, reach=reach, wander=wander)
    if not rising:
        return curve
    return replace(curve, beyond=largest, least=min(point.value for point in exact if point.examples == largest))


@dataclass(frozen=True)
class HeldOut:
    """The largest size, predicted from smaller ones alone.

    Args:
        examples: that size.
        largest_used, sizes_used: the largest, and the number, of the sizes it was predicted from.
        predicted: from them.
        observed: geometric mean of its runs; bounds count as if they were exact.
        bounds: how many of its runs are only bounds; ``observed`` is then one too.
        inside: runs inside the prediction interval.
        runs: of how many.
        deviations: |log observed − log predicted| over the half-width of the interval for one run.
    """

    examples: int
    largest_used: int
    sizes_used: int
    predicted: Predicted
    observed: float
    bounds: int
    inside: int
    runs: int
    deviations: float

    @property
    def factor(self) -> float:
        """Observed over predicted: 1 where the prediction was right."""
        return self.observed / self.predicted.value


def hold_out(points: Sequence[Seen], *, bend: float = BEND, rising: bool = False) -> list[HeldOut]:
    """Predicts the largest size from the sizes below it, then from ever fewer of them; the nearest first.

    At least two sizes predict. Empty where there are fewer than three.
    """
    sizes = sorted({point.examples for point in points})
    if len(sizes) < FEWEST_SIZES:
        return []
    last = [point for point in points if point.examples == sizes[-1]]
    found = []
    for count in range(len(sizes) - 1, 1, -1):
        curve = fit_curve([p for p in points if p.examples <= sizes[count - 1]], bend=bend, rising=rising)
        if curve is None:
            continue
        predicted = curve.predict(sizes[-1])
        observed = math.exp(math.fsum(math.log(point.value) for point in last) / len(last))
        inside = sum(_within(point, predicted) for point in last)
        half = math.log(predicted.high / predicted.value)
        off = abs(math.log(observed / predicted.value)) / half if half > 0 else math.inf
        bounds = sum(point.bound != "exact" for point in last)
        found.append(HeldOut(sizes[-1], sizes[count - 1], count, predicted, observed, bounds, inside, len(last), off))
    return found


def checked_curve(
    points: Sequence[Seen], *, bend: float = BEND, rising: bool = False
) -> tuple[Curve | None, list[HeldOut]]:
    """The curve through all sizes, its intervals widened where the held-out size lay outside its own.

    The widening is the largest miss, in half-widths, among the nearest check and those from three sizes or more.

    Returns:
        the curve, none where fewer than three sizes were seen or the points do not tell, and the checks.
    """
    if len({point.examples for point in points}) < FEWEST_SIZES:
        return None, []
    curve = fit_curve(points, bend=bend, rising=rising)
    checks = hold_out(points, bend=bend, rising=rising)
    if curve is None:
        return None, checks
    # Two sizes cannot show a bend, so what they miss counts only where nothing else was to be had.
    telling = [check.deviations for check in checks if check.sizes_used >= FEWEST_SIZES or check is checks[0]]
    return replace(curve, widening=max([1.0, *telling])), checks


def ratio_points(slow: Sequence[Seen | None], fast: Sequence[Seen | None]) -> list[Seen]:
    """Quotients of paired runs; where one of the two is a bound so is the quotient, and two bounds tell nothing."""
    found = []
    for above, below in zip(slow, fast, strict=True):
        if above is None or below is None or (above.bound != "exact" and below.bound != "exact"):
            continue
        bound: Literal["exact", "lower", "upper"] = "exact"
        if above.bound != "exact":
            bound = above.bound
        elif below.bound != "exact":
            bound = "upper" if below.bound == "lower" else "lower"
        found.append(Seen(above.examples, above.value / below.value, bound, max(above.resolution, below.resolution)))
    return found


@dataclass(frozen=True)
class Bracket:
    """The capacity of one seed within a budget of updates: it lies in [fits, fails).

    Args:
        seed: of the runs.
        fits: the largest number of examples that was fitted within the budget; none where none was.
        fails: the smallest above it that was not; none where every larger one tried was, up to the whole data.
    """

    seed: int
    fits: int | None
    fails: int | None


def bracket(seed: int, outcomes: Sequence[tuple[int, bool]]) -> Bracket:
    """The bracket from (examples, fitted within the budget); the largest that fits decides where they cross."""
    fits = max((size for size, fitted in outcomes if fitted), default=None)
    fails = min((size for size, fitted in outcomes if not fitted and size > (fits or 0)), default=None)
    return Bracket(seed, fits, fails)


CLOSE_ENOUGH = 1.1
"""A bracket whose ends are closer than this factor is not halved again."""


def next_size(found: Bracket, start: int, smallest: int, largest: int) -> int | None:
    """Where to look next: bisection of the logarithm once both ends are known, growing strides before.

    Args:
        found: what is known.
        start: the first guess, where nothing is known.
        smallest, largest: the sizes that can be tried, both included.

    Returns:
        a size; none where the bracket is close enough, or there is nothing left to try.
    """
    if found.fits is None and found.fails is None:
        return min(max(start, smallest), largest)
    if found.fits is None:
        assert found.fails is not None
        return max(smallest, round(found.fails / 1.4)) if found.fails > smallest else None
    if found.fails is None:
        return min(largest, round(found.fits * 1.4) + 1) if found.fits < largest else None
    if found.fails <= max(found.fits * CLOSE_ENOUGH, found.fits + 1):
        return None
    return min(max(round(math.sqrt(found.fits * found.fails)), found.fits + 1), found.fails - 1)


def size_within(curve: Curve, value: float, smallest: int, largest: int) -> tuple[float, float, float]:
    """The number of examples at which one further run reaches ``value``: by the median, and by the interval's ends.

    Each is where the curve first exceeds ``value`` on the way from ``smallest`` to ``largest``, and one of these where
    it does so at once or never.

    Returns:
        size by the median, by the upper end (the smallest size), by the lower end (the largest).
    """
    grid = np.exp(np.linspace(math.log(smallest), math.log(largest), 400))
    ends = [curve.predict(size) for size in grid]

    def first(values: list[float]) -> float:
        above = [place for place, reached in enumerate(values) if reached > value]
        return float(grid[max(above[0] - 1, 0)]) if above else float(largest)

    return (
        first([end.value for end in ends]),
        first([end.high for end in ends]),
        first([end.low for end in ends]),
    )


def _basis(t: Floats) -> Floats:
    return np.stack([np.ones_like(t), t, t * t / 2], axis=1)


def _filled_in(seen: Floats, side: Floats, middle: Floats, deviation: float) -> tuple[Floats, Floats, Floats]:
    """Mean and variance of each value given what is known of it, and the share of information that it carries."""
    from scipy.special import log_ndtr

    distance = np.where(side != 0, side * (seen - middle) / deviation, 0.0)
    # Normal density over the probability beyond, by logarithms: both vanish far out.
    hazard = np.exp(-(distance**2) / 2 - 0.5 * math.log(2 * math.pi) - log_ndtr(-distance))
    kept = np.clip(hazard * (hazard - distance), 0.0, 1.0)
    open_ended = side != 0
    return (
        np.where(open_ended, middle + side * deviation * hazard, seen),
        np.where(open_ended, deviation**2 * (1 - kept), 0.0),
        np.where(open_ended, kept, 1.0),
    )


def _within(point: Seen, predicted: Predicted) -> bool:
    if point.bound == "lower":
        return point.value <= predicted.high
    if point.bound == "upper":
        return point.value >= predicted.low
    return predicted.low <= point.value <= predicted.high


def _quantile(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _exp(logarithm: float) -> float:
    return math.exp(min(logarithm, 700.0))
