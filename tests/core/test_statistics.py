"""Coverage of the intervals, and calibration of p, by simulation: 4,000 repetitions with a fixed seed."""

import functools
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from shattering.core.errors import ShatteringError
from shattering.core.statistics import (
    accuracy_interval,
    censored_median,
    geometric_interval,
    mean_interval,
    permutation_p,
    proportion_interval,
    rank_correlation,
    ratio_interval,
)

REPETITIONS = 4000
PROMISED = 0.935
cached_accuracy_interval = functools.cache(accuracy_interval)
cached_proportion_interval = functools.cache(proportion_interval)


def covered(intervals, truth):
    # A rounding error at an end that equals the truth is not a miss.
    return np.mean([low - 1e-12 <= truth <= high + 1e-12 for _, low, high in intervals])


@pytest.mark.parametrize("runs", [3, 5, 20])
def test_mean_interval_covers(runs):
    draws = np.random.default_rng(0).normal(2.0, 3.0, (REPETITIONS, runs)).tolist()
    share = covered([mean_interval(row) for row in draws], 2.0)
    assert PROMISED <= share <= 0.965


def test_mean_interval_by_hand():
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert high - mean == pytest.approx(4.302652729911275 / math.sqrt(3), rel=1e-9)
    assert mean - low == pytest.approx(high - mean)


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.7]])
def test_fewer_than_three_runs_have_no_interval(values):
    assert mean_interval(values)[1:] == (None, None)
    assert accuracy_interval(values, 100)[1:] == (None, None)
    assert ratio_interval(values, values)[1:] == (None, None)


@pytest.mark.parametrize("trials", [3, 30, 300])
@pytest.mark.parametrize("rate", [0.0, 0.0006, 0.01, 0.1, 0.5, 0.9995, 1.0])
def test_proportion_interval_covers(trials, rate):
    successes = np.random.default_rng(1).binomial(trials, rate, REPETITIONS).tolist()
    assert covered([cached_proportion_interval(count, trials) for count in successes], rate) >= PROMISED


@pytest.mark.parametrize("spread", [0.0, 0.02])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("runs", [3, 5])
def test_accuracy_interval_covers(runs, rate, spread):
    if spread and not 0.05 < rate < 0.95:
        spread = 0.0005 if 0 < rate < 1 else 0.0
    generator = np.random.default_rng(2)
    rates = np.clip(generator.normal(rate, spread, (REPETITIONS, runs)), 0, 1)
    accuracies = generator.binomial(100, rates) / 100
    truth = float(np.mean(np.clip(np.random.default_rng(3).normal(rate, spread, 10**6), 0, 1)))
    intervals = [cached_accuracy_interval(tuple(sorted(row)), 100) for row in accuracies.tolist()]
    assert covered(intervals, truth) >= PROMISED


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (1, 7), (299, 300), (300, 300)])
def test_proportion_interval_is_the_exact_one(successes, trials):
    ends = binomtest(successes, trials).proportion_ci(0.95, method="exact")
    assert proportion_interval(successes, trials)[1:] == pytest.approx((ends.low, ends.high), rel=1e-9)


def test_three_perfect_runs_are_not_certain():
    mean, low, high = accuracy_interval([1.0, 1.0, 1.0], 100)
    assert mean == high == 1.0
    assert low == pytest.approx(0.025 ** (1 / 300), rel=1e-9)


def test_accuracy_interval_stays_a_fraction():
    _, low, high = accuracy_interval([0.0, 0.9, 1.0], 10)
    assert (low, high) == (0.0, 1.0)


@pytest.mark.parametrize("runs", [3, 5, 20])
def test_ratio_interval_covers(runs):
    generator = np.random.default_rng(4)
    below = generator.lognormal(5.0, 1.0, (REPETITIONS, runs))
    above = below * generator.lognormal(math.log(2.5), 0.3, (REPETITIONS, runs))
    assert PROMISED <= covered([ratio_interval(a, b) for a, b in zip(above, below, strict=True)], 2.5) <= 0.965


def test_ratio_interval_is_geometric_and_inverts():
    ratio, low, high = ratio_interval([2.0, 4.0, 8.0], [1.0, 1.0, 1.0])
    assert ratio == pytest.approx(4.0)
    inverse, inverse_low, inverse_high = ratio_interval([1.0, 1.0, 1.0], [2.0, 4.0, 8.0])
    assert (1 / inverse, 1 / inverse_high, 1 / inverse_low) == pytest.approx((ratio, low, high))


def test_p_is_uniform_under_the_null():
    draws = np.random.default_rng(5).normal(size=(REPETITIONS, 100))
    p = np.array([permutation_p(row[0], row[1:].tolist()).p for row in draws])
    for level in (0.01, 0.05, 0.1, 0.5):
        error = math.sqrt(level * (1 - level) / REPETITIONS)
        assert abs(np.mean(p <= level + 1e-12) - level) <= 4 * error


def test_p_counts_ties_and_is_never_zero():
    test = permutation_p(3.0, [1.0, 3.0, 3.0, 4.0])
    assert test.p == 4 / 5
    assert permutation_p(9.0, [1.0] * 99).p == permutation_p(9.0, [1.0] * 99).smallest == 0.01


@pytest.mark.parametrize(
    ("times", "censored", "value"),
    [
        ([3, 1, 2], [False, False, False], 2.0),
        ([1, 2, 9, 9], [False, False, True, True], 2.0),
        ([1, 9, 9], [False, True, True], None),
        ([9, 9], [True, True], None),
        # By hand: survival 3/4 at 1, then 3/4 · 1/2 at 5, since the run censored at 3 leaves the count.
        ([1, 3, 5, 7], [False, True, False, False], 5.0),
    ],
)
def test_censored_median(times, censored, value):
    median = censored_median(times, censored)
    assert median.value == value
    assert median.text == (f"> {max(times)}" if value is None else f"{value:g}")


def test_censored_median_is_not_biased_by_the_budget():
    times = np.random.default_rng(6).exponential(100, 2001)
    budget = 120.0
    median = censored_median(np.minimum(times, budget).tolist(), (times > budget).tolist())
    assert median.value == np.median(times)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(bad):
    for call in (
        lambda: mean_interval([1.0, bad, 2.0]),
        lambda: accuracy_interval([1.0, bad, 1.0], 10),
        lambda: permutation_p(bad, [1.0]),
        lambda: censored_median([bad, 1.0], [False, False]),
    ):
        with pytest.raises(ShatteringError) as caught:
            call()
        assert caught.value.identifier == "statistics-not-finite"


def test_wrong_counts_and_ratios_are_refused():
    for call, identifier in (
        (lambda: proportion_interval(5, 4), "statistics-wrong-count"),
        (lambda: proportion_interval(0, 0), "statistics-wrong-count"),
        (lambda: ratio_interval([1.0, 0.0, 2.0], [1.0, 1.0, 1.0]), "statistics-wrong-ratio"),
        (lambda: ratio_interval([1.0], [1.0, 2.0]), "statistics-wrong-ratio"),
        (lambda: mean_interval([]), "statistics-empty"),
    ):
        with pytest.raises(ShatteringError) as caught:
            call()
        assert caught.value.identifier == identifier


@pytest.mark.parametrize(
    ("values", "expected"), [([1, 2, 5, 9], 1.0), ([9, 5, 2, 1], -1.0), ([1, 5, 2, 9], 0.8), ([3, 3, 3, 3], None)]
)
def test_rank_correlation(values: list[float], expected: float | None) -> None:
    assert rank_correlation(range(4), values) == (None if expected is None else pytest.approx(expected))


def test_a_geometric_mean_is_the_mean_of_logarithms() -> None:
    value, low, high = geometric_interval([1, 10, 100])
    mean, least, most = mean_interval([0, math.log(10), math.log(100)])
    assert least is not None and most is not None
    assert (value, low, high) == pytest.approx((math.exp(mean), math.exp(least), math.exp(most)))
