"""When a run had memorised its training examples, when it generalised, and how long it took from one to the other."""

from __future__ import annotations

from shattering.core.record import Record
from shattering.measures.time_to_fit import fit_time

GENERALISED = 0.99
"""Test accuracy from which on a run counts as generalising, as in Power et al. (2022)."""


def time_to_generalise(record: Record) -> int | None:
    """Updates at the first snapshot with a test accuracy of at least 99%; none where there is none.

    It was reached after more updates than the snapshot before had seen.
    """
    steps, accuracies = record.trajectory("test_accuracy")
    return next((step for step, found in zip(steps, accuracies, strict=True) if found >= GENERALISED), None)


def delay(record: Record) -> float | None:
    """Updates to a test accuracy of 99%, as a multiple of those to the fit criterion on the training set.

    None where the run did not reach both, or was fitted before its first update.
    """
    memorised, generalised = fit_time(record), time_to_generalise(record)
    if memorised is None or memorised.censored or not memorised.steps or generalised is None:
        return None
    return generalised / memorised.steps


def at_fit(record: Record, name: str) -> float | None:
    """A number at the first snapshot that is not before the fit criterion; none where the run did not fit."""
    memorised = fit_time(record)
    if memorised is None or memorised.censored:
        return None
    return next((float(row[name]) for row in record.rows if row["step"] >= memorised.steps and name in row), None)


def generalisation_bound(record: Record) -> tuple[int, bool]:
    """Updates to a test accuracy of 99% and whether that is only a lower bound: the budget of a run that never did."""
    found = time_to_generalise(record)
    return (int(record.last.get("step", 0)), True) if found is None else (found, False)
