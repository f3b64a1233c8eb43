"""Rademacher complexities that have closed forms, beside enumeration and linear programming."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

from shattering.core.errors import SpecError
from shattering.core.record import Record, Status
from shattering.core.spec import CorruptionSpec, RunSpec
from shattering.measures.rademacher import (
    bounded_norm_complexity,
    least_squares_correlation,
    separable_probability,
    sign_correlation,
)


def all_signs(examples: int) -> np.ndarray:
    return np.array(list(itertools.product((-1.0, 1.0), repeat=examples)))


def separable(inputs: np.ndarray, signs: np.ndarray) -> bool:
    """Whether a plane through the origin has every point on the side of its sign."""
    margins = -signs[:, None] * inputs
    found = linprog(np.zeros(inputs.shape[1]), A_ub=margins, b_ub=-np.ones(len(inputs)), bounds=(None, None))
    return bool(found.success)


@pytest.mark.parametrize(("examples", "features"), [(6, 2), (7, 3), (5, 5), (4, 6)])
def test_share_of_separable_labellings_is_what_linear_programs_count(examples: int, features: int) -> None:
    inputs = np.random.default_rng(examples).normal(size=(examples, features))

    count = sum(separable(inputs, signs) for signs in all_signs(examples))

    assert separable_probability(features, examples) == pytest.approx(count / 2**examples, rel=1e-12)


def test_at_twice_as_many_examples_as_features_half_are_separable() -> None:
    assert separable_probability(50, 100) == pytest.approx(0.5, rel=1e-12)
    assert separable_probability(100, 100) == separable_probability(400, 100) == 1.0
    assert separable_probability(10, 100) < 1e-15


def test_bounded_norm_complexity_is_the_supremum_over_directions() -> None:
    inputs = np.random.default_rng(0).normal(size=(8, 2))
    angles = np.linspace(0, 2 * np.pi, 20_001)
    directions = 3.0 * np.stack([np.cos(angles), np.sin(angles)])  # every w of norm 3, as good as

    signs = all_signs(8)
    supremum = (signs @ (inputs @ directions)).max(axis=1).mean() / 8

    assert bounded_norm_complexity(inputs, signs, bound=3.0) == pytest.approx(supremum, rel=1e-6)


def test_bounded_norm_complexity_obeys_jensen_and_is_an_equality_for_one_example() -> None:
    inputs = np.random.default_rng(1).normal(size=(9, 5))

    assert bounded_norm_complexity(inputs, all_signs(9)) <= np.sqrt((inputs**2).sum()) / 9
    alone = bounded_norm_complexity(inputs[:1], all_signs(1))
    assert alone == pytest.approx(np.linalg.norm(inputs[0]), rel=1e-12)


@pytest.mark.parametrize("features", [10, 30, 50, 80])
def test_least_squares_follows_signs_as_expected(features: int) -> None:
    generator = np.random.default_rng(features)
    found = []
    for _ in range(400):
        inputs, signs = generator.normal(size=(100, features)), generator.choice([-1.0, 1.0], size=100)
        fitted = inputs @ np.linalg.lstsq(inputs, signs, rcond=None)[0]
        found.append((signs * np.sign(fitted)).mean())

    # The derivation takes P_ii for its mean; what that leaves out is below a hundredth.
    assert np.mean(found) == pytest.approx(least_squares_correlation(features, 100), abs=0.02)


def test_least_squares_numbers_of_the_replication() -> None:
    assert least_squares_correlation(10, 100) == pytest.approx(0.2611, abs=1e-4)
    assert least_squares_correlation(50, 100) == pytest.approx(0.6827, abs=1e-4)
    assert least_squares_correlation(100, 100) == least_squares_correlation(400, 100) == 1.0


def record(corruption: str, accuracy: float, status: Status = Status.NOT_FITTED) -> Record:
    spec = RunSpec(corruption=CorruptionSpec(name=corruption))
    return Record(spec, status, ({"step": 1, "train_accuracy": accuracy},))


def test_correlation_with_signs_is_told_by_the_accuracy() -> None:
    assert sign_correlation(record("random_signs", 1.0)) == 1.0
    assert sign_correlation(record("random_signs", 0.5)) == 0.0
    assert sign_correlation(record("random_signs", 0.75)) == 0.5
    assert sign_correlation(record("random_labels", 0.75)) is None
    assert sign_correlation(record("random_signs", 0.75, Status.DIVERGED)) is None


def test_empty_classes_are_refused() -> None:
    for function in (separable_probability, least_squares_correlation):
        with pytest.raises(SpecError) as caught:
            function(0, 10)
        assert caught.value.identifier == "rademacher-sizes"
