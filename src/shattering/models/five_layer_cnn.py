"""The five-layer convolutional network whose width Nakkiran et al. (2019) sweep."""

from __future__ import annotations

from torch import nn

from shattering.models.initialisation import he_normal
from shattering.models.registry import Width, model
from shattering.models.same_padding import image_shape

POOLS = (1, 2, 2, 8)
"""Side of each stage's max-pooling on images of 32 pixels, which become one."""


@model(
    summary="four 3x3 convolutions of width k, 2k, 4k, 8k and a linear layer",
    paper="Nakkiran et al. (2019), the five-layer CNN",
)
def five_layer_cnn(input_shape: tuple[int, ...], num_classes: int, *, width: Width = 64) -> nn.Module:
    """Convolution, batch normalisation, ReLU and max-pooling, four times over, then a linear layer, all with biases.

    1,558,026 parameters at width 64 on CIFAR-10. The last pooling is over the whole map, whatever the image's size.

    Args:
        input_shape: (channels, height, width).
        num_classes: number of outputs.
        width: channels of the first convolution.
    """
    channels, _, _ = image_shape("five_layer_cnn", input_shape)
    layers: list[nn.Module] = []
    for stage, side in enumerate(POOLS):
        wide = width * 2**stage
        layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU()]
        if stage == len(POOLS) - 1:
            layers.append(nn.AdaptiveMaxPool2d(1))
        elif side > 1:
            layers.append(nn.MaxPool2d(side, ceil_mode=True))
        channels = wide
    output = nn.Linear(channels, num_classes)
    network = nn.Sequential(*layers, nn.Flatten(), output)
    he_normal(network, output)
    return network
