"""A network of two layers with squared activations on pairs of tokens: the fast form of grokking."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Annotated, Literal

from pydantic import Field as Bound
from torch import Tensor, nn

from shattering.core.spec import Number
from shattering.models.registry import Width, model


class Square(nn.Module):
    """Each value times itself."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * inputs


@model(
    summary="two layers without biases, squared activations; the fast form of grokking on tables",
    paper="Gromov (2023), grokking modular arithmetic; Power et al. (2022) train a transformer on the same tables",
)
def quadratic(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    width: Width = 128,
    activation: Literal["square", "relu"] = "square",
    scale: Annotated[Number, Bound(gt=0)] = 0.35,
) -> nn.Module:
    """Outputs ``W₂ (W₁ x)²``, no biases: of a one-hot pair (a, b), ``W₂ (u_a + v_b)²`` with columns u and v of W₁.

    Args:
        input_shape: any; inputs are flattened.
        num_classes: number of outputs.
        width: hidden units.
        activation: ``square``, or ``relu`` for comparison.
        scale: standard deviation of W₁ at initialisation; that of W₂ is 1 / √width.

    Returns:
        The network, its weights normal.
    """
    hidden = nn.Linear(math.prod(input_shape), width, bias=False)
    output = nn.Linear(width, num_classes, bias=False)
    nn.init.normal_(hidden.weight, std=scale)
    nn.init.normal_(output.weight, std=1 / math.sqrt(width))
    between: nn.Module = Square() if activation == "square" else nn.ReLU()
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), hidden=hidden, activation=between, output=output))
