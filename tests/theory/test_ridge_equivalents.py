"""Deterministic equivalents beside a fixed-point loop, verified values, and simulated regressions."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.streams import Stream
from shattering.simulations.registry import Bench
from shattering.simulations.ridge_renormalised import fit, given_mixing, ridge_renormalised
from shattering.theory.ridge_equivalents import (
    degrees_of_freedom,
    error_exponent,
    power_laws,
    renormalised_ridge,
    ridge_errors,
    shrunk_overlap,
    slope,
)

BENCH = Bench(lambda purpose: Stream(6, purpose), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("examples", "ridge", "features"), [(200, 0.02, None), (60, 0.3, None), (200, 0.02, 110)])
def test_the_renormalised_ridge_solves_its_equation(examples: int, ridge: float, features: int | None) -> None:
    spectrum, _ = power_laws(150, 1.2, 1.2)
    slow = 10.0
    for _ in range(3000):
        used = degrees_of_freedom(spectrum, slow)
        wanted = ridge / (1 - used / examples) / (1.0 if features is None else 1 - used / features)
        slow = slow**0.8 * wanted**0.2
    assert renormalised_ridge(spectrum, examples, ridge, features) == pytest.approx(slow, rel=1e-8)


def test_without_ridge_as_many_degrees_as_examples_are_used() -> None:
    spectrum, _ = power_laws(150, 1.2, 1.2)
    assert degrees_of_freedom(spectrum, renormalised_ridge(spectrum, 40, 0.0)) == pytest.approx(40)
    assert renormalised_ridge(spectrum, 200, 0.0) == 0
    isotropic = ridge_errors(np.ones(50), np.zeros(50), 100, 0.0, noise=1.0)
    assert (isotropic.test, isotropic.train) == pytest.approx((2.0, 0.5))


def test_the_training_error_is_the_test_error_shrunk_by_the_renormalisation() -> None:
    errors = ridge_errors(np.ones(200), np.ones(200), 200, 1e-9)
    assert errors.test == pytest.approx(errors.train * (errors.kappa / 1e-9) ** 2)
    spectrum, target = power_laws(150, 1.2, 1.2)
    slow = sum(
        errors.kappa**2 * s * w**2 / (s + errors.kappa) ** 2
        for errors in [ridge_errors(spectrum, target, 200, 0.02, 0.3)]
        for s, w in zip(spectrum, target, strict=True)
    )
    assert ridge_errors(spectrum, target, 200, 0.02, 0.3).bias == pytest.approx(slow)


def test_simulated_ridge_follows_the_formula() -> None:
    for row in ridge_renormalised(BENCH, inputs=100, repetitions=30):
        for name in ("test", "train"):
            assert row[f"simulated_{name}"] == pytest.approx(row[f"formula_{name}"], rel=0.06), row


def test_regression_on_features_follows_the_formula_given_them() -> None:
    rows = list(ridge_renormalised(BENCH, axis="features", inputs=60, repetitions=12))
    for row in rows:
        assert row["simulated_test"] == pytest.approx(row["formula_test"], rel=0.06), row
        assert row["simulated_overlap"] == pytest.approx(row["formula_overlap"], rel=0.08), row


def test_given_a_square_mixing_the_features_are_the_inputs() -> None:
    spectrum, target = power_laws(20, 1.2, 1.2)
    turned = np.linalg.qr(BENCH.normals("simulation/weights", 20, 20))[0]
    errors = ridge_errors(spectrum, target, 30, 0.1, 0.2)
    assert given_mixing(spectrum, target, turned, 30, 0.1, 0.2) == pytest.approx((errors.test, errors.train))


@pytest.mark.parametrize(("rows", "columns"), [(6, 4), (4, 6)])
def test_both_systems_give_the_minimiser(rows: int, columns: int) -> None:
    inputs = BENCH.normals("simulation/inputs", rows, columns)
    labels = BENCH.normals("simulation/noise", rows, 1)[:, 0]
    found = fit(inputs, labels, 0.1)
    assert inputs.T @ (inputs @ found - labels) / rows + 0.1 * found == pytest.approx(np.zeros(columns), abs=1e-12)
    assert fit(inputs, labels, 0.0) == pytest.approx(np.linalg.pinv(inputs) @ labels)


@pytest.mark.parametrize("source", [2.0, 8.0])
def test_exponents_of_the_formula_are_the_predicted_ones(source: float) -> None:
    spectrum, target = power_laws(6000, 2.0, source)
    places = (60, 120, 240)
    errors = [ridge_errors(spectrum, target, place, 0.0).test for place in places]
    assert -slope(places, errors) == pytest.approx(error_exponent(2.0, source), abs=0.05)
    assert error_exponent(2.0, 3.0) == 2
    assert error_exponent(1.2, 9.0) == pytest.approx(2.4)


def test_the_overlap_is_the_whole_target_without_a_ridge() -> None:
    spectrum, target = power_laws(30, 1.5, 2.0)
    whole = float(spectrum @ target**2)
    assert shrunk_overlap(spectrum, target, 0.0) == pytest.approx(whole)
    assert shrunk_overlap(np.ones(3), np.ones(3), 1.0) == pytest.approx(1.5)
