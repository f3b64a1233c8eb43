"""Numbers of a curve around its threshold, by hand."""

from __future__ import annotations

import pytest

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.measures.double_descent import bump, largest_after, peak_height, rank_correlation, second_descent


def record(*risks: float) -> Record:
    """Risks at 0.25, 0.5, 1, 2 and 4, and a norm that is their square."""
    places = (0.25, 0.5, 1.0, 2.0, 4.0)
    rows = tuple({"ratio": place, "risk": risk, "norm": risk**2} for place, risk in zip(places, risks, strict=False))
    return Record(RunSpec(), Status.DONE, rows, {})


def test_a_peak_with_a_second_descent() -> None:
    run = record(4.0, 2.0, 30.0, 3.0, 1.0)

    assert peak_height("risk", "ratio")(run) == 15.0
    assert second_descent("risk", "ratio")(run) == 0.5
    assert bump("risk", "ratio")(run) == 15.0
    assert largest_after("norm", "ratio", 2.0)(run) == 9.0
    assert rank_correlation("norm", "risk", "ratio")(run) == pytest.approx(1.0)


def test_a_curve_that_only_falls_has_no_peak() -> None:
    run = record(5.0, 4.0, 3.0, 2.0, 1.0)

    assert peak_height("risk", "ratio")(run) < 1
    assert bump("risk", "ratio")(run) < 1
    assert second_descent("risk", "ratio")(run) == 0.75


def test_a_curve_that_ends_high_has_no_second_descent() -> None:
    assert second_descent("risk", "ratio")(record(2.0, 1.0, 5.0, 4.0, 3.0)) == -2.0


def test_what_is_not_there_has_no_number() -> None:
    for number in (peak_height("risk", "ratio"), second_descent("risk", "ratio"), bump("risk", "ratio")):
        assert number(record(1.0)) is None
        assert number(record()) is None
    assert largest_after("risk", "ratio")(record(1.0)) is None
    assert rank_correlation("risk", "risk", "ratio")(record(1.0, 1.0, 1.0, 2.0, 2.0)) is None
