"""The classical bound: by hand, at its extremes, and where it says nothing."""

from __future__ import annotations

import math

import pytest

from shattering.core.errors import SpecError
from shattering.theory.vc_bound import norm_dimension, vc_bound


def test_without_training_error_it_is_epsilon() -> None:
    by_hand = (20 * (math.log(200 / 20) + 1) - math.log(4 / math.sqrt(200) / 4)) / 200
    theory = 4 * (20 * (math.log(2 * 200 / 20) + 1) - math.log(4 / math.sqrt(200) / 4)) / 200

    assert vc_bound(0.0, 20, 200) == pytest.approx(by_hand)
    assert vc_bound(0.0, 20, 200, practical=False) == pytest.approx(theory)


def test_it_solves_the_quadratic_it_comes_from() -> None:
    error, bound = 0.2, vc_bound(0.2, 20, 200)
    epsilon = vc_bound(0.0, 20, 200)

    assert (bound - error) ** 2 == pytest.approx(epsilon * bound)


def test_it_grows_with_dimension_and_error_and_saturates_above_one() -> None:
    bounds = [vc_bound(0.0, h, 200) for h in (5, 20, 100, 200, 500, 10_000)]

    assert bounds == sorted(bounds)
    assert bounds[3] == bounds[-1] == pytest.approx(1.01, abs=0.01)  # as an independent simulation found
    assert vc_bound(0.1, 20, 200) > vc_bound(0.0, 20, 200)


def test_the_norm_bounds_the_dimension_only_where_it_is_small() -> None:
    assert norm_dimension(100, 1.0, 3.0) == 10
    assert norm_dimension(100, 2.0, 30.0) == 101


@pytest.mark.parametrize(("error", "dimension", "examples"), [(-0.1, 1, 9), (1.1, 1, 9), (0, 0, 9), (0, 1, 0)])
def test_numbers_out_of_range_are_refused(error, dimension, examples) -> None:
    with pytest.raises(SpecError):
        vc_bound(error, dimension, examples)
