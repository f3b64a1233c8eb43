"""The shape of a curve inside a run: how its last value, its first and its largest compare."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.record import Record

Number = Callable[[Record], float | None]


def ratio_to_largest(name: str) -> Number:
    """The number in the last row over its largest."""

    def ratio(record: Record) -> float | None:
        values = record.trajectory(name)[1]
        return values[-1] / max(values) if values and max(values) > 0 else None

    return ratio


def ratio_to_first(name: str) -> Number:
    """The number in the last row over that in the first."""

    def ratio(record: Record) -> float | None:
        values = record.trajectory(name)[1]
        return values[-1] / values[0] if values and values[0] > 0 else None

    return ratio


def first_over_largest(name: str) -> Number:
    """The number in the first row over its largest."""

    def ratio(record: Record) -> float | None:
        values = record.trajectory(name)[1]
        return values[0] / max(values) if values and max(values) > 0 else None

    return ratio


def largest_climb_over_first(name: str) -> Number:
    """The largest climb from one row to a later one, over the number in the first; 0 where it only falls."""

    def climb(record: Record) -> float | None:
        values = record.trajectory(name)[1]
        climbs = [max(values[place:]) - value for place, value in enumerate(values)]
        return max(climbs) / values[0] if values and values[0] > 0 else None

    return climb
