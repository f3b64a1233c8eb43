"""The smallest network with weights shared between positions, for questions that need many trainings on a CPU."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from shattering.models.initialisation import he_normal
from shattering.models.registry import Width, model
from shattering.models.same_padding import halved, image_shape, max_pool_halving


class SmallConvnet(nn.Module):
    """Twice (convolution 3×3, max-pooling, ReLU), a hidden linear layer, a linear layer."""

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int, channels: int, hidden: int) -> None:
        super().__init__()
        inputs, height, width = input_shape
        pixels = halved(halved(height)) * halved(halved(width))
        self.conv1 = nn.Conv2d(inputs, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.linear = nn.Linear(2 * channels * pixels, hidden)
        self.output = nn.Linear(hidden, num_classes)
        he_normal(self, self.output)

    def forward(self, inputs: Tensor) -> Tensor:
        # ReLU and maximum commute, and after pooling there is a quarter of the values to rectify.
        maps = F.relu(max_pool_halving(self.conv1(inputs)))
        maps = F.relu(max_pool_halving(self.conv2(maps)))
        # Pixel by pixel, which is how channels-last images lie in memory: flattening copies nothing.
        logits: Tensor = self.output(F.relu(self.linear(maps.movedim(1, -1).flatten(1))))
        return logits


@model(
    summary="small convolutional network without normalisation: two 3×3 convolutions, two linear layers",
    paper="the project's own, after LeCun et al. (1998)",
)
def small_convnet(
    input_shape: tuple[int, ...], num_classes: int, *, channels: Width = 16, hidden: Width = 128
) -> nn.Module:
    """Two convolutions 3×3 with ReLU and max-pooling, a hidden linear layer, and the outputs.

    Without normalisation and dropout every example's gradient is its own. 206,922 parameters on MNIST; 268,650 on
    CIFAR-10 at 32×32×3.

    Args:
        input_shape: (channels, height, width); a flat shape raises `ModelError`.
        num_classes: number of outputs.
        channels: of the first convolution; the second has twice as many.
        hidden: units of the hidden linear layer.
    """
    return SmallConvnet(image_shape("small_convnet", input_shape), num_classes, channels, hidden)
