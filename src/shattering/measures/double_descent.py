"""What a curve of risk against capacity or against examples does around the place where the training set is fitted."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core import statistics
from shattering.core.record import Record

Number = Callable[[Record], float | None]


def around(record: Record, name: str, axis: str, at: float) -> tuple[list[float], list[float]]:
    """A number's values in the rows before a place on the axis, and in those from it on."""
    rows = [row for row in record.rows if name in row and axis in row]
    return (
        [float(row[name]) for row in rows if row[axis] < at],
        [float(row[name]) for row in rows if row[axis] >= at],
    )


def peak_height(name: str, axis: str, at: float = 1.0) -> Number:
    """The value at the threshold over the larger of the first minimum and the last value; 1 or less without a peak."""

    def height(record: Record) -> float | None:
        before, after = around(record, name, axis, at)
        least = max(min(before), after[-1]) if before and after else 0.0
        return after[0] / least if least > 0 else None

    return height


def second_descent(name: str, axis: str, at: float = 1.0) -> Number:
    """By what part the last value lies below the first minimum; 1 at most, negative where it lies above."""

    def fall(record: Record) -> float | None:
        before, after = around(record, name, axis, at)
        return 1 - after[-1] / min(before) if before and after and min(before) > 0 else None

    return fall


def bump(name: str, axis: str, at: float = 0.9) -> Number:
    """The largest value from a place on over the smallest before it: at most 1 where the curve only falls."""

    def height(record: Record) -> float | None:
        before, after = around(record, name, axis, at)
        return max(after) / min(before) if before and after and min(before) > 0 else None

    return height


def largest_after(name: str, axis: str, at: float = 1.0) -> Number:
    """The largest value from a place on."""
    return lambda record: max(around(record, name, axis, at)[1], default=None)


def rank_correlation(first: str, second: str, axis: str, beyond: float = 1.0) -> Number:
    """Spearman's correlation of two numbers over the rows beyond a place, from -1 to 1; none where one never varies."""

    def correlation(record: Record) -> float | None:
        rows = [row for row in record.rows if {first, second, axis} <= set(row) and row[axis] > beyond]
        return statistics.rank_correlation([row[first] for row in rows], [row[second] for row in rows])

    return correlation
