"""One update of all networks of a stack: their gradients, one way or the other, and an optimizer for all of them.

The gradients are taken either *vmapped*, by operations that have one dimension more, or *interleaved*, network by
network, which on a GPU go on side by side in streams of their own. Vmapped wins where a network is a few linear layers;
convolutions with weights of their own for every network become grouped ones, which are slow.

No operation mixes values of different slots, so what happens in one slot moves no bit in another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from shattering.core.spec import RunSpec
from shattering.training import objective
from shattering.training.evaluation import precision
from shattering.training.steppers.stacked_state import Stack

Way = Literal["vmapped", "interleaved"]

STREAMS = 16
"""So many networks go on side by side on a GPU, if they are interleaved."""

Gradients = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Inputs ``[slots, b, …]`` and labels ``[slots, b]`` to losses and hits ``[slots]``; gradients go into the stack's."""


def better_way(model: nn.Module) -> Way:
    """How the gradients of such networks are taken: interleaved where a module convolves."""
    convolves = any(isinstance(module, nn.modules.conv._ConvNd) for module in model.modules())
    return "interleaved" if convolves else "vmapped"


def gradients_of(stack: Stack, spec: RunSpec, way: Way) -> Gradients:
    """The function that takes the gradients of all networks of a stack."""
    return _vmapped(stack, spec) if way == "vmapped" else _interleaved(stack, spec)


def _vmapped(stack: Stack, spec: RunSpec) -> Gradients:
    leaves = {name: view.detach().requires_grad_() for name, view in stack.views(stack.values).items()}
    into = stack.views(stack.gradients)

    def call(parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor) -> Tensor:
        outputs: Tensor = functional_call(stack.skeleton, (parameters, buffers), (inputs,))
        return outputs

    def take(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with precision(spec):
            outputs = vmap(call)(leaves, stack.buffers, inputs)
            each = objective.losses(outputs.flatten(0, 1), labels.flatten(), spec.training.loss)
        losses = each.view(labels.shape).mean(dim=1)
        found = torch.autograd.grad(losses.sum(), list(leaves.values()))
        for view, gradient in zip(into.values(), found, strict=True):
            view.copy_(gradient)
        right = objective.predictions(outputs.detach().flatten(0, 1)) == labels.flatten()
        return losses.detach(), right.view(labels.shape).sum(dim=1)

    return take


def _interleaved(stack: Stack, spec: RunSpec) -> Gradients:
    modules = [stack.module(slot) for slot in range(stack.slots)]
    into = stack.views(stack.gradients)
    on_gpu = stack.values.is_cuda
    count = min(STREAMS, stack.slots) if on_gpu else 0
    streams = [torch.cuda.Stream() for _ in range(count)]  # type: ignore[no-untyped-call]

    def one(slot: int, inputs: Tensor, labels: Tensor, losses: Tensor, hits: Tensor) -> None:
        with precision(spec):
            outputs = modules[slot](inputs[slot])
            loss = objective.mean_loss(outputs, labels[slot], spec.training.loss)
        found = torch.autograd.grad(loss, list(modules[slot].parameters()))
        for view, gradient in zip(into.values(), found, strict=True):
            view[slot].copy_(gradient)
        losses[slot].copy_(loss.detach())
        hits[slot].copy_((objective.predictions(outputs.detach()) == labels[slot]).sum())

    def take(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        losses = torch.zeros(stack.slots, dtype=stack.values.dtype, device=labels.device)
        hits = torch.zeros(stack.slots, dtype=torch.int64, device=labels.device)
        if not streams:
            for slot in range(stack.slots):
                one(slot, inputs, labels, losses, hits)
            return losses, hits
        main = torch.cuda.current_stream()
        for stream in streams:
            stream.wait_stream(main)
        for slot in range(stack.slots):
            with torch.cuda.stream(streams[slot % len(streams)]):
                one(slot, inputs, labels, losses, hits)
        for stream in streams:
            main.wait_stream(stream)
        return losses, hits

    return take


@torch.no_grad()
def apply(stack: Stack, optimizer: torch.optim.Optimizer, rates: Tensor, active: Tensor) -> None:
    """What the optimizer does with the stack's gradients, in the slots that are active; the others stay as they are.

    SGD: d = g + λθ, m ← μm + d, θ ← θ - ηm. Adam: Kingma & Ba (2015), Algorithm 1, with g + λθ; AdamW: Loshchilov &
    Hutter (2019), Algorithm 2. As ``torch.optim`` has them.

    Args:
        stack: with gradients.
        optimizer: of a member; its hyperparameters hold for all, but for the learning rate.
        rates: ``[slots]``.
        active: bool ``[slots, 1]``.
    """
    group = optimizer.param_groups[0]
    values, gradient, decay = stack.values, stack.gradients, group["weight_decay"]
    rate = rates[:, None]
    decoupled = isinstance(optimizer, torch.optim.AdamW)
    if decay != 0 and not decoupled:
        gradient = gradient + decay * values
    if isinstance(optimizer, torch.optim.SGD):
        if group["momentum"] != 0:
            momentum = stack.moments["momentum_buffer"]
            gradient = group["momentum"] * momentum + gradient
            momentum.copy_(torch.where(active, gradient, momentum))
        values.copy_(torch.where(active, values - rate * gradient, values))
        return
    assert stack.steps is not None
    (one, two), epsilon = group["betas"], group["eps"]
    mean, square = stack.moments["exp_avg"], stack.moments["exp_avg_sq"]
    stack.steps += active[:, 0]
    # In float64: a power of 0.999 in float32 has lost four digits where the correction is small.
    steps = stack.steps.double()[:, None]
    new_mean = mean + (1 - one) * (gradient - mean)
    new_square = two * square + (1 - two) * gradient * gradient
    first = (1 - one**steps).to(values.dtype)
    second = (1 - two**steps).sqrt().to(values.dtype)
    shrunk = values * (1 - rate * decay) if decoupled and decay != 0 else values
    moved = shrunk - rate / first * (new_mean / (new_square.sqrt() / second + epsilon))
    mean.copy_(torch.where(active, new_mean, mean))
    square.copy_(torch.where(active, new_square, square))
    values.copy_(torch.where(active, moved, values))
