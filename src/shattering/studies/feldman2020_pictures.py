"""Feldman & Zhang (2020): who is memorised, and what training without them costs."""

from __future__ import annotations

from collections.abc import Sequence

from shattering.core.curves import Number, curve, estimate, last
from shattering.core.record import Record
from shattering.core.study import Axis, Figure, Point, Records
from shattering.studies.feldman2020_claims import cost, noisy, untouched

SHARES = {"share_flipped": "flipped labels", "share_clean": "clean labels", "share_shuffled": "subsets shuffled"}
REMOVED = {"accuracy_without_memorised": "the most memorised", "accuracy_without_random": "at random"}


def told(runs: Sequence[Record], number: Number, form: str = "{:.2f}") -> str:
    """A mean over fleets with its interval in words."""
    at = estimate(runs, number)
    if at is None:
        return "an unknown amount"
    ends = "" if at.low is None or at.high is None else f" ({form.format(at.low)} to {form.format(at.high)})"
    return form.format(at.value) + ends


def share_points(records: Records) -> list[Point]:
    """Shares of examples whose memorisation reaches a threshold."""
    runs = noisy(records)
    points = [point for name, series in SHARES.items() for point in curve(runs, "threshold", name, series=series)]
    return points + curve(untouched(records), "threshold", "share_clean", series="no label flipped")


def removal_points(records: Records) -> list[Point]:
    """Test accuracy against what was removed."""
    runs = noisy(records)
    return [point for name, series in REMOVED.items() for point in curve(runs, "removed", name, series=series)]


FIGURES = (
    Figure(
        name="shares",
        title="Examples whose memorisation reaches a threshold",
        x=Axis("memorisation of at least"),
        y=Axis("share of examples", percent=True),
        points=share_points,
        reading=lambda records: (
            f"Mean memorisation is {told(noisy(records), last('mean_flipped'))} for flipped labels and "
            f"{told(noisy(records), last('mean_clean'))} for clean ones."
        ),
    ),
    Figure(
        name="removal",
        title="Test accuracy without some of the clean examples",
        x=Axis("share of clean examples removed", percent=True),
        y=Axis("test accuracy", percent=True),
        points=removal_points,
        reading=lambda records: (
            "Of three in ten clean examples, the most memorised cost more test accuracy than random ones by "
            f"{told(noisy(records), cost, '{:.1%}')}."
        ),
    ),
)
