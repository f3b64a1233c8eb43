"""Inner products between the gradients of a few hundred examples, and what they say about classes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from shattering.core.errors import DataError
from shattering.gradients.alignment import Alignment
from shattering.gradients.batches import Batch, Batches, Loss, batch_size, rows_of, split_batches
from shattering.gradients.measured import trainable
from shattering.gradients.per_example import MEMORY, per_example_gradients

IN_FLOAT64 = 2**18
"""Entries of gradients that are in float64 at any time."""


def gram(model: nn.Module, batches: Batches, loss: Loss, *, max_memory: int = MEMORY) -> Tensor:
    """⟨gᵢ, gⱼ⟩ for all pairs of examples.

    Gradients are held a block at a time, half of ``max_memory``, and met by all later ones: where they do not all fit,
    they are computed again for every block, so the time grows with the square of the number of blocks.

    Args:
        model: any network.
        batches: a tuple or dict of tensors with a row per example, or an iterable of batches, which is read once and
            whose examples are kept.
        loss: of (outputs, targets) where a batch is a pair, else of (model, batch).
        max_memory: bytes for gradients and activations, beside the examples and the m² products.

    Returns:
        float64 ``[m, m]`` where the parameters are, symmetric and positive semidefinite up to rounding; products of
        gradients in the parameters' type, summed in float64.

    Raises:
        DataError: ``gradients-no-examples`` if there is no example; a batch has no rows.
        ModelError: no parameter requires a gradient, or the loss of an example is not one number.
    """
    parameters = {name: parameter.detach() for name, parameter in trainable(model).items()}
    size = sum(parameter.numel() * parameter.element_size() for parameter in parameters.values())
    kept = [batch for batch in split_batches(batches) if batch_size(batch)]
    m = sum(batch_size(batch) for batch in kept)
    if m == 0:
        raise DataError("gradients-no-examples", "There are no examples to take gradients of; give at least one.")
    held = max(1, max_memory // 2 // size)
    products = next(iter(parameters.values())).new_zeros((m, m), dtype=torch.float64)
    for start in range(0, m, held):
        stop = min(start + held, m)
        block = {name: value.new_empty((stop - start, *value.shape)) for name, value in parameters.items()}
        row = 0
        for chunk in _gradients(model, kept, slice(start, stop), loss, max_memory // 2):
            for name, value in chunk.items():
                block[name][row : row + len(value)] = value
            row += len(value)
        products[start:stop, start:stop] = _products(block, block)
        column = stop
        for chunk in _gradients(model, kept, slice(stop, m), loss, max_memory // 2):
            met = _products(block, chunk)
            products[start:stop, column : column + met.shape[1]] = met
            products[column : column + met.shape[1], start:stop] = met.t()
            column += met.shape[1]
    return products


def cosines(gram: Tensor) -> Tensor:
    """cos(gᵢ, gⱼ) in [−1, 1], ``[m, m]`` with ones on the diagonal; NaN in the rows and columns of zero gradients."""
    lengths = gram.diagonal().clamp(min=0).sqrt()
    cosines = (gram / lengths / lengths[:, None]).clamp(-1, 1)
    cosines.fill_diagonal_(1)
    zero = lengths == 0
    cosines[zero] = torch.nan
    cosines[:, zero] = torch.nan
    return cosines


def class_blocks(gram: Tensor, labels: Tensor) -> Tensor:
    """How well the gradients of one class agree with those of another: mean cosines, class by class.

    The mean is over the pairs (i, j) of different examples, i of the row's class and j of the column's; an example's
    cosine with itself, always 1, is left out, and so are examples whose gradient is zero, which have no direction.

    Args:
        gram: ⟨gᵢ, gⱼ⟩, ``[m, m]``.
        labels: the class of each example, whole numbers from 0, ``[m]``.

    Returns:
        ``[classes, classes]``, symmetric, in [−1, 1]; NaN where there is no pair, as within a class of one example.
    """
    cosine = cosines(gram).fill_diagonal_(torch.nan)
    member = torch.nn.functional.one_hot(labels.to(gram.device).long()).double()
    defined = cosine.isfinite()
    summed = member.t() @ cosine.where(defined, torch.zeros_like(cosine)) @ member
    return summed / (member.t() @ defined.double() @ member)


def gram_alignment(gram: Tensor, *, roundoff: float) -> Alignment:
    """The same `Alignment` as from the sums: ‖Σgᵢ‖² is the sum of all products, Σ‖gᵢ‖² the trace.

    Args:
        gram: ⟨gᵢ, gⱼ⟩, ``[m, m]``.
        roundoff: machine epsilon of the arithmetic that the gradients were computed in.
    """
    return Alignment(
        examples=len(gram),
        squared_norm_of_sum=max(float(gram.sum()), 0.0),
        sum_of_squared_norms=float(gram.trace()),
        roundoff=roundoff,
    )


def _gradients(
    model: nn.Module, kept: list[Batch], rows: slice, loss: Loss, max_memory: int
) -> Iterator[dict[str, Tensor]]:
    """Gradients of the examples ``rows``, counted over all batches."""
    first = 0
    for batch in kept:
        start, stop = max(rows.start - first, 0), min(rows.stop - first, batch_size(batch))
        if start < stop:
            yield from per_example_gradients(model, rows_of(batch, slice(start, stop)), loss, max_memory=max_memory)
        first += batch_size(batch)


def _products(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> Tensor:
    total: Tensor | float = 0.0
    for name, value in ours.items():
        left, right = value.reshape(len(value), -1), theirs[name].reshape(len(theirs[name]), -1)
        # A part of the columns at a time: what is in float64 stays within a few megabytes.
        width = max(1, IN_FLOAT64 // max(len(left), len(right)))
        for mine, yours in zip(torch.split(left, width, 1), torch.split(right, width, 1), strict=True):
            total = mine.double() @ yours.double().t() + total
    assert isinstance(total, Tensor)
    return total
