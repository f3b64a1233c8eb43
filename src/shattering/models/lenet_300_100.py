"""The fully connected network of the lottery ticket hypothesis."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from shattering.models.registry import Width, model


class MeanPool(nn.Module):
    """Means over squares of pixels; several times as fast on a CPU as ``nn.AvgPool2d`` on images of one channel.

    Args:
        side: of a square, pixels; rows and columns beyond the last whole square are left out.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """``[b, c, h, w]`` to ``[b, c, h // side, w // side]``."""
        side = self.side
        height, width = images.shape[2] // side, images.shape[3] // side
        whole = images[:, :, : height * side, : width * side]
        rows = sum(whole[:, :, place::side] for place in range(side))
        assert isinstance(rows, Tensor)
        return torch.stack([rows[..., place::side] for place in range(side)]).sum(0) / side**2


@model(
    summary="perceptron with hidden layers of 300 and 100 units",
    paper="Frankle & Carbin (2019), Section 2; LeCun et al. (1998)",
)
def lenet_300_100(
    input_shape: tuple[int, ...], num_classes: int, *, first: Width = 300, second: Width = 100, pool: Width = 1
) -> nn.Module:
    """Two hidden ReLU layers: inputs-300-100-classes, with biases. 266,610 parameters on MNIST, 266,200 weights.

    Weights are Glorot-normal: N(0, 2 / (fan-in + fan-out)), by Glorot & Bengio (2010); biases begin at zero.

    Args:
        input_shape: (channels, height, width), or (features,).
        num_classes: number of outputs.
        first: units of the first hidden layer.
        second: units of the second.
        pool: side of the squares of pixels that are averaged before the first layer; 1: none are.
    """
    if len(input_shape) == 3:
        channels, height, width = input_shape
        inputs = channels * (height // pool) * (width // pool)
    else:
        inputs, pool = math.prod(input_shape), 1
    layers: dict[str, nn.Module] = {"pool": MeanPool(pool)} if pool > 1 else {}
    layers |= {"flatten": nn.Flatten(), "hidden1": nn.Linear(inputs, first), "relu1": nn.ReLU()}
    layers |= {"hidden2": nn.Linear(first, second), "relu2": nn.ReLU(), "output": nn.Linear(second, num_classes)}
    network = nn.Sequential(OrderedDict(layers))
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return network
