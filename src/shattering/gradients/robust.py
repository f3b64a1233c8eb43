"""Steps that a few examples cannot steer: the mean of the examples' gradients replaced by a robust one.

Use in anybody's loop, with any optimizer of torch:

    optimizer.zero_grad()
    mean_loss = backward_winsorized(model, loss, (inputs, labels), percent=2.0)
    optimizer.step()

or ``rolling_median(optimizer)``, once, and the loop as it was.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from shattering.core.errors import ModelError, SpecError
from shattering.gradients.batches import Batch, Loss, batch_size, rows_of
from shattering.gradients.linear_factors import LinearFactors
from shattering.gradients.measured import loss_alone, trainable
from shattering.gradients.order_statistics import (
    median_moves,
    median_of,
    moved,
    winsorized_sum,
    winsorized_sum_of_products,
)
from shattering.gradients.reduction import mean_loss
from shattering.gradients.rolling_median import RollingMedian, rolling_median

__all__ = [
    "RollingMedian",
    "backward_median",
    "backward_median_of_means",
    "backward_winsorized",
    "refuse_dependent_examples",
    "rolling_median",
]


def backward_winsorized(
    model: nn.Module, loss: Loss, batch: Batch, percent: float = 2.0, *, max_memory: int = 2**28
) -> Tensor:
    """Adds the winsorized mean of the examples' gradients to ``.grad``, where ``backward`` would add their mean.

    For each coordinate the gradients g_1 … g_b of the batch's examples are clipped to [l, u], then averaged; l is the
    (k+1)-th smallest and u the (k+1)-th largest of them, k = ⌊c·b/100⌋. So c = 0 is SGD, to the bit; with b = 100,
    c = 2 moves the 2 most extreme values at each end; c → 50 is the median. A batch of fewer than 100/c examples is
    averaged. The step need not be one of descent. Source: Chatterjee, "Coherent Gradients" (ICLR 2020).

    Cost: for the network of that paper's experiment (3 hidden layers of 256, batch 100, one CPU thread) 16 to 22 plain
    steps, whatever c is. Layers other than linear ones take a forward and a backward pass for each example: about 4
    plain steps for a small Alexnet on a CPU, many more on a GPU. Memory: the batch's activations, a gradient, and
    ``max_memory``; gradients of single examples are never held together, save those of one such layer's parameter.

    Args:
        model: its rows must not depend on each other. Linear layers that map one row per example take the fast way.
        loss: of the model's outputs and targets where ``batch`` is a pair, else of model and batch; one number per
            example, or their mean or sum.
        batch: a pair (inputs, targets), or anything else that holds tensors with a row per example.
        percent: c, 0 ≤ c < 50.
        max_memory: bytes for gradients of single examples of layers that are not linear.

    Returns:
        The batch's mean loss, detached.

    Raises:
        SpecError: ``percent`` is out of range.
        ModelError: batch normalisation is in training mode, where an example has no gradient of its own; or the
            arithmetic is in half precision, whose gradients have too few distinct values to be ranked.
        DataError: the batch has no examples, or the loss is neither a mean nor a sum over them.
    """
    if not 0 <= percent < 50:
        raise SpecError("robust-percent", f"percent={percent} must be at least 0 and below 50; 50 is the median's.")
    return _backward(model, loss, batch, moved(percent, batch_size(batch)), max_memory)


def backward_median(model: nn.Module, loss: Loss, batch: Batch, *, max_memory: int = 2**28) -> Tensor:
    """Adds the coordinate-wise median of the examples' gradients to ``.grad`` (b even: the mean of the middle two).

    The limit c → 50 of `backward_winsorized`, with the same arguments, memory and errors. What fewer than half of the
    examples want of a coordinate is ignored, so its steps are small. Cost: 11 to 13 plain steps in the case given
    there.

    Returns:
        The batch's mean loss, detached.
    """
    return _backward(model, loss, batch, median_moves(batch_size(batch)), max_memory)


def backward_median_of_means(model: nn.Module, loss: Loss, batch: Batch, groups: int = 3) -> Tensor:
    """Adds the coordinate-wise median of the mean gradients of parts of the batch to ``.grad``: M3 with three parts.

    The batch is cut into ``groups`` consecutive parts whose sizes differ by one at most; each has a mean gradient. Of
    an even number of parts, the middle two's mean. A batch of fewer examples than groups has as many parts as
    examples, so that of two examples the mean is taken. Equal parts give SGD. Source: Zielinski, Krishnan & Chatterjee
    (2020), "Weak and strong gradient directions".

    Cost: one forward and backward pass over the batch in parts, which is about two plain steps, and the memory of
    ``groups`` gradients. Batch normalisation in training mode normalises each part by itself.

    Args:
        model: any.
        loss: as in `backward_winsorized`.
        batch: as in `backward_winsorized`.
        groups: at least 1, which is SGD.

    Returns:
        The batch's mean loss, detached.

    Raises:
        SpecError: ``groups`` is below 1.
        DataError: as in `backward_winsorized`.
    """
    if groups < 1:
        raise SpecError("robust-groups", f"groups={groups} must be at least 1; M3 has 3.")
    examples = batch_size(batch)
    parameters = list(trainable(model).values())
    gradients: list[tuple[Tensor | None, ...]] = []
    total = torch.zeros(())
    for rows in _parts(examples, groups):
        mean = mean_loss(model, loss, rows_of(batch, rows))
        gradients.append(torch.autograd.grad(mean, parameters, allow_unused=True))
        total = total.to(mean) + mean.detach() * ((rows.stop - rows.start) / examples)
    for parameter, parts in zip(parameters, zip(*gradients, strict=True), strict=True):
        if any(part is not None for part in parts):
            _add(parameter, median_of([torch.zeros_like(parameter) if part is None else part for part in parts]))
    return total


def refuse_dependent_examples(model: nn.Module) -> None:
    """Raises `ModelError` where a gradient of a single example is not defined or not precise enough to be ranked."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None):
            raise ModelError(
                "robust-batch-norm",
                f"The batch normalisation {name!r} is in training mode, where every example's gradient depends on the "
                "whole batch; build the network without it, put it into evaluation mode, or use the median of means "
                "or the rolling median.",
            )
    parameters = list(model.parameters())
    half = any(parameter.dtype in (torch.float16, torch.bfloat16) for parameter in parameters)
    if half or any(torch.is_autocast_enabled(parameter.device.type) for parameter in parameters[:1]):
        raise ModelError(
            "robust-half-precision",
            "Gradients of single examples are to be ranked, but the arithmetic is in half precision, where many are "
            "equal or zero; use float32 and no autocast, or the median of means or the rolling median.",
        )


def _backward(model: nn.Module, loss: Loss, batch: Batch, k: int, max_memory: int) -> Tensor:
    refuse_dependent_examples(model)
    parameters = list(trainable(model).values())
    before = _generators(parameters)
    with LinearFactors(model, batch_size(batch)) as factors:
        mean = mean_loss(model, loss, batch)
        means = torch.autograd.grad(mean, parameters, allow_unused=True)
    gradients = {p: gradient for p, gradient in zip(parameters, means, strict=True) if gradient is not None}
    value = mean.detach()
    if k > 0:
        products = factors.confirm(gradients)
        drawn = any(not torch.equal(old, new) for old, new in zip(before, _generators(parameters), strict=True))
        if drawn and len(products) < len(gradients):
            products = {}  # what is left takes forward passes of its own, and all gradients are to be of one draw
        for parameter, (inputs, deltas) in products.items():
            gradients[parameter] = (
                winsorized_sum(deltas, k) if inputs is None else winsorized_sum_of_products(deltas, inputs, k)
            )
        rest = [parameter for parameter in gradients if parameter not in products]
        if rest:
            found, losses = _one_by_one(model, loss, batch, rest, k, max_memory)
            gradients |= found
            value = losses if drawn else value
    for parameter, gradient in gradients.items():
        _add(parameter, gradient)
    return value


def _one_by_one(
    model: nn.Module, loss: Loss, batch: Batch, parameters: list[nn.Parameter], k: int, max_memory: int
) -> tuple[dict[nn.Parameter, Tensor], Tensor]:
    """Winsorized means from a forward and backward pass for each example, as often as the memory demands."""
    examples = batch_size(batch)
    found: dict[nn.Parameter, Tensor] = {}
    devices = sorted({parameter.device.index or 0 for parameter in parameters if parameter.device.type == "cuda"})
    total = torch.zeros((), device=parameters[0].device)
    for block in _blocks(parameters, max_memory // examples):
        last = len(found) + len(block) == len(parameters)
        rows = [parameter.new_zeros(examples, *parameter.shape) for parameter in block]
        total = torch.zeros_like(total)
        # Every pass but the last begins where that one will, so that all make the same draws.
        with torch.random.fork_rng(devices=devices, enabled=not last):
            for i in range(examples):
                value = loss_alone(model, loss, rows_of(batch, slice(i, i + 1)))
                total = total + value.detach()
                if value.requires_grad:
                    for row, gradient in zip(rows, torch.autograd.grad(value, block, allow_unused=True), strict=True):
                        if gradient is not None:
                            row[i] = gradient
        for parameter, gradients in zip(block, rows, strict=True):
            found[parameter] = winsorized_sum(gradients, k) / examples
    return found, total / examples


def _blocks(parameters: list[nn.Parameter], limit: int) -> Iterator[list[nn.Parameter]]:
    """Cuts the list where a block would take more bytes than ``limit``; a parameter that does so alone stays whole."""
    block: list[nn.Parameter] = []
    for parameter in parameters:
        if block and sum(p.numel() * p.element_size() for p in [*block, parameter]) > limit:
            yield block
            block = []
        block.append(parameter)
    yield block


def _parts(examples: int, groups: int) -> Iterator[slice]:
    count = max(1, min(examples, groups))
    for part in range(count):
        yield slice(part * examples // count, (part + 1) * examples // count)


def _generators(parameters: list[nn.Parameter]) -> list[Tensor]:
    """The states of the generators that a forward pass may draw from."""
    devices = {parameter.device for parameter in parameters if parameter.device.type == "cuda"}
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]


def _add(parameter: nn.Parameter, gradient: Tensor) -> None:
    if parameter.grad is not None:
        parameter.grad += gradient
        return
    if gradient.stride() != parameter.stride():  # fused optimizers walk both side by side in memory
        gradient = torch.empty_like(parameter).copy_(gradient)
    parameter.grad = gradient.detach()
