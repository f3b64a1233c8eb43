"""Pictures of deep double descent, and what they say."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.curves import curve, ended, estimate_by_seed, swept
from shattering.core.record import Record
from shattering.core.study import Axis, Estimate, Figure, Point, Records
from shattering.measures.model_size import fall, final_error, least_error, place_of_peak, rise, width_of
from shattering.studies.nakkiran2019_records import SIZES, group, resnets


def climb(records: Records) -> Estimate | None:
    """How far test error climbs to its peak."""
    return estimate_by_seed(records, lambda runs: rise(group(runs)))


def descent(records: Records) -> Estimate | None:
    """How far it falls from there to the widest network."""
    return estimate_by_seed(records, lambda runs: fall(group(runs)))


def stopped(records: Records) -> Estimate | None:
    """How far the smallest test error on the way climbs."""
    return estimate_by_seed(records, lambda runs: rise(group(runs), least_error))


def place(records: Records) -> Estimate | None:
    """Where the peak stands, over the first width that fits."""
    return estimate_by_seed(records, lambda runs: place_of_peak(group(runs)))


def _points(found: Estimate | None) -> str:
    return "not known" if found is None else f"{100 * found.value:.1f} points"


def answer(records: Records) -> str:
    """How high the peak is, and where it stands."""
    first = place(records)
    if first is None:
        there = len(ended(group(records)))
        if not there:
            return "No width has ended yet. Run the same command again to go on."
        return f"None of the {there} networks that have ended fits the training set within its updates; give them more."
    return (
        f"With 20% wrong labels test error climbs by {_points(climb(records))} and falls by "
        f"{_points(descent(records))} as the hidden layer widens; the peak stands at {first.value:.2g} times the "
        "smallest width that fits the training set. Stopped at the best moment, it climbs by "
        f"{_points(stopped(records))} at most."
    )


def _errors(records: Records) -> list[Point]:
    def line(runs: list[Record], number: Callable[[Record], float], series: str, kind: str) -> list[Point]:
        return swept(runs, width_of, number, series=series, kind=kind)

    noisy, clean = group(records), group(records, noise=0.0)
    return [
        *line(noisy, final_error, "20% wrong labels", "test"),
        *line(noisy, least_error, "20% wrong labels", "test, best on the way"),
        *line(noisy, lambda record: 1 - record.last["train_accuracy"], "20% wrong labels", "train"),
        *line(clean, final_error, "true labels", "test"),
        *line(resnets(records), final_error, "ResNet, 15% wrong labels", "test"),
        *line(resnets(records), lambda record: 1 - record.last["train_accuracy"], "ResNet, 15% wrong labels", "train"),
    ]


def _in_time(records: Records) -> list[Point]:
    widths = sorted({width_of(record) for record in ended(group(records))})
    return [
        Point(
            point.x,
            1 - point.y,
            point.series,
            None if point.high is None else 1 - point.high,
            None if point.low is None else 1 - point.low,
        )
        for width in widths[:: max(1, len(widths) // 4)]
        for point in curve(
            [record for record in group(records) if width_of(record) == width],
            "step",
            "test_accuracy",
            series=f"{width:g} units",
            positive=True,
        )
    ]


def _late_reading(records: Records) -> str:
    """How far the end lies above the best on the way, at all widths with noisy labels."""
    runs = ended(group(records))
    late = [final_error(record) - least_error(record) for record in runs]
    if not late:
        return "No width has ended yet."
    return (
        f"In {sum(gap > 0 for gap in late)} of {len(late)} runs test error ends above its smallest on the way; over "
        f"all runs by {100 * sum(late) / len(late):.1f} points on average and by {100 * max(late):.1f} at most."
    )


WIDTH = Axis("width: units of the hidden layer, or channels of the first convolution", scale="log")
ERROR = Axis("error (of the training labels as given, of clean test labels)", percent=True)
FIGURES = (
    Figure(
        "width",
        "Test and training error against width",
        WIDTH,
        ERROR,
        _errors,
        lambda records: f"Test error climbs by {_points(climb(records))} and falls by {_points(descent(records))}.",
    ),
    Figure(
        "examples",
        "Test error against width, for three sizes of the training set",
        WIDTH,
        Axis("test error", percent=True),
        lambda records: [
            point
            for size in SIZES
            for point in swept(group(records, size), width_of, final_error, series=f"{size} examples")
        ],
        lambda records: "Where lines meet or cross, twice as many examples do not help at that width.",
    ),
    Figure(
        "time",
        "Test error in time",
        Axis("steps (each is a pass over the training set)", scale="log"),
        Axis("test error", percent=True),
        _in_time,
        _late_reading,
    ),
)
