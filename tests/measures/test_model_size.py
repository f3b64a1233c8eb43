"""Peaks over widths, on curves whose peaks are known."""

from __future__ import annotations

import pytest

from shattering.core.record import Record, Status
from shattering.core.spec import DataSpec, ModelSpec, RunSpec
from shattering.measures.model_size import complexity, fall, largest_climb, least_error, place_of_peak, rise, threshold


def run(width: int, error: float, train_error: float = 0.0, size: int = 100, best: float = 0.1) -> Record:
    spec = RunSpec(
        data=DataSpec(train_size=size),
        model=ModelSpec(name="mlp_1x512", fields={"width": width} if width != 512 else {}),
    )
    rows = (
        {"step": 1, "epoch": 1.0, "test_accuracy": 1 - best, "train_accuracy": 0.5},
        {"step": 2, "epoch": 2.0, "test_accuracy": 1 - error, "train_accuracy": 1 - train_error},
    )
    return Record(spec, Status.DONE, rows)


PEAKED = [run(2, 0.5, 0.4), run(4, 0.3, 0.2), run(8, 0.4, 0.05), run(16, 0.45), run(512, 0.2)]


def test_the_peak_is_where_the_largest_climb_ends() -> None:
    height, width, error = largest_climb(list(reversed(PEAKED))) or (0, 0, 0)

    assert (height, width, error) == (pytest.approx(0.15), 16, pytest.approx(0.45))
    assert rise(PEAKED) == pytest.approx(0.15)
    assert fall(PEAKED) == pytest.approx(0.25)
    assert threshold(PEAKED) == 16
    assert place_of_peak(PEAKED) == 1.0
    assert rise(PEAKED, least_error) == 0.0


def test_an_error_that_only_falls_has_no_climb() -> None:
    assert rise([run(2, 0.5), run(4, 0.4), run(8, 0.1)]) == 0.0
    assert rise([run(2, 0.5)]) is None
    assert threshold([run(2, 0.5, 0.3)]) is None
    assert place_of_peak([run(2, 0.5, 0.3), run(4, 0.6, 0.3)]) is None


def test_complexity_is_the_largest_size_that_is_fitted() -> None:
    runs = [run(8, 0.3, 0.0, 50), run(8, 0.3, 0.1, 100), run(8, 0.3, 0.2, 200), run(16, 0.3, 0.0, 200)]

    assert complexity(runs, 8) == 100
    assert complexity(runs, 16) == 200
    assert complexity(runs[2:3], 8) == 0
    assert complexity(runs, 99) is None
