"""The pictures of robust averaging, each with the sentence that says what it shows for these records."""

from __future__ import annotations

from shattering.core.record import Record
from shattering.core.statistics import mean_interval
from shattering.core.study import Axis, Figure, Point, Records, label_level
from shattering.measures.label_noise import CORRUPT_ACCURACY
from shattering.studies.chatterjee2020 import classes, ended, last, overfit
from shattering.studies.chatterjee2020_figures import (
    ACCURACY,
    NOISE,
    STEPS,
    against,
    level_name,
    levels_of,
    mean_curve,
    proper_line,
    trajectory,
)

METHODS = {"mean": "SGD", "median_of_means": "M3", "rolling_median": "RM3"}
"""Ways to combine gradients, by the names the paper gives them."""


def by_method(records: Records, level: float) -> dict[str, list[Record]]:
    """The ended runs at a level of noise, by the method's name."""
    runs = [run for run in ended(records) if label_level(run.spec) == level]
    return {name: [run for run in runs if run.spec.training.gradient == method] for method, name in METHODS.items()}


def value_at_loss(record: Record, name: str, loss: float) -> float | None:
    """A measured number where the training loss first is at most ``loss``, linear between snapshots; none if never."""
    before: dict[str, float | int] | None = None
    for row in record.rows:
        if row["train_loss"] <= loss:
            if before is None:
                return float(row[name])
            share = (before["train_loss"] - loss) / (before["train_loss"] - row["train_loss"])
            return float(before[name] + share * (row[name] - before[name]))
        before = row
    return None


def _method(record: Record) -> str:
    return METHODS.get(record.spec.training.gradient, record.spec.training.gradient)


def training_points(records: Records) -> list[Point]:
    """Unseen and corrupt examples while training."""
    points = []
    names = {"test_accuracy": "test", CORRUPT_ACCURACY: "corrupt examples, the wrong label given"}
    for level in levels_of(records):
        for method, runs in by_method(records, level).items():
            for name, kind in names.items():
                points += mean_curve(runs, trajectory(name), method, panel=level_name(level), kind=kind, share=True)
    return points


def _training_reading(records: Records) -> str:
    told = []
    for level in levels_of(records):
        ends = []
        for method, runs in by_method(records, level).items():
            best = [max(run.trajectory("test_accuracy")[1]) for run in runs]
            final = [float(run.last["test_accuracy"]) for run in runs]
            if best:
                ends.append(f"{method} {sum(best) / len(best):.0%} and {sum(final) / len(final):.0%}")
        told.append(f"with {level_name(level)} {', '.join(ends)}")
    return f"Best and final test accuracy, on average: {'; '.join(told)}."


def train_points(records: Records) -> list[Point]:
    """Training accuracy beside the proper accuracy, at each noisy level."""
    points = []
    for level in levels_of(records):
        if 0 < level < 1:
            panel = level_name(level)
            for method, runs in by_method(records, level).items():
                points += mean_curve(runs, trajectory("train_accuracy"), method, panel=panel, kind="train", share=True)
            points += proper_line(by_method(records, level)["SGD"], level, panel)
    return points


def _train_reading(records: Records) -> str:
    told = []
    for level in levels_of(records):
        ends = []
        for method, runs in by_method(records, level).items():
            final = [float(run.last["train_accuracy"]) for run in runs]
            if final:
                steps = sum(int(run.last["step"]) for run in runs) / len(runs)
                ends.append(f"{method} {sum(final) / len(final):.0%} after {steps:,.0f} steps")
        if ends and 0 < level < 1:
            told.append(f"{level_name(level)}: {', '.join(ends)}")
    return f"Training accuracy at the end. {'. '.join(told)}."


def overfit_points(records: Records) -> list[Point]:
    """Adjusted overfit at the end against the noise."""
    return against(ended(records), lambda run: label_level(run.spec), overfit, _method)


def corrupt_points(records: Records) -> list[Point]:
    """Wrong labels fitted at the end against the noise."""
    return against(ended(records), lambda run: label_level(run.spec), last(CORRUPT_ACCURACY), _method, share=True)


def _line_reading(points: list[Point], what: str) -> str:
    told = []
    for name in dict.fromkeys(point.series for point in points):
        line = ", ".join(f"{point.y:.0%} at {point.x:.0%}" for point in points if point.series == name)
        told.append(f"{name} {line}")
    return f"{what}, by level of label noise: {'; '.join(told)}."


def loss_points(records: Records) -> list[Point]:
    """Test accuracy against training loss: means over runs at equal steps."""
    points = []
    for level in levels_of(records):
        for method, runs in by_method(records, level).items():
            tables = [{int(row["step"]): row for row in run.rows} for run in runs]
            common = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
            for step in common:
                loss = sum(float(table[step]["train_loss"]) for table in tables) / len(tables)
                test, low, high = mean_interval([float(table[step]["test_accuracy"]) for table in tables])
                if loss > 0:
                    points.append(Point(loss, test, method, low, high, panel=level_name(level)))
    return points


def _loss_reading(records: Records) -> str:
    told = []
    for level in levels_of(records):
        lines = by_method(records, level)
        lowest = [min(run.trajectory("train_loss")[1]) for runs in lines.values() for run in runs]
        if not lowest:
            continue
        at = max(lowest)
        parts = []
        for method, runs in lines.items():
            found = [value for run in runs if (value := value_at_loss(run, "test_accuracy", at)) is not None]
            if found:
                parts.append(f"{method} {sum(found) / len(found):.0%}")
        told.append(f"with {level_name(level)} (loss {at:.2g}) {', '.join(parts)}")
    return f"Test accuracy at the lowest training loss that every run reaches: {'; '.join(told)}."


FIGURES = (
    Figure(
        name="training",
        title="Unseen and corrupt examples while training",
        x=STEPS,
        y=ACCURACY,
        points=training_points,
        reading=_training_reading,
    ),
    Figure(
        name="train",
        title="Training accuracy beside the proper accuracy",
        x=STEPS,
        y=ACCURACY,
        points=train_points,
        reading=_train_reading,
    ),
    Figure(
        name="overfit",
        title="Adjusted overfit at the end",
        x=NOISE,
        y=Axis("training accuracy beyond what unseen examples explain", percent=True),
        points=overfit_points,
        reading=lambda records: _line_reading(overfit_points(records), "Adjusted overfit at the end"),
        rules=lambda records: {"nothing memorised": 0.0},
    ),
    Figure(
        name="corrupt",
        title="Wrong labels fitted at the end",
        x=NOISE,
        y=ACCURACY,
        points=corrupt_points,
        reading=lambda records: _line_reading(corrupt_points(records), "Wrong labels fitted at the end"),
        rules=lambda records: {"chance": 1 / classes(records)} if classes(records) else {},
    ),
    Figure(
        name="equal-loss",
        title="Test accuracy against training loss",
        x=Axis("mean training loss, nats", scale="log"),
        y=Axis("test accuracy", percent=True),
        points=loss_points,
        reading=_loss_reading,
    ),
)
