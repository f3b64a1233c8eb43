"""The multi-layer perceptrons of Zhang et al. (2017)."""

from __future__ import annotations

import math

from torch import nn

from shattering.models.initialisation import he_normal
from shattering.models.registry import Probability, Width, model

PAPER = "Zhang et al. (2017), Section 2 and Appendix A"


def perceptron(inputs: int, hidden: tuple[int, ...], num_classes: int, dropout: float) -> nn.Sequential:
    """Linear layers with biases and ReLU between them; dropout after each ReLU where it is above 0."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        inputs = width
    output = nn.Linear(inputs, num_classes)
    network = nn.Sequential(*layers, output)
    he_normal(network, output)
    return network


@model(summary="perceptron with one hidden layer of 512 units", paper=PAPER)
def mlp_1x512(
    input_shape: tuple[int, ...], num_classes: int, *, width: Width = 512, dropout: Probability = 0.0
) -> nn.Module:
    """One hidden ReLU layer: inputs-512-classes, with biases. 1,209,866 parameters on CIFAR-10 at 28×28×3.

    Args:
        input_shape: (channels, height, width), or (features,).
        num_classes: number of outputs.
        width: units in the hidden layer.
        dropout: probability that a hidden unit is dropped in training; the paper uses none.
    """
    return perceptron(math.prod(input_shape), (width,), num_classes, dropout)


@model(summary="perceptron with three hidden layers of 512 units", paper=PAPER)
def mlp_3x512(
    input_shape: tuple[int, ...], num_classes: int, *, width: Width = 512, dropout: Probability = 0.0
) -> nn.Module:
    """Three hidden ReLU layers: inputs-512-512-512-classes, with biases. 1,735,178 parameters on CIFAR-10 at 28×28×3.

    Args:
        input_shape: (channels, height, width), or (features,).
        num_classes: number of outputs.
        width: units in each hidden layer.
        dropout: probability that a hidden unit is dropped in training; the paper uses none.
    """
    return perceptron(math.prod(input_shape), (width, width, width), num_classes, dropout)
