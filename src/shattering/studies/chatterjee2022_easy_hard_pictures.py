"""The pictures of easy and hard halves, each with the sentence that says what it shows for these records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shattering.core.record import Record
from shattering.core.statistics import accuracy_interval, mean_interval
from shattering.core.study import Axis, Figure, Point, Records
from shattering.measures.agreement import rank_agreement
from shattering.measures.learning_step import NEVER, learning_steps
from shattering.studies.chatterjee2020 import ended, last
from shattering.studies.chatterjee2020_figures import ACCURACY, STEPS, mean_curve, trajectory

EASY, HARD, RANDOM, ANOTHER = "easy half", "hard half", "random half", "another random half"
PLACES = {EASY: 0.25, RANDOM: 0.5, ANOTHER: 0.5, HARD: 0.75}
"""Where a half's examples lie in the order of learning, on average."""

BINS = 10


def part_of(record: Record) -> str | None:
    """Which half of its parent's examples a run was trained on; none for a run on all of them."""
    selection = record.spec.selection
    if selection is None:
        return None
    if selection.part == "random":
        return ANOTHER if "selection" in record.spec.stream_seeds else RANDOM
    return EASY if selection.part == "lowest" else HARD


def halves(records: Records, part: str) -> list[Record]:
    """The runs on one kind of half, ended or not."""
    return [record for record in records if part_of(record) == part]


def parents(records: Records) -> list[Record]:
    """The ended runs on all examples that tell when each was learned."""
    return [run for run in ended(records) if run.spec.selection is None and "learning_step" in run.examples]


def training_points(records: Records) -> list[Point]:
    """Training accuracy, and accuracy on held-out examples of the same kind, while training."""
    points = []
    for part in PLACES:
        runs = ended(halves(records, part))
        for name, kind in (("train_accuracy", "train"), ("test_accuracy", "held-out, same kind")):
            points += mean_curve(runs, trajectory(name), part, kind=kind, share=True)
    return points


def _training_reading(records: Records) -> str:
    told = []
    for part in PLACES:
        steps = [int(run.last["step"]) for run in ended(halves(records, part))]
        if steps:
            told.append(f"{sum(steps) / len(steps):,.0f} on the {part}")
    return f"Updates made until the training set is fitted or the budget spent, on average: {', '.join(told)}."


def final_points(records: Records) -> list[Point]:
    """Accuracy on held-out examples of the same kind, and the gap, at the end."""
    points = []
    for part, place in PLACES.items():
        runs = [run for run in ended(halves(records, part)) if "test_accuracy" in run.last]
        if not runs:
            continue
        tested = [float(run.last["test_accuracy"]) for run in runs]
        examples = min(int(run.summary["test_size"] or 1) for run in runs)
        value, low, high = accuracy_interval(tested, examples)
        points.append(Point(place, value, part, low, high, panel="accuracy on held-out examples of the same kind"))
        gaps = [gap for run in runs if (gap := last("generalization_gap")(run)) is not None]
        if gaps:
            value, low, high = mean_interval(gaps)
            points.append(Point(place, value, part, low, high, panel="training accuracy less that"))
    return points


def _final_reading(records: Records) -> str:
    told = [f"{point.series} {point.y:.1%}" for point in final_points(records) if point.panel.startswith("accuracy")]
    gaps = [
        f"{point.series} {point.y:.1%}" for point in final_points(records) if not point.panel.startswith("accuracy")
    ]
    return f"Accuracy on held-out examples of the same kind: {', '.join(told)}. Gap to training: {', '.join(gaps)}."


def _places(record: Record) -> NDArray[np.float64]:
    """When each example was learned, as its place in the order, from 0 to 1, by ``index``; ties share their mean."""
    from scipy.stats import rankdata

    steps = learning_steps(record)
    order = np.argsort(np.asarray(record.examples["index"], dtype=np.int64), kind="stable")
    ranks = rankdata(np.where(steps == NEVER, np.iinfo(np.int64).max, steps)[order])
    places: NDArray[np.float64] = (ranks - 0.5) / len(ranks)
    return places


def agreement_points(records: Records) -> list[Point]:
    """Examples in tenths by when one run learned them: their mean place in the other runs' orders."""
    found = rank_agreement(parents(records))
    if found is None:
        return []
    runs = {record.digest: _places(record) for record in parents(records) if record.digest in found.runs}
    curves = []
    for digest, mine in runs.items():
        others = np.mean([places for other, places in runs.items() if other != digest], axis=0)
        tenths = np.array_split(np.argsort(mine, kind="stable"), BINS)
        curves.append([float(others[rows].mean()) if len(rows) else 0.5 for rows in tenths])
    points = []
    for place, values in enumerate(zip(*curves, strict=True)):
        mean, low, high = mean_interval(values)
        points.append(Point((place + 0.5) / BINS, mean, "mean over runs", low, high))
    return points


def _agreement_reading(records: Records) -> str:
    found = rank_agreement(parents(records))
    if found is None:
        return "Fewer than two runs learned the same examples, so there is no agreement to show."
    points = agreement_points(records)
    return (
        f"The tenth of the examples that one run learns first has mean place {points[0].y:.0%} in the others' order, "
        f"the tenth learned last {points[-1].y:.0%}; Spearman's correlation is {found.value:.2f}, and unrelated orders "
        f"give {found.null_low:.2f} to {found.null_high:.2f}."
    )


def learned_points(records: Records) -> list[Point]:
    """The fraction of examples that have been learned for good, against steps."""

    def learned(run: Record) -> tuple[list[int], list[float]]:
        steps, known = run.trajectory("train_accuracy")[0], learning_steps(run)
        return steps, [float(((known >= 0) & (known <= step)).mean()) for step in steps]

    return mean_curve(parents(records), learned, "all examples", share=True)


def _learned_reading(records: Records) -> str:
    medians = [_median(run) for run in parents(records)]
    known = [step for step in medians if step is not None]
    if not known:
        return "No run has learned half of its examples for good."
    return (
        f"Half of the examples are learned for good by step {sum(known) / len(known):,.0f}, on average over "
        f"{len(known)} of {len(medians)} runs: that divides easy from hard."
    )


def _median(run: Record) -> int | None:
    steps: Sequence[int] = sorted(int(step) for step in learning_steps(run) if step >= 0)
    middle = (len(learning_steps(run)) - 1) // 2
    return steps[middle] if len(steps) > middle else None


PLACE = Axis("mean place of the training examples in the order of learning", percent=True)

FIGURES = (
    Figure(
        name="halves",
        title="Easy, random and hard halves at the end of training",
        x=PLACE,
        y=ACCURACY,
        points=final_points,
        reading=_final_reading,
    ),
    Figure(
        name="training",
        title="Easy, random and hard halves while training",
        x=STEPS,
        y=ACCURACY,
        points=training_points,
        reading=_training_reading,
    ),
    Figure(
        name="agreement",
        title="Do other seeds learn the same examples early?",
        x=Axis("place of examples in one run's order of learning", percent=True),
        y=Axis("mean place in the other runs' order", percent=True),
        points=agreement_points,
        reading=_agreement_reading,
        rules=lambda records: {"no agreement": 0.5},
    ),
    Figure(
        name="learned",
        title="Examples learned for good",
        x=STEPS,
        y=Axis("fraction of the training examples", percent=True),
        points=learned_points,
        reading=_learned_reading,
    ),
)
