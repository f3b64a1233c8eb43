"""Functions that work entry by entry: biases, position embeddings, layer scales, slopes, gates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from shattering.gradients.capture import Capture
from shattering.gradients.rules.registry import rule

_NAMES = ("add", "sub", "mul", "div", "maximum", "minimum", "pow", "lerp", "addcmul", "where")
_OPERATORS = ("add", "radd", "iadd", "sub", "rsub", "isub", "mul", "rmul", "imul", "truediv", "rtruediv", "pow")


def _functions() -> list[Any]:
    found = [getattr(torch, name) for name in _NAMES]
    found += [getattr(Tensor, name) for name in _NAMES if hasattr(Tensor, name)]
    found += [getattr(Tensor, f"{name}_") for name in _NAMES if hasattr(Tensor, f"{name}_")]
    found += [getattr(Tensor, f"__{name}__") for name in _OPERATORS if hasattr(Tensor, f"__{name}__")]
    unique: list[Any] = []
    for function in found:
        if function not in unique:
            unique.append(function)
    return unique


def _register(function: Any) -> None:
    @rule(function)
    def pointwise(capture: Capture, *args: Any, **kwargs: Any) -> Any:
        """With a copy of the parameter for each example, autograd itself keeps the examples' gradients apart."""
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        dimensions = max(x.dim() for x in given)
        copies: dict[int, Tensor] = {}
        for x in given:
            if capture.is_tracked(x):
                copy = capture.copies(x, dimensions)
                if copy is None:
                    return NotImplemented
                copies[id(x)] = copy
        args = tuple(copies.get(id(x), x) for x in args)
        kwargs = {key: copies.get(id(x), x) for key, x in kwargs.items()}
        return function(*args, **kwargs)


for _function in _functions():
    _register(_function)


@rule(torch.prelu)
def prelu(capture: Capture, input: Tensor, weight: Tensor) -> Any:
    """Rectification with a learnt slope per channel."""
    if weight.numel() > 1 and input.dim() > 2:
        weight = capture.view(weight, lambda w: w.view(-1, *[1] * (input.dim() - 2)))
    slopes = capture.copies(weight, input.dim())
    return NotImplemented if slopes is None else torch.where(input > 0, input, slopes * input)
