"""The memorising networks as learners: what they are given, and what they tell."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.errors import DataError
from shattering.core.streams import Stream
from shattering.expressivity.triangular import relu_matrix
from shattering.learners.deep_memoriser import deep_memoriser
from shattering.learners.registry import Material, learners
from shattering.learners.two_layer_memoriser import two_layer_memoriser


def material(n: int = 60, seed: int = 0, **others) -> Material:
    rng = np.random.default_rng(seed)
    inputs = rng.random((n, 4, 4, 1)).astype(np.float32)
    return Material(inputs, rng.integers(0, 10, n), 10, lambda purpose: Stream(seed, purpose), **others)


def test_training_labels_are_fitted_and_scores_of_training_inputs_are_one_hot() -> None:
    given = material()

    fitted = two_layer_memoriser(given)

    assert fitted.exact
    assert np.abs(fitted.scores(given.inputs) - np.eye(10)[given.labels]).max() < 1e-6
    assert np.abs(fitted.train_scores - np.eye(10)[given.labels]).max() < 1e-6
    elsewhere = fitted.scores(material(n=30, seed=1).inputs)
    assert elsewhere.shape == (30, 10)
    assert elsewhere.dtype == np.float64
    assert np.allclose(elsewhere.sum(axis=1), 1)


def test_facts_are_those_of_the_matrix() -> None:
    given = material(n=12)

    fitted = two_layer_memoriser(given, place=0.5)

    direction, thresholds = fitted.weights["direction"], fitted.weights["thresholds"]
    z = (given.rows.astype(np.float64) * direction).sum(axis=1)
    order = np.argsort(z)
    matrix = relu_matrix(z[order], thresholds)
    facts = fitted.facts
    assert facts["weights"] == 2 * 12 + 16
    assert facts["features"] == 16
    assert facts["hidden_units"] == 12
    assert facts["smallest_eigenvalue"] == pytest.approx(np.diag(matrix).min(), rel=1e-9)
    assert facts["smallest_gap"] == pytest.approx(np.diff(z[order]).min(), rel=1e-9)
    assert facts["condition"] == pytest.approx(np.linalg.cond(matrix, np.inf), rel=1e-3)
    expected = np.linalg.solve(matrix, given.labels[order].astype(float))
    assert np.allclose(fitted.weights["weights"], expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    assert facts["largest_weight"] == np.abs(fitted.weights["weights"]).max()
    assert facts["largest_error"] < 1e-6 < facts["largest_error_float32"]


@pytest.mark.parametrize("depth", [2, 3, 10])
def test_a_deep_one_says_how_wide_it_is(depth) -> None:
    given = material(n=90)

    fitted = deep_memoriser(given, depth=depth)

    assert fitted.exact
    assert fitted.facts["depth"] == depth
    assert fitted.facts["weights"] == 2 * 90 + 16 + 1
    assert -(-90 // (depth - 1)) <= fitted.facts["width"] <= -(-90 // (depth - 1)) + 3
    assert fitted.facts["connections"] <= 4 * 90 + 16 + 5 * depth
    assert np.array_equal(fitted.scores(given.inputs).argmax(axis=1), given.labels)


@pytest.mark.parametrize("name", ["two_layer_memoriser", "deep_memoriser"])
def test_every_fact_has_a_unit_and_chance_comes_from_the_stream(name) -> None:
    entry = learners.get(name)

    first, again, other = (entry.learn(material(seed=seed)) for seed in (0, 0, 1))

    assert set(first.facts) == set(entry.units)
    assert all(np.array_equal(first.weights[key], again.weights[key]) for key in first.weights)
    assert not np.array_equal(first.weights["direction"], other.weights["direction"])


def test_copies_are_merged_or_refused() -> None:
    given = material(n=20)
    inputs, labels = np.concatenate([given.inputs, given.inputs[:3]]), np.concatenate([given.labels, given.labels[:3]])

    fitted = two_layer_memoriser(Material(inputs, labels, 10, given.stream))
    labels[21] = (labels[21] + 1) % 10
    with pytest.raises(DataError, match="Points 1 and 21 are equal in float32") as caught:
        two_layer_memoriser(Material(inputs, labels, 10, given.stream))

    assert caught.value.identifier == "memorise-conflict"
    assert fitted.facts["merged"] == 3
    assert fitted.facts["weights"] == 2 * 20 + 16
    assert np.array_equal(fitted.scores(inputs).argmax(axis=1)[:20], given.labels)
