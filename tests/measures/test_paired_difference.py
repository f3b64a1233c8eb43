"""Differences of accuracies paired by seed and example: coverage by simulation, and edges by hand."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.errors import ShatteringError
from shattering.measures.paired_difference import paired_difference


def simulated(generator: np.random.Generator, seeds: int, examples: int, gain: float, spread: float):
    """Being right or wrong of two kinds of training whose chances differ by about ``gain`` on every example."""
    ease = generator.beta(4, 2, examples) * (1 - 2 * abs(gain)) + abs(gain)
    luck = generator.normal(0, spread, (seeds, 1))
    base = generator.random((seeds, examples)) < np.clip(ease, 0, 1)
    ours = generator.random((seeds, examples)) < np.clip(ease + gain + luck, 0, 1)
    return ours, base


@pytest.mark.parametrize(("seeds", "examples"), [(3, 60), (5, 200)])
@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_interval_covers_and_p_keeps_its_level(seeds: int, examples: int, spread: float) -> None:
    generator = np.random.default_rng(seeds)
    found = [paired_difference(*simulated(generator, seeds, examples, 0.0, spread)) for _ in range(2000)]

    covered = np.mean([each.low <= 0 <= each.high for each in found])
    assert covered >= 0.935
    assert np.mean([each.p <= 0.05 for each in found]) <= 0.065
    assert all((each.p <= 0.05) == (not each.low <= 0 <= each.high) or abs(each.p - 0.05) < 1e-6 for each in found)


def test_examples_that_all_seeds_get_wrong_together_widen_the_interval() -> None:
    """Seeds that agree to the bit say nothing of other test examples."""
    generator = np.random.default_rng(1)
    one = generator.random(100) < 0.9
    other = one.copy()
    other[:4] = True

    found = paired_difference(np.stack([other] * 3), np.stack([one] * 3))

    assert found.value == pytest.approx((other.sum() - one.sum()) / 100)
    assert found.low < found.value < found.high
    assert found.p is not None


def test_power_on_a_large_difference() -> None:
    generator = np.random.default_rng(2)
    found = [paired_difference(*simulated(generator, 5, 400, 0.15, 0.01)) for _ in range(100)]
    assert np.mean([each.p <= 0.05 and each.value > 0 for each in found]) > 0.9


def test_equal_runs_differ_by_nothing() -> None:
    right = np.ones((3, 10), bool)
    found = paired_difference(right, right)
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_two_seeds_have_no_interval() -> None:
    found = paired_difference(np.ones((2, 10)), np.zeros((2, 10)))
    assert (found.value, found.low, found.high, found.p, found.seeds) == (1.0, None, None, None, 2)


def test_unpaired_tables_are_refused() -> None:
    with pytest.raises(ShatteringError) as caught:
        paired_difference(np.ones((3, 4)), np.ones((3, 5)))
    assert caught.value.identifier == "difference-unpaired"
