"""Lemma 1: the matrix, its eigenvalues and condition, and the solution that needs no matrix."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from memorised_problems import exact_solution, exact_value

from shattering.core.errors import DataError
from shattering.expressivity.exact import as_integers, pieces, quotient
from shattering.expressivity.triangular import condition, eigenvalues, relu_matrix, solve
from shattering.expressivity.two_layer import thresholds_between

PLACES = (2.0**-10, 0.25, 0.5)


def interleaved(n: int, place: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    projections = np.sort(np.random.default_rng(seed).normal(size=n))
    return projections, thresholds_between(projections, place)


@pytest.mark.parametrize("place", PLACES)
def test_the_matrix_is_triangular_with_the_eigenvalues_on_its_diagonal(place) -> None:
    projections, thresholds = interleaved(30, place)

    matrix = relu_matrix(projections, thresholds)

    assert np.array_equal(matrix, np.tril(matrix))
    assert (np.diag(matrix) > 0).all()
    assert np.linalg.matrix_rank(matrix) == 30
    assert np.array_equal(eigenvalues(projections, thresholds), np.diag(matrix))
    few = relu_matrix(*interleaved(5, place))
    assert np.allclose(np.sort(np.linalg.eigvals(few).real), np.sort(np.diag(few)), rtol=1e-9)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("n", [1, 2, 3, 40])
def test_the_condition_is_that_of_the_inverse_matrix(place, n) -> None:
    projections, thresholds = interleaved(n, place)
    matrix = relu_matrix(projections, thresholds)

    expected = np.linalg.norm(matrix, np.inf) * np.linalg.norm(np.linalg.inv(matrix), np.inf)

    # Inverting in float64 costs as many digits as the condition has.
    assert condition(projections, thresholds) == pytest.approx(expected, rel=1e-14 * expected + 1e-12)


@pytest.mark.parametrize("place", PLACES)
def test_weights_are_those_of_fractions_rounded_one_by_one(place) -> None:
    projections, thresholds = interleaved(12, place, seed=3)
    targets = np.random.default_rng(1).normal(size=12)

    weights = solve(projections, thresholds, targets)

    exact = exact_solution(projections, thresholds, targets)
    assert np.allclose(weights, [float(w) for w in exact], rtol=1e-12)
    for projection, step, weight, target in zip(projections, projections - thresholds, weights, targets, strict=True):
        residual = abs(exact_value(projection, thresholds, weights) - Fraction(float(target)))
        assert residual <= Fraction(float(np.spacing(abs(weight)) / 2 * step)) * Fraction(1001, 1000)


def test_residuals_do_not_grow_with_n_as_those_of_a_plain_solve_do() -> None:
    from scipy.linalg import solve_triangular

    projections, thresholds = interleaved(120, 0.5)
    targets = np.random.default_rng(2).integers(0, 10, 120).astype(float)
    ours = solve(projections, thresholds, targets)
    plain = solve_triangular(relu_matrix(projections, thresholds), targets, lower=True)

    def largest(weights: np.ndarray) -> float:
        found = [exact_value(z, thresholds, weights) for z in projections]
        return max(abs(float(value - int(target))) for value, target in zip(found, targets, strict=True))

    assert 100 * largest(ours) < largest(plain)


def test_pieces_are_exact_values_and_slopes() -> None:
    projections, thresholds = interleaved(20, 0.5, seed=5)
    weights = solve(projections, thresholds, np.random.default_rng(0).normal(size=20))

    for index, (value, slope) in enumerate(pieces(thresholds, weights)):
        assert value == float(exact_value(thresholds[index], thresholds, weights))
        assert slope == float(sum(Fraction(float(w)) for w in weights[: index + 1]))


def test_floats_are_integers_times_a_power_of_two() -> None:
    values = np.array([0.0, 1.0, -0.1, 1e-300, 1e300, 2.0**-1074, -3.5])

    whole, exponent = as_integers(values)

    assert [Fraction(value) * Fraction(2) ** exponent for value in whole] == [Fraction(float(v)) for v in values]
    assert [quotient(value, 1, exponent) for value in whole] == values.tolist()
    assert as_integers(np.zeros(2))[0] == [0, 0]


def test_several_columns_are_solved_one_by_one() -> None:
    projections, thresholds = interleaved(9, 0.25)
    targets = np.random.default_rng(0).normal(size=(9, 3))

    both = solve(projections, thresholds, targets)

    assert both.shape == (9, 3)
    assert np.array_equal(both[:, 1], solve(projections, thresholds, targets[:, 1]))


@pytest.mark.parametrize("thresholds", [[0.0, 3.0], [0.0, 1.0], [1.0, 1.5], [0.5]])
def test_sequences_that_do_not_interleave_are_refused(thresholds) -> None:
    with pytest.raises(DataError) as caught:
        relu_matrix(np.array([1.0, 2.0]), np.array(thresholds))

    assert caught.value.identifier == "memorise-not-interleaving"


def test_a_weight_beyond_float64_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        solve(np.array([1e-300, 2.0]), np.array([0.0, 1.0]), np.array([1e200, 0.0]))

    assert caught.value.identifier == "memorise-overflow"
