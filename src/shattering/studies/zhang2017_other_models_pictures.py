"""The pictures of the models that are fitted at once, each with the sentence that says what it shows."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.record import Record
from shattering.core.study import Axis, Figure, Point, Records, label_level
from shattering.studies.zhang2017 import accuracy_of, span
from shattering.studies.zhang2017_figures import LEVEL, chance_error_rule, chance_rule
from shattering.studies.zhang2017_other_models_records import (
    PRICES,
    ended,
    memorises,
    price,
    price_text,
    ratio,
    runs_of,
    series_of,
)

CONDITIONS = {
    "true_labels": "true labels",
    "random_labels": "random labels",
    "shuffled_pixels": "shuffled pixels",
    "random_pixels": "random pixels",
    "gaussian": "Gaussian",
}


def names(records: Records) -> list[str]:
    """The models that have numbers, in the order of first appearance."""
    return list(dict.fromkeys(series_of(record.spec) for record in ended(records)))


def by_level(records: Records, series: str) -> dict[float, list[Record]]:
    """The runs of a model by the probability that a label is redrawn, ascending."""
    table: dict[float, list[Record]] = {}
    for record in ended(records):
        level = label_level(record.spec)
        if level is not None and series_of(record.spec) == series:
            table.setdefault(level, []).append(record)
    return dict(sorted(table.items()))


def error_points(records: Records) -> list[Point]:
    """Training error (labels as given) and test error against the corruption level, a panel for each model."""
    points = []
    for series in names(records):
        for level, runs in by_level(records, series).items():
            for name, kind in (("train_accuracy", "training"), ("test_accuracy", "test")):
                found = accuracy_of(runs, name)
                if found is not None:
                    low, high = (None if end is None else 1 - end for end in (found.high, found.low))
                    points.append(Point(level, 1 - found.value, f"{kind} error", low, high, panel=series))
    return points


def condition_points(records: Records) -> list[Point]:
    """Test accuracy against training accuracy, a mark for each condition and a panel for each model."""
    points = []
    for series in names(records):
        for corruption, label in CONDITIONS.items():
            runs = runs_of(records, series, corruption)
            train, test = accuracy_of(runs, "train_accuracy"), accuracy_of(runs, "test_accuracy")
            if train is not None and test is not None:
                points.append(Point(train.value, test.value, label, test.low, test.high, panel=series))
    return points


def trees(records: Records) -> list[Record]:
    """The records of trees and forests, whose size can be counted."""
    return [record for record in records if record.spec.model.name in ("decision_tree", "random_forest")]


def tree_points(name: str) -> Callable[[Records], list[Point]]:
    """A number of trees and forests against the corruption level."""

    def points(records: Records) -> list[Point]:
        found = []
        for series in names(trees(records)):
            for level, runs in by_level(records, series).items():
                estimate = price(runs, name)
                if estimate is not None:
                    found.append(Point(level, estimate.value, series, estimate.low, estimate.high))
        return found

    return points


def price_points(records: Records) -> list[Point]:
    """What grows with noise, over its value with true labels, against the corruption level."""
    points = []
    for series in names(records):
        levels = by_level(records, series)
        for level, runs in levels.items():
            name = PRICES.get(runs[0].spec.model.name)
            found = ratio(runs, levels.get(0.0, []), name) if name else None
            if found is not None:
                same = level == 0.0  # a run beside itself: 1 by definition, without an interval
                low, high = (None, None) if same else (found.low, found.high)
                unfitted = name == "rounds" and not memorises(runs)
                points.append(Point(level, found.value, f"{series}: {name}", low, high, censored=unfitted))
    return points


def _error_reading(records: Records) -> str:
    texts = []
    for series in names(records):
        runs = runs_of(records, series, "partially_corrupted_labels", 0.5)
        train, test = accuracy_of(runs, "train_accuracy"), accuracy_of(runs, "test_accuracy")
        if train is not None and test is not None:
            texts.append(f"{series} {1 - train.value:.0%} and {1 - test.value:.0%}")
    if not texts:
        return "No model has been fitted with half of its labels random."
    return f"Training and test error with half of the labels random: {'; '.join(texts)}."


def _condition_reading(records: Records) -> str:
    texts = []
    for corruption, label in CONDITIONS.items():
        found = {series: runs for series in names(records) if (runs := runs_of(records, series, corruption))}
        if found:
            fitted = sum(memorises(runs) for runs in found.values())
            tested = [value.value for runs in found.values() if (value := accuracy_of(runs, "test_accuracy"))]
            texts.append(f"{label}: {fitted} of {len(found)}, test accuracy {span(tested)}")
    return f"Models that fit their training set in every run, by condition: {'; '.join(texts)}."


def _tree_reading(name: str, words: str, digits: int) -> Callable[[Records], str]:
    def reading(records: Records) -> str:
        texts = []
        for series in names(trees(records)):
            levels = by_level(records, series)
            true, random = (price(levels.get(level, []), name) for level in (0.0, 1.0))
            if true is not None and random is not None:
                texts.append(f"{true.value:.{digits}f} and {random.value:.{digits}f} for {series}")
        return f"{words} with true and with random labels: {'; '.join(texts) or 'not both known yet'}."

    return reading


def _price_reading(records: Records) -> str:
    texts = [text for series in names(records) if (text := price_text(records, series))]
    return f"Fitting random in place of true labels takes {'; '.join(texts) or 'an amount not known yet'}."


FIGURES = (
    Figure(
        name="errors",
        title="Training and test error against label corruption",
        x=LEVEL,
        y=Axis("error", percent=True),
        points=error_points,
        reading=_error_reading,
        rules=chance_error_rule,
    ),
    Figure(
        name="conditions",
        title="What is memorised, and what is learned from it",
        x=Axis("training accuracy", percent=True),
        y=Axis("test accuracy", percent=True),
        points=condition_points,
        reading=_condition_reading,
        rules=chance_rule,
    ),
    Figure(
        name="leaves",
        title="Leaves of a tree against label corruption",
        x=LEVEL,
        y=Axis("leaves of a tree for each training example"),
        points=tree_points("leaves_per_example"),
        reading=_tree_reading("leaves_per_example", "Leaves for each training example", 2),
        rules=lambda records: {"one leaf for each example": 1.0},
    ),
    Figure(
        name="depth",
        title="Depth of a tree against label corruption",
        x=LEVEL,
        y=Axis("splits above the deepest leaf"),
        points=tree_points("depth"),
        reading=_tree_reading("depth", "Depth of a tree", 0),
    ),
    Figure(
        name="price",
        title="The price of noise",
        x=LEVEL,
        y=Axis("over its value with true labels"),
        points=price_points,
        reading=_price_reading,
        rules=lambda records: {"true labels": 1.0},
    ),
)
