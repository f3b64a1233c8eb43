"""Data sets from arrays in memory, and the hold-out drawn where there is no test split."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.core.streams import Stream
from shattering.data.checks import Part, build_splits
from shattering.data.dataset import Splits

HELD_OUT = 0.2
"""Fraction of each class that is held out where there is no test split."""


def from_arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    name: str = "arrays",
    num_classes: int | None = None,
    class_names: tuple[str, ...] = (),
    divisor: float | None = None,
    partial_test: bool = False,
) -> Splits:
    """Makes a data set of arrays.

    Arrays of a type that can be kept are not copied, so do not write to them afterwards.

    Args:
        x_train, x_test: ``[n, height, width, channels]``, ``[n, height, width]`` or ``[n, features]``; uint8
            or floats.
        y_train, y_test: ``[n]`` integers, integral floats or strings, or ``[n, classes]`` one-hot. Without a test
            split, a fifth of every class is held out by `hold_out`.
        name: shown in reports.
        num_classes: none: from the labels.
        class_names: in label order.
        divisor: what inputs are divided by first; none: 255 for bytes, 1 otherwise.
        partial_test: whether the test split may lack classes.

    Raises:
        DataError: only one of ``x_test`` and ``y_test``, or anything that `build_splits` refuses.
    """
    if (x_test is None) != (y_test is None):
        lacking, given = ("x_test", "y_test") if x_test is None else ("y_test", "x_test")
        raise DataError("data-split-missing", f"{name}: {given} is given without {lacking}; give both or neither.")
    train = Part(_array(x_train, name), _array(y_train, name), name)
    notes: tuple[str, ...] = ()
    if x_test is None:
        train, test, notes = hold_out(train)
    else:
        test = Part(_array(x_test, name), _array(y_test, name), name)
    return build_splits(
        train,
        test,
        name=name,
        num_classes=num_classes,
        class_names=class_names,
        divisor=divisor,
        notes=notes,
        partial_test=partial_test,
    )


def _array(values: Any, name: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError("data-shape", f"{name}: the examples differ in shape ({error}); make them the same.") from None
    if array.ndim == 0:
        raise DataError("data-shape", f"{name}: {type(values).__name__} is not an array; give one row per example.")
    return array


def hold_out(part: Part) -> tuple[Part, Part, tuple[str, ...]]:
    """Splits off a test part: of each class, the fifth (at least one) that ``Stream(0, "npz-split")`` puts first.

    Both parts keep the order of the examples. Returns the training part, the test part and a note.
    """
    count = len(part.labels)
    if len(part.inputs) != count:
        raise DataError(
            "data-count-mismatch",
            f"{part.where}: there are {len(part.inputs)} examples and {count} labels; they must be as many.",
        )
    order = Stream(0, "npz-split").permutation(count)
    keys = part.labels.reshape(count, -1)
    if keys.shape[1] > 1:
        keys = keys.argmax(axis=1)[:, None]
    try:
        _, classes = np.unique(keys[:, 0] if count else np.zeros(0), return_inverse=True)
    except TypeError:
        raise DataError(
            "data-labels-type", f"{part.where}: the labels mix types that cannot be compared; use integers 0 … k-1."
        ) from None
    held = np.zeros(count, dtype=np.bool_)
    for index in range(int(classes.max()) + 1 if count else 0):
        members = order[classes[order] == index]
        held[members[: max(1, round(HELD_OUT * len(members)))]] = True
    note = f"no test split was given: {int(held.sum())} of {count} examples, a fifth of each class, were held out"
    train = Part(part.inputs[~held], part.labels[~held], part.where)
    return train, Part(part.inputs[held], part.labels[held], part.where), (note,)
