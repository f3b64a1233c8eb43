"""The sum of U-curves beside the published setting's values, a recursion, and full gradient descent."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.streams import Stream
from shattering.simulations.early_stopped_descent import early_stopped_descent, places
from shattering.simulations.registry import Bench
from shattering.theory.early_stopping import excess_risk, matched_rates, turning_points

DEVIATIONS, COEFFICIENTS = (1.0, 0.15), (0.45, 3.0)


def slow_risk(steps: int, rates: tuple[float, ...], variance: float) -> float:
    """Each feature's bias and variance carried on step by step."""
    total = 0.0
    for deviation, coefficient, rate in zip(DEVIATIONS, COEFFICIENTS, rates, strict=True):
        bias, spread = coefficient, 0.0
        for _ in range(steps):
            bias -= rate * deviation**2 * bias
            spread += rate * deviation**2 * (1 - spread)
        total += deviation**2 * bias**2 + variance * spread**2
    return total


@pytest.mark.parametrize(("rates", "steps"), [((0.1, 0.1), 0), ((0.1, 0.1), 37), ((0.1, 4.3), 200)])
def test_the_formula_is_the_recursion(rates: tuple[float, ...], steps: int) -> None:
    found = excess_risk([steps], DEVIATIONS, COEFFICIENTS, rates, 0.1)[0]
    assert found == pytest.approx(slow_risk(steps, rates, 0.1), rel=1e-12)


def test_the_published_setting_has_the_verified_values() -> None:
    risk = excess_risk(range(5000), DEVIATIONS, COEFFICIENTS, (0.1, 0.1), 0.1)
    assert turning_points(risk) == ([12, 491], [30])
    assert risk[[12, 30, 491]] == pytest.approx([0.2596, 0.2694, 0.1669], abs=5e-5)
    assert risk[-1] == pytest.approx(0.20, abs=1e-4)

    scaled = excess_risk(range(5000), DEVIATIONS, COEFFICIENTS, (0.1, 4.3), 0.1)
    assert turning_points(scaled) == ([11], [])
    assert scaled[11] == pytest.approx(0.134, abs=5e-4)


def test_matched_rates_put_every_minimum_at_one_step() -> None:
    assert matched_rates(0.1, DEVIATIONS, COEFFICIENTS, 0.1)[1] / 0.1 == pytest.approx(44.44, abs=0.01)
    unequal = (0.45, 1.0)
    rates = matched_rates(0.01, DEVIATIONS, unequal, 0.1)
    alone = [int(np.argmin(excess_risk(range(3000), [DEVIATIONS[i]], [unequal[i]], [rates[i]], 0.1))) for i in range(2)]
    assert abs(alone[0] - alone[1]) <= 1


def test_turning_points_leave_out_ends_and_count_a_flat_stretch_once() -> None:
    assert turning_points([3, 1, 1, 2, 2, 0]) == ([1], [3])
    assert turning_points([3, 2, 1]) == turning_points([1, 1, 1]) == turning_points([5]) == ([], [])


def test_descent_on_the_covariance_is_descent_on_the_examples() -> None:
    bench = Bench(lambda purpose: Stream(3, purpose), None)  # type: ignore[arg-type]
    settings = {"copies": 3, "examples": 40, "noise": 2.0, "second_rate": 5.0, "steps": 30, "draws": 1}
    rows = list(early_stopped_descent(bench, **settings))

    deviations = np.repeat(DEVIATIONS, 3)
    inputs = bench.normals("simulation/inputs", 40, 6) * deviations
    target = np.repeat(COEFFICIENTS, 3) / np.sqrt(3)
    labels = inputs @ target + np.sqrt(2.0) * bench.normals("simulation/noise", 40, 1)[:, 0]
    weights, rates = np.zeros(6), 0.1 * np.repeat((1.0, 5.0), 3)
    risks = {}
    for step in range(1, 31):
        weights = weights - rates * (inputs.T @ (inputs @ weights - labels)) / 40
        risks[step] = float(deviations**2 @ (weights - target) ** 2)
    assert [row["steps"] for row in rows] == places(30)
    assert [row["simulated"] for row in rows] == pytest.approx([risks[step] for step in places(30)], rel=1e-9)


def test_simulated_descent_follows_the_formula() -> None:
    bench = Bench(lambda purpose: Stream(0, purpose), None)  # type: ignore[arg-type]
    for factor in (1.0, 43.0):
        rows = list(early_stopped_descent(bench, copies=60, examples=6000, draws=60, second_rate=factor, steps=1000))
        for row in rows:
            assert row["simulated"] == pytest.approx(row["formula"], rel=0.1), row
