"""Random features and least squares on them, against definitions and the pseudo-inverse."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.streams import Stream
from shattering.kernels.random_features import RIDGES, draw_features, leave_one_out_ridge, solve

NUMBERS = np.random.default_rng(7)
ROWS = NUMBERS.standard_normal((40, 6))
TARGETS = NUMBERS.standard_normal((40, 3))


@pytest.mark.parametrize("kind", ["fourier", "relu"])
def test_features_of_fewer_are_the_first_of_more(kind) -> None:
    few, many = (draw_features(Stream(3, "random-features"), kind, 6, count).of(ROWS) for count in (10, 24))

    np.testing.assert_array_equal(few, many[:, :10])


def test_fourier_features_approach_the_gaussian_kernel() -> None:
    drawn = draw_features(Stream(0, "random-features"), "fourier", 6, 40_000, scale=0.4)

    kernel = drawn.of(ROWS[:8]) @ drawn.of(ROWS[:8]).T / 20_000

    squares = ((ROWS[:8, None] - ROWS[None, :8]) ** 2).sum(axis=2)
    np.testing.assert_allclose(kernel, np.exp(-0.16 * squares / 2), atol=0.03)  # 1/√20,000 is 0.007


def test_relu_directions_have_length_one_and_the_mean_square_is_the_expected_one() -> None:
    drawn = draw_features(Stream(0, "random-features"), "relu", 6, 20_000)

    features = drawn.of(ROWS)

    np.testing.assert_allclose(np.linalg.norm(drawn.directions, axis=0), 1)
    assert features.min() == 0
    assert (features**2).mean() == pytest.approx(drawn.mean_square(ROWS), rel=0.05)


@pytest.mark.parametrize("width", [3, 39, 40, 41, 79, 90, 200])
def test_without_ridge_the_solution_is_the_pseudo_inverse(width) -> None:
    features = np.random.default_rng(width).standard_normal((40, width))

    found = solve(features, TARGETS)

    values = np.linalg.svd(features, compute_uv=False)
    np.testing.assert_allclose(found.weights, np.linalg.pinv(features) @ TARGETS, rtol=1e-6, atol=1e-8)
    assert found.smallest == pytest.approx(values[-1], rel=1e-6)
    assert found.condition == pytest.approx(values[0] / values[-1], rel=1e-6)
    assert found.rank == min(40, width)


@pytest.mark.parametrize("width", [30, 60, 200])
def test_what_is_dependent_is_cut_off(width) -> None:
    features = np.random.default_rng(1).standard_normal((40, width))
    features[1] = features[0]
    features[:, 2] = features[:, 3]

    found = solve(features, TARGETS)

    np.testing.assert_allclose(found.weights, np.linalg.pinv(features, rcond=1e-12) @ TARGETS, atol=1e-10)
    assert found.rank == np.linalg.matrix_rank(features)


@pytest.mark.parametrize("width", [20, 40, 120])
def test_a_ridge_is_that_of_the_normal_equations(width) -> None:
    features = np.random.default_rng(2).standard_normal((40, width))

    found = solve(features, TARGETS, 0.7)

    direct = np.linalg.solve(features.T @ features + 0.7 * np.eye(width), features.T @ TARGETS)
    np.testing.assert_allclose(found.weights, direct, rtol=1e-8, atol=1e-10)


def test_no_features_at_all_give_zero() -> None:
    found = solve(np.zeros((4, 4)), TARGETS[:4])

    assert found.rank == 0
    assert not found.weights.any()


@pytest.mark.parametrize("width", [5, 25])
def test_the_ridge_of_leave_one_out_is_that_of_leaving_each_out(width) -> None:
    numbers = np.random.default_rng(width)
    features = numbers.standard_normal((12, width))
    targets = features[:, :2] + 0.5 * numbers.standard_normal((12, 2))

    def error(ridge: float) -> float:
        rest = [np.delete(np.arange(12), place) for place in range(12)]
        gone = [
            targets[place] - features[place] @ solve(features[kept], targets[kept], ridge).weights
            for place, kept in enumerate(rest)
        ]
        return float(np.square(gone).sum())

    assert leave_one_out_ridge(features, targets) == min(RIDGES, key=error)
