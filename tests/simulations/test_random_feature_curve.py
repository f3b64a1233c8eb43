"""The curve over random features against the learner at each N, and double descent in it."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.spec import DataSpec, ModelSpec, RunSpec
from shattering.core.streams import Stream
from shattering.data.load import load_data
from shattering.execution.fit import material_of
from shattering.execution.selection import choose_examples
from shattering.execution.simulate import simulate
from shattering.learners.desk import Desk
from shattering.learners.random_features import random_features
from shattering.simulations.random_feature_curve import feature_counts
from shattering.simulations.registry import simulated

DATA = DataSpec(name="digits", train_size=100, test_size=200, whiten=False)


def test_the_grid_holds_the_threshold_and_is_dense_around_it() -> None:
    counts = feature_counts(1000, 8.0)

    assert counts == sorted(set(counts))
    assert 1000 in counts
    assert sum(900 <= count <= 1100 for count in counts) >= 7
    assert counts[-1] == 8000
    assert feature_counts(60, 0.5)[-1] == 60


def test_every_row_is_what_the_learner_finds() -> None:
    splits = load_data("digits")
    few = DATA.model_copy(update={"train_size": 30, "test_size": 10})
    spec = simulated("random_feature_curve", 4, data=few, scale=0.7, largest=1.1)

    rows = simulate(spec, splits).rows

    chosen = choose_examples(splits, spec)
    for row in rows:
        own = RunSpec(data=few, model=ModelSpec(name="random_features"), seed=4)
        fitted = random_features(material_of(own, chosen.train, Desk()), count=int(row["features"]), scale=0.7)
        assert fitted.facts["norm"] == pytest.approx(row["norm"], rel=1e-4), row["features"]
        assert fitted.facts["train_mse"] == pytest.approx(row["train_mse"], rel=1e-4, abs=1e-12)


def test_the_peak_stands_at_n_and_a_ridge_removes_it() -> None:
    splits = load_data("digits")
    free, ridge = (
        simulate(simulated("random_feature_curve", 0, data=DATA, scale=0.7, ridge=value), splits).rows
        for value in (0.0, 0.3)
    )

    top = max(free, key=lambda row: row["test_mse"])
    assert top["ratio"] == 1.0
    assert top["test_mse"] > 20 * free[-1]["test_mse"]
    assert max(row["train_mse"] for row in free if row["ratio"] >= 1) < 1e-12
    losses = np.array([row["test_mse"] for row in ridge])
    assert losses[6:].max() <= losses[:6].min() * 1.1


def test_seeds_draw_features_of_their_own() -> None:
    streams = [Stream(seed, "random-features").normals(np.arange(3), 4) for seed in (0, 1)]

    assert not np.array_equal(*streams)
