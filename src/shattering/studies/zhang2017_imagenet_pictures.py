"""The pictures of the study on ImageNet, as points computed from records."""

from __future__ import annotations

from shattering.core.study import Axis, Figure, Point, Records
from shattering.studies.zhang2017 import accuracy_of, chance
from shattering.studies.zhang2017_figures import STEPS, curve
from shattering.studies.zhang2017_imagenet_claims import ROWS, best_of, ended


def _curves(records: Records) -> list[Point]:
    points = []
    for row in ROWS:
        runs = ended(row.runs(records))
        panel = "random labels" if row.random_labels else "true labels"
        series = row.name.removeprefix("random labels, ")
        for name, kind in (("train_accuracy", "train"), ("test_accuracy", "test")):
            points += curve(runs, name, series, panel, kind)
    return points


def _curves_reading(records: Records) -> str:
    texts = []
    for row in ROWS:
        last = accuracy_of(row.runs(records), "test_accuracy")
        best = best_of(row.runs, "test_accuracy")(records)
        if last is not None and best is not None and not row.random_labels:
            texts.append(f"{100 * (best.value - last.value):.1f} points with {row.name}")
    if not texts:
        return "On random labels alone there is no best step to stop at."
    return f"Stopping each training at its best test accuracy, in hindsight, would have gained {', '.join(texts)}."


def _ends(records: Records) -> list[Point]:
    points = []
    for place, row in enumerate(ROWS, start=1):
        for name, kind in (("train_accuracy", "train"), ("test_accuracy", "test")):
            found = accuracy_of(row.runs(records), name)
            if found is not None:
                points.append(Point(place, found.value, row.name, found.low, found.high, kind))
    return points


def _ends_reading(records: Records) -> str:
    gaps = []
    for row in ROWS:
        train, test = (accuracy_of(row.runs(records), name) for name in ("train_accuracy", "test_accuracy"))
        if train is not None and test is not None:
            gaps.append((train.value - test.value, row.name))
    least, most = min(gaps), max(gaps)
    return (
        f"Training accuracy exceeds test accuracy by {100 * least[0]:.0f} points with {least[1]} and by "
        f"{100 * most[0]:.0f} points with {most[1]}."
    )


FIGURES = (
    Figure(
        name="imagenet-curves",
        title="Accuracy along the training, by explicit regulariser (after Figure 2a)",
        x=STEPS,
        y=Axis("top-1 accuracy", percent=True),
        points=_curves,
        reading=_curves_reading,
        rules=lambda records: {"chance": chance(records)},
    ),
    Figure(
        name="imagenet-ends",
        title="Accuracy at the end, row by row (after Table 2)",
        x=Axis("row of Table 2"),
        y=Axis("top-1 accuracy", percent=True),
        points=_ends,
        reading=_ends_reading,
        rules=lambda records: {"chance": chance(records)},
    ),
)
