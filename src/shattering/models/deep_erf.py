"""Deep networks of erf units whose variances at the start are fields: order, chaos, and the line between."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Annotated

import torch
from pydantic import Field as Bound
from torch import nn

from shattering.core.spec import Number
from shattering.models.registry import Width, model

Variance = Annotated[Number, Bound(ge=0)]


class Erf(nn.Module):
    """erf of every unit."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.erf(values)


@model(
    summary="deep perceptron of erf units with chosen variances of weights and biases at the start",
    paper="Xiao, Pennington & Schoenholz (2020); Schoenholz et al. (2017)",
)
def deep_erf(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    depth: Width = 4,
    width: Width = 256,
    weight_variance: Variance = 1.5521,
    bias_variance: Variance = 0.1,
) -> nn.Module:
    """Hidden erf layers of equal width, then a linear layer; weights N(0, σ_w²/fan-in), biases N(0, σ_b²) everywhere.

    With σ_b² = 0.1 the critical σ_w² is 1.5521, the default: below it inputs grow alike with depth, above it apart.

    Args:
        input_shape: (channels, height, width), or (features,).
        num_classes: number of outputs.
        depth: number of hidden layers.
        width: units in each.
        weight_variance: σ_w².
        bias_variance: σ_b².
    """
    inputs = math.prod(input_shape)
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    for number in range(1, depth + 1):
        layers |= {f"hidden{number}": nn.Linear(inputs, width), f"erf{number}": Erf()}
        inputs = width
    network = nn.Sequential(OrderedDict(layers, output=nn.Linear(inputs, num_classes)))
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=math.sqrt(weight_variance / layer.in_features))
            nn.init.normal_(layer.bias, std=math.sqrt(bias_variance))
    return network
