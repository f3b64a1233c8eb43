"""Linear models: descent against the pseudo-inverse, and what neither can do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shattering.core.errors import DataError, SpecError
from shattering.core.streams import Stream
from shattering.learners.least_squares import least_squares, spectrum
from shattering.learners.registry import Material


def material(examples: int, features: int, *, seed: int = 0, classes: int = 3) -> Material:
    numbers = np.random.default_rng(seed)
    return Material(
        inputs=numbers.standard_normal((examples, features)).astype(np.float32),
        labels=numbers.integers(0, classes, examples),
        num_classes=classes,
        stream=lambda purpose: Stream(seed, purpose),
    )


def targets(given: Material) -> np.ndarray:
    return np.eye(given.num_classes)[given.labels]


def test_the_pseudo_inverse_is_the_interpolant_of_least_norm() -> None:
    given = material(8, 30)
    rows = given.inputs.astype(np.float64)

    fitted = least_squares(given)

    closed = rows.T @ np.linalg.solve(rows @ rows.T, targets(given))
    np.testing.assert_allclose(fitted.weights["weights"], closed, atol=1e-12)
    assert fitted.exact
    assert fitted.facts["residual"] < 1e-14
    assert fitted.facts["norm"] == pytest.approx(np.linalg.norm(closed))
    assert fitted.facts["rank"] == 8
    np.testing.assert_allclose(fitted.scores(given.inputs), targets(given), atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_descent_from_zero_ends_at_the_least_norm_solution(seed) -> None:
    given = material(6, 40, seed=seed)
    rows = given.inputs.astype(np.float64)

    fitted = least_squares(given, method="descent")

    closed = rows.T @ np.linalg.solve(rows @ rows.T, targets(given))
    assert np.linalg.norm(fitted.weights["weights"] - closed) <= 1e-12 * np.linalg.norm(closed)
    assert fitted.facts["distance_to_least_norm"] <= 1e-12
    assert fitted.facts["null_component"] <= 1e-13
    assert 0 < fitted.facts["passes"] <= fitted.facts["passes_expected"]


def test_descent_from_elsewhere_keeps_what_no_example_sees() -> None:
    given = material(6, 40)
    rows = given.inputs.astype(np.float64)
    start = given.stream("start").normals(np.arange(3), 40).T / (4096 * np.sqrt(40))
    unseen = start - rows.T @ np.linalg.solve(rows @ rows.T, rows @ start)

    fitted = least_squares(given, method="descent", start="random")
    zero = least_squares(given, method="descent")

    np.testing.assert_allclose(fitted.weights["weights"], zero.weights["weights"] + unseen, atol=1e-11)
    assert fitted.facts["residual"] < 1e-12
    assert fitted.facts["norm"] > zero.facts["norm"]
    assert fitted.facts["null_component"] == pytest.approx(np.linalg.norm(unseen))
    assert fitted.facts["distance_to_limit"] < 1e-12 < 0.1 < fitted.facts["distance_to_least_norm"]
    limit = least_squares(given, start="random")
    np.testing.assert_allclose(limit.weights["weights"], fitted.weights["weights"], atol=1e-11)


def test_a_component_that_no_example_sees_changes_no_score_and_enlarges_the_norm() -> None:
    given = material(6, 40)
    least = least_squares(given).weights["weights"]
    unseen = spectrum(given.inputs.astype(np.float64)).beyond(np.ones_like(least))

    np.testing.assert_allclose(given.inputs @ (least + unseen), given.inputs @ least, atol=1e-5)
    assert np.linalg.norm(least + unseen) > np.linalg.norm(least)


def test_the_order_of_the_passes_is_the_runs_own() -> None:
    one, other = (
        least_squares(replace(material(6, 40), stream=lambda purpose, s=seed: Stream(s, purpose)), method="descent")
        for seed in (0, 1)
    )

    again = least_squares(material(6, 40), method="descent")
    np.testing.assert_array_equal(one.weights["weights"], again.weights["weights"])
    assert (one.weights["weights"] != other.weights["weights"]).any()


def test_more_examples_than_features_leave_a_residual_and_are_no_interpolant() -> None:
    given = material(50, 10)

    fitted = least_squares(given)

    closed, *_ = np.linalg.lstsq(given.inputs.astype(np.float64), targets(given), rcond=None)
    np.testing.assert_allclose(fitted.weights["weights"], closed, atol=1e-12)
    assert not fitted.exact
    assert 0.1 < fitted.facts["residual"] == pytest.approx(fitted.facts["least_residual"])
    with pytest.raises(SpecError, match="span 10 dimensions") as caught:
        least_squares(given, method="descent")
    assert caught.value.identifier == "least-squares-no-interpolant"


def test_copies_with_one_label_are_fitted_and_with_two_are_not() -> None:
    given = material(6, 40)
    copied = np.concatenate([given.inputs, given.inputs[:1]])
    agreeing = replace(given, inputs=copied, labels=np.append(given.labels, given.labels[0]))
    arguing = replace(given, inputs=copied, labels=np.append(given.labels, (given.labels[0] + 1) % 3))

    assert least_squares(agreeing).exact
    assert least_squares(agreeing, method="descent").facts["residual"] < 1e-10
    assert least_squares(agreeing).facts["rank"] == 6
    assert not least_squares(arguing).exact
    with pytest.raises(SpecError, match="span 6 dimensions"):
        least_squares(arguing, method="descent")


def test_a_descent_that_would_not_end_is_refused_in_advance() -> None:
    given = material(6, 40)
    nearly = np.concatenate([given.inputs, given.inputs[:1] + np.float32(1e-4)])

    with pytest.raises(SpecError, match="smallest singular value") as caught:
        least_squares(replace(given, inputs=nearly, labels=np.append(given.labels, 0)), method="descent")
    assert caught.value.identifier == "least-squares-steps"


@pytest.mark.parametrize(("value", "identifier"), [(np.nan, "least-squares-not-finite"), (0.0, "least-squares-zero")])
def test_unfit_inputs_are_refused(value, identifier) -> None:
    given = material(6, 40)

    with pytest.raises(DataError) as caught:
        least_squares(replace(given, inputs=np.full_like(given.inputs, value)))
    assert caught.value.identifier == identifier


def test_images_are_flattened_and_scored_in_blocks(monkeypatch) -> None:
    given = material(6, 36)
    images = replace(given, inputs=given.inputs.reshape(6, 6, 6, 1))
    whole = least_squares(given).scores(given.inputs)

    monkeypatch.setattr("shattering.learners.least_squares.BLOCK_BYTES", 1)

    np.testing.assert_allclose(least_squares(images).scores(images.inputs), whole, atol=1e-14)
