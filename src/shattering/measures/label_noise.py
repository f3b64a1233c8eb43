"""How training under label noise goes: what a network that memorises nothing would reach, and when it memorises."""

from __future__ import annotations

from dataclasses import dataclass

from shattering.core.errors import SpecError
from shattering.core.record import Record
from shattering.measures.time_to_fit import FitTime

PRISTINE_ACCURACY = "unchanged_train_accuracy"
CORRUPT_ACCURACY = "changed_train_accuracy"


def proper_accuracy(noise: float, num_classes: int) -> float:
    """Training accuracy of a network that predicts every true label and memorises nothing: 1 - ε + ε/k.

    Redrawn labels are right by chance once in k (Chatterjee 2020, the MNIST experiment with label noise).

    Args:
        noise: ε, the probability with which a label is redrawn uniformly among all classes, in [0, 1].
        num_classes: k, at least 1.

    Returns:
        In [1/k, 1]: 1 without noise, 1/k where all labels are redrawn.

    Raises:
        SpecError: ``label-noise-out-of-range``.
    """
    _require(noise, num_classes)
    return 1.0 - noise + noise / num_classes


def adjusted_overfit(train_accuracy: float, test_accuracy: float, noise: float, num_classes: int) -> float:
    """Generalisation gap against test labels that are as noisy as the training labels: ta - [ε/k + (1 - ε)·va].

    Test labels are clean, so the plain gap would count the noise itself as overfitting (Chatterjee 2020).

    Args:
        train_accuracy: ta, on the labels trained on, in [0, 1].
        test_accuracy: va, on clean labels, in [0, 1].
        noise: ε, the probability with which a training label is redrawn, in [0, 1].
        num_classes: k, at least 1.

    Returns:
        In [-1, 1]; 0 for a network that has the proper accuracy and makes no mistake on the test set.

    Raises:
        SpecError: ``label-noise-out-of-range``.
    """
    _require(noise, num_classes)
    return train_accuracy - (noise / num_classes + (1.0 - noise) * test_accuracy)


def time_to_accuracy(record: Record, accuracy: float, name: str = "train_accuracy") -> FitTime | None:
    """The first snapshot at which an accuracy is at least ``accuracy``.

    Args:
        record: a run with the measure ``accuracy``.
        accuracy: a fraction in [0, 1].
        name: which accuracy; ``unchanged_train_accuracy`` is that of the pristine examples, ``changed_train_accuracy``
            that of the corrupt ones.

    Returns:
        Updates, with the distance to the snapshot before as resolution; censored at the last snapshot where the
        accuracy was not reached; none where no snapshot has the number (an empty group).
    """
    steps, values = record.trajectory(name)
    before = -1
    for step, value in zip(steps, values, strict=True):
        if value >= accuracy:
            return FitTime(step, False, step - before)
        before = step
    return FitTime(steps[-1], True) if steps else None


@dataclass(frozen=True)
class GroupTimes:
    """When pristine and corrupt examples reached an accuracy; none for a group that is empty."""

    pristine: FitTime | None
    corrupt: FitTime | None


def group_times(record: Record, accuracy: float) -> GroupTimes:
    """`time_to_accuracy` of the pristine and of the corrupt training examples."""
    return GroupTimes(
        time_to_accuracy(record, accuracy, PRISTINE_ACCURACY), time_to_accuracy(record, accuracy, CORRUPT_ACCURACY)
    )


@dataclass(frozen=True)
class Peak:
    """The snapshot with the highest test accuracy, the first of them.

    Args:
        step: updates made there.
        test_accuracy: on clean labels.
        train_accuracy: on the labels trained on; beside the proper accuracy it tells how much was memorised.
        corrupt_accuracy: on the corrupt training examples as trained on; none where there are none.
        final_test_accuracy: at the last snapshot, after memorisation if there was any.
    """

    step: int
    test_accuracy: float
    train_accuracy: float
    corrupt_accuracy: float | None
    final_test_accuracy: float


def peak(record: Record) -> Peak | None:
    """Where early stopping would have stopped best, and how many corrupt labels were fitted by then.

    Returns:
        The first snapshot with the highest test accuracy; none where none has one.
    """
    rows = [row for row in record.rows if "test_accuracy" in row]
    if not rows:
        return None
    best = max(rows, key=lambda row: row["test_accuracy"])
    corrupt = best.get(CORRUPT_ACCURACY)
    return Peak(
        step=int(best["step"]),
        test_accuracy=float(best["test_accuracy"]),
        train_accuracy=float(best["train_accuracy"]),
        corrupt_accuracy=None if corrupt is None else float(corrupt),
        final_test_accuracy=float(rows[-1]["test_accuracy"]),
    )


def _require(noise: float, num_classes: int) -> None:
    if not 0 <= noise <= 1 or num_classes < 1:
        raise SpecError(
            "label-noise-out-of-range",
            f"noise={noise} with {num_classes} classes is not a label noise; give a probability in [0, 1] and a class "
            "or more.",
        )
