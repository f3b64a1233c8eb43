"""The two factors of a linear layer's per-example gradients: what went in, and the loss's gradient of what came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Factors: TypeAlias = dict[nn.Parameter, tuple[Tensor | None, Tensor]]

AGREEMENT = 1e-3
"""Largest difference, over the largest entry, between autograd's gradient and the product of the factors."""


class LinearFactors:
    """Catches the factors of the layers whose gradient is their product, during one forward and backward pass.

    A layer counts if it is an `nn.Linear`, is called once, with one row per example, and nothing else uses its
    parameters; the last is not assumed, but seen from autograd's gradient, see `confirm`.

    Args:
        model: the network.
        examples: b, the number of rows.
    """

    def __init__(self, model: nn.Module, examples: int) -> None:
        owners = Counter(id(p) for module in model.modules() for p in module._parameters.values() if p is not None)
        self._examples = examples
        self._layers = [
            module
            for module in model.modules()
            if type(module) is nn.Linear
            and isinstance(module._parameters.get("weight"), nn.Parameter)
            and all(owners[id(parameter)] == 1 for parameter in module.parameters())
        ]
        self._calls: Counter[nn.Module] = Counter()
        self._inputs: dict[nn.Module, tuple[Tensor, int]] = {}
        self._deltas: dict[nn.Module, Tensor] = {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> LinearFactors:
        self._hooks = [layer.register_forward_hook(self._called) for layer in self._layers]
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _called(self, layer: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        if not output.requires_grad:
            return
        self._calls[layer] += 1
        if given and given[0].shape[:-1] == (self._examples,):
            self._inputs[layer] = given[0].detach(), given[0]._version
            # A tensor's hook gets the gradient of what the tensor is now, even if it is changed in place later.
            output.register_hook(lambda gradient: self._deltas.__setitem__(layer, gradient))

    def confirm(self, gradients: Mapping[nn.Parameter, Tensor]) -> Factors:
        """The factors of the parameters whose gradient is their product.

        Args:
            gradients: autograd's, of the same backward pass.

        Returns:
            For a weight its inputs ``[b, in]`` and deltas ``[b, out]``; for a bias none and the deltas.
        """
        confirmed: Factors = {}
        for layer, delta in self._deltas.items():
            inputs, version = self._inputs[layer]
            if self._calls[layer] != 1 or inputs._version != version:
                continue
            for name, factors in (("weight", (inputs, delta)), ("bias", (None, delta))):
                parameter = layer._parameters[name]
                product = delta.sum(dim=0) if name == "bias" else delta.t() @ inputs
                if parameter is not None and parameter in gradients and _agree(gradients[parameter], product):
                    confirmed[parameter] = factors
        return confirmed


def _agree(wanted: Tensor, found: Tensor) -> bool:
    return bool((wanted - found).abs().max() <= AGREEMENT * found.abs().max())
