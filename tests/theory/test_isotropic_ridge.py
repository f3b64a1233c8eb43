"""The risk of isotropic ridge regression: formula, limit, simulation, and an independent simulation's numbers."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from shattering.core.errors import SpecError
from shattering.data.load import load_data
from shattering.execution.simulate import simulate
from shattering.simulations.registry import simulated
from shattering.theory.isotropic_ridge import limit_risk, optimal_ridge, projected, risk_given_design

RIDGES = (0.0, 1.5, 15.0, 150.0)

OPTIMAL = {20: 1.001, 40: 0.795, 55: 0.676, 60: 0.642, 65: 0.613, 80: 0.539, 120: 0.427, 240: 0.325}
"""Risk at the best ridge for d = 60, σ = ½, ‖β‖ = 1, by n, as an independent simulation evaluated the formula."""


def squares(examples: int, dimension: int, draws: int = 200) -> np.ndarray:
    values = np.linalg.svd(np.random.default_rng(examples).standard_normal((draws, examples, dimension)))[1] ** 2
    return np.pad(values, [(0, 0), (0, dimension - values.shape[1])])


@pytest.mark.parametrize(("examples", "published"), list(OPTIMAL.items())[:6])
def test_the_published_values_of_the_optimal_risk(examples, published) -> None:
    assert optimal_ridge(60, 1.0, 0.25) == 15.0
    assert risk_given_design(squares(examples, 60), 15.0, 1.0, 0.25).mean() == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize("ratio", [0.5, 0.9, 1.1, 3.0])
@pytest.mark.parametrize("ridge", RIDGES)
def test_the_limit_is_approached(ratio, ridge) -> None:
    examples = round(150 / ratio)
    risk = risk_given_design(squares(examples, 150, 20), ridge, 1.0, 0.25).mean()

    assert limit_risk(150 / examples, ridge / examples, 1.0, 0.25) == pytest.approx(
        risk, rel=0.12 if ridge == 0 else 0.02
    )


def test_the_limit_without_ridge_is_that_of_a_vanishing_one() -> None:
    for ratio in (0.4, 2.5):
        assert limit_risk(ratio, 1e-9, 2.0, 0.3) == pytest.approx(limit_risk(ratio, 0.0, 2.0, 0.3), rel=1e-6)
    assert limit_risk(1.0, 0.0, 1.0, 0.25) == math.inf


@pytest.mark.parametrize("factor", [1.0, 2.0, 10.0])
def test_from_the_best_ridge_on_the_risk_only_falls_with_examples(factor) -> None:
    ridge = factor * optimal_ridge(1, 1.0, 0.25)
    risks = [limit_risk(1 / ratio, ridge / ratio, 1.0, 0.25) for ratio in np.geomspace(0.05, 20, 60)]

    assert all(after < before for before, after in pairwise(risks))


def test_no_ridge_is_better_than_the_best() -> None:
    given = squares(70, 60, 5)
    best = risk_given_design(given, 15.0, 1.0, 0.25)

    for factor in (0.0, 0.5, 0.99, 1.01, 2.0):
        assert (risk_given_design(given, 15.0 * factor, 1.0, 0.25) > best).all()


def test_projections_keep_the_sum_and_lose_nothing_when_whole() -> None:
    assert projected(100, 100, 2.0, 0.5) == (2.0, 0.5)
    signal, noise = projected(100, 25, 2.0, 0.5)
    assert signal + noise == 2.5
    for wrong in (0, 101):
        with pytest.raises(SpecError):
            projected(100, wrong, 1.0, 0.25)
    with pytest.raises(SpecError):
        risk_given_design(np.ones(3), -1.0, 1.0, 0.25)


@pytest.mark.parametrize("axis", ["examples", "features"])
def test_formula_and_simulation_agree_within_two_percent(axis) -> None:
    spec = simulated("ridge_risk", 0, axis=axis, dimension=24, draws=400)

    rows = simulate(spec, load_data("drawn")).rows

    for row in rows:
        assert row["risk"] == pytest.approx(row["formula"], rel=0.02), row["ratio"]
        assert row["limit"] == pytest.approx(row["formula"], rel=0.05), row["ratio"]
        assert 0.7 <= row["best_factor"] <= 1.5
    assert all(after["formula"] < before["formula"] for before, after in pairwise(rows))


def test_without_ridge_there_is_a_peak() -> None:
    spec = simulated("ridge_risk", 0, factor=0.0, dimension=24, draws=50)

    rows = {row["ratio"]: row for row in simulate(spec, load_data("drawn")).rows}

    assert rows[1.0]["risk"] > 5 * rows[1 / 3]["risk"]
    assert rows[1.0]["limit"] == 0.0
    assert rows[2.0]["risk"] < rows[1 / 3]["risk"]
