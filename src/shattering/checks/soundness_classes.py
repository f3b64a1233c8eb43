"""What an audit says of classes and features: how many, how large, and whether the splits agree."""

from __future__ import annotations

import numpy as np

from shattering.checks.class_shares import LabelShift
from shattering.checks.registry import Subject
from shattering.checks.trainings import percent, unknown
from shattering.core.finding import Finding
from shattering.core.words import plural

CHECK = "soundness"
LEVEL = 0.05
IMBALANCED = 3.0
"""The largest class has at least so many times the examples of the smallest."""


def imbalance(subject: Subject) -> Finding:
    """The largest class over the smallest."""
    counts = np.bincount(subject.splits.train.labels, minlength=subject.splits.train.num_classes)
    there = np.flatnonzero(counts)
    most, least = int(there[counts[there].argmax()]), int(there[counts[there].argmin()])
    ratio = float(counts[most] / counts[least])
    statement = (
        f"The largest class, {subject.classes[most]}, has {counts[most]:,} training examples and the smallest, "
        f"{subject.classes[least]}, {counts[least]:,}: {ratio:.3g} times as many."
        if len(there) > 1
        else f"All {counts[most]:,} training examples belong to one class, {subject.classes[most]}."
    )
    warn = ratio >= IMBALANCED or len(there) < 2
    return Finding(
        check=CHECK,
        name="class_imbalance",
        statement=statement,
        value=ratio,
        unit="x",
        low=None,
        high=None,
        n=len(there),
        method="Training examples of the largest class over those of the smallest that has any.",
        caveats=("Where classes are of unequal size, accuracy hides how the small ones fare.",),
        level="warning" if warn else "good",
    )


def missing_classes(subject: Subject) -> Finding:
    """Classes without an example in either split; an audit's own data may lack them in the test split alone."""
    train, test = subject.splits.train, subject.splits.test
    lacks = {
        where: [subject.classes[place] for place in np.setdiff1d(np.arange(train.num_classes), labels)]
        for where, labels in (("training", train.labels), ("test", test.labels))
    }
    told = [f"the {where} split lacks {_named(names)}" for where, names in lacks.items() if names]
    statement = f"All {plural(train.num_classes, 'class')} occur in both splits; none is missing."
    if told:
        statement = f"Of {plural(train.num_classes, 'class')} {' and '.join(told)}."
    missing = len(set(lacks["training"]) | set(lacks["test"]))
    caveats = ["A class without test examples is not evaluated; one without training examples is never named."]
    if subject.held_out and lacks["test"]:
        caveats.append("The test split was held out here, and a class of one example stays in the training split.")
    return Finding(
        check=CHECK,
        name="missing_classes",
        statement=statement,
        value=float(missing),
        unit="missing",
        low=None,
        high=None,
        n=train.num_classes,
        method="Classes without an example in the training or the test split.",
        caveats=tuple(caveats),
        level="warning" if told else "good",
    )


def shifted(subject: Subject, found: LabelShift) -> Finding:
    """Whether classes have the same shares in both splits."""
    method = f"Pearson's (1900) chi-square test that classes have the same shares in both splits; {found.how}."
    if found.p is None:
        why = "Whether classes have the same shares in both splits cannot be told: there is only one class."
        return unknown(CHECK, "label_shift", why, method)
    drift = f"shares differ by {percent(found.distance)} in total variation, p = {found.p:.2g}"
    statement = (
        f"Classes have other shares in the test split than in the training split ({drift})."
        if found.p <= LEVEL
        else f"Classes could have the same shares in both splits ({drift})."
    )
    caveats = ["It compares labels only: inputs may have shifted as well, and that was not looked at."]
    if subject.held_out:
        caveats.append("The test split was held out here, class by class, so its shares match by design.")
    return Finding(
        check=CHECK,
        name="label_shift",
        statement=statement,
        value=found.distance,
        unit="1",
        low=None,
        high=None,
        n=len(subject.splits.train) + len(subject.splits.test),
        method=method,
        caveats=tuple(caveats),
        level="warning" if found.p <= LEVEL else "good",
        p_value=found.p,
    )


def constant_features(subject: Subject) -> Finding:
    """Features that never change in training."""
    train, test = (split.inputs.reshape(len(split), -1) for split in (subject.splits.train, subject.splits.test))
    same = train.min(axis=0) == train.max(axis=0)
    moving = same & ((test.min(axis=0) != test.max(axis=0)) | (test[0] != train[0]))
    count, total = int(same.sum()), len(same)
    word = "pixel value" if subject.splits.train.is_image else "feature"
    statement = f"{count:,} of {plural(total, word)} never change over the training split"
    if moving.any():
        statement += f", and {int(moving.sum()):,} of these change in the test split"
    return Finding(
        check=CHECK,
        name="constant_features",
        statement=f"{statement}.",
        value=count / total,
        unit="1",
        low=None,
        high=None,
        n=total,
        method="Features whose smallest and largest training value are equal.",
        caveats=("What never changes in training cannot be learned from, and misleads where it changes later.",),
        level="warning" if moving.any() and not subject.splits.train.is_image else "note" if count else "good",
    )


def _named(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5:,} more" if len(names) > 5 else shown
