"""What every loader ends with: two parts as read become checked, frozen `Splits`, with notes on what is unusual."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.data.dataset import Dataset, Split, Splits, moments
from shattering.data.labels import class_labels

_CHUNK_VALUES = 1 << 24


@dataclass(frozen=True, eq=False)
class Part:
    """One split as read: inputs, labels, and the place they come from, for messages."""

    inputs: NDArray[Any]
    labels: NDArray[Any]
    where: str


def build_splits(
    train: Part,
    test: Part,
    *,
    name: str,
    num_classes: int | None = None,
    class_names: tuple[str, ...] = (),
    divisor: float | None = None,
    notes: tuple[str, ...] = (),
    from_one: bool = False,
    partial_test: bool = False,
) -> Splits:
    """Checks and converts both splits; the inputs of the result are read-only.

    Args:
        train, test: as read.
        name: of the data set.
        num_classes: none: from the labels.
        class_names: one per class, in order.
        divisor: none: 255 for bytes, 1 otherwise.
        notes: the loader's own; counts of what was converted or is duplicated are added.
        from_one, partial_test: as `class_labels` takes them.

    Raises:
        DataError: counts that differ, too few examples, types or values that cannot be trained on, and all that
            `class_labels` refuses.
    """
    for part, least in ((train, 2), (test, 1)):
        if len(part.inputs) != len(part.labels):
            raise DataError(
                "data-count-mismatch",
                f"{part.where}: there are {len(part.inputs)} examples and {len(part.labels)} labels; "
                "they must be as many, so get both files again.",
            )
        if len(part.labels) < least:
            raise DataError(
                "data-too-few", f"{part.where} has {len(part.labels)} examples; at least {least} are needed, add some."
            )
    where = (f"the training split ({train.where})", f"the test split ({test.where})")
    labels = class_labels(
        train.labels,
        test.labels,
        where,
        num_classes=num_classes,
        class_names=class_names,
        from_one=from_one,
        partial_test=partial_test,
    )
    inputs, converted = _inputs([train.inputs, test.inputs], where)
    if divisor is None:
        divisor = 255.0 if inputs[0].dtype == np.uint8 and train.inputs.dtype != np.bool_ else 1.0
    described = (*notes, *labels.notes, *converted, *_duplicates(inputs, labels.train))
    facts = moments(inputs[0])

    def finished(split: Split, array: NDArray[Any], column: NDArray[np.int64]) -> Dataset:
        return Dataset(
            inputs=array,
            labels=column,
            num_classes=labels.num_classes,
            name=name,
            split=split,
            divisor=divisor,
            class_names=labels.class_names,
            moments=facts,
            notes=described,
        )

    return Splits(finished("train", inputs[0], labels.train), finished("test", inputs[1], labels.test))


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A contiguous read-only view, so that a corruption cannot write into what others hold."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _inputs(arrays: list[NDArray[Any]], where: tuple[str, str]) -> tuple[list[NDArray[Any]], list[str]]:
    for array, place in zip(arrays, where, strict=True):
        if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and array.dtype.itemsize > 8):
            raise DataError(
                "data-dtype",
                f"The inputs of {place} are of type {array.dtype}; give bytes (uint8) or real numbers (float32, "
                "float64).",
            )
        if array.ndim not in (2, 3, 4) or 0 in array.shape:
            raise DataError(
                "data-shape",
                f"The inputs of {place} have shape {array.shape}; give [n, height, width, channels] or [n, features].",
            )
    notes: list[str] = []
    arrays = [array[..., None] if array.ndim == 3 else array for array in arrays]
    if all(_channels_first(array) for array in arrays):
        arrays = [array.transpose(0, 2, 3, 1) for array in arrays]
        notes.append("channels were the second axis and were moved to the last")
    if arrays[0].shape[1:] != arrays[1].shape[1:]:
        raise DataError(
            "data-shape",
            f"Examples of {where[0]} have shape {arrays[0].shape[1:]}, those of {where[1]} {arrays[1].shape[1:]}; "
            "make them the same.",
        )
    for array, place in zip(arrays, where, strict=True):
        _check_finite(array, place)
    target = _target(arrays, where)
    changed = {str(array.dtype) for array in arrays if array.dtype.newbyteorder("=") != target}
    if changed:
        notes.append(f"inputs of type {', '.join(sorted(changed))} were cast to {target}")
    return [frozen(array.astype(target, copy=False)) for array in arrays], notes


def _channels_first(array: NDArray[Any]) -> bool:
    return array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3, 4)


def _chunks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    rows = max(1, _CHUNK_VALUES // max(1, array[0].size))
    for start in range(0, len(array), rows):
        yield start, array[start : start + rows]


def _check_finite(array: NDArray[Any], where: str) -> None:
    if array.dtype.kind != "f":
        return
    for kind, test in (("nan", np.isnan), ("inf", np.isinf)):
        first, count = -1, 0
        for start, chunk in _chunks(array):
            rows = test(chunk.reshape(len(chunk), -1)).any(axis=1)
            if rows.any() and first < 0:
                first = start + int(np.argmax(rows))
            count += int(rows.sum())
        if count:
            raise DataError(
                f"data-{kind}",
                f"The inputs of {where} hold {'NaN' if kind == 'nan' else 'infinite values'} in {count} examples, "
                f"first in example {first}; replace the values or leave the examples out.",
            )


def _target(arrays: list[NDArray[Any]], where: tuple[str, str]) -> np.dtype[Any]:
    """The type that both splits are kept in: bytes, or the wider float; never a lossy one."""
    types = [array.dtype.newbyteorder("=") for array in arrays]
    if all(kind.kind == "f" for kind in types):
        return np.result_type(np.float32, *types)
    if all(kind in (np.uint8, np.bool_) for kind in types):
        return np.dtype(np.uint8)
    images = arrays[0].ndim == 4
    for array, place in zip(arrays, where, strict=True):
        low, high = array.min(), array.max()
        if images and array.dtype.kind in "iu" and not (low >= 0 and high <= 255):
            raise DataError(
                "data-dtype",
                f"The images of {place} are {array.dtype} from {low} to {high}; give bytes 0 … 255 (uint8) or floats.",
            )
        if array.dtype.kind in "iu" and max(abs(int(low)), abs(int(high))) > 2**53:
            raise DataError("data-dtype", f"The inputs of {place} exceed 2^53; give them as float64.")
    if images and all(kind.kind in "biu" for kind in types):
        return np.dtype(np.uint8)
    return np.dtype(np.float64)


def _duplicates(inputs: list[NDArray[Any]], labels: NDArray[np.int64]) -> list[str]:
    """Notes on exact copies. Compared by 128-bit digests: a false match has odds below 1 in 10^25 at a million."""
    first: dict[bytes, int] = {}
    copies = conflicts = 0
    for index, digest in enumerate(_digests(inputs[0])):
        original = first.setdefault(digest, index)
        copies += original != index
        conflicts += labels[original] != labels[index]
    overlap = sum(digest in first for digest in _digests(inputs[1]))
    notes = []
    if copies:
        notes.append(f"{copies} training examples are exact copies of an earlier one")
    if conflicts:
        notes.append(
            f"{conflicts} training examples are exact copies of an earlier one with a different label, "
            "so a perfect fit is impossible"
        )
    if overlap:
        notes.append(f"{overlap} test examples also occur in the training split, so test accuracy is flattered")
    return notes


def _digests(inputs: NDArray[Any]) -> Iterator[bytes]:
    for row in inputs:
        yield hashlib.blake2b(comparable(row).tobytes(), digest_size=16).digest()


def comparable(row: NDArray[Any]) -> NDArray[Any]:
    """An example whose bytes are those of all that are equal to it: 0.0 and -0.0 are equal and differ in theirs."""
    return row + row.dtype.type(0) if row.dtype.kind == "f" else row
