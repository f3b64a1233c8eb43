"""Networks of which some weights are taken away: zero, and zero for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_MASK = "shattering_mask"
"""Attribute of a parameter that is masked: 1 where it is kept, 0 elsewhere, in its own dtype and on its device."""

MASKED = "weights of the network are masked"
"""Why only the plain way makes updates of it."""


def prunable(model: nn.Module) -> tuple[str, ...]:
    """The weights that may be pruned: parameters of two dimensions and more, in order, so the output layer's last."""
    return tuple(name for name, parameter in model.named_parameters() if parameter.dim() > 1)


def mask_weights(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Sets weights to zero where their mask is false; `keep_masked` then keeps them so.

    Args:
        model: changed in place.
        masks: bool, of the shapes of the parameters they are named after.
    """
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, mask in masks.items():
            parameter = parameters[name]
            kept = torch.empty_like(parameter, requires_grad=False).copy_(mask)
            parameter.masked_fill_(kept == 0, 0.0)
            setattr(parameter, _MASK, kept)


def masks_of(model: nn.Module) -> dict[str, Tensor]:
    """The masks that `mask_weights` was given, bool on the CPU; empty where none was."""
    found = {name: getattr(parameter, _MASK, None) for name, parameter in model.named_parameters()}
    return {name: (mask != 0).cpu().contiguous() for name, mask in found.items() if mask is not None}


def is_masked(model: nn.Module) -> bool:
    """Whether any of its weights is masked."""
    return any(hasattr(parameter, _MASK) for parameter in model.parameters())


def remaining(model: nn.Module) -> tuple[int, int]:
    """How many of the weights that may be pruned are left, and of how many; biases and normalisation do not count."""
    masks, parameters = masks_of(model), dict(model.named_parameters())
    sizes = {name: parameters[name].numel() for name in prunable(model)}
    return sum(int(masks[name].sum()) if name in masks else size for name, size in sizes.items()), sum(sizes.values())


def keep_masked(optimizer: torch.optim.Optimizer) -> None:
    """Has an optimizer see gradients that are zero wherever a weight is masked.

    Its moments, momentum and decay of such a weight are then zero at every update, since they begin at zero: the weight
    stays exactly zero. It needs no pass over the weights afterwards.
    """
    masked = [p for group in optimizer.param_groups for p in group["params"] if hasattr(p, _MASK)]
    if not masked:
        return

    def before_step(optimizer: torch.optim.Optimizer, args: Any, keywords: Any) -> None:
        pairs = [(p.grad, getattr(p, _MASK)) for p in masked if p.grad is not None]
        if pairs:
            torch._foreach_mul_([gradient for gradient, _ in pairs], [mask for _, mask in pairs])

    optimizer.register_step_pre_hook(before_step)
