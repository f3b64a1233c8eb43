"""The pictures of winsorized training, each with the sentence that says what it shows for these records."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.record import Record
from shattering.core.study import Axis, Figure, Point, Records, label_level
from shattering.measures.label_noise import CORRUPT_ACCURACY, PRISTINE_ACCURACY
from shattering.studies.chatterjee2020 import Number, classes, ended, last, overfit
from shattering.studies.chatterjee2020_figures import (
    ACCURACY,
    STEPS,
    accuracy_curves,
    against,
    level_name,
    levels_of,
)


def percent(record: Record) -> float | None:
    """c, the percentage of gradients clipped at each end; 0 for SGD, none for other ways to combine gradients."""
    training = record.spec.training
    return training.winsorize if training.gradient == "winsorized" else 0.0 if training.gradient == "mean" else None


NARROW = 64
"""Width of the network that has about as many parameters for each example as the paper's."""


def is_narrow(record: Record) -> bool:
    """Whether it is that network."""
    return record.spec.model.fields.get("width") == NARROW


def network_name(record: Record) -> str:
    """Such as ``3×256 units, 1,000 examples``."""
    width = record.spec.model.fields.get("width")
    name = record.spec.model.name if width is None else f"3×{width} units"
    return f"{name}, {record.summary['train_size']:,} examples"


def _networks(records: Records) -> dict[str, list[Record]]:
    """The runs that ended, by network."""
    found: dict[str, list[Record]] = {}
    for record in ended(records):
        found.setdefault(network_name(record), []).append(record)
    return found


def _series(record: Record) -> str:
    return level_name(label_level(record.spec) or 0.0)


def _by_network(records: Records, number: Number, *, share: bool = False) -> list[Point]:
    return [
        point
        for name, runs in _networks(records).items()
        for point in against(runs, percent, number, _series, panel=name, share=share)
    ]


def _named(series: str) -> Callable[[Record], str]:
    return lambda record: series


def overfit_points(records: Records) -> list[Point]:
    """Adjusted overfit against c."""
    return _by_network(records, overfit)


def _overfit_reading(records: Records) -> str:
    told = []
    for name, line in _lines(overfit_points(records)).items():
        told.append(f"{name} {line[0].y:.1%} at c = {line[0].x:g} and {line[-1].y:.1%} at c = {line[-1].x:g}")
    return f"Training accuracy at the end beyond that of a network that memorises nothing: {'; '.join(told)}."


def _lines(points: list[Point]) -> dict[str, list[Point]]:
    """The points of each line, by what it shows."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(f"{point.series} ({point.panel})", []).append(point)
    return found


def corrupt_points(records: Records) -> list[Point]:
    """Accuracy on pristine and on corrupt examples, as labelled, at the end, against c."""
    points = []
    for name, series in ((PRISTINE_ACCURACY, "pristine examples"), (CORRUPT_ACCURACY, "corrupt examples")):
        for network, runs in _networks(records).items():
            for level in levels_of(runs):
                noisy = [run for run in runs if label_level(run.spec) == level > 0]
                panel = f"{level_name(level)}, {network}"
                points += against(noisy, percent, last(name), _named(series), panel=panel, share=True)
    return points


def _corrupt_reading(records: Records) -> str:
    told = []
    for name in ("corrupt", "pristine"):
        for panel in dict.fromkeys(point.panel for point in corrupt_points(records)):
            line = [p for p in corrupt_points(records) if p.panel == panel and p.series.startswith(name)]
            if line:
                told.append(
                    f"{name} ones with {panel} " + ", ".join(f"{point.y:.0%} at c = {point.x:g}" for point in line)
                )
    return f"Labels fitted in the end, of each group: {'; '.join(told)}."


def test_points(records: Records) -> list[Point]:
    """Test accuracy at the end against c."""
    return _by_network(records, last("test_accuracy"), share=True)


def _test_reading(records: Records) -> str:
    told = []
    for name, line in _lines(test_points(records)).items():
        best = max(line, key=lambda point: point.y)
        told.append(f"{name} best at c = {best.x:g} ({best.y:.1%}), {line[0].y:.1%} at c = {line[0].x:g}")
    return f"Test accuracy at the end: {'; '.join(told)}."


def training_points(records: Records) -> list[Point]:
    """Pristine, corrupt and unseen examples while training, at half noise, for each c."""
    points = []
    half = [run for run in ended(records) if label_level(run.spec) == 0.5]
    for c in sorted({at for run in half if (at := percent(run)) is not None}):
        for network, theirs in _networks(half).items():
            runs, panel = [run for run in theirs if percent(run) == c], f"c = {c:g}, {network}"
            points += accuracy_curves(runs, 0.5, panel)
    return points


def _training_reading(records: Records) -> str:
    told = []
    for panel in dict.fromkeys(point.panel for point in training_points(records)):
        line = [p for p in training_points(records) if p.panel == panel and p.series == "all training examples"]
        told.append(f"{line[-1].y:.0%} at {panel}")
    proper = next(point.y for point in training_points(records) if point.series == "proper accuracy")
    return f"Where the curves end, training accuracy is {', '.join(told)}; the proper accuracy is {proper:.0%}."


PERCENT = Axis("c, percent of the gradients clipped at each end")

FIGURES = (
    Figure(
        name="overfit",
        title="Adjusted overfit against c",
        x=PERCENT,
        y=Axis("training accuracy beyond what unseen examples explain", percent=True),
        points=overfit_points,
        reading=_overfit_reading,
        rules=lambda records: {"nothing memorised": 0.0},
    ),
    Figure(
        name="corrupt",
        title="Labels fitted at the end, against c",
        x=PERCENT,
        y=ACCURACY,
        points=corrupt_points,
        reading=_corrupt_reading,
        rules=lambda records: {"chance": 1 / classes(records)} if classes(records) else {},
    ),
    Figure(
        name="test",
        title="Test accuracy at the end, against c",
        x=PERCENT,
        y=Axis("test accuracy", percent=True),
        points=test_points,
        reading=_test_reading,
    ),
    Figure(
        name="training",
        title="Half of the labels redrawn: accuracy while training, by c",
        x=STEPS,
        y=ACCURACY,
        points=training_points,
        reading=_training_reading,
    ),
)
