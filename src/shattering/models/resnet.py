"""The pre-activation residual network whose width the double-descent papers sweep."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from shattering.models.initialisation import he_normal
from shattering.models.registry import Width, model
from shattering.models.same_padding import global_mean, image_shape

BLOCKS = 2
"""Residual blocks in each of the four stages."""


class PreActivationBlock(nn.Module):
    """Normalise, rectify, convolve, twice; added to the input, which is projected where its shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        changes = stride != 1 or in_channels != out_channels
        self.projection = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False) if changes else None

    def forward(self, inputs: Tensor) -> Tensor:
        active = F.relu(self.norm1(inputs))
        shortcut = inputs if self.projection is None else self.projection(active)
        residual: Tensor = self.conv2(F.relu(self.norm2(self.conv1(active))))
        return residual + shortcut


class PreActivationResNet(nn.Module):
    """A convolution, four stages of residual blocks, the mean over pixels, a linear layer."""

    def __init__(self, in_channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(4):
            for block in range(BLOCKS):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(PreActivationBlock(channels, width << stage, stride))
                channels = width << stage
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(channels)
        self.output = nn.Linear(channels, num_classes)
        he_normal(self, self.output)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = F.relu(self.norm(self.blocks(self.stem(inputs))))
        logits: Tensor = self.output(global_mean(maps))
        return logits


@model(
    summary="pre-activation ResNet-18 of any width, for small images",
    paper="He et al. (2016), Identity Mappings in Deep Residual Networks; Nakkiran et al. (2020), Appendix B",
)
def resnet18(input_shape: tuple[int, ...], num_classes: int, *, width: Width = 64) -> nn.Module:
    """Pre-activation ResNet-18: four stages of two blocks with ``width``, 2, 4 and 8 times ``width`` channels.

    The first convolution is 3×3 with stride 1, for small images; the stages start with strides 1, 2, 2, 2. Width 64 is
    the standard network, with 11,172,170 parameters for 3 channels and 10 classes.

    Differs from the paper:
        1. Whether the double-descent nets normalise and rectify once more before the mean over pixels is not known;
           here they do, as He et al. (2016) have it.

    Args:
        input_shape: (channels, height, width); a flat shape raises `ModelError`.
        num_classes: number of outputs.
        width: channels of the first stage.
    """
    channels, _, _ = image_shape("resnet18", input_shape)
    return PreActivationResNet(channels, num_classes, width)
