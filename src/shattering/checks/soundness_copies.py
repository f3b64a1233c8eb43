"""What an audit says of examples that occur more than once."""

from __future__ import annotations

import numpy as np

from shattering.checks.duplicates import CLOSE, Copies, NearCopies
from shattering.checks.registry import Subject
from shattering.checks.trainings import counted_verb, percent, unknown
from shattering.core.finding import Finding
from shattering.core.statistics import proportion_interval
from shattering.core.words import plural

CHECK = "soundness"


def contamination(subject: Subject, copies: Copies) -> Finding:
    """Test examples whose input is in the training split too."""
    count, total = int(copies.contaminated.sum()), len(subject.splits.test)
    share, low, high = proportion_interval(count, total)
    statement = (
        f"{counted_verb(count, 'test example', 'occurs', 'occur')} in the training split too ({percent(share)} of "
        f"{total:,}), so test accuracy is flattered."
        if count
        else f"None of the {plural(total, 'test example')} occurs in the training split."
    )
    return Finding(
        check=CHECK,
        name="test_copies_in_train",
        statement=statement,
        value=share,
        unit="1",
        low=low,
        high=high,
        n=total,
        method="Exact copies by a 128-bit hash of the inputs; interval by Clopper & Pearson (1934).",
        caveats=("Copies that differ in a single bit are not exact copies.",),
        level="warning" if count else "good",
    )


def own_copies(subject: Subject, copies: Copies) -> Finding:
    """Examples that repeat an earlier one of their own split."""
    spare = sum(max(0, len(ours) - 1) for ours, _ in copies.groups)
    in_test = sum(max(0, len(theirs) - 1) for _, theirs in copies.groups)
    total = len(subject.splits.train)
    share, low, high = proportion_interval(spare, total)
    statement = (
        f"{counted_verb(spare, 'training example', 'is a copy', 'are copies')} of an earlier one and "
        f"{counted_verb(in_test, 'test example', 'is', 'are')}."
        if spare or in_test
        else "No input occurs twice within the training split or within the test split."
    )
    caveats = ("Equal test examples are not independent, so intervals over the test split are a little narrow.",)
    return Finding(
        check=CHECK,
        name="copies_within_splits",
        statement=statement,
        value=share,
        unit="1",
        low=low,
        high=high,
        n=total,
        method="Exact copies by a 128-bit hash of the inputs; the share is of training examples.",
        caveats=caveats,
        level="note" if spare or in_test else "good",
    )


def conflicts(subject: Subject, copies: Copies) -> Finding:
    """Equal inputs with different labels in the training split, and the accuracy that they leave within reach."""
    labels, total = subject.splits.train.labels, len(subject.splits.train)
    lost = groups = across = 0
    for ours, theirs in copies.groups:
        counts = np.bincount(labels[ours]) if len(ours) else np.zeros(1, np.int64)
        lost += len(ours) - int(counts.max())
        groups += int((counts > 0).sum() > 1)
        if len(ours) and len(theirs):
            across += int(len(np.setdiff1d(subject.splits.test.labels[theirs], labels[ours])) > 0)
    share, low, high = proportion_interval(lost, total)
    if groups or across:
        statement = (
            f"{counted_verb(groups, 'input', 'has', 'have')} several labels in the training split, so no network can "
            f"be right on more than {percent(1 - share)} of it; {counted_verb(across, 'input', 'has', 'have')} another "
            "label in the test split."
        )
    else:
        statement = "No input occurs with two different labels."
    return Finding(
        check=CHECK,
        name="conflicting_labels",
        statement=statement,
        value=share,
        unit="1",
        low=low,
        high=high,
        n=total,
        method="Training examples beyond the commonest label among their exact copies, as a share of all.",
        caveats=("Some of the labels of such copies must be wrong, or the inputs do not tell the classes apart.",),
        level="warning" if groups or across else "good",
    )


def nearly_copied(subject: Subject, near: NearCopies) -> Finding:
    """Test images nearly the same as a training image."""
    count, (looked, among) = len(near.test), near.looked_at
    method = (
        f"Distance to the nearest training image of at most {CLOSE:g} of the geometric mean of the two images' "
        f"distances to the mean image; {looked:,} test images against {among:,} training images, exact copies left out."
    )
    if not looked:
        why = "There is no test image that is not an exact copy, so none was compared."
        return unknown(CHECK, "test_near_copies_in_train", why, method)
    share, low, high = proportion_interval(count, looked)
    statement = (
        f"{counted_verb(count, 'test image', 'is', 'are')} nearly the same as a training image."
        if count
        else f"No test image is nearly the same as a training image, among {looked:,} compared with {among:,}."
    )
    return Finding(
        check=CHECK,
        name="test_near_copies_in_train",
        statement=statement,
        value=share,
        unit="1",
        low=low,
        high=high,
        n=looked,
        method=method,
        caveats=("Shifted, turned or recoloured copies are farther away than that and are not found.",),
        level="warning" if count else "good",
    )
