"""The pseudo-Fisher discriminant: its limit against simulation, and an independent simulation's numbers."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.data.load import load_data
from shattering.execution.simulate import simulate
from shattering.simulations.registry import simulated
from shattering.theory.pseudo_fisher import bayes_error, limit_error

PUBLISHED = {4: 0.305, 20: 0.210, 40: 0.288, 80: 0.213, 120: 0.146, 400: 0.086}
"""Errors for d = 50 and distance 3 by n, 200 repetitions."""


@pytest.mark.parametrize(("examples", "published"), list(PUBLISHED.items())[1:])
def test_the_limit_is_near_the_published_errors(examples, published) -> None:
    assert limit_error(examples, 50, 3.0) == pytest.approx(published, abs=0.01)


def test_the_limit_has_its_extremes() -> None:
    assert limit_error(51, 50, 3.0) == 0.5
    assert limit_error(10**8, 50, 3.0) == pytest.approx(bayes_error(3.0), abs=1e-6)
    assert bayes_error(3.0) == pytest.approx(0.0668, abs=1e-4)
    assert limit_error(2, 10**9, 3.0) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("axis", "peak"), [("examples", 1.04), ("features", 0.975)])
def test_simulation_follows_the_limit_and_peaks_where_the_data_span_all_features(axis, peak) -> None:
    size = 50 if axis == "examples" else 40
    rows = simulate(simulated("pseudo_fisher", 0, axis=axis, size=size, draws=30), load_data("drawn")).rows

    for row in rows:
        near = 0.5 < row["ratio"] / peak < 1.5  # there the finite peak is lower than ½
        assert row["error"] == pytest.approx(row["formula"], abs=0.09 if near else 0.025), row
        assert row["error"] > row["bayes"]
    assert max(rows, key=lambda row: row["error"])["ratio"] == pytest.approx(peak, abs=0.06)


def test_published_errors_are_found_again() -> None:
    rows = simulate(simulated("pseudo_fisher", 1, draws=40), load_data("drawn")).rows
    ours = {row["examples"]: row["error"] for row in rows}

    for examples, published in PUBLISHED.items():
        assert ours[examples] == pytest.approx(published, abs=0.015), examples


def test_a_ridge_leaves_no_peak() -> None:
    rows = simulate(simulated("pseudo_fisher", 0, ridge=1.0, draws=30), load_data("drawn")).rows

    errors = np.array([row["error"] for row in rows])
    assert (np.diff(errors) < 0.01).all()
