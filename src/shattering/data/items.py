"""One example as a data set gives it, or a batch of them: its parts, its label, and the arrays that they are."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.data.files import show
from shattering.data.memory import require
from shattering.data.parts import LABEL_NAMES, label_name

Item = tuple[tuple[tuple[str, Any], ...], Any]
"""The parts of one example, or of a batch of them, by name, and its label or labels."""


def split_item(item: Any, where: str, label: str | None) -> Item:
    """The parts and the label of one example, or of a batch: ``(x, y)``, ``(a, b, y)``, or a dict with a label key.

    Args:
        item: what a data set gives.
        where: it comes from, for messages.
        label: the labels' key; none: the first of `LABEL_NAMES` that is there.

    Raises:
        DataError: it is neither, or has no label.
    """
    if isinstance(item, Mapping):
        return split_mapping(item, where, label)
    if isinstance(item, tuple | list) and len(item) > 1:
        return split_tuple(tuple(item))
    raise DataError(
        "data-item",
        f"{where} gives {type(item).__name__} where an example with its label is wanted; give (x, y), or a dict with "
        f"a key {LABEL_NAMES[0]!r}.",
    )


def split_mapping(item: Mapping[Any, Any], where: str, label: str | None) -> Item:
    """As `split_item`, of a dict."""
    names = [str(name) for name in item]
    chosen = label_name(names, label, where)
    return tuple((str(name), value) for name, value in item.items() if str(name) != chosen), item[chosen]


def split_tuple(item: tuple[Any, ...]) -> Item:
    """As `split_item`, of a tuple, whose last entry is the label; a dict or tuple before it holds several parts."""
    *inputs, target = item
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        return tuple((str(name), value) for name, value in inputs[0].items()), target
    if len(inputs) == 1 and isinstance(inputs[0], tuple):
        inputs = list(inputs[0])
    return tuple(("", value) for value in inputs), target


def is_tensor(value: Any) -> bool:
    """Whether it is a tensor of torch, which is not imported for the question."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_array(value: Any) -> bool:
    """Whether it can be an array with a row per example."""
    return isinstance(value, np.ndarray | list) or is_tensor(value) or hasattr(value, "__array__")


def is_picture(value: Any) -> bool:
    """Whether it is an image of Pillow."""
    return hasattr(value, "getbands") and hasattr(value, "convert")


def is_numeric(value: Any) -> bool:
    """Whether it can be numbers; text, none and arrays of objects cannot."""
    if isinstance(value, str | bytes | None.__class__):
        return False
    if isinstance(value, list | tuple):
        return not value or is_numeric(value[0])
    dtype = getattr(value, "dtype", None)
    return not isinstance(dtype, np.dtype) or dtype.kind not in "USO"


def as_array(value: Any, where: str) -> NDArray[Any]:
    """An array of what may be a tensor, a list, a sparse matrix or a picture.

    Raises:
        DataError: rows of several lengths, Python objects, or not enough memory to unpack a sparse matrix.
    """
    array = converted(value, where)
    if array.dtype == object:
        raise DataError("data-dtype", f"{where} holds Python objects where numbers are wanted; convert them first.")
    return array


def converted(value: Any, where: str) -> NDArray[Any]:
    """As `as_array`, but Python objects are left as they are."""
    if is_tensor(value):
        value = value.detach().cpu()
        torch = sys.modules["torch"]
        if value.is_sparse or value.layout != torch.strided:
            value = value.to_dense()
        if value.dtype in (torch.bfloat16, torch.float16):
            value = value.float()
        array: NDArray[Any] = value.numpy()
        return array
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        require(int(np.prod(value.shape)) * value.dtype.itemsize, f"Unpacking the sparse matrix of {where}")
        value = value.toarray()
    try:
        return np.asarray(value)
    except ValueError as error:
        raise DataError(
            "data-ragged", f"The rows of {where} differ in length ({first_line(error)}); pad them to one length."
        ) from None


def is_one_hot(target: Any) -> bool:
    """Whether a label is a row with a single 1, and not a batch of labels."""
    array = np.asarray(as_array(target, ""))
    return array.ndim == 1 and array.dtype.kind in "biuf" and len(array) > 1 and array.sum() == 1 and array.max() == 1


def bytes_of(item: Any) -> int:
    """About the memory that an example takes."""
    if isinstance(item, Mapping):
        return sum(map(bytes_of, item.values()))
    if isinstance(item, tuple | list):
        return sum(map(bytes_of, item)) if len(item) < 16 else 8 * len(item)
    return int(getattr(item, "nbytes", 64))


def kinds_of(item: Item) -> str:
    """The types of an example's parts, for messages."""
    return ", ".join(sorted({type(value).__name__ for _, value in item[0]})) or "nothing"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, fit to be shown."""
    return show((str(error).strip().splitlines() or [type(error).__name__])[0])[:160]
