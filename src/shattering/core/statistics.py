"""Intervals, p-values and censored medians: 95% throughout, and no interval from fewer than three runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shattering.core.errors import ShatteringError

CONFIDENCE = 0.95
FEWEST_RUNS = 3
"""With fewer runs an interval would say more about the formula than about the runs."""

Interval = tuple[float, float | None, float | None]
"""Value, low end, high end; the ends are none where there is no interval."""


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean with Student's interval: mean ± t(n − 1) · s / √n.

    Args:
        values: one finite number per run, at least one.

    Returns:
        mean, low, high; ends none below three values, and equal to the mean where all values are equal.

    Raises:
        ShatteringError: ``statistics-not-finite`` or ``statistics-empty``.
    """
    mean = math.fsum(_finite(values)) / len(values)
    if len(values) < FEWEST_RUNS:
        return mean, None, None
    from scipy.special import stdtrit

    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    half = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * spread / math.sqrt(len(values))
    return mean, mean - half, mean + half


def median_interval(values: Sequence[float]) -> Interval:
    """Median with the exact interval of order statistics, for numbers with heavy tails.

    The interval goes from the k-th smallest to the k-th largest value, for the largest k whose coverage, 1 − 2 P(B < k)
    with B binomial of n trials and probability ½, is at least 95%: the sign test turned round.

    Args:
        values: one finite number per run, at least one.

    Returns:
        median, low, high; ends none below six values, of which no pair covers 95%.

    Raises:
        ShatteringError: ``statistics-not-finite`` or ``statistics-empty``.
    """
    ordered = sorted(_finite(values))
    n = len(ordered)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    below, k = 0.0, 0
    while True:  # P(B <= k) stays within 2.5%
        below += math.comb(n, k) * 0.5**n
        if below > 0.025:
            break
        k += 1
    return (middle, None, None) if k == 0 else (middle, ordered[k - 1], ordered[n - k])


def proportion_interval(successes: int, trials: int) -> tuple[float, float, float]:
    """Proportion of independent trials with the exact interval of Clopper and Pearson (1934).

    It covers at least 95% for every true proportion. Wilson's interval is a little narrower but falls to 84% close to
    0 and 1, which is where accuracies of networks that fit their data lie.

    Args:
        successes: integer in 0 … trials.
        trials: integer of at least 1.

    Returns:
        proportion, low, high, all in [0, 1]; low is 0 without a success and high is 1 without a failure.

    Raises:
        ShatteringError: ``statistics-wrong-count`` for counts outside those ranges.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ShatteringError(
            "statistics-wrong-count", f"{successes} of {trials} is not a proportion; check the counts."
        )
    from scipy.special import betaincinv

    tail, failures = (1 - CONFIDENCE) / 2, trials - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
    return successes / trials, low, high


def accuracy_interval(accuracies: Sequence[float], examples: int) -> Interval:
    """Mean accuracy of several runs, each measured on ``examples`` examples, with an interval for both kinds of chance.

    The interval is the smallest that holds both Student's interval over the runs (spread from seed to seed) and the
    exact interval of all correct answers counted together (finite number of examples), cut to [0, 1]. So three runs
    at exactly 100% do not pretend to certainty.

    Args:
        accuracies: one fraction in [0, 1] per run.
        examples: number of examples behind each, at least 1.

    Returns:
        mean, low, high; ends none below three runs.

    Raises:
        ShatteringError: ``statistics-not-finite``, ``statistics-empty`` or ``statistics-wrong-count``.
    """
    mean, low, high = mean_interval(accuracies)
    if low is None or high is None:
        return mean, None, None
    _, pooled_low, pooled_high = proportion_interval(
        round(math.fsum(accuracies) * examples), len(accuracies) * examples
    )
    return mean, max(0.0, min(low, pooled_low)), min(1.0, max(high, pooled_high))


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Geometric mean of paired ratios, with Student's interval on their logarithms.

    Args:
        numerators, denominators: positive numbers of the same runs in the same order.

    Returns:
        geometric mean of numerator / denominator, low, high; ends none below three pairs.

    Raises:
        ShatteringError: ``statistics-wrong-ratio`` where lengths differ or a number is not positive.
    """
    if len(numerators) != len(denominators) or min(*numerators, *denominators, math.inf) <= 0:
        raise ShatteringError(
            "statistics-wrong-ratio", "A ratio needs pairs of positive numbers, one pair per run; check the records."
        )
    logs = [math.log(above / below) for above, below in zip(numerators, denominators, strict=True)]
    mean, low, high = mean_interval(logs)
    if low is None or high is None:
        return math.exp(mean), None, None
    return math.exp(mean), math.exp(low), math.exp(high)


def geometric_interval(values: Sequence[float]) -> Interval:
    """Geometric mean of positive numbers, with Student's interval on their logarithms: `ratio_interval` over ones."""
    return ratio_interval(values, [1.0] * len(values))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's correlation of pairs, equal values sharing their mean rank: from -1 to 1; none where one never varies.

    Args:
        first, second: finite numbers of the same things in the same order.
    """
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    from scipy.stats import rankdata

    left, right = (ranks - ranks.mean() for ranks in (rankdata(first), rankdata(second)))
    return float(left @ right / ((left @ left) * (right @ right)) ** 0.5)


@dataclass(frozen=True)
class PermutationTest:
    """Outcome of a permutation test.

    Args:
        p: (b + 1) / (m + 1), in (0, 1].
        smallest: 1 / (m + 1), the smallest p that m permutations can give.
    """

    p: float
    smallest: float


def permutation_p(observed: float, permuted: Sequence[float]) -> PermutationTest:
    """One-sided p of a permutation test: p = (b + 1) / (m + 1).

    ``b`` counts the permuted statistics at least as large as the observed one, ties included; the observed order is
    itself one of the permutations, so p is never 0 (Phipson and Smyth, 2010).

    Args:
        observed: the statistic, larger where the null hypothesis is less likely.
        permuted: the same statistic under m random permutations.

    Raises:
        ShatteringError: ``statistics-not-finite`` or ``statistics-empty``.
    """
    _finite([observed])
    beyond = sum(value >= observed for value in _finite(permuted))
    return PermutationTest((beyond + 1) / (len(permuted) + 1), 1 / (len(permuted) + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, so that any false rejection among them has at most the level's probability.

    Holm's (1979) step-down method: with p(1) ≤ … ≤ p(m), the corrected p(i) is the largest of (m - j + 1) · p(j) over
    j ≤ i, at most 1. It needs no independence.

    Args:
        p_values: of m tests, each in (0, 1]; may be empty.

    Returns:
        The corrected ones in the order given, none smaller than it was.

    Raises:
        ShatteringError: ``statistics-wrong-p`` for a value outside (0, 1].
    """
    if not all(0 < p <= 1 for p in p_values):
        raise ShatteringError("statistics-wrong-p", "A p-value lies above 0 and is at most 1; check the tests.")
    corrected, largest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


@dataclass(frozen=True)
class CensoredMedian:
    """Median of times of which some are only lower bounds.

    Args:
        value: the median; none where fewer than half are known to have ended.
        bound: the longest time seen, the median's lower bound where there is no value.
    """

    value: float | None
    bound: float

    @property
    def text(self) -> str:
        """``"120"``, or ``"> 500"`` where it was not reached."""
        return f"> {self.bound:g}" if self.value is None else f"{self.value:g}"


def censored_median(times: Sequence[float], censored: Sequence[bool]) -> CensoredMedian:
    """Kaplan and Meier's (1958) median: the first time by which at least half have ended.

    Args:
        times: one positive number per run: when it ended, or when watching stopped.
        censored: whether watching stopped first.

    Raises:
        ShatteringError: ``statistics-not-finite`` or ``statistics-empty``.
    """
    bound = max(_finite(times))
    from scipy.stats import CensoredData, ecdf

    known = [time for time, stopped in zip(times, censored, strict=True) if not stopped]
    if not known:
        return CensoredMedian(None, bound)
    survival = ecdf(CensoredData.right_censored(list(times), list(censored))).sf
    # Products of fractions miss one half by a rounding error, either way.
    reached = [
        float(time) for time, left in zip(survival.quantiles, survival.probabilities, strict=True) if left <= 0.5 + 1e-9
    ]
    return CensoredMedian(reached[0] if reached else None, bound)


def _finite(values: Sequence[float]) -> Sequence[float]:
    if not len(values):
        raise ShatteringError("statistics-empty", "There is no run to take a mean of; check that some have ended.")
    if not all(math.isfinite(value) for value in values):
        raise ShatteringError(
            "statistics-not-finite", "A mean over runs met a value that is not finite; leave diverged runs out by name."
        )
    return values
