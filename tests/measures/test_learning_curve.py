"""The power law: recovered where it holds, its interval by simulation, and what cannot be drawn."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.errors import ShatteringError
from shattering.measures.learning_curve import fit_power_laws, learning_curve

SIZES = (125, 250, 500, 1000)


def errors_at(a: float, b: float, c: float) -> np.ndarray:
    return a * (np.array(SIZES) / SIZES[-1]) ** -b + c


@pytest.mark.parametrize(("a", "b", "c"), [(0.1, 0.5, 0.05), (0.2, 1.0, 0.0), (0.05, 0.3, 0.0)])
def test_an_exact_law_is_found(a: float, b: float, c: float) -> None:
    found = fit_power_laws(SIZES, errors_at(a, b, c)[None])[0]
    assert found == pytest.approx([a, b, c], abs=1e-6)


def test_a_rising_or_flat_error_promises_nothing() -> None:
    laws = fit_power_laws(SIZES, np.array([[0.1, 0.2, 0.3, 0.4], [0.2] * 4, [0.0] * 4]))
    assert np.all(laws[:, 0] * (1 - 2.0 ** -laws[:, 1]) <= 1e-12)
    assert laws[:, 2] == pytest.approx([0.25, 0.2, 0.0])


def simulated(generator: np.random.Generator, seeds: int, examples: int, a: float, b: float, c: float):
    """Whether each seed's run is wrong on each example: examples differ in how hard they are, seeds in their luck."""
    hardness = generator.random(examples)
    luck = generator.normal(0, 0.01, (seeds, len(SIZES)))
    return [
        hardness[None] + generator.normal(0, 0.05, (seeds, examples)) < error + luck[:, [place]]
        for place, error in enumerate(errors_at(a, b, c))
    ]


def promised(a: float, b: float) -> float:
    return a * (1 - 2.0**-b)


def test_a_promise_has_an_interval_and_stays_a_fraction() -> None:
    found = learning_curve(SIZES, simulated(np.random.default_rng(0), 5, 300, 0.15, 0.5, 0.05))

    assert found is not None
    value, low, high = found.gain
    assert 0 <= low <= value <= high <= found.law.at(1000) + 1e-12
    assert low <= promised(0.15, 0.5) <= high
    assert found.errors[0] > found.errors[-1]
    assert learning_curve(SIZES, simulated(np.random.default_rng(0), 5, 300, 0.15, 0.5, 0.05)).gain == found.gain


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("a", "b", "c"), [(0.15, 0.5, 0.05), (0.1, 1.0, 0.0), (0.1, 0.3, 0.1)])
def test_the_promise_covers_the_truth(seeds: int, a: float, b: float, c: float) -> None:
    generator = np.random.default_rng(seeds)
    hits = []
    for _ in range(200):
        found = learning_curve(SIZES, simulated(generator, seeds, 400, a, b, c))
        hits.append(found.gain[1] <= promised(a, b) <= found.gain[2])
    assert np.mean(hits) >= 0.935 - 3 * (0.95 * 0.05 / 200) ** 0.5


def test_too_few_sizes_or_seeds_have_no_curve() -> None:
    table = np.zeros((3, 10), bool)
    assert learning_curve((10, 20), [table] * 2) is None
    assert learning_curve((10, 20, 40), [table[:2]] * 3) is None
    with pytest.raises(ShatteringError) as caught:
        learning_curve((10, 20, 40), [table, table, table[:2]])
    assert caught.value.identifier == "curve-uneven"
