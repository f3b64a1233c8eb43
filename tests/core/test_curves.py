"""Numbers and curves over runs: means by hand, counts of what is missing, and medians that cover."""

from __future__ import annotations

import math
from itertools import product

import pytest

from shattering.core.curves import at_place, counted, curve, estimate, holds_if, largest, place_of_largest, swept
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.statistics import mean_interval, median_interval
from shattering.core.study import Estimate


def run(seed: int, values: dict[int, float], status: Status = Status.DONE) -> Record:
    rows = tuple({"step": place, "epoch": 1.0, "n": place, "risk": value} for place, value in values.items())
    return Record(RunSpec(seed=seed), status, rows)


RUNS = [run(0, {1: 1.0, 2: 5.0}), run(1, {1: 2.0, 2: 7.0}), run(2, {1: 3.0, 2: 9.0}), run(3, {}, Status.DIVERGED)]


def test_an_estimate_is_the_mean_over_runs_that_ended() -> None:
    found = estimate(RUNS, at_place("risk", n=2))

    assert found is not None
    assert (found.value, found.low, found.high) == mean_interval([5.0, 7.0, 9.0])
    assert found.runs == tuple(record.digest for record in RUNS[:3])
    assert found.considered == 4
    assert found.note == "3 of 4; 1 diverged"
    assert estimate(RUNS, at_place("risk", n=3)) is None
    assert counted(RUNS[:3], 3) == ""
    assert counted(RUNS, 2) == "2 of 4; 1 diverged, 1 without this number"


def test_a_curve_has_a_mark_for_each_place() -> None:
    points = curve(RUNS, "n", "risk", series="risk")

    assert [(point.x, point.y) for point in points] == [(1.0, 2.0), (2.0, 7.0)]
    assert (points[0].low, points[0].high) == mean_interval([1.0, 2.0, 3.0])[1:]
    same = swept(RUNS, lambda record: 1.0, at_place("risk", n=1), series="risk")
    assert [(point.x, point.y, point.low) for point in same] == [(1.0, 2.0, points[0].low)]


def test_a_logarithmic_axis_gets_no_end_below_zero() -> None:
    wide = [run(seed, {1: value}) for seed, value in enumerate([0.1, 0.2, 9.0])]

    (point,) = curve(wide, "n", "risk", series="risk", positive=True)

    assert mean_interval([0.1, 0.2, 9.0])[1] < 0
    assert point.low == 0.1


def test_the_peak_and_its_place() -> None:
    assert largest("risk")(RUNS[0]) == 5.0
    assert place_of_largest("risk", "n")(RUNS[0]) == 2.0
    assert place_of_largest("risk", "n")(RUNS[3]) is None


@pytest.mark.parametrize(
    ("ends", "verdict"), [((1.1, 2.0), True), ((0.5, 2.0), None), ((0.1, 1.0), False), ((None, None), None)]
)
def test_an_effect_is_told_by_the_whole_interval(ends, verdict) -> None:
    effect = holds_if(lambda records: Estimate(1.5, *ends, ("a",), 1), "above 1", above=1.0)

    assert effect.holds([]) is verdict


@pytest.mark.parametrize("n", [6, 9, 12])
def test_the_interval_of_a_median_covers_95_percent_exactly(n) -> None:
    middle, low, high = median_interval([float(value) for value in range(n)])

    # of independent signs about the true median, the interval misses where fewer than k are on one side
    k = int(low) + 1
    assert high == n - k
    assert middle == (n - 1) / 2
    missed = sum(math.comb(n, j) for j in range(k)) * 2 / 2**n
    tighter = sum(math.comb(n, j) for j in range(k + 1)) * 2 / 2**n
    assert missed <= 0.05 < tighter


def test_too_few_values_have_a_median_without_an_interval() -> None:
    for values in ([3.0], [1.0, 2.0], [5.0, 1.0, 3.0]):
        assert median_interval(values)[1:] == (None, None)
    covered = sum(1 for signs in product((0, 1), repeat=6) if 0 < sum(signs) < 6) / 64
    assert covered >= 0.95
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == (3.5, 1.0, 6.0)
