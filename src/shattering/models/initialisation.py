"""How weights start.

Zhang et al. (2017) do not say how theirs do. The choice made here, for every network alike: He et al. (2015) for what a
ReLU follows, which keeps the scale of activations with and without batch normalisation, and an output layer so small
that every class begins equally likely. Output weights of the usual scale made the small Alexnet's first updates
overshoot (training loss 4 at step 0, 20 at step 3), and some of its trainings on noise images never recovered.
"""

from __future__ import annotations

import math

from torch import nn


def he_normal(network: nn.Module, output: nn.Linear | None = None) -> None:
    """Draws every convolution and linear layer afresh: weights N(0, 2 / fan-in), biases zero.

    He, Zhang, Ren & Sun (2015), "Delving deep into rectifiers", Equation 10. The numbers come from torch's global
    generator, in the order of ``network.modules()``.

    Args:
        network: changed in place.
        output: its last layer, which no ReLU follows: N(0, 1 / fan-in²), outputs near zero.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            nn.init.normal_(layer.weight, std=1 / fan_in if layer is output else math.sqrt(2 / fan_in))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def xavier_uniform(network: nn.Module) -> None:
    """Draws every convolution and linear layer afresh: weights U(-a, a), a = √(6 / (fan-in + fan-out)), biases zero.

    Glorot & Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks", Equation 16.
    The output layer is drawn like the others, so a network does not begin indifferent between the classes. The numbers
    come from torch's global generator, in the order of ``network.modules()``.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
