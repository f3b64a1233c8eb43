"""A perceptron of any depth and width, as Chatterjee (2020) and Chatterjee & Zielinski (2022) train them on MNIST."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Literal

from torch import nn

from shattering.models.initialisation import he_normal, xavier_uniform
from shattering.models.registry import Probability, Width, model


@model(
    summary="perceptron of any depth and width; by default one hidden layer of 2048 units",
    paper="Chatterjee (2020), the experiments on MNIST; Chatterjee & Zielinski (2022)",
)
def mlp(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    depth: Width = 1,
    width: Width = 2048,
    initialisation: Literal["he", "xavier"] = "xavier",
    dropout: Probability = 0.0,
) -> nn.Module:
    """Hidden ReLU layers of equal width, then a linear layer, all with biases.

    The papers' two networks are the default (784-2048-10, 1,628,170 parameters on MNIST) and ``depth=3, width=256``
    (335,114 parameters).

    Args:
        input_shape: (channels, height, width), or (features,).
        num_classes: number of outputs.
        depth: number of hidden layers.
        width: units in each.
        initialisation: ``xavier``, as in the papers, by Glorot & Bengio (2010), the output layer included; ``he``: by
            He et al. (2015), the output layer near zero, as the project's other networks.
        dropout: probability that a hidden unit is dropped in training; the papers use none.
    """
    inputs = math.prod(input_shape)
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    for number in range(1, depth + 1):
        layers |= {f"hidden{number}": nn.Linear(inputs, width), f"relu{number}": nn.ReLU()}
        if dropout > 0:
            layers[f"dropout{number}"] = nn.Dropout(dropout)
        inputs = width
    output = nn.Linear(inputs, num_classes)
    network = nn.Sequential(OrderedDict(layers, output=output))
    if initialisation == "xavier":
        xavier_uniform(network)
    else:
        he_normal(network, output)
    return network
