"""The learner on random features: interpolation from N = n on, and what it says of its fit."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.errors import DataError
from shattering.core.streams import Stream
from shattering.learners.random_features import random_features
from shattering.learners.registry import Material


def material(rows: np.ndarray) -> Material:
    numbers = np.random.default_rng(1)
    return Material(rows.astype(np.float32), numbers.integers(0, 3, len(rows)), 3, lambda purpose: Stream(0, purpose))


GIVEN = material(np.random.default_rng(0).standard_normal((30, 8)))


@pytest.mark.parametrize("kind", ["fourier", "relu"])
def test_interpolates_from_as_many_features_as_examples_on(kind) -> None:
    below, at, above = (random_features(GIVEN, count=count, kind=kind, scale=1.0) for count in (20, 30, 400))

    assert not below.exact
    assert at.exact
    assert above.exact
    assert at.facts["train_mse"] < 1e-12
    assert at.facts["norm"] > above.facts["norm"]
    assert at.facts["condition"] > above.facts["condition"]
    np.testing.assert_allclose(above.scores(GIVEN.inputs), np.eye(3)[GIVEN.labels], atol=1e-8)


def test_a_ridge_shrinks_the_norm_and_gives_up_interpolation() -> None:
    free, ridge = (random_features(GIVEN, count=60, scale=1.0, ridge=value) for value in (0.0, 1.0))

    assert ridge.facts["norm"] < free.facts["norm"]
    assert not ridge.exact
    assert 0 < ridge.facts["train_mse"] < 1


def test_an_input_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        random_features(material(np.full((4, 2), np.nan)))
    assert caught.value.identifier == "random-features-not-finite"
