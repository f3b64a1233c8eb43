"""A linear model."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Literal

from torch import Tensor, nn

from shattering.core.errors import ModelError
from shattering.core.spec import Truth
from shattering.models.initialisation import xavier_uniform
from shattering.models.registry import Width, model


class FirstFeatures(nn.Module):
    """Passes on the first so many features of each example."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs[:, : self.features]


@model(
    summary="linear model; with one output and weights from zero, the illustrative example of coherence",
    paper="Chatterjee & Zielinski (2022), the illustrative example",
)
def linear(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    outputs: Literal["classes", "one"] = "classes",
    bias: Truth = True,
    initialisation: Literal["xavier", "zeros"] = "xavier",
    features: Width | None = None,
) -> nn.Module:
    """Outputs W·x + b.

    Args:
        input_shape: any; inputs are flattened.
        num_classes: number of outputs, unless there is one.
        outputs: ``one``: a single output, whose sign tells the class of two; for the squared loss.
        bias: whether there is b, which begins at zero.
        initialisation: of W: ``xavier`` by Glorot & Bengio (2010), or ``zeros``.
        features: the model sees the first so many features of an example; none: all. More than there are raise
            `ModelError`.

    Returns:
        The network; with six features, one output and no bias it is the paper's: six weights.
    """
    inputs = math.prod(input_shape)
    if features is not None and features > inputs:
        raise ModelError(
            "linear-features",
            f"The linear model cannot see features={features} of {inputs}; give model.fields.features up to {inputs}.",
        )
    first = {} if features is None else {"first": FirstFeatures(features)}
    layer = nn.Linear(features or inputs, 1 if outputs == "one" else num_classes, bias=bool(bias))
    network = nn.Sequential(OrderedDict(flatten=nn.Flatten(), **first, output=layer))
    xavier_uniform(network)
    if initialisation == "zeros":
        nn.init.zeros_(layer.weight)
    return network
