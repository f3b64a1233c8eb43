"""Curves and rules that the studies of label noise by Chatterjee and Zielinski share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from shattering.core.record import Record
from shattering.core.statistics import Interval, mean_interval
from shattering.core.study import Axis, Point, Records, label_level
from shattering.measures.label_noise import CORRUPT_ACCURACY, PRISTINE_ACCURACY, proper_accuracy
from shattering.studies.chatterjee2020 import Number, classes, ended

STEPS = Axis("optimizer steps", scale="log")
ACCURACY = Axis("accuracy", percent=True)
NOISE = Axis("probability that a label is redrawn", percent=True)

Curve = Callable[[Record], tuple[list[int], list[float]]]


def levels_of(records: Records) -> list[float]:
    """The levels of label noise, ascending."""
    return sorted({level for run in ended(records) if (level := label_level(run.spec)) is not None})


def level_name(level: float) -> str:
    """Title of a panel."""
    return f"{level:.0%} label noise"


def trajectory(name: str) -> Curve:
    """A measured number against steps."""
    return lambda record: record.trajectory(name)


def mean_curve(
    runs: Sequence[Record], curve: Curve, series: str, *, panel: str = "", kind: str = "", share: bool = False
) -> list[Point]:
    """Mean over runs at the steps where every run that has the curve has a value, with its interval.

    Args:
        runs: of one condition.
        curve: gives steps and values.
        series, panel, kind: of the points.
        share: whether values are fractions, so that intervals are cut to [0, 1].
    """
    tables = [dict(zip(*found, strict=True)) for run in runs if (found := curve(run))[0]]
    if not tables:
        return []
    common = sorted(set.intersection(*(set(table) for table in tables)))
    points = []
    for step in common:
        if step > 0:
            mean, low, high = _cut(mean_interval([table[step] for table in tables]), share)
            points.append(Point(step, mean, series, low, high, kind, panel))
    return points


def against(
    runs: Iterable[Record],
    x: Number,
    y: Number,
    series: Callable[[Record], str],
    *,
    panel: str = "",
    share: bool = False,
) -> list[Point]:
    """Mean of ``y`` over the runs of equal ``x`` and series, with its interval; of a ``share`` cut to [0, 1]."""
    groups: dict[str, dict[float, list[float]]] = {}
    for run in ended(list(runs)):
        at, value = x(run), y(run)
        if at is not None and value is not None:
            groups.setdefault(series(run), {}).setdefault(at, []).append(value)
    return [
        Point(at, *_swapped(_cut(mean_interval(values), share), name), panel=panel)
        for name, group in groups.items()
        for at, values in sorted(group.items())
    ]


def _cut(interval: Interval, share: bool) -> Interval:
    mean, low, high = interval
    if not share or low is None or high is None:
        return interval
    return mean, max(0.0, low), min(1.0, high)


def _swapped(
    interval: tuple[float, float | None, float | None], name: str
) -> tuple[float, str, float | None, float | None]:
    return interval[0], name, interval[1], interval[2]


GROUPS = {
    PRISTINE_ACCURACY: "pristine examples",
    CORRUPT_ACCURACY: "corrupt examples, the wrong label given",
    "train_accuracy": "all training examples",
    "test_accuracy": "test",
}


def accuracy_curves(runs: Sequence[Record], level: float, panel: str) -> list[Point]:
    """Pristine and corrupt examples, as labelled, and unseen ones while training, beside the proper accuracy."""
    points = []
    for name, series in GROUPS.items():
        points += mean_curve(runs, trajectory(name), series, panel=panel, kind="measured", share=True)
    return points + proper_line(runs, level, panel)


def proper_line(runs: Sequence[Record], level: float, panel: str) -> list[Point]:
    """The height of the proper accuracy over the steps that the runs have in common: one height for each panel."""
    count = classes(runs)
    if not count:
        return []
    height = proper_accuracy(level, count)
    line = mean_curve(runs, lambda run: (run.trajectory("train_accuracy")[0], [height] * len(run.rows)), "")
    return [Point(at.x, height, "proper accuracy", kind="reference", panel=panel) for at in line]
