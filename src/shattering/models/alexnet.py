"""The small Alexnet of Zhang et al. (2017)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from shattering.models.initialisation import he_normal
from shattering.models.registry import model
from shattering.models.response_norm import LocalResponseNorm
from shattering.models.same_padding import halved, image_shape, max_pool_halving

CHANNELS = 64


class SmallAlexnet(nn.Module):
    """Twice (convolution 5×5, max-pooling, response normalisation), then three linear layers."""

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        channels, height, width = input_shape
        pixels = halved(halved(height)) * halved(halved(width))
        self.conv1 = nn.Conv2d(channels, CHANNELS, 5, padding=2)
        self.norm1 = LocalResponseNorm(CHANNELS)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2)
        self.norm2 = LocalResponseNorm(CHANNELS)
        self.linear1 = nn.Linear(pixels * CHANNELS, 384)
        self.linear2 = nn.Linear(384, 192)
        self.output = nn.Linear(192, num_classes)
        he_normal(self, self.output)

    def forward(self, inputs: Tensor) -> Tensor:
        # ReLU and maximum commute, and after pooling there is a quarter of the values to rectify.
        maps = self.norm1(F.relu(max_pool_halving(self.conv1(inputs))))
        maps = self.norm2(F.relu(max_pool_halving(self.conv2(maps))))
        # Pixel by pixel, which is how channels-last images lie in memory: flattening copies nothing.
        hidden = F.relu(self.linear1(maps.movedim(1, -1).flatten(1)))
        logits: Tensor = self.output(F.relu(self.linear2(hidden)))
        return logits


@model(
    summary="small Alexnet: two 5×5 convolutions with response normalisation, three linear layers",
    paper="Zhang et al. (2017), Appendix A; Krizhevsky et al. (2012)",
)
def alexnet(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """The paper's small Alexnet. 1,387,786 parameters on CIFAR-10 at 28×28×3.

    Convolution 5×5 with 64 channels, ReLU, max-pooling 3×3 with stride 2, local response normalisation over 9 channels
    (bias 1, weight 0.001/9 a square, power 0.75); the same again; linear layers of 384, 192 and ``num_classes`` units.

    Differs from the paper:
        1. The number of channels is not printed there; 64 is the one that gives the printed parameter count.
        2. The constants of the normalisation are not printed; they are those of the TensorFlow tutorial net of the
           time, whose linear layers the paper's net shares.

    Args:
        input_shape: (channels, height, width); a flat shape raises `ModelError`.
        num_classes: number of outputs.
    """
    return SmallAlexnet(image_shape("alexnet", input_shape), num_classes)
