"""The kernel machine as a learner: what it fits, what it says of it, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shattering.core.errors import DataError, SpecError
from shattering.core.streams import Stream
from shattering.learners.desk import Desk
from shattering.learners.kernel_machine import kernel_machine, kernel_machine_bytes
from shattering.learners.registry import Fitted, Material, learner_fields, learners


def material(inputs: np.ndarray, labels: np.ndarray, classes: int = 3, desk: Desk | None = None) -> Material:
    return Material(inputs, labels, classes, lambda purpose: Stream(0, purpose), desk=desk or Desk())


def random(n: int = 60, shape: tuple[int, ...] = (80,), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.random((n, *shape)).astype(np.float32), draw.integers(0, 3, n)


def distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.linalg.norm(left[:, None].astype(np.float64) - right[None].astype(np.float64), axis=2)


KERNELS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "gaussian": lambda x, y: np.exp(-0.1 * distances(x, y) ** 2),
    "laplacian": lambda x, y: np.exp(-0.1 * distances(x, y)),
    "linear": lambda x, y: x.astype(np.float64) @ y.T.astype(np.float64),
}


@pytest.mark.parametrize("ridge", [0.0, 0.5])
@pytest.mark.parametrize("kernel", KERNELS)
def test_is_the_machine_of_the_formula(kernel, ridge) -> None:
    inputs, labels = random()
    test, _ = random(17, seed=1)
    values = KERNELS[kernel](inputs, inputs)
    dual = np.linalg.solve(values + ridge * np.eye(60), np.eye(3)[labels])

    found = kernel_machine(material(inputs, labels), kernel=kernel, gamma=0.1, ridge=ridge)

    np.testing.assert_allclose(found.weights["coefficients"], dual, atol=1e-9 * abs(dual).max())
    np.testing.assert_allclose(found.scores(test), KERNELS[kernel](test, inputs) @ dual, atol=1e-9)
    np.testing.assert_allclose(found.train_scores, values @ dual, atol=1e-9)
    assert found.exact
    assert found.facts["residual"] < 1e-10
    assert found.facts["norm"] == pytest.approx(np.sqrt(np.trace(dual.T @ values @ dual)))
    assert found.facts["condition"] == pytest.approx(np.linalg.cond(values + ridge * np.eye(60)), rel=0.05)
    assert found.facts["ridge"] == ridge
    assert found.facts["gamma"] == (0 if kernel == "linear" else 0.1)


def test_gabor_features_are_seen_instead_of_pixels() -> None:
    from shattering.kernels.gabor import gabor_features

    inputs, labels = random(30, (12, 12, 1))
    seen = gabor_features(inputs)

    found = kernel_machine(material(inputs, labels), features="gabor", gamma=0.1)

    expected = np.linalg.solve(KERNELS["gaussian"](seen, seen), np.eye(3)[labels])
    np.testing.assert_allclose(found.weights["coefficients"], expected, rtol=1e-6, atol=1e-6 * abs(expected).max())
    assert (found.scores(inputs).argmax(axis=1) == labels).all()
    with pytest.raises(SpecError, match="images"):
        kernel_machine(material(*random()), features="gabor")


@pytest.mark.parametrize(("kernel", "power"), [("gaussian", 2), ("laplacian", 1)])
def test_the_median_heuristic(kernel, power) -> None:
    inputs, labels = random()

    found = kernel_machine(material(inputs, labels), kernel=kernel, gamma="median")

    apart = distances(inputs, inputs)[np.triu_indices(60, 1)]
    assert found.facts["gamma"] == pytest.approx(np.median(apart) ** -power)


class TestEqualExamples:
    def test_with_one_label_are_solved_for_once(self) -> None:
        inputs, labels = random()
        once = kernel_machine(material(inputs, labels))
        places = np.array([3, 40, 3])

        found = kernel_machine(
            material(np.concatenate([inputs, inputs[places]]), np.concatenate([labels, labels[places]]))
        )

        assert found.facts["duplicates"] == 3
        assert found.exact
        assert (found.weights["coefficients"][60:] == 0).all()
        np.testing.assert_array_equal(found.weights["coefficients"][:60], once.weights["coefficients"])
        assert found.train_scores is not None and once.train_scores is not None
        np.testing.assert_array_equal(found.train_scores[60:], once.train_scores[places])

    def test_with_two_labels_are_refused_and_named(self) -> None:
        inputs, labels = random()
        inputs[55] = inputs[20]
        labels[[20, 55]] = 0, 2

        with pytest.raises(DataError, match="20 and 55 are equal but labelled 0 and 2") as caught:
            kernel_machine(material(inputs, labels))

        assert caught.value.identifier == "kernel-conflicting-duplicates"

    def test_are_no_trouble_with_a_ridge(self) -> None:
        inputs, labels = random()
        inputs[55] = inputs[20]
        labels[[20, 55]] = 0, 2

        found = kernel_machine(material(inputs, labels), ridge=0.1)

        assert found.facts["duplicates"] == 0
        assert found.facts["residual"] < 1e-12
        np.testing.assert_allclose(found.scores(inputs)[20], found.scores(inputs)[55], atol=1e-12)


def test_numbers_that_are_none_are_refused_and_named() -> None:
    inputs, labels = random()
    inputs[31, 7] = np.nan

    with pytest.raises(DataError, match="Feature 7 of training example 31 is nan") as caught:
        kernel_machine(material(inputs, labels))

    assert caught.value.identifier == "kernel-not-finite"


def test_a_linear_kernel_of_too_few_features_needs_a_ridge() -> None:
    inputs, labels = random(60, (10,))

    with pytest.raises(DataError, match="10 features has rank 10 at most, and 60") as caught:
        kernel_machine(material(inputs, labels), kernel="linear")
    found = kernel_machine(material(inputs, labels), kernel="linear", ridge=1e-3)

    assert caught.value.identifier == "kernel-rank"
    assert found.exact
    assert found.facts["residual"] < 1e-9


def test_a_solve_that_is_none_is_not_exact() -> None:
    """Features that are copies of each other leave the linear kernel singular, whatever their number."""
    inputs, labels = random(60, (20,))

    found = kernel_machine(material(np.tile(inputs, 4), labels), kernel="linear")

    assert not found.exact
    assert found.facts["residual"] > 1e-6
    assert np.isfinite(found.scores(np.tile(inputs, 4))).all()


def test_can_be_killed_at_any_piece(monkeypatch) -> None:
    """Small problems stand for large ones: pieces are named, kept, found again, and the answer is the same."""

    class Pieces:
        def __init__(self) -> None:
            self.held: dict[str, bytes] = {}
            self.left = 10**9

        def keep(self, name: str, payload: bytes) -> None:
            assert name.replace("-", "").isalnum()
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            self.held[name] = payload

        def kept(self, name: str) -> bytes | None:
            return self.held.get(name)

    from shattering.kernels import solve

    monkeypatch.setattr(solve, "tile_size", lambda n, device="cpu": 16)
    inputs, labels = random()

    def fit(pieces: Pieces) -> Fitted:
        return kernel_machine(material(inputs, labels, desk=Desk(pieces=pieces)))

    whole = Pieces()
    expected = fit(whole)
    for stop_after in range(len(whole.held)):
        pieces = Pieces()
        pieces.left = stop_after
        with pytest.raises(KeyboardInterrupt):
            fit(pieces)
        pieces.left = 10**9
        found = fit(pieces)
        assert found.facts == expected.facts
        np.testing.assert_array_equal(found.weights["coefficients"], expected.weights["coefficients"])
        assert pieces.held == whole.held


def test_memory_grows_with_the_square_and_stays_under_ten_gigabytes_for_mnist() -> None:
    def needed(n: int, **fields: Any) -> float:
        return kernel_machine_bytes(n, 10_000, 784, 10, fields)

    assert needed(60_000) < 9.5e9
    assert needed(60_000, features="gabor") < 9.5e9
    assert needed(200_000) > 8e10


@pytest.mark.parametrize("fields", [{"gamma": 0}, {"gamma": "wide"}, {"ridge": -1}, {"kernel": "cubic"}])
def test_fields_outside_their_range_are_refused(fields) -> None:
    with pytest.raises(SpecError, match=next(iter(fields))):
        learner_fields(learners.get("kernel_machine"), fields)
