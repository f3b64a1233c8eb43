"""The error of estimates from subsets beside its bound, and the figures of the standard error."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.theory.subset_estimates import largest_standard_error, squared_error_bound


@pytest.mark.parametrize(("trainings", "figure"), [(60, 0.12), (200, 0.065), (2000, 0.020)])
def test_standard_errors_are_the_derived_ones(trainings, figure) -> None:
    assert largest_standard_error(trainings, 0.7) == pytest.approx(figure, abs=0.0025)


@pytest.mark.parametrize("trainings", [60, 200, 800])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_simulated_errors_are_the_standard_error_and_below_the_bound(trainings, rate) -> None:
    """Within 8% of the formula, which takes 30% of the trainings for those without an example; 5,000 examples."""
    draw = np.random.default_rng(trainings)
    inside = draw.random((trainings, 5_000)) < 0.7
    right = inside | (draw.random(inside.shape) < rate)
    share = (right & ~inside).sum(0) / np.maximum(1, (~inside).sum(0))

    squared = float(np.square((1 - share) - (1 - rate)).mean())

    expected = rate * (1 - rate) / (0.3 * trainings)
    assert squared == pytest.approx(expected, rel=0.08)
    assert squared < squared_error_bound(trainings, 0.7)
    if rate == 0.5:
        assert np.sqrt(expected) == pytest.approx(largest_standard_error(trainings, 0.7))
