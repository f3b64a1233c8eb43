"""One example at a time: slow, obvious, right for any network; what everything faster is compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shattering.core.errors import DataError
from shattering.gradients.batches import Batches, Loss, batch_size, rows_of, split_batches, to_device
from shattering.gradients.measured import device_of, loss_alone, measured, trainable
from shattering.gradients.sums import GradientSums


def looped_sums(model: nn.Module, batches: Batches, loss: Loss) -> GradientSums:
    """Σgᵢ and Σ‖gᵢ‖² by definition: gᵢ is the gradient of the loss of a batch that holds example i alone.

    Dropout is off and batch normalisation uses its running statistics; the model is left as it was. A forward and a
    backward for every example, and the memory of one.

    Args:
        model: any network, in the arithmetic of its parameters; sums are in float64.
        batches: a tuple or dict of tensors with a row per example, or an iterable of batches.
        loss: of (outputs, targets) where a batch is a pair, else of (model, batch).

    Raises:
        DataError: ``gradients-no-examples`` if there is no example; a batch has no rows.
        ModelError: no parameter requires a gradient, or the loss of an example is not one number.
    """
    parameters = trainable(model)
    total = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in parameters.items()}
    squared = dict.fromkeys(parameters, 0.0)
    squared_norms: list[float] = []
    losses: list[float] = []
    with measured(model):
        for batch in split_batches(batches):
            for i in range(batch_size(batch)):
                example = to_device(rows_of(batch, slice(i, i + 1)), device_of(parameters))
                value = loss_alone(model, loss, example)
                squares = 0.0
                for name, gradient in gradients_of(value, parameters).items():
                    total[name] += gradient
                    square = float(gradient.double().square().sum())
                    squared[name] += square
                    squares += square
                squared_norms.append(squares)
                losses.append(float(value.detach()))
    if not losses:
        raise DataError("gradients-no-examples", "There are no examples to take gradients of; give at least one.")
    return GradientSums(
        examples=len(losses),
        total=total,
        squared=squared,
        squared_norms=torch.tensor(squared_norms, dtype=torch.float64),
        losses=torch.tensor(losses, dtype=torch.float64),
        roundoff=max(torch.finfo(value.dtype).eps for value in parameters.values()),
    )


def gradients_of(value: Tensor, parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """The gradient of a scalar by every parameter, dense, zero where it does not depend on it."""
    if not value.requires_grad:
        return {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient.to_dense().detach()
        for (name, parameter), gradient in zip(parameters.items(), found, strict=True)
    }
