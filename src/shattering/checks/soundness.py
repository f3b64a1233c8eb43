"""Is the evaluation sound? Copies, conflicting labels, classes and features, without any further training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shattering.checks.class_shares import balanced_accuracy, label_shift
from shattering.checks.duplicates import Copies, NearCopies, exact_copies, near_copies
from shattering.checks.registry import Check, Evidence, Subject, register
from shattering.checks.soundness_classes import constant_features, imbalance, missing_classes, shifted
from shattering.checks.soundness_copies import conflicts, contamination, nearly_copied, own_copies
from shattering.checks.soundness_exhibits import (
    accuracy_table,
    class_table,
    copies_gallery,
    copies_table,
    mistakes_gallery,
)
from shattering.checks.trainings import percent, unknown
from shattering.core.finding import Answer, Cost, Exhibit, Finding
from shattering.core.record import Record, Status
from shattering.core.statistics import proportion_interval
from shattering.core.words import plural

NAME = "soundness"
QUESTION = "Is the evaluation sound?"


@dataclass(frozen=True)
class Scored:
    """Accuracy on a part of the test split.

    Args:
        part: what it is.
        right: how many are predicted right.
        count: of how many.
    """

    part: str
    right: int
    count: int

    @property
    def interval(self) -> tuple[float, float, float] | None:
        """Accuracy with its exact interval; none of no examples."""
        return proportion_interval(self.right, self.count) if self.count else None


def answer(subject: Subject, evidence: Evidence) -> Answer:
    """What stands in the way of believing the test accuracy, and that accuracy under each remedy."""
    splits = subject.splits
    streamed = splits.train.files is not None
    copies = None if streamed else exact_copies(splits)
    near = None if copies is None else near_copies(splits, copies)
    taken_for = _taken_for(subject)
    hits = _hits(subject, taken_for)
    cost = evidence.cost([subject.pilot]) if subject.pilot is not None and hits is not None else Cost()
    findings: list[Finding] = []
    exhibits: list[Exhibit] = []
    if copies is None:
        why = "Whether there are copies was not looked at: the images stay on the disk."
        findings.append(unknown(NAME, "test_copies_in_train", why, "Exact copies are told by a hash of their pixels."))
    else:
        findings += [contamination(subject, copies), own_copies(subject, copies), conflicts(subject, copies)]
        if near is not None:
            findings.append(nearly_copied(subject, near))
        if copies.groups:
            exhibits.append(copies_table(subject, copies))
        gallery = copies_gallery(subject, copies, near)
        if gallery is not None:
            exhibits.append(gallery)
    findings += [imbalance(subject), missing_classes(subject), shifted(subject, label_shift(splits))]
    if not streamed:
        findings.append(constant_features(subject))
    parts = _parts(subject, copies, near, hits)
    findings.insert(0, _accuracy(subject, parts, hits, cost))
    mistakes = mistakes_gallery(subject, taken_for)
    exhibits[:0] = [class_table(subject, hits), *([mistakes] if mistakes is not None else [])]
    if parts:
        exhibits.insert(0, accuracy_table([(each.part, each.count, each.interval) for each in parts]))
        balanced = _balanced(subject, hits, cost)
        findings.insert(1, balanced)
    return Answer(NAME, QUESTION, tuple(findings), tuple(exhibits))


def _taken_for(subject: Subject) -> NDArray[np.int64]:
    """The class that the pilot predicts for the test example at each position; -1 where it was not tested."""
    pilot: Record | None = subject.pilot
    test = subject.splits.test
    classes = np.full(len(test), -1, np.int64)
    if pilot is not None and "prediction" in pilot.tested:
        position = {int(source): place for place, source in enumerate(test.source_indices)}
        columns = (pilot.tested[name] for name in ("index", "left_out", "prediction"))
        for index, left_out, prediction in zip(*columns, strict=True):
            if not left_out and int(index) in position:
                classes[position[int(index)]] = int(prediction)
    return classes


def _hits(subject: Subject, taken_for: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """1 where the test example at a position is predicted right, 0 where wrong, NaN where untested; none if all are."""
    hits = np.where(taken_for >= 0, (taken_for == subject.splits.test.labels).astype(np.float64), np.nan)
    return hits if np.isfinite(hits).any() else None


def _parts(
    subject: Subject, copies: Copies | None, near: NearCopies | None, hits: NDArray[np.float64] | None
) -> list[Scored]:
    """The test split as it is, and without each kind of example that should not count."""
    if hits is None:
        return []
    tested = np.isfinite(hits)
    labels = subject.splits.test.labels
    without = {"the whole test split": np.zeros(len(hits), np.bool_)}
    if copies is not None:
        conflicting = np.zeros(len(hits), np.bool_)
        for ours, theirs in copies.groups:
            both = np.concatenate([subject.splits.train.labels[ours], labels[theirs]])
            conflicting[theirs] = len(np.unique(both)) > 1
        without["without copies of training examples"] = copies.contaminated
        without["without copies of one another, but for the first"] = _later_copies(copies, len(hits))
        without["without inputs that have several labels"] = conflicting
        if near is not None:
            close = copies.contaminated.copy()
            close[near.test] = True
            without["without copies and near-copies of training examples"] = close
    seen = np.bincount(subject.splits.train.labels, minlength=subject.splits.train.num_classes) > 0
    without["without classes that training lacks"] = ~seen[labels]
    scored = []
    for part, left_out in without.items():
        kept = tested & ~left_out
        if part == "the whole test split" or (tested & left_out).any():
            scored.append(Scored(part, int(hits[kept].sum()), int(kept.sum())))
    return scored


def _later_copies(copies: Copies, count: int) -> NDArray[np.bool_]:
    later = np.zeros(count, np.bool_)
    for _, theirs in copies.groups:
        later[theirs[1:]] = True
    return later


def _accuracy(subject: Subject, parts: list[Scored], hits: NDArray[np.float64] | None, cost: Cost) -> Finding:
    """The pilot's test accuracy, and the largest change that a cleaner test split makes to it."""
    method = (
        "Predictions of the training as it is on the test split, and on it without each kind of doubtful example; "
        "interval by Clopper & Pearson (1934)."
    )
    if not parts:
        why = f"How accurate the network is cannot be told: {_why_untold(subject.pilot)}."
        return unknown(NAME, "test_accuracy", why, method)
    whole = parts[0]
    accuracy, low, high = whole.interval or (0.0, None, None)
    changed = [(each, each.interval) for each in parts[1:] if each.interval is not None]
    statement = f"Test accuracy is {percent(accuracy)} ({percent(low or 0)} to {percent(high or 1)})"
    moved = [(each, found[0] - accuracy) for each, found in changed if found is not None]
    if moved:
        most, difference = max(moved, key=lambda pair: abs(pair[1]))
        statement += f"; {most.part} it is {percent(accuracy + difference)} of {plural(most.count, 'example')}"
    emptied = [each.part for each in parts[1:] if not each.count]
    if emptied:
        statement += f"; no test example is left {emptied[0]}"
    commonest = float(np.bincount(subject.splits.test.labels).max() / len(subject.splits.test))
    caveats = [f"No test example is left {part}, so nothing can be said of such." for part in emptied]
    caveats += [f"Always naming the commonest class of the test split is right in {percent(commonest)}."]
    if subject.held_out:
        caveats.append("The test split was held out here, at random; other data may differ from these.")
    if len(np.unique(subject.splits.test.labels)) < 2:
        caveats.append("The test split has one class only, so its accuracy says nothing of telling classes apart.")
    doubtful = any(low is not None and not (low <= accuracy + moved_by <= (high or 1.0)) for _, moved_by in moved)
    return Finding(
        check=NAME,
        name="test_accuracy",
        statement=f"{statement}.",
        value=accuracy,
        unit="1",
        low=low,
        high=high,
        n=whole.count,
        method=method,
        caveats=tuple(caveats),
        level="warning" if doubtful or emptied else "note",
        cost=cost,
    )


def _why_untold(pilot: Record | None) -> str:
    if pilot is None:
        return "the audit ended before its first training on the data as they are had"
    if pilot.status is Status.DIVERGED:
        return "the training on the data as they are diverged"
    return "the training on the data as they are has kept no predictions"


def _balanced(subject: Subject, hits: NDArray[np.float64] | None, cost: Cost) -> Finding:
    method = (
        "Mean over classes of the accuracy within each; interval from the exact ones of the classes by Donner & Zou's "
        "(2012) method of variance recovery."
    )
    assert hits is not None
    found = balanced_accuracy(hits, subject.splits.test.labels)
    statement = (
        f"Counting every class alike, test accuracy is {percent(found.value)} ({percent(found.low)} to "
        f"{percent(found.high)}); the worst class, {subject.classes[found.worst]}, has {percent(found.worst_accuracy)} "
        f"of {plural(found.worst_count, 'example')}."
    )
    return Finding(
        check=NAME,
        name="balanced_accuracy",
        statement=statement,
        value=found.value,
        unit="1",
        low=found.low,
        high=found.high,
        n=found.classes,
        method=method,
        caveats=("The worst class looks worse than it is, since it was chosen for that.",),
        cost=cost,
    )


register(
    Check(
        name=NAME,
        question=QUESTION,
        paper="Barz & Denzler (2020) for copies; Pearson (1900); Clopper & Pearson (1934)",
        unit="training",
        least=0,
        useful=0,
        design=lambda subject, effort: [],
        tells=lambda subject, effort: (
            "It looks at the data and at the first training's predictions, and trains nothing."
        ),
        answer=answer,
        rank=0,
    )
)
