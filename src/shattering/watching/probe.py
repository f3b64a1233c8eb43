"""The fixed examples that a training is looked at with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shattering.core.errors import DataError, SpecError
from shattering.core.streams import Stream
from shattering.core.words import plural
from shattering.gradients.batches import (
    Batch,
    batch_size,
    is_one_set,
    map_tensors,
    split_batches,
    tensors_of,
)

Collate = Callable[[list[Any]], Batch]

CHUNK = 256
"""Examples of a batch, where we make the batches."""


@dataclass(frozen=True, eq=False)
class FixedProbe:
    """The examples, always the same, in memory of their own.

    Args:
        pristine: batches of the examples that no corruption changed; all, where that is not known.
        corrupt: batches of the others; none where none is known to be corrupt.
        index: int64 ``[m]``, place of each example in what they were drawn from, pristine ones first.
        changed: bool ``[m]``; none where it is not known.
        of: how many examples they were drawn from; none where that is not known.
        fingerprint: SHA-256 of the examples.
        notes: what was done to draw them, one clause each.
    """

    pristine: tuple[Batch, ...]
    corrupt: tuple[Batch, ...]
    index: NDArray[np.int64]
    changed: NDArray[np.bool_] | None
    of: int | None
    fingerprint: str
    notes: tuple[str, ...]

    @property
    def examples(self) -> int:
        """m."""
        return len(self.index)


def draw(
    source: Any, *, examples: int, changed: Any = None, collate: Collate | None = None, seed: int = 0
) -> FixedProbe:
    """Takes ``examples`` of the source's examples for good, by the stream ``probe``.

    Where the source has a length and can be indexed (arrays, a data set, a loader over one), a random part of it is
    drawn; of any other iterable, such as a loader over a stream, the first ones are taken. A loader is never iterated
    where its data set can be indexed, so that its order and workers do not notice.

    Args:
        source: a tuple or dict of arrays or tensors with a row per example, a data set, a DataLoader, or an iterable of
            batches.
        examples: how many at most, at least 2.
        changed: bool ``[n]``, which examples of the source are corrupt; none: not known.
        collate: makes a batch of a list of the data set's items; none: the loader's, or torch's default.
        seed: of the stream.

    Raises:
        SpecError: ``watch-range`` if ``examples`` is below 2.
        DataError: there are fewer than two examples, ``changed`` has another length, or no batch can be made.
    """
    if examples < 2:
        raise SpecError("watch-range", f"probe_examples={examples}; coherence is of at least 2 examples, give more.")
    mask = None if changed is None else _mask(changed)
    rows: NDArray[np.int64]
    notes: list[str] = []
    inner = getattr(source, "dataset", None)
    if inner is not None and _indexable(inner):
        source, collate = inner, collate or getattr(source, "collate_fn", None)
    source = _as_set(source)
    if is_one_set(source):
        of: int | None = (count := batch_size(source))
        rows = _rows(count, examples, seed)
        batches = list(_cut(source, rows))
    elif _indexable(source):
        of = (count := len(source))
        rows = _rows(count, examples, seed)
        batches = list(_collated(source, rows, collate, notes))
    else:
        batches = list(_first(source, examples))
        of, rows = None, np.arange(sum(batch_size(batch) for batch in batches), dtype=np.int64)
        notes.append(f"the probe is the first {len(rows):,} examples of an iterable, not a random part")
    if len(rows) < 2:
        raise DataError(
            "watch-probe-empty",
            f"The probe has {plural(len(rows), 'example')}; give at least two.",
        )
    if mask is None:
        return FixedProbe(tuple(batches), (), rows, None, of, _fingerprint(batches), tuple(notes))
    if (of is not None and len(mask) != of) or len(mask) < len(rows):
        raise DataError(
            "watch-changed-length",
            f"changed has {len(mask):,} entries for {len(rows) if of is None else of:,} examples; "
            "give one for each example of the probe's source, in its order.",
        )
    which = mask[rows]
    for kind, count in (("corrupt", int(which.sum())), ("pristine", int((~which).sum()))):
        if count == 0:
            notes.append(f"no {kind} example is among the {len(rows):,} of the probe")
    return FixedProbe(
        pristine=tuple(_only(batches, ~which)),
        corrupt=tuple(_only(batches, which)),
        index=np.concatenate([rows[~which], rows[which]]),
        changed=np.sort(which),
        of=of,
        fingerprint=_fingerprint(batches),
        notes=tuple(notes),
    )


def _mask(changed: Any) -> NDArray[np.bool_]:
    mask = np.asarray(changed.detach().cpu() if isinstance(changed, Tensor) else changed)
    if mask.ndim != 1 or not (mask.dtype == np.bool_ or np.isin(mask, (0, 1)).all()):
        raise DataError(
            "watch-changed-type",
            f"changed is an array {mask.shape} of {mask.dtype}; give one true or false for each example.",
        )
    return mask.astype(np.bool_)


def _indexable(source: Any) -> bool:
    if isinstance(source, list | tuple | Mapping | Tensor) or not hasattr(source, "__getitem__"):
        return False
    try:
        return len(source) >= 0
    except TypeError:
        return False


def _as_set(source: Any) -> Any:
    """Arrays as tensors, where the source is one set of examples that holds some."""
    if isinstance(source, np.ndarray):
        return torch.as_tensor(source)
    if isinstance(source, Mapping):
        return {key: _as_set(value) for key, value in source.items()}
    if isinstance(source, tuple) and any(isinstance(item, np.ndarray | Tensor) for item in source):
        return tuple(_as_set(item) for item in source)
    return source


def _rows(of: int, examples: int, seed: int) -> NDArray[np.int64]:
    return np.sort(Stream(seed, "probe").permutation(of)[:examples])


def _cut(source: Batch, rows: NDArray[np.int64]) -> Iterator[Batch]:
    for start in range(0, len(rows), CHUNK):
        yield _taken(source, rows[start : start + CHUNK])


def _taken(batch: Batch, rows: NDArray[np.int64]) -> Batch:
    # Indexing by a tensor copies: what is written to the source later does not reach the probe.
    return map_tensors(batch, lambda x: x.detach()[torch.as_tensor(rows, device=x.device)].cpu())


def _collated(source: Any, rows: NDArray[np.int64], collate: Collate | None, notes: list[str]) -> Iterator[Batch]:
    from torch.utils.data import default_collate

    items = [source[int(row)] for row in rows]
    failure: Exception | None = None
    for start in range(0, len(items), CHUNK):
        chunk = items[start : start + CHUNK]
        if failure is None:
            try:
                yield _owned((collate or default_collate)(chunk), len(chunk))
                continue
            except (RuntimeError, TypeError, ValueError, KeyError) as error:
                # Items of different sizes cannot be stacked; each is a batch of its own then.
                failure = error
                notes.append(f"the probe's examples do not stack ({_line(error)}), so that each is a batch of its own")
        try:
            batches = [_owned((collate or default_collate)([item]), 1) for item in chunk]
        except (RuntimeError, TypeError, ValueError, KeyError) as error:
            raise DataError(
                "watch-probe-collate",
                f"No batch can be made of the probe's examples ({type(error).__name__}: {_line(error)}); give "
                "collate=, the function that the DataLoader has as collate_fn.",
            ) from error
        yield from batches


def _owned(batch: Batch, wanted: int) -> Batch:
    batch = map_tensors(_as_set(batch), lambda x: x.detach().cpu().clone())
    if batch_size(batch) != wanted:
        raise DataError(
            "watch-probe-collate",
            f"A batch made of {wanted} examples has {batch_size(batch)} rows; give collate= that keeps one for each.",
        )
    return batch


def _first(source: Any, examples: int) -> Iterator[Batch]:
    left = examples
    for batch in split_batches(source):
        batch = _as_set(batch)
        size = batch_size(batch)
        if size:
            yield _taken(batch, np.arange(min(size, left)))
        left -= size
        if left <= 0:
            return


def _only(batches: list[Batch], wanted: NDArray[np.bool_]) -> Iterator[Batch]:
    start = 0
    for batch in batches:
        size = batch_size(batch)
        rows = np.flatnonzero(wanted[start : start + size])
        start += size
        if len(rows):
            yield _taken(batch, rows)


def _fingerprint(batches: list[Batch]) -> str:
    found = hashlib.sha256()
    for batch in batches:
        for tensor in tensors_of(batch):
            found.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
            found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
