"""Labels as an object or a table holds them: an array of text or of numbers, or a refusal that names the label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.data.files import show
from shattering.data.items import converted

Named = Callable[[int], str]


def label_array(value: Any, where: str, named: Named | None = None, *, start: int = 0) -> NDArray[Any]:
    """The labels of examples, or the one of an example: text throughout, or numbers throughout.

    Args:
        value: an array, a tensor, a list, a column of a table, or a single label.
        where: they come from, for messages.
        named: how to call the label at a place; none: ``Label PLACE of WHERE``.
        start: the place of the first, where others went before.

    Raises:
        DataError: a label is missing, text stands beside numbers, or a label is neither.
    """
    named = named or (lambda place: f"Label {start + place} of {where}")
    if isinstance(value, list | tuple) and any(isinstance(entry, str) for entry in value):
        # NumPy would make text of whatever stands beside text, a missing label included.
        array: NDArray[Any] = np.empty(len(value), dtype=object)
        array[:] = value
    else:
        array = converted(value, where)
    if array.dtype == object:
        array = _of_objects(array, named)
    if array.dtype.kind == "f" and array.ndim < 2 and np.isnan(array).any():
        raise empty_label(named(int(np.argmax(np.isnan(array)))))
    if array.dtype.kind in "US" and array.ndim > 1 and array.shape[1:] != (1,):
        raise DataError(
            "data-labels-shape", f"The labels of {where} are text of shape {array.shape}; give one for each example."
        )
    return array


def joined_labels(parts: Sequence[NDArray[Any]], where: str, *, single: bool) -> NDArray[Any]:
    """The labels of examples, or of batches of them, one after another.

    Args:
        parts: from `label_array`.
        where: they come from, for messages.
        single: whether each is of one example; otherwise of a batch.

    Raises:
        DataError: text stands beside numbers, or the labels have several shapes.
    """
    first, start = parts[0], 0
    for part in parts:
        if part.size and first.size and (part.dtype.kind in "US") != (first.dtype.kind in "US"):
            raise _mixed(f"Label {start} of {where}", part.flat[0], first.flat[0])
        if part.shape[0 if single else 1 :] != first.shape[0 if single else 1 :]:
            raise DataError(
                "data-labels-shape", f"The labels of {where} have several shapes; give one number for each."
            )
        start += 1 if single else len(part)
    return np.stack(parts) if single else np.concatenate(parts)


def empty_label(name: str) -> DataError:
    """The refusal of an example without a label, which is called ``name``."""
    return DataError("data-null", f"{name} is empty; fill it in, or leave the example out.")


def _of_objects(array: NDArray[Any], named: Named) -> NDArray[Any]:
    first = array.flat[0] if array.size else 0
    for place, label in enumerate(array.flat):
        if _missing(label):
            raise empty_label(named(place))
        if not isinstance(label, str | Real):
            raise DataError(
                "data-labels-type",
                f"{named(place)} is of type {type(label).__name__}; labels are text or class numbers, so convert them.",
            )
        if isinstance(label, str) != isinstance(first, str):
            raise _mixed(named(place), label, first)
    return array.astype(np.str_) if isinstance(first, str) else np.array(array.tolist())


def _missing(label: Any) -> bool:
    # Told by name, because pandas is not imported for the question.
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(label, float) and label != label


def _mixed(name: str, label: Any, first: Any) -> DataError:
    return DataError(
        "data-labels-type",
        f"{name} is {show(_plain(label))[:60]} where the first is {show(_plain(first))[:60]}; give all labels as text "
        "or all as numbers.",
    )


def _plain(label: Any) -> str:
    return repr(label.item() if isinstance(label, np.generic) else label)
