"""RM3: each step by the median of three steps' gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from shattering.core.errors import SpecError
from shattering.gradients.order_statistics import median_of

RECENT = ("gradient_one_step_ago", "gradient_two_steps_ago")
"""Where the two previous gradients are kept in an optimizer's state."""


class RollingMedian:
    """What `rolling_median` returns: ``remove()`` takes the rule off the optimizer and forgets its history."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._raw: dict[Tensor, Tensor] = {}
        self._hooks = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def remove(self) -> None:
        """The optimizer steps by its gradients again, as they are."""
        for hook in self._hooks:
            hook.remove()
        for state in self._optimizer.state.values():
            for key in RECENT:
                state.pop(key, None)

    def _before(self, optimizer: torch.optim.Optimizer, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        if any(value is not None for value in [*args[1:], *kwargs.values()]):
            raise SpecError(
                "rolling-median-closure",
                "The optimizer's step was given a closure, which computes the gradient after the rolling median has "
                "been taken; call backward() first and step() without one.",
            )
        self._raw.clear()
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    raw = parameter.grad.detach().clone()
                    state = optimizer.state.get(parameter, {})
                    # In place: others, such as data-parallel buckets, may hold the gradient's memory.
                    parameter.grad.copy_(median_of([raw, *(state[key] for key in RECENT if key in state)]))
                    self._raw[parameter] = raw

    def _after(self, optimizer: torch.optim.Optimizer, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        # Only now: Adam takes a state that is not empty for its own.
        newest, older = RECENT
        for parameter, raw in self._raw.items():
            state = optimizer.state[parameter]
            if newest in state:
                state[older] = state[newest]
            state[newest] = raw
        self._raw.clear()


def rolling_median(optimizer: torch.optim.Optimizer) -> RollingMedian:
    """Makes each step of ``optimizer`` use the median of the gradient and of those of the two previous steps: RM3.

    Coordinate by coordinate, of the gradients as they came, before momentum and weight decay. The first step has its
    own gradient alone; the second the mean of two. The three were taken at slightly different weights. Source:
    Zielinski, Krishnan & Chatterjee (2020), "Weak and strong gradient directions".

    The two previous gradients live in ``optimizer.state``, so its ``state_dict`` saves and restores them; call this
    once after building the optimizer, before or after loading. A parameter without a gradient is left out of that
    step. Cost: a few passes over the gradients, and three more of them in memory.

    Args:
        optimizer: any of torch's whose step takes no closure. Gradients must have been unscaled before the step.

    Returns:
        A handle; ``remove()`` undoes it.

    Raises:
        SpecError: at a step, that it was given a closure.
    """
    return RollingMedian(optimizer)
