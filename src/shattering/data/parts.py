"""One split as it was given, and the way from its arrays to one table with a row per example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.core.spec import BatchPart
from shattering.data.files import show
from shattering.data.memory import require

LABEL_NAMES = ("label", "labels", "target", "targets", "y", "class", "fine_label")
"""What the labels are taken to be called where nobody says, in this order."""

LARGEST = 2**24
"""Integers up to it, token ids among them, are exact in single precision."""


@dataclass(frozen=True, eq=False)
class Given:
    """One split as read.

    Args:
        parts: (name, array ``[n, …]``) of each argument of the network; the name is empty for one passed by position.
        labels: ``[n]``, or one-hot ``[n, classes]``.
        where: the place, for messages.
        exact: whether shapes and types are those that the network is to get, as in a data set of tensors; otherwise
            arrays of three or four dimensions are images, channels last.
        class_names: one per class; empty where unknown.
        notes: what was done on the way.
        divisor: what bytes are divided by; none: 255.
    """

    parts: tuple[tuple[str, NDArray[Any]], ...]
    labels: NDArray[Any]
    where: str
    exact: bool = False
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    divisor: float | None = None

    def take(self, rows: NDArray[Any]) -> Given:
        """The examples at ``rows``, a mask or indices."""
        parts = tuple((name, array[rows]) for name, array in self.parts)
        return Given(parts, self.labels[rows], self.where, self.exact, self.class_names, self.notes, self.divisor)


def layout(given: Given) -> tuple[BatchPart, ...]:
    """The arguments that a row of the packed table holds; empty where the inputs can stay as they are.

    Raises:
        DataError: an array of a type that no network takes.
    """
    if len(given.parts) == 1 and not _needs_packing(given.parts[0][1], given.exact):
        return ()
    return tuple(
        BatchPart(name=name if len(given.parts) > 1 else "", shape=array.shape[1:], dtype=_dtype(array, name, given))
        for name, array in given.parts
    )


def inputs_of(given: Given, parts: tuple[BatchPart, ...]) -> NDArray[Any]:
    """The inputs: one array as images or features, or all parts side by side in a table ``[n, columns]``.

    Raises:
        DataError: the parts are not those of ``parts``, an integer is not exact in single precision, or too little
            memory.
    """
    if not parts:
        if len(given.parts) != 1:
            raise _differ(given, parts)
        array = given.parts[0][1]
        # A tensor's channels come second; images are kept with their channels last.
        return np.moveaxis(array, 1, -1) if given.exact and array.ndim == 4 else array
    found = {name: array for name, array in given.parts} if len(given.parts) > 1 else {"": given.parts[0][1]}
    positional = [array for name, array in given.parts if not name]
    arrays = positional if len(positional) == len(parts) else [found[part.name] for part in parts if part.name in found]
    if [array.shape[1:] for array in arrays] != [part.shape for part in parts] or len(given.parts) != len(parts):
        raise _differ(given, parts)
    count = len(given.labels)
    wide = any(array.dtype.kind == "f" and array.dtype.itemsize > 4 for array in arrays)
    columns = sum(part.width for part in parts)
    require(count * columns * (8 if wide else 4), f"Packing {given.where}")
    table: NDArray[Any] = np.empty((count, columns), dtype=np.float64 if wide else np.float32)
    start = 0
    for part, array in zip(parts, arrays, strict=True):
        _require_exact(array, part, given)
        table[:, start : start + part.width] = array.reshape(count, part.width)
        start += part.width
    return table


def _needs_packing(array: NDArray[Any], exact: bool) -> bool:
    if array.dtype.kind in "iu" and array.dtype.itemsize >= 4 and array.ndim == 2:
        return True  # token ids: floats would not do for a look-up
    if not exact:
        return False
    plain = array.dtype.kind == "f" and array.ndim == 2
    image = array.ndim == 4 and array.shape[1] in (1, 3) and (array.dtype.kind == "f" or array.dtype == np.uint8)
    return not (plain or image)


def _dtype(array: NDArray[Any], name: str, given: Given) -> Any:
    kinds = {"b": "bool", "f": "float"}
    if array.dtype.kind in kinds:
        return kinds[array.dtype.kind]
    if array.dtype in (np.int32, np.int64, np.uint8):
        return str(array.dtype)
    if array.dtype.kind in "iu":
        return "int64"
    raise DataError(
        "data-dtype",
        f"{_told(name)} of {given.where} is of type {array.dtype}; give numbers, such as token ids in place of text.",
    )


def _require_exact(array: NDArray[Any], part: BatchPart, given: Given) -> None:
    if part.dtype == "float" or not array.size:
        return
    if array.dtype.kind == "f":
        raise DataError(
            "data-parts-differ",
            f"{_told(part.name)} of {given.where} is of type {array.dtype} where the training data have {part.dtype}; "
            "prepare both in the same way.",
        )
    low, high = array.min(), array.max()
    if max(abs(int(low)), abs(int(high))) > LARGEST:
        raise DataError(
            "data-integers-inexact",
            f"{_told(part.name)} of {given.where} goes from {int(low)} to {int(high)}; integers beyond {LARGEST:,} are "
            "not exact in single precision, so renumber them.",
        )


def _differ(given: Given, parts: tuple[BatchPart, ...]) -> DataError:
    wanted = ", ".join(f"{part.name or 'input'} {list(part.shape)}" for part in parts) or "one input"
    found = ", ".join(f"{show(name) or 'input'} {list(array.shape[1:])}" for name, array in given.parts)
    return DataError(
        "data-parts-differ",
        f"{given.where} has {found} in each example where the training data have {wanted}; prepare both in the same "
        "way.",
    )


def _told(name: str) -> str:
    return f"The part {show(name)!r}" if name else "The input"


def label_name(names: list[str], label: str | None, where: str) -> str:
    """Which of ``names`` holds the labels: ``label``, or the first of `LABEL_NAMES` that is there.

    Raises:
        DataError: it is not there.
    """
    if label is not None and label in names:
        return label
    found = next((name for name in LABEL_NAMES if name in names), None) if label is None else None
    if found is None:
        tried = f"{', '.join(map(repr, LABEL_NAMES[:-1]))} or {LABEL_NAMES[-1]!r}"
        wanted = tried if label is None else repr(show(label))
        listed = ", ".join(show(name)[:40] for name in names[:20])
        raise DataError(
            "data-column-missing",
            f"{where} has no column {wanted} (it has: {listed}); name the one that holds the labels with --label (in "
            "Python `label=`).",
        )
    return found
