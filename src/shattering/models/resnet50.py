"""ResNet-50, the common yardstick on ImageNet."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from shattering.models.initialisation import he_normal
from shattering.models.registry import Probability, Width, model
from shattering.models.same_padding import global_mean, image_shape

STAGES = (3, 4, 6, 3)
"""Blocks in each stage."""

EXPANSION = 4
"""A block gives so many times the channels that its 3×3 convolution works on."""


class BottleneckBlock(nn.Module):
    """Convolutions 1×1, 3×3, 1×1, added to the input, which is projected where its shape changes."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        maps = F.relu(self.norm1(self.conv1(inputs)))
        maps = F.relu(self.norm2(self.conv2(maps)))
        return F.relu(self.norm3(self.conv3(maps)) + self.shortcut(inputs))


class ResNet50(nn.Module):
    """A convolution 7×7, four stages of bottleneck blocks, the mean over pixels, dropout, a linear layer."""

    def __init__(self, channels: int, num_classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        blocks: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(STAGES):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(BottleneckBlock(channels, width << stage, stride))
                channels = EXPANSION * (width << stage)
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(channels, num_classes)
        he_normal(self, self.output)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.output(self.dropout(global_mean(self.blocks(self.stem(inputs)))))
        return logits


@model(
    summary="ResNet-50 of any width, for images of 224 pixels",
    paper="He et al. (2016), Deep Residual Learning for Image Recognition, Table 1",
)
def resnet50(
    input_shape: tuple[int, ...], num_classes: int, *, width: Width = 64, dropout: Probability = 0.0
) -> nn.Module:
    """ResNet-50: four stages of 3, 4, 6 and 3 bottleneck blocks on ``width``, 2, 4 and 8 times ``width`` channels.

    Width 64 is the published network, with 25,557,032 parameters for 3 channels and 1000 classes (the count of the
    widely used public implementation, torchvision's).

    Differs from the paper:
        1. A block that halves the map does so in its 3×3 convolution, as public implementations do, and not in the
           first 1×1.

    Args:
        input_shape: (channels, height, width); a flat shape raises `ModelError`.
        num_classes: number of outputs.
        width: channels of the first convolution.
        dropout: probability that a mean is dropped before the last layer; the published network has none.
    """
    channels, _, _ = image_shape("resnet50", input_shape)
    return ResNet50(channels, num_classes, width, dropout)
