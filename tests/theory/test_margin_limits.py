"""Limits of linear classification beside the verified values, brute force, general solvers, and simulations."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.streams import Stream
from shattering.simulations.margin_classifiers import (
    RATIOS,
    largest_margin_weights,
    logistic_weights,
    margin_classifiers,
    seen_signal,
)
from shattering.simulations.registry import Bench
from shattering.theory.margin_limits import limit_error, logistic_cosine, margin, separability

BENCH = Bench(lambda purpose: Stream(4, purpose), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("world", "strength", "wanted"),
    [
        *(("logistic", r, value) for r, value in ((1e-3, 0.5), (1, 0.439), (3, 0.273), (5, 0.185))),
        *(("mixture", s, value) for s, value in ((1, 0.2703), (2, 0.0483), (3, 0.0032))),
    ],
)
def test_thresholds_have_the_verified_values(world, strength: float, wanted: float) -> None:
    assert separability(margin(world, strength, strength)) == pytest.approx(wanted, abs=6e-4)


@pytest.mark.parametrize(
    ("world", "strength", "ratio", "wanted"),
    [
        ("mixture", 1.0, 0.05, 0.1724),
        ("mixture", 1.0, 0.2, 0.2208),
        ("mixture", 2.0, 0.3, 0.0574),
        ("mixture", 2.0, 2.0, 0.0823),
        ("logistic", 3.0, 0.1, 0.1923),
        ("logistic", 3.0, 0.2, 0.2254),
        ("logistic", 3.0, 0.6, 0.3145),
        ("logistic", 3.0, 1.2, 0.3539),
    ],
)
def test_errors_have_the_verified_values(world, strength: float, ratio: float, wanted: float) -> None:
    assert limit_error(world, ratio, strength, strength)[0] == pytest.approx(wanted, abs=9e-4)


def test_the_threshold_is_a_minimum_over_slopes_of_a_plain_sum() -> None:
    grid = np.linspace(-7, 7, 281)
    normal = np.exp(-(grid**2) / 2) / np.exp(-(grid**2) / 2).sum()
    lost = [
        float(normal @ np.minimum(grid[:, None] + slope * (1.0 + grid), 0) ** 2 @ normal)
        for slope in np.linspace(-1.5, 1.5, 61)
    ]
    assert separability(margin("mixture", 1.0, 1.0)) == pytest.approx(min(lost), rel=1e-3)


def test_both_classifiers_meet_at_the_threshold() -> None:
    law = margin("mixture", 1.0, 1.0)
    threshold = separability(law)
    below = logistic_cosine(law, 0.985 * threshold)
    above = limit_error("mixture", 1.001 * threshold, 1.0, 1.0)[0]
    assert below is not None
    assert law.error(below) == pytest.approx(above, rel=0.05)


def test_the_largest_margin_is_what_a_general_solver_finds() -> None:
    from scipy.optimize import minimize

    signed = BENCH.normals("simulation/inputs", 12, 8) + np.eye(1, 8)
    found = largest_margin_weights(signed)
    assert found is not None
    slow = minimize(
        lambda w: w @ w, 10 * found + 1.0, jac=lambda w: 2 * w, method="SLSQP", options={"maxiter": 500, "ftol": 1e-14},
        constraints={"type": "ineq", "fun": lambda w: signed @ w - 1, "jac": lambda w: signed},
    )  # fmt: skip
    assert slow.success
    assert found == pytest.approx(slow.x, abs=1e-5)
    assert float((signed @ found).min()) == pytest.approx(1, abs=1e-9)


def test_examples_that_contradict_each_other_have_no_margin_and_a_logistic_minimum() -> None:
    signed = BENCH.normals("simulation/inputs", 40, 3)
    assert largest_margin_weights(signed) is None
    weights = logistic_weights(signed)
    fall = 1 / (1 + np.exp(signed @ weights))
    assert float(np.abs(signed.T @ fall).max()) < 1e-6


def test_the_signal_seen_grows_to_the_whole() -> None:
    seen = [seen_signal("growing", ratio, 2.0) for ratio in RATIOS]
    assert seen == sorted(seen)
    assert 0 < seen[0] < 0.7
    assert 1.9 < seen[-1] < 2 == seen_signal("constant", 0.1, 2.0)


def test_simulated_classifiers_follow_the_limit() -> None:
    rows = list(margin_classifiers(BENCH, examples=100, repetitions=5))
    for row in rows:
        assert row["simulated_error"] == pytest.approx(row["formula_error"], rel=0.12), row
    assert (rows[0]["separable"], rows[-1]["separable"]) == (0, 1)
