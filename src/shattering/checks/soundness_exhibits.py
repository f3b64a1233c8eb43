"""The evidence on an evaluation: accuracy by part and class, what is predicted wrong, and what is there twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shattering.checks.duplicates import Copies, NearCopies
from shattering.checks.registry import Subject
from shattering.core.finding import Cell, Column, Gallery, Shown, Table
from shattering.core.statistics import proportion_interval
from shattering.core.words import plural

LISTED, SHOWN = 200, 24


def accuracy_table(parts: Sequence[tuple[str, int, tuple[float, float, float] | None]]) -> Table:
    """Test accuracy on the whole test split and on parts of it; each part is (words, examples, interval)."""
    rows = tuple((part, count, *(interval or (None, None, None))) for part, count, interval in parts)
    columns = (
        Column("test examples"),
        Column("count", "number"),
        Column("accuracy", "percent"),
        Column("from", "percent"),
        Column("to", "percent"),
    )
    reading = "Where leaving doubtful examples out moves the accuracy, the whole split's number was owed to them."
    return Table("accuracy_by_part", "Test accuracy with and without doubtful examples", columns, rows, reading)


def class_table(subject: Subject, hits: NDArray[np.float64] | None) -> Table:
    """Examples and accuracy of every class."""
    train, test = subject.splits.train, subject.splits.test
    counts = [np.bincount(split.labels, minlength=train.num_classes) for split in (train, test)]
    rows: list[tuple[Cell, ...]] = []
    for place, name in enumerate(subject.classes):
        numbers: tuple[Cell, ...] = (None, None, None)
        if hits is not None:
            own = hits[(test.labels == place) & np.isfinite(hits)]
            numbers = proportion_interval(int(own.sum()), len(own)) if len(own) else numbers
        shares = (float(counts[0][place] / len(train)), float(counts[1][place] / len(test)))
        rows.append((name, int(counts[0][place]), shares[0], int(counts[1][place]), shares[1], *numbers))
    columns = (
        Column("class"),
        Column("training examples", "number"),
        Column("share", "percent"),
        Column("test examples", "number"),
        Column("share of test", "percent"),
        Column("test accuracy", "percent"),
        Column("from", "percent"),
        Column("to", "percent"),
    )
    reading = "Classes with few examples have wide intervals, and weigh little in the accuracy of the whole."
    return Table("classes", "Classes in both splits", columns, tuple(rows), reading)


def copies_table(subject: Subject, copies: Copies) -> Table:
    """Inputs that occur more than once, those with several labels first, then those in both splits."""
    train, test = subject.splits.train, subject.splits.test
    rows: list[tuple[Cell, ...]] = []
    for ours, theirs in copies.groups:
        labels = sorted(set(train.labels[ours].tolist()) | set(test.labels[theirs].tolist()))
        rows.append((
            int(train.source_indices[ours[0]]) if len(ours) else None,
            len(ours),
            len(theirs),
            _places(train.source_indices[ours]),
            _places(test.source_indices[theirs]),
            ", ".join(subject.classes[label] for label in labels),
            len(labels) > 1,
        ))  # fmt: skip
    rows.sort(key=lambda row: (not row[6], not (row[1] and row[2])))
    columns = (
        Column("training example", "example"),
        Column("in training", "number"),
        Column("in test", "number"),
        Column("places in training"),
        Column("places in test"),
        Column("labels"),
        Column("labels conflict"),
    )
    more = f" The first {LISTED} of {len(rows):,} are listed." if len(rows) > LISTED else ""
    reading = f"Each row is one input that occurs more than once.{more}"
    return Table("copies", "Inputs that occur more than once", columns, tuple(rows[:LISTED]), reading)


def copies_gallery(subject: Subject, copies: Copies, near: NearCopies | None) -> Gallery | None:
    """Test examples beside the training examples that they repeat, and copies with conflicting labels; none of none."""
    train, test = subject.splits.train, subject.splits.test
    shown: list[tuple[int, Shown]] = []
    for ours, theirs in copies.groups:
        labels = set(train.labels[ours].tolist()) | set(test.labels[theirs].tolist())
        if len(ours) and len(theirs):
            first, source = int(theirs[0]), int(test.source_indices[theirs[0]])
            beside = tuple(("train", int(train.source_indices[place])) for place in ours[:3])
            words = "in both splits, with different labels" if len(labels) > 1 else "in both splits"
            shown.append((len(labels) == 1, Shown("test", source, words, int(test.labels[first]), related=beside)))  # type: ignore[arg-type]
        elif len(ours) > 1 and len(labels) > 1:
            beside = tuple(("train", int(train.source_indices[place])) for place in ours[1:4])
            words = "the same input with different labels"
            own = int(train.labels[ours[0]])
            shown.append((0, Shown("train", int(train.source_indices[ours[0]]), words, own, related=beside)))  # type: ignore[arg-type]
    shown.sort(key=lambda pair: pair[0])
    examples = [each for _, each in shown]
    if near is not None:
        for place, source, distance in zip(near.test, near.train, near.distance, strict=True):
            words = f"nearly a training image: relative distance {distance:.2g}"
            beside = (("train", int(train.source_indices[source])),)
            examples.append(
                Shown("test", int(test.source_indices[place]), words, int(test.labels[place]), related=beside)  # type: ignore[arg-type]
            )
    if not examples:
        return None
    return Gallery(
        "copies",
        "Examples that occur more than once",
        tuple(examples[:SHOWN]),
        "Each stands beside the training examples that it repeats.",
    )


def mistakes_gallery(subject: Subject, taken_for: NDArray[np.int64]) -> Gallery | None:
    """Test examples that are predicted wrong, spread evenly over the split; none where there are none.

    Args:
        subject: what is audited.
        taken_for: int ``[n]``, the class predicted for each test example; -1 where it was not tested.
    """
    test = subject.splits.test
    wrong = np.flatnonzero((taken_for >= 0) & (taken_for != test.labels))
    if not len(wrong):
        return None
    shown = wrong[np.linspace(0, len(wrong) - 1, min(SHOWN, len(wrong))).round().astype(np.int64)]
    examples = tuple(
        Shown("test", int(test.source_indices[place]), f"taken for {subject.classes[taken_for[place]]}", int(label))
        for place, label in zip(shown, test.labels[shown], strict=True)
    )
    reading = (
        f"{len(shown)} of {plural(len(wrong), 'test example')} that the network takes for another class; of some it "
        "may be the label that is wrong."
    )
    return Gallery("mistakes", "Test examples that the network gets wrong", examples, reading)


def _places(indices: NDArray[np.int64]) -> str:
    shown = ", ".join(str(int(index)) for index in indices[:5])
    return f"{shown}, …" if len(indices) > 5 else shown
