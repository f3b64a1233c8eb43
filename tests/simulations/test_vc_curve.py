"""Two classes on random features: what is taken of the data, and the two descents."""

from __future__ import annotations

import pytest

from shattering.core.errors import DataError
from shattering.core.spec import DataSpec
from shattering.data.load import load_data
from shattering.execution.simulate import simulate
from shattering.simulations.registry import simulated

DATA = DataSpec(name="digits", whiten=False)


def test_the_norm_peaks_with_the_error_and_the_bounds_follow_their_dimensions() -> None:
    rows = simulate(simulated("vc_curve", 0, data=DATA, examples=60), load_data("digits")).rows

    assert [row["features"] for row in rows] == sorted({row["features"] for row in rows})
    assert max(rows, key=lambda row: row["squared_norm"])["ratio"] == pytest.approx(1.0, abs=0.06)
    assert all(row["train_error"] == 0 for row in rows if row["ratio"] >= 1)
    assert min(rows, key=lambda row: row["feature_bound"])["ratio"] < 0.95
    assert all(row["norm_bound"] <= row["feature_bound"] + 1e-12 for row in rows if row["ratio"] < 1)
    assert min(row["norm_bound"] for row in rows if row["ratio"] >= 1) > 0.2


def test_a_subset_with_too_few_of_the_two_classes_is_refused() -> None:
    few = DATA.model_copy(update={"train_size": 100})

    with pytest.raises(DataError) as caught:
        simulate(simulated("vc_curve", 0, data=few), load_data("digits"))
    assert caught.value.identifier == "vc-too-few-examples"
