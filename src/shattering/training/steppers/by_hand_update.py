"""The optimizer's update by hand: a layer's weights as soon as their gradient is there, while it is in the cache."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Updates:
    """Makes the updates of torch's own optimizer, to the bit, in its own state.

    Stochastic gradient descent goes layer by layer, by the kernel that the fused optimizer would call for all of them
    at the end; Adam, and a first update, which makes the state, go through the optimizer itself.

    Args:
        optimizer: from `update.build_optimizer`.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.by_layer = False

    def begin(self, rate: float) -> None:
        """Before the gradients of an update, which is made at this learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.by_layer = self._descends() and all(
            group["momentum"] == 0 or self.optimizer.state.get(parameter, {}).get("momentum_buffer") is not None
            for group in self.optimizer.param_groups
            for parameter in group["params"]
        )

    def take(self, parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor]) -> None:
        """A layer's gradients."""
        if not parameters:
            return
        # Fused kernels walk parameter and gradient side by side in memory.
        gradients = [
            gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)
            for parameter, gradient in zip(parameters, gradients, strict=True)
        ]
        if not self.by_layer:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            return
        (group,) = self.optimizer.param_groups
        momentum = group["momentum"]
        torch._fused_sgd_(
            [parameter.detach() for parameter in parameters],
            gradients,
            [self.optimizer.state[parameter]["momentum_buffer"] for parameter in parameters] if momentum else [],
            weight_decay=group["weight_decay"],
            momentum=momentum,
            lr=group["lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            is_first_step=False,
        )

    def end(self) -> None:
        """After the gradients of all layers."""
        if not self.by_layer:
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def _descends(self) -> bool:
        hooks = self.optimizer._optimizer_step_pre_hooks or self.optimizer._optimizer_step_post_hooks
        one = len(self.optimizer.param_groups) == 1
        return type(self.optimizer) is torch.optim.SGD and one and not hooks and hasattr(torch, "_fused_sgd_")
