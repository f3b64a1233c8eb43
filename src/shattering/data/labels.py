"""Labels as they come, made into classes ``0 … num_classes-1``, or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.data.files import show

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ClassLabels:
    """Labels of both splits with what they mean.

    Args:
        train, test: int64 ``[n]`` in ``0 … num_classes-1``.
        num_classes: number of classes.
        class_names: one per class; empty where unknown.
        notes: what was converted, with counts.
    """

    train: Labels
    test: Labels
    num_classes: int
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def class_labels(
    train: NDArray[Any],
    test: NDArray[Any],
    where: tuple[str, str],
    *,
    num_classes: int | None = None,
    class_names: tuple[str, ...] = (),
    from_one: bool = False,
    partial_test: bool = False,
) -> ClassLabels:
    """Converts labels: integers, integral floats, one-hot rows, or strings (sorted, the map kept in the class names).

    Args:
        train, test: as read.
        where: the places of both, for messages.
        num_classes: none: from the labels.
        class_names: one per class, in order.
        from_one: whether labels that are exactly 1 … k, both splits together, become 0 … k-1.
        partial_test: whether the test split may lack classes.

    Raises:
        DataError: wrong shape or type, fractional, negative or out-of-range labels, fewer than two classes, or a class
            without an example in one of the splits.
    """
    notes: list[str] = []
    columns = [_column(labels, place) for labels, place in zip((train, test), where, strict=True)]
    widths = {column.shape[1] for column in columns if column.ndim == 2}
    one_hot = bool(widths)
    if one_hot:
        if len(widths) > 1 or any(column.ndim == 1 for column in columns):
            raise DataError(
                "data-labels-shape",
                f"The labels of {where[0]} and {where[1]} have shapes {train.shape} and {test.shape}; "
                "give both the same number of one-hot columns.",
            )
        num_classes = num_classes or widths.pop()
        columns = [_from_one_hot(column, place) for column, place in zip(columns, where, strict=True)]
        notes.append(f"{len(train) + len(test)} one-hot labels were converted to class numbers")
    text = any(_is_text(column) for column in columns)
    if text:
        columns, class_names = _from_text(columns, where, class_names)
        num_classes = num_classes or len(class_names)
        notes.append(f"{len(train) + len(test)} text labels were mapped to 0 … {len(class_names) - 1} in sorted order")
    whole = [_whole(column, place) for column, place in zip(columns, where, strict=True)]
    cast = sum(len(column) for column in columns if column.dtype.kind == "f")
    if cast and not one_hot:
        notes.append(f"{cast} labels were floats of integral value and were cast to integers")
    if from_one and not one_hot and not text and (top := _counted_from_one(whole, class_names)):
        whole = [column - 1 for column in whole]
        class_names = class_names or tuple(str(label) for label in range(1, top + 1))
        notes.append(f"labels 1 … {top} were taken as 0 … {top - 1}; classes are called as they were labelled")
    count = num_classes or max(int(column.max()) for column in whole) + 1
    for column, place in zip(whole, where, strict=True):
        _check_range(column, place, count)
    _check_coverage(whole, where, count, class_names, partial_test)
    return ClassLabels(whole[0], whole[1], count, class_names, tuple(notes))


def _column(labels: NDArray[Any], where: str) -> NDArray[Any]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim not in (1, 2):
        raise DataError(
            "data-labels-shape",
            f"The labels of {where} have shape {labels.shape}; give one label per example, or one-hot rows.",
        )
    if labels.dtype == object and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(np.str_)
    if labels.dtype.kind not in "biufUS":
        raise DataError(
            "data-labels-type",
            f"The labels of {where} are of type {labels.dtype}; give integers 0 … k-1, one-hot rows or strings.",
        )
    return labels


def _from_one_hot(rows: NDArray[Any], where: str) -> NDArray[Any]:
    bad = np.zeros(len(rows), dtype=np.bool_)
    if rows.dtype.kind in "biuf":
        bad = ((rows != 0) & (rows != 1)).any(axis=1) | ((rows == 1).sum(axis=1) != 1)
    if rows.dtype.kind not in "biuf" or bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            "data-labels-shape",
            f"The labels of {where} have {rows.shape[1]} columns and row {first} is not one-hot; "
            "give one label per example, or rows with a single 1.",
        )
    classes: Labels = rows.argmax(axis=1).astype(np.int64)
    return classes


def _is_text(column: NDArray[Any]) -> bool:
    return column.dtype.kind in "US"


def _from_text(
    columns: list[NDArray[Any]], where: tuple[str, str], class_names: tuple[str, ...]
) -> tuple[list[NDArray[Any]], tuple[str, ...]]:
    if not all(_is_text(column) for column in columns):
        raise DataError(
            "data-labels-type",
            f"The labels of {where[0]} are {columns[0].dtype} and those of {where[1]} are {columns[1].dtype}; "
            "give both as text or both as numbers.",
        )
    texts = [
        [label.decode("utf-8", "backslashreplace") if isinstance(label, bytes) else label for label in column.tolist()]
        for column in columns
    ]
    names = class_names or tuple(sorted(set(texts[0]) | set(texts[1])))
    number = {name: index for index, name in enumerate(names)}
    for text, place in zip(texts, where, strict=True):
        for index, label in enumerate(text):
            if label not in number:
                raise DataError(
                    "data-labels-range",
                    f"Label {index} of {place} is {show(label)[:80]!r}, which is none of the {len(names)} class names; "
                    "correct it or add the class.",
                )
    return [np.array([number[label] for label in text], dtype=np.int64) for text in texts], names


def _whole(column: NDArray[Any], where: str) -> Labels:
    if column.dtype.kind == "f":
        bad = ~np.isfinite(column) | (column != np.floor(column)) | (np.abs(column) > 2**53)
        if bad.any():
            first = int(np.argmax(bad))
            raise DataError(
                "data-labels-fractional",
                f"Label {first} of {where} is {float(column[first])!r} ({int(bad.sum())} such labels); "
                "labels are class numbers, so round or remap them to 0 … k-1.",
            )
    if column.dtype.kind == "u" and len(column) and int(column.max()) > 2**62:
        raise DataError("data-labels-range", f"A label of {where} is {int(column.max())}; remap labels to 0 … k-1.")
    return column.astype(np.int64)


def _check_range(column: Labels, where: str, num_classes: int) -> None:
    negative = column < 0
    if negative.any():
        first = int(np.argmax(negative))
        raise DataError(
            "data-labels-negative",
            f"Label {first} of {where} is {int(column[first])} ({int(negative.sum())} negative labels); "
            "remap labels to 0 … k-1, and leave out unlabelled examples.",
        )
    high = column >= num_classes
    if high.any():
        first = int(np.argmax(high))
        raise DataError(
            "data-labels-range",
            f"Label {first} of {where} is {int(column[first])}, outside 0 … {num_classes - 1} "
            f"({int(high.sum())} such labels); correct the labels or the number of classes.",
        )


def _counted_from_one(columns: list[Labels], class_names: tuple[str, ...]) -> int:
    """k where the labels of both splits together are exactly 1 … k, of at least two classes; otherwise 0."""
    found = np.unique(np.concatenate(columns))
    top = len(found)
    if top < 2 or int(found[0]) != 1 or int(found[-1]) != top:
        return 0
    # With a name more than there are labels, it is the class 0 that has no example.
    return top if len(class_names) in (0, top) else 0


def _check_coverage(
    columns: list[Labels], where: tuple[str, str], num_classes: int, class_names: tuple[str, ...], partial_test: bool
) -> None:
    present = [set(np.unique(column).tolist()) for column in columns]
    if num_classes < 2 or len(present[0] | present[1]) < 2:
        only = sorted(present[0] | present[1])
        raise DataError(
            "data-one-class",
            f"All labels of {where[0]} are {only[0] if only else 'absent'}; a classifier needs at least two classes.",
        )
    for held, place in list(zip(present, where, strict=True))[: 1 if partial_test else 2]:
        missing = num_classes - len(held)
        if missing:
            first = next(index for index in range(num_classes) if index not in held)
            title = f" ({show(class_names[first])})" if class_names else ""
            raise DataError(
                "data-class-missing",
                f"Class {first}{title} has no example in {place} ({missing} of {num_classes} classes are missing); "
                "add examples, or remap labels to 0 … k-1 without gaps.",
            )
