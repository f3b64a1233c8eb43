"""Curves carried on to a larger number of examples: their intervals, bounds, and checks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from shattering.core.capacity import (
    BEND,
    WANDER,
    Bracket,
    Curve,
    Seen,
    bracket,
    checked_curve,
    fit_curve,
    hold_out,
    next_size,
    ratio_points,
    size_within,
)

SIZES = (128, 256, 512, 1024)


def law(examples: float, bend: float = 0.0) -> float:
    t = math.log(examples / SIZES[0])
    return 3.0 + 0.9 * t + bend * t * t / 2


def drawn(generator: np.random.Generator, scatter: float, bend: float = 0.0, budget: float = math.inf) -> list[Seen]:
    """Three runs of each size; those beyond ``budget`` times the law are known to be at least that."""
    found = []
    for size in SIZES:
        most = math.exp(law(size, bend)) * budget
        for _ in range(3):
            value = math.exp(law(size, bend) + scatter * generator.normal())
            found.append(Seen(size, value) if value <= most else Seen(size, most, "lower"))
    return found


def coverage(trials: int, target: int, *, checked: bool = False, **how: float) -> float:
    generator = np.random.default_rng(7)
    scatter, bend = how.get("scatter", 0.1), how.get("bend", 0.0)
    inside = 0
    for _ in range(trials):
        points = drawn(generator, scatter, bend, how.get("budget", math.inf))
        curve = checked_curve(points)[0] if checked else fit_curve(points)
        further = math.exp(law(target, bend) + scatter * generator.normal())
        if curve is None:  # nothing is said, so nothing wrong
            inside += 1
            continue
        predicted = curve.predict(target)
        inside += predicted.low <= further <= predicted.high
    return inside / trials


@pytest.mark.parametrize(("scatter", "target"), [(0.05, 50_000), (0.3, 50_000), (0.3, 1024)])
def test_intervals_cover_one_further_run_of_a_power_law(scatter: float, target: int) -> None:
    assert coverage(4000, target, scatter=scatter) >= 0.935


def test_intervals_cover_where_the_exponent_drifts_as_the_prior_allows() -> None:
    assert coverage(2000, 50_000, scatter=0.05, bend=0.1) >= 0.935


def test_intervals_cover_where_the_exponent_goes_its_own_way_beyond_the_sizes_seen() -> None:
    generator = np.random.default_rng(8)
    distance = math.log(16 * SIZES[-1] / SIZES[-1])
    steps = 64
    inside = 0
    for _ in range(2000):
        predicted = fit_curve(drawn(generator, 0.05)).predict(16 * SIZES[-1])
        way = np.cumsum(generator.normal(size=steps)) * WANDER * BEND * math.sqrt(distance / steps)
        further = law(16 * SIZES[-1]) + float(way.sum()) * distance / steps + 0.05 * generator.normal()
        inside += predicted.low <= math.exp(further) <= predicted.high

    assert inside / 2000 >= 0.935
    plain = replace(fit_curve(drawn(generator, 0.05)), wander=0.0)
    assert plain.at(SIZES[-1]) == replace(plain, wander=1.0).at(SIZES[-1])
    assert plain.at(2 * SIZES[-1])[1] < replace(plain, wander=0.5).at(2 * SIZES[-1])[1]


def test_intervals_cover_where_many_runs_are_only_bounds() -> None:
    assert coverage(600, 50_000, scatter=0.2, budget=1.1) >= 0.935
    assert coverage(600, 1024, scatter=0.2, budget=1.1) >= 0.935


def test_intervals_cover_with_the_widening_of_the_checks() -> None:
    assert coverage(1000, 4096, scatter=0.1, checked=True) >= 0.935


def test_intervals_are_not_wide_for_nothing() -> None:
    generator = np.random.default_rng(1)
    curves = [fit_curve(drawn(generator, 0.1)) for _ in range(200)]
    widths = [curve.predict(2048).high / curve.predict(2048).low for curve in curves if curve]
    assert float(np.median(widths)) < 3.0


def test_exact_points_of_a_bent_line_are_followed() -> None:
    points = [Seen(size, math.exp(law(size, 0.05))) for size in SIZES for _ in range(3)]
    curve = fit_curve(points, bend=10.0)
    assert curve is not None
    assert curve.predict(8192).value == pytest.approx(math.exp(law(8192, 0.05)), rel=1e-3)
    assert curve.exponent(1024) == pytest.approx(0.9 + 0.05 * math.log(8), rel=1e-3)


def test_equal_times_do_not_pass_for_certainty() -> None:
    """Times in whole epochs may agree by rounding alone."""
    points = [Seen(size, float(size), resolution=0.2) for size in SIZES for _ in range(3)]
    curve = fit_curve(points)
    assert curve is not None
    assert curve.scatter >= math.log(1.2) / math.sqrt(12) * 0.999


def test_a_bound_is_not_an_exact_time() -> None:
    exact = [Seen(size, math.exp(law(size)) * factor) for size in SIZES for factor in (0.9, 1.0, 1.1)]
    bounded = [
        Seen(point.examples, point.value, "lower") if place in (10, 11) else point for place, point in enumerate(exact)
    ]
    curve, censored = fit_curve(exact), fit_curve(bounded)
    assert curve is not None and censored is not None
    assert censored.predict(4096).value > curve.predict(4096).value
    assert censored.predict(4096).high > curve.predict(4096).high


def test_upper_bounds_mirror_lower_ones() -> None:
    points = [Seen(size, float(size) * factor) for size in SIZES for factor in (0.9, 1.1)]
    *others, last = points
    lower = [*others, Seen(last.examples, last.value, "lower")]
    upper = [Seen(point.examples, 1 / point.value, "upper" if point is last else "exact") for point in points]
    above, below = fit_curve(lower), fit_curve(upper)
    assert above is not None and below is not None
    assert above.predict(4096).value * below.predict(4096).value == pytest.approx(1.0)


@pytest.mark.parametrize(
    "points",
    [
        [],
        [Seen(128, 10.0)],
        [Seen(128, 10.0), Seen(128, 11.0), Seen(128, 12.0)],
        [Seen(size, 10.0, "lower") for size in SIZES for _ in range(3)],
        [Seen(size, 10.0) for size in SIZES[:3]],
    ],
)
def test_too_few_points_give_no_curve(points: list[Seen]) -> None:
    assert fit_curve(points) is None


def test_two_sizes_predict_nothing() -> None:
    points = [Seen(size, float(size) * factor) for size in SIZES[:2] for factor in (0.9, 1.0, 1.1)]
    assert checked_curve(points) == (None, [])


def test_the_largest_size_is_held_out_from_ever_fewer() -> None:
    checks = hold_out(drawn(np.random.default_rng(3), 0.1))
    assert [(check.largest_used, check.sizes_used) for check in checks] == [(512, 3), (256, 2)]
    assert all(check.examples == 1024 and check.runs == 3 for check in checks)
    assert checks[0].factor == pytest.approx(checks[0].observed / checks[0].predicted.value)


def test_a_missed_hold_out_widens_the_interval() -> None:
    points = drawn(np.random.default_rng(4), 0.02)
    jumped = [Seen(point.examples, point.value * (5 if point.examples == 1024 else 1)) for point in points]
    curve, checks = checked_curve(jumped)
    plain = fit_curve(jumped)
    assert curve is not None and plain is not None
    assert checks[0].inside == 0 and curve.widening == pytest.approx(checks[0].deviations) and curve.widening > 1
    assert curve.predict(4096).high > plain.predict(4096).high


def test_a_time_does_not_fall_as_examples_are_added() -> None:
    points = [Seen(size, 1e4 / size * factor) for size in SIZES for factor in (0.8, 1.0, 1.2)]
    falling, rising = fit_curve(points), fit_curve(points, rising=True)
    assert falling is not None and rising is not None
    least = 1e4 / 1024 * 0.8
    assert falling.predict(8192).value < least == rising.predict(8192).low
    assert rising.predict(512) == falling.predict(512)


def test_ratios_keep_what_is_known() -> None:
    exact, bound = Seen(64, 10.0), Seen(64, 40.0, "lower")
    found = ratio_points([exact, bound, exact, bound, None], [exact, exact, bound, bound, exact])
    assert [(point.value, point.bound) for point in found] == [(1.0, "exact"), (4.0, "lower"), (0.25, "upper")]


def test_probability_is_one_half_at_the_median() -> None:
    curve = fit_curve(drawn(np.random.default_rng(5), 0.1))
    assert curve is not None
    predicted = curve.predict(4096)
    assert curve.probability_below(4096, predicted.value) == pytest.approx(0.5)
    assert curve.probability_below(4096, predicted.high) == pytest.approx(0.975)
    assert curve.probability_below(4096, predicted.low) == pytest.approx(0.025)


def test_sizes_within_a_budget_are_the_inverse() -> None:
    curve = Curve(math.log(1000), np.array([math.log(500), 1.0, 0.0]), np.zeros((3, 3)), 0.1, 10)
    middle, low, high = size_within(curve, 1000, 100, 100_000)
    assert middle == pytest.approx(2000, rel=0.03)
    assert low < middle < high
    assert size_within(curve, 1e9, 100, 100_000) == (100_000, 100_000, 100_000)
    assert size_within(curve, 1, 100, 100_000)[0] == pytest.approx(100)


@pytest.mark.parametrize("capacity", [1, 31, 32, 45, 700, 4095, 4096, 10**6])
@pytest.mark.parametrize("start", [32, 500, 4096])
def test_bisection_closes_in_on_the_capacity(capacity: int, start: int) -> None:
    seen: list[tuple[int, bool]] = []
    while (size := next_size(bracket(0, seen), start, 32, 4096)) is not None:
        assert 32 <= size <= 4096 and size not in [before for before, _ in seen]
        seen.append((size, size <= capacity))
        assert len(seen) < 40
    found = bracket(0, seen)
    if capacity < 32:
        assert found == Bracket(0, None, 32)
    elif capacity >= 4096:
        assert found == Bracket(0, 4096, None)
    else:
        assert found.fits is not None and found.fails is not None
        assert found.fits <= capacity < found.fails <= max(1.1 * found.fits, found.fits + 1)
