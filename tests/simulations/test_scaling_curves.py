"""Learning curves over shards and on synthetic spectra: against what they are defined by, and their exponents."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.errors import DataError
from shattering.core.spec import CorruptionSpec, DataSpec
from shattering.core.streams import Stream
from shattering.data.load import load_data
from shattering.execution.selection import choose_examples
from shattering.execution.simulate import simulate
from shattering.simulations.registry import simulated
from shattering.theory.ridge_equivalents import error_exponent, slope

DATA = DataSpec(name="digits", train_size=400, test_size=150, whiten=False)


def test_the_largest_shard_is_kernel_ridge_regression_with_the_ridge_of_the_validation_set() -> None:
    splits = load_data("digits")
    spec = simulated("shard_curve", 2, data=DATA, shards=3, gamma=0.2)

    rows = simulate(spec, splits).rows

    chosen = choose_examples(splits, spec)
    inputs, tested = (np.asarray(part.inputs).reshape(len(part), -1) / 16 for part in (chosen.train, chosen.test))
    order = Stream(2, "shards").permutation(400)[80:]
    known, hot = inputs[order], np.eye(10)

    def kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.exp(-0.2 * ((first[:, None] - second[None]) ** 2).sum(axis=2))

    targets = hot[chosen.train.labels[order]]
    mean = targets.mean(axis=0)
    dual = np.linalg.solve(kernel(known, known) + rows[-1]["ridge"] * np.eye(320), targets - mean)
    scores = kernel(tested, known) @ dual + mean
    assert [row["examples"] for row in rows] == [80, 160, 320]
    assert rows[-1]["test_mse"] == pytest.approx(((scores - hot[chosen.test.labels]) ** 2).sum(axis=1).mean(), rel=1e-5)
    assert rows[-1]["test_error"] == (scores.argmax(axis=1) != chosen.test.labels).mean()
    assert rows[0]["test_mse"] > rows[1]["test_mse"] > rows[2]["test_mse"]


def test_random_labels_have_no_power_law() -> None:
    spec = simulated("shard_curve", 0, data=DATA, corruption=CorruptionSpec(name="random_labels"), shards=3, gamma=0.2)

    rows = simulate(spec, load_data("digits")).rows

    assert slope([row["examples"] for row in rows], [row["test_mse"] for row in rows]) > -0.05


def test_shards_that_are_too_small_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        simulate(simulated("shard_curve", 0, data=DATA, shards=8), load_data("digits"))
    assert caught.value.identifier == "shards-too-few-examples"


def test_a_synthetic_spectrum_follows_its_formula_and_nearly_its_power() -> None:
    spec = simulated("spectrum_curve", 0, decay=1.2, source=2.4, dimension=1500)

    rows = simulate(spec, load_data("drawn")).rows

    sizes = [row["examples"] for row in rows]
    measured, predicted = (slope(sizes, [row[name] for row in rows]) for name in ("test_mse", "formula"))
    assert measured == pytest.approx(predicted, abs=0.1)
    assert measured == pytest.approx(-error_exponent(1.2, 2.4), abs=0.15)
