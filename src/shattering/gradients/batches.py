"""What a batch is: a pair (inputs, targets), or anything else that holds tensors with one row per example."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from shattering.core.errors import DataError

Batch: TypeAlias = Any
Batches: TypeAlias = Any
Loss: TypeAlias = Callable[..., Tensor]

_CONSTANTS = (bool, int, float, complex, str, bytes, type(None), torch.device, torch.dtype)


def split_batches(batches: Batches) -> Iterator[Batch]:
    """The batches one by one: a tuple, dict or tensor is one set in memory, any other iterable yields its items.

    A tuple counts as one set if it holds a tensor directly, as in ``(inputs, targets)`` or ``({"ids": ids}, targets)``.

    Raises:
        DataError: ``batches`` is neither, or is a list of bare tensors, which could mean either.
    """
    if is_one_set(batches):
        yield batches
        return
    if isinstance(batches, nn.Module) or not isinstance(batches, Iterable):
        raise DataError(
            "gradients-batches-type",
            f"The examples come as a {type(batches).__name__}; give a tuple (inputs, targets), a dict of tensors, "
            "or an iterable of batches such as a DataLoader.",
        )
    if isinstance(batches, list) and any(isinstance(item, Tensor) for item in batches):
        raise DataError(
            "gradients-batches-ambiguous",
            "The examples come as a list of tensors, which could be one set or several batches; "
            "write one set as a tuple (inputs, targets), several as a list of such tuples.",
        )
    yield from batches


def is_one_set(batches: Batches) -> bool:
    """Whether ``batches`` is one set of examples in memory rather than an iterable of batches."""
    if isinstance(batches, (Tensor, Mapping)):
        return True
    return isinstance(batches, tuple) and any(isinstance(item, Tensor) for item in batches)


def is_pair(batch: Batch) -> bool:
    """Whether the loss is called as ``loss(model(inputs), targets)``: a tuple or list of exactly two."""
    return isinstance(batch, (tuple, list)) and len(batch) == 2


def loss_of(model: Callable[..., Any], loss: Loss, batch: Batch) -> Tensor:
    """The loss of a batch: ``loss(model(inputs), targets)`` for a pair, ``loss(model, batch)`` for anything else."""
    if is_pair(batch):
        return loss(model(batch[0]), batch[1])
    return loss(model, batch)


def tensors_of(batch: Batch) -> list[Tensor]:
    """All tensors that ``batch`` holds, in a fixed order."""
    found: list[Tensor] = []
    map_tensors(batch, lambda tensor: found.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return found


def map_tensors(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The same nest of tuples, lists and dicts with each tensor replaced by ``change(tensor)``.

    Raises:
        DataError: the batch holds something that is neither a tensor, a container nor a constant.
    """
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {key: map_tensors(value, change) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(map_tensors(item, change) for item in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(map_tensors(item, change) for item in batch)
    if isinstance(batch, _CONSTANTS):
        return batch
    raise DataError(
        "gradients-batch-item",
        f"A batch holds a {type(batch).__name__}, which cannot be cut into examples; "
        "give tensors, in tuples, lists or dicts.",
    )


def batch_size(batch: Batch) -> int:
    """The number of examples, the common first dimension of all tensors in ``batch``.

    Raises:
        DataError: there is no tensor, one without a dimension, or first dimensions differ.
    """
    shapes = [tuple(tensor.shape) for tensor in tensors_of(batch)]
    if not shapes:
        raise DataError("gradients-batch-no-tensor", "A batch holds no tensor; its tensors' rows are the examples.")
    if any(len(shape) == 0 for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        raise DataError(
            "gradients-batch-sizes",
            f"The tensors of a batch have the shapes {', '.join(map(str, shapes))}; "
            "their first dimension must be the same number of examples.",
        )
    return shapes[0][0]


def rows_of(batch: Batch, rows: slice) -> Batch:
    """The examples ``rows`` of the batch, without a copy."""
    return map_tensors(batch, lambda tensor: tensor[rows])


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with every tensor on ``device``."""
    return map_tensors(batch, lambda tensor: tensor.to(device, non_blocking=True))
