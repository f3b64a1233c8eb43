"""Descent in closed form beside its loop, the truncated law beside rejection, and the verified risks."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.streams import Stream
from shattering.simulations.descent_least_squares import TIMES, descent_least_squares, truncated
from shattering.simulations.registry import Bench
from shattering.theory.descent_bound import TRUNCATED_VARIANCE, descended, edge, excess_bound, smallest_positive

BENCH = Bench(lambda purpose: Stream(2, purpose), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("features", [5, 12])
def test_the_closed_form_is_the_loop(features: int) -> None:
    inputs = BENCH.normals("simulation/inputs", 8, features)
    labels = BENCH.normals("simulation/noise", 8, 1)[:, 0]
    weights = start = BENCH.normals("simulation/weights", 1, features)[0]
    found, values = descended(inputs.T @ inputs / 8, inputs.T @ labels / 8, start, 0.05, (0, 300))
    for _ in range(300):
        weights = weights - 0.05 * inputs.T @ (inputs @ weights - labels) / 8
    assert found[0] == pytest.approx(start)
    assert found[1] == pytest.approx(weights)
    singular = np.linalg.svd(inputs, compute_uv=False) ** 2 / 8
    assert smallest_positive(values) == pytest.approx(singular.min())


def test_truncated_numbers_have_the_law_of_rejected_ones() -> None:
    words = Stream(1, "test").words(np.arange(2000), blocks=5)
    values = truncated(words)
    normal = BENCH.normals("simulation/inputs", 2000, 30)
    kept = normal[np.abs(normal) <= 1]
    assert np.abs(values).max() <= 1
    assert values.var() == pytest.approx(TRUNCATED_VARIANCE, rel=0.02)
    assert kept.var() == pytest.approx(TRUNCATED_VARIANCE, rel=0.02)
    assert round(TRUNCATED_VARIANCE, 3) == 0.291


def test_the_limit_vanishes_at_as_many_features_as_examples() -> None:
    assert edge(1.0) == 0
    assert edge(0.25) == pytest.approx(0.25)
    assert edge(4.0) == pytest.approx(1.0)


def test_terms_of_the_bound() -> None:
    values = np.array([0.0, 0.5, 1.0])
    settings = {"rate": 0.1, "steps": 10, "size": 1.0, "start": 0.5, "examples": 4}
    without = excess_bound(values, 0.2, noise=0.0, **settings)
    assert without == pytest.approx(0.95**20 * (1 + 0.5 * 5) + 0.1)
    assert excess_bound(values, 0.2, noise=0.3, **settings) - without == pytest.approx(4 * 0.3 / (4 * 0.25))


def test_risks_are_the_verified_ones() -> None:
    rows = {row["features"]: row for row in descent_least_squares(BENCH, repetitions=60)}
    verified = {100: (0.196, 0.210, 0.233, 0.230), 1000: (0.248, 0.360, 0.335, 0.236)}
    for steps, wanted in verified.items():
        found = [rows[features][f"risk_{steps}"] for features in (10, 20, 30, 100)]
        assert found == pytest.approx(wanted, rel=0.1)
    heights = [rows[20][f"risk_{steps}"] / rows[100][f"risk_{steps}"] for steps in TIMES]
    assert heights == sorted(heights)


def test_without_misspecification_there_is_no_peak_and_the_bound_holds() -> None:
    rows = list(descent_least_squares(BENCH, target="used features", repetitions=60))
    risks = [row["risk_1000"] for row in rows]
    assert [rows[index]["features"] for index in (4, 10, 14, 19)] == [10, 20, 30, 100]
    assert [risks[index] for index in (4, 10, 14, 19)] == pytest.approx(
        (0.0018, 0.031, 0.110, 0.235), rel=0.15, abs=1e-3
    )
    assert risks == pytest.approx(sorted(risks), rel=0.1)
    assert all(row[f"risk_{steps}"] <= row[f"bound_{steps}"] + 1e-12 for row in rows for steps in TIMES)
    assert max(rows, key=lambda row: row["optimisation"])["features"] == 20
