"""Whether a loss is the mean or the sum over the examples: found out, never assumed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from shattering.core.errors import DataError
from shattering.gradients.batches import Batch, Loss, batch_size, is_pair, loss_of, rows_of

PAIRS = 8
"""A mean with class weights is the mean of two examples of one class; of so many pairs, some are of two."""


def mean_loss(model: nn.Module, loss: Loss, batch: Batch) -> Tensor:
    """The mean of the examples' losses, with its graph, whether ``loss`` gives one each, their mean or their sum.

    Which of the two a single number is, is seen from the losses of eight pairs of examples, together and apart; where
    no pair has any loss, it is taken for the mean. One number per example spares these two dozen small evaluations.

    Raises:
        DataError: the batch is empty, or the loss is neither, such as a mean with class weights.
    """
    examples = batch_size(batch)
    if examples == 0:
        raise DataError("gradients-batch-empty", "The batch has no examples; leave empty batches out.")
    outputs: list[object] = []

    def watched(*given: object) -> Tensor:
        outputs.append(given[0])
        return loss(*given)

    value = loss_of(model, watched, batch)
    if value.ndim > 0:
        if value.numel() != examples:
            raise _neither(f"has the shape {list(value.shape)} for {examples} examples")
        return value.mean()
    if examples == 1:
        return value
    known = outputs[0] if is_pair(batch) and isinstance(outputs[0], Tensor) else None

    def alone(rows: slice) -> float:
        if known is not None:
            return float(loss(known[rows], rows_of(batch[1], rows)))
        return float(loss_of(model, loss, rows_of(batch, rows)))

    with torch.no_grad(), _evaluating(model):
        summed = _sums(alone, examples)
    return value / examples if summed else value


def _sums(alone: Callable[[slice], float], examples: int) -> bool:
    verdicts = set()
    for first in range(0, min(examples - 1, 2 * PAIRS), 2):
        apart = alone(slice(first, first + 1)) + alone(slice(first + 1, first + 2))
        together = alone(slice(first, first + 2))
        mean, total = (math.isclose(together, value, rel_tol=1e-3) for value in (apart / 2, apart))
        if mean != total:
            verdicts.add(total)
        elif apart != 0 and math.isfinite(apart) and math.isfinite(together):
            raise _neither(f"of two examples is {together:.6g}, of each alone {apart:.6g} in sum")
    if len(verdicts) == 2:
        raise _neither("is the mean of some examples and the sum of others")
    return True in verdicts


def _neither(what: str) -> DataError:
    return DataError(
        "gradients-loss-reduction",
        f"The loss {what}, so it is neither a number per example nor their mean or sum; make it return one number per "
        'example, as with reduction="none".',
    )


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, in which the loss of an example does not depend on a draw; each module's mode is restored."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
