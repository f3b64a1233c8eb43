"""Data that come as Python objects: arrays, dicts of arrays, data sets, loaders, iterables."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.core.streams import Stream
from shattering.data.files import show
from shattering.data.given_labels import joined_labels, label_array
from shattering.data.items import (
    Item,
    as_array,
    bytes_of,
    first_line,
    is_array,
    is_numeric,
    is_one_hot,
    is_picture,
    is_tensor,
    kinds_of,
    split_item,
    split_mapping,
    split_tuple,
)
from shattering.data.memory import available_bytes, require
from shattering.data.parts import Given, label_name

ENDLESS = 1_000_000
"""An iterable that says no length is given up after so many examples."""

_SHARE = 0.5
"""Of the available memory, what an iterable without a length may fill."""


def read_object(data: Any, where: str, label: str | None = None) -> Given:
    """Reads data in any of the forms that a training in Python takes, once and in order.

    Args:
        data: arrays or tensors ``(X, y)`` or ``(A, B, y)``; a dict of arrays, or a table of pandas, with a key for the
            labels; a map-style data set or list of examples ``(x, y)``, ``(a, b, y)`` or dicts; a DataLoader, whose
            data set is read without its sampler's order and without its workers; or an iterable of batches.
        where: how to call it in messages.
        label: the labels' key; none: the first of `LABEL_NAMES` that is there.

    Raises:
        DataError: another form, no labels, examples of several shapes, text, an example that cannot be read, an
            iterable that does not end, or not enough memory.
    """
    if isinstance(data, str | bytes) or data is None:
        raise _unknown(data, where)
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        return _table(data, where, label)
    if isinstance(data, Mapping):
        return _arrays(split_mapping(data, where, label), where)
    if isinstance(data, tuple) and len(data) > 1 and all(is_array(value) for value in data[1:]):
        return _arrays(split_tuple(data), where)
    with _seeded():
        return _examples(data, where, label)


def _examples(data: Any, where: str, label: str | None) -> Given:
    notes: list[str] = []
    collate, rows = None, None
    items: Iterator[Any]
    if hasattr(data, "dataset") and hasattr(data, "collate_fn"):  # a DataLoader
        collate, rows = _own_collate(data), _rows_of(data, notes)
        batched = getattr(data, "batch_size", None) is not None or getattr(data, "batch_sampler", None) is not None
        if not batched:  # its data set gives batches
            return _joined(_batches(data.dataset, where, label), where, notes)
        data = data.dataset
    if _has_length(data):
        count = len(data) if rows is None else len(rows)
        order: Sequence[int] = range(count) if rows is None else rows
        items = (_item(data, index, where) for index in order)
        if count == 0:
            raise DataError("data-too-few", f"{where} has no examples; add some.")
    elif hasattr(data, "__iter__"):
        count, items = None, _iterated(data, where)
    else:
        raise _unknown(data, where)
    if collate is not None:
        return _arrays(_collated(collate, _bounded(items, where), where, label), where, notes, exact=True)
    first = next(items, None)
    if first is None:
        raise DataError("data-too-few", f"{where} has no examples; add some.")
    items = itertools.chain([first], items)
    told = split_item(first, where, label)
    target = label_array(told[1], where)
    if count is None and target.ndim > 0 and not is_one_hot(target):
        return _joined((split_item(item, where, label) for item in items), where, notes)
    if count is not None and rows is None and _differs(first, _item(data, 0, where), where, label):
        notes.append("examples differ from one reading to the next, as with random augmentation; one reading is kept")
    return _stacked(items, count, told, where, label, notes)


def _stacked(
    items: Iterator[Any], count: int | None, first: Item, where: str, label: str | None, notes: list[str]
) -> Given:
    """Examples one after another, each written into its place as it comes."""
    shown = [(name, as_array(value, where)) for name, value in first[0] if is_numeric(value)]
    left = [name for name, value in first[0] if not is_numeric(value)]
    if not shown:
        raise DataError(
            "data-dtype",
            f"The examples of {where} hold {kinds_of(first)} and no numbers; encode them as such first.",
        )
    if left:
        notes.append(f"left out of every example, because they are no numbers: {', '.join(map(show, left))}")
    each = sum(array.nbytes for _, array in shown)
    if count is not None:
        require(count * each, f"Reading {where}")
    limit = _limit(each)
    columns: dict[str, list[NDArray[Any]]] = {}
    whole = [np.empty((count, *array.shape), array.dtype) for _, array in shown] if count is not None else None
    labels: list[NDArray[Any]] = []
    exact = not any(is_picture(value) for _, value in first[0])
    for place, item in enumerate(items):
        if count is None and place * each > limit:
            raise _endless(where, place)
        parts, target = split_item(item, where, label)
        values = dict(enumerate(value for name, value in parts if name not in left))
        if len(values) != len(shown):
            raise DataError(
                "data-ragged", f"Example {place} of {where} has {len(values)} parts where the first has {len(shown)}."
            )
        labels.append(label_array(target, where, start=place))
        for number, (name, sample) in enumerate(shown):
            array = as_array(values[number], where)
            if array.shape != sample.shape:
                raise _ragged(place, name, array.shape, sample.shape, where)
            if whole is not None:
                whole[number][place] = array
            else:
                columns.setdefault(str(number), []).append(array)
    arrays = whole if whole is not None else [np.stack(columns[str(number)]) for number in range(len(shown))]
    named = tuple((name, array) for (name, _), array in zip(shown, arrays, strict=True))
    return Given(named, joined_labels(labels, where, single=True), where, exact=exact, notes=tuple(notes))


def _joined(batches: Iterator[Item], where: str, notes: list[str]) -> Given:
    """Batches one after another."""
    found: list[Item] = []
    count = size = 0
    for parts, target in batches:
        arrays = tuple((name, as_array(value, where)) for name, value in parts if is_numeric(value))
        labels = label_array(target, where, start=count)
        for name, array in arrays:
            if array.ndim == 0 or len(array) != len(labels):
                raise DataError(
                    "data-ragged",
                    f"A batch of {where} has {len(labels)} labels and {show(name) or 'inputs'} of shape "
                    f"{array.shape}; give as many rows as labels.",
                )
            if found and array.shape[1:] != dict(found[0][0])[name].shape[1:]:
                raise _ragged(count, name, array.shape[1:], dict(found[0][0])[name].shape[1:], where)
        found.append((arrays, labels))
        count += len(labels)
        size += sum(array.nbytes for _, array in arrays)
        if count > ENDLESS or size > _limit_bytes():
            raise _endless(where, count)
    if not found:
        raise DataError("data-too-few", f"{where} has no examples; add some.")
    names = [name for name, _ in found[0][0]]
    joined = tuple((name, np.concatenate([dict(parts)[name] for parts, _ in found])) for name in names)
    labels = joined_labels([target for _, target in found], where, single=False)
    return Given(joined, labels, where, exact=True, notes=tuple(notes))


def _arrays(item: Item, where: str, notes: Sequence[str] = (), exact: bool = False) -> Given:
    """Whole arrays, a row per example."""
    parts, target = item
    labels = label_array(target, where)
    tensors = exact or any(is_tensor(value) for _, value in parts)
    arrays = tuple((name, as_array(value, where)) for name, value in parts if is_numeric(value))
    left = [name for name, value in parts if not is_numeric(value)]
    if not arrays:
        raise DataError("data-dtype", f"{where} holds no numbers beside its labels; encode its contents as numbers.")
    for name, array in arrays:
        if array.ndim == 0 or labels.ndim == 0 or len(array) != len(labels):
            raise DataError(
                "data-count-mismatch",
                f"{where}: {show(name) or 'the input'} has shape {array.shape} and the labels {labels.shape}; give one "
                "row and one label for each example.",
            )
    more = [*notes, *([f"left out, because they are no numbers: {', '.join(map(show, left))}"] if left else [])]
    arrays = tuple((name, array[:, None] if array.ndim == 1 and len(arrays) == 1 else array) for name, array in arrays)
    return Given(arrays, labels, where, exact=tensors or len(arrays) > 1, notes=tuple(more))


def _table(data: Any, where: str, label: str | None) -> Given:
    names = [str(name) for name in data.columns]
    chosen = label_name(names, label, where)
    features = data.drop(columns=[name for name in data.columns if str(name) == chosen])
    array = features.to_numpy()
    if array.dtype.kind not in "biuf":
        wrong = next(str(name) for name in features.columns if features[name].to_numpy().dtype.kind not in "biuf")
        raise DataError(
            "data-column-type", f"Column {show(wrong)!r} of {where} holds no numbers; encode it as numbers."
        )
    column = data[next(name for name in data.columns if str(name) == chosen)].to_numpy()
    labels = label_array(column, where, lambda row: f"Row {row} of column {show(chosen)!r} of {where}")
    return Given((("", array.astype(np.float64)),), labels, where)


def _item(data: Any, index: int, where: str) -> Any:
    try:
        return data[index]
    except Exception as error:
        raise _item_fails(index, where, error) from error


def _iterated(data: Any, where: str) -> Iterator[Any]:
    place = 0
    iterator = iter(data)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            raise _item_fails(place, where, error) from error
        if place >= ENDLESS:
            raise _endless(where, place)
        yield item
        place += 1


def _batches(data: Any, where: str, label: str | None) -> Iterator[Item]:
    items = (_item(data, index, where) for index in range(len(data))) if _has_length(data) else _iterated(data, where)
    for item in items:
        yield split_item(item, where, label)


def _bounded(items: Iterator[Any], where: str) -> list[Any]:
    found: list[Any] = []
    size, limit = 0, _limit_bytes()
    for item in items:
        found.append(item)
        size += bytes_of(item)
        if size > limit:
            raise _endless(where, len(found))
    return found


def _collated(collate: Any, items: list[Any], where: str, label: str | None) -> Item:
    """All examples as one batch, so that padding makes them of one length."""
    try:
        batch = collate(items)
    except Exception as error:
        raise DataError(
            "data-collate-fails",
            f"The collate_fn of {where} failed on all {len(items)} examples with {type(error).__name__}: "
            f"{first_line(error)}; they are padded to one length only if it can take them together.",
        ) from error
    return split_item(batch, where, label)


def _has_length(data: Any) -> bool:
    loading = sys.modules.get("torch.utils.data")
    if loading is not None and isinstance(data, loading.IterableDataset):
        return False
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        return False
    try:
        return len(data) >= 0
    except (TypeError, NotImplementedError):
        return False


def _own_collate(loader: Any) -> Any:
    """The loader's own way of making batches; none where it only stacks."""
    collate = loader.collate_fn
    plain = collate is None or getattr(collate, "__module__", "").startswith("torch.utils.data")
    return None if plain else collate


def _rows_of(loader: Any, notes: list[str]) -> list[int] | None:
    """The part of the data set that the loader's sampler draws from, in order; none: all."""
    sampler = getattr(loader, "sampler", None)
    indices = getattr(sampler, "indices", None)
    if indices is not None:
        return sorted(int(index) for index in indices)
    if sampler is not None and type(sampler).__name__ not in (
        "SequentialSampler",
        "RandomSampler",
        "_InfiniteConstantSampler",
    ):
        notes.append(f"the loader's {type(sampler).__name__} was left aside: every example is read once")
    return None


def _differs(first: Any, again: Any, where: str, label: str | None) -> bool:
    one, two = split_item(first, where, label), split_item(again, where, label)
    values = zip((value for _, value in one[0]), (value for _, value in two[0]), strict=False)
    pairs = ((as_array(a, where), as_array(b, where)) for a, b in values if is_numeric(a) and is_numeric(b))
    return any(a.shape == b.shape and not np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)


# Limits.


def _limit(each: int) -> float:
    return min(_limit_bytes(), ENDLESS * max(1.0, each))


def _limit_bytes() -> float:
    available = available_bytes()
    return float("inf") if available is None else _SHARE * available


@contextmanager
def _seeded() -> Iterator[None]:
    """What a data set draws is the same at every reading, and the caller's generators are as before."""
    seed = Stream(0, "reading").integer()
    torch = sys.modules.get("torch")
    python_state, numpy_state = random.getstate(), np.random.get_state()
    torch_state = None if torch is None else torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if torch is not None:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        if torch is not None:
            torch.set_rng_state(torch_state)


# What is wrong.


def _ragged(place: int, name: str, shape: tuple[int, ...], first: tuple[int, ...], where: str) -> DataError:
    return DataError(
        "data-ragged",
        f"Example {place} of {where} has {show(name) or 'an input'} of shape {shape} where the first has {first}; pad "
        "or resize all to one shape, or give a DataLoader whose collate_fn pads.",
    )


def _endless(where: str, count: int) -> DataError:
    return DataError(
        "data-endless",
        f"{where} has no length and had not ended after {count:,} examples; give a data set with a length, or cut it "
        "off, as with itertools.islice.",
    )


def _item_fails(index: int, where: str, error: Exception) -> DataError:
    return DataError(
        "data-item-fails",
        f"Example {index} of {where} cannot be read: {type(error).__name__}: {first_line(error)}; mend the data set.",
    )


def _unknown(data: Any, where: str) -> DataError:
    return DataError(
        "data-form",
        f"{where} is of type {type(data).__name__}; give arrays (X, y), a dict of arrays, a data set, a DataLoader or "
        "a path.",
    )
