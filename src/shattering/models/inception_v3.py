"""Inception V3, which Zhang et al. (2017) train on ImageNet."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field as Bound
from torch import Tensor, nn
from torch.nn import functional as F

from shattering.core.errors import ModelError
from shattering.core.spec import Number, Truth
from shattering.models.auxiliary import WithAuxiliary
from shattering.models.initialisation import he_normal
from shattering.models.registry import Probability, model
from shattering.models.same_padding import global_mean, image_shape

LEAST_SIDE = 75
"""Below it a map on the way is smaller than the window that slides over it."""

AUXILIARY_WEIGHT = 0.4
"""Of the auxiliary classifier's loss."""

AUXILIARY_MAP = 17
"""Side of the map that the auxiliary classifier takes, for images of 299 pixels."""

Share = Annotated[Number, Bound(gt=0, le=1)]
"""A fraction of the published number of channels."""


class ConvModule(nn.Sequential):
    """Convolution without a bias, batch normalisation, ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int | tuple[int, int], stride: int = 1, *, same: bool = True
    ) -> None:
        tall, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (tall // 2, wide // 2) if same else (0, 0)
        super().__init__(
            nn.Conv2d(in_channels, out_channels, (tall, wide), stride=stride, padding=padding, bias=False),
            nn.BatchNorm2d(out_channels, eps=0.001),
            nn.ReLU(),
        )
        self.out_channels = out_channels


class Branches(nn.Module):
    """Modules side by side, their channels concatenated."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([branch(inputs) for branch in self.branches], dim=1)


class Builder:
    """Puts branches together while it keeps count of the channels.

    Args:
        channels: of the input.
        width: fraction of the published number of channels.
    """

    def __init__(self, channels: int, width: float) -> None:
        self.channels, self.width = channels, width

    def scaled(self, channels: int) -> int:
        """A published number of channels, at this width."""
        return max(1, round(channels * self.width))

    def chain(self, *layers: tuple[int, int | tuple[int, int]], stride: int = 1) -> nn.Sequential:
        """Convolutions (channels, kernel) in a row; with a stride the last one has it, and no padding."""
        built: list[nn.Module] = []
        channels = self.channels
        for place, (wanted, kernel) in enumerate(layers, start=1):
            strided = stride > 1 and place == len(layers)
            built.append(ConvModule(channels, self.scaled(wanted), kernel, stride if strided else 1, same=not strided))
            channels = self.scaled(wanted)
        return nn.Sequential(*built)

    def pooled(self, channels: int) -> nn.Sequential:
        """A mean over 3×3 pixels, then a convolution 1×1."""
        return nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), *self.chain((channels, 1)))

    def split(self, *layers: tuple[int, int | tuple[int, int]]) -> nn.Sequential:
        """Convolutions in a row, the last channels seen by a row and a column of three pixels side by side."""
        stem = self.chain(*layers)
        channels = self.scaled(layers[-1][0])
        sides = [ConvModule(channels, self.scaled(384), kernel) for kernel in ((1, 3), (3, 1))]
        return nn.Sequential(*stem, Branches(*sides))

    def join(self, total: int, *branches: nn.Module) -> Branches:
        """The branches side by side; ``total`` is the number of channels they give together."""
        self.channels = total
        return Branches(*branches)

    def block_35(self, pool: int) -> Branches:
        """Inception module for maps of 35×35 pixels."""
        parts = (64, 64, 96, pool)
        return self.join(
            sum(map(self.scaled, parts)),
            self.chain((64, 1)),
            self.chain((48, 1), (64, 5)),
            self.chain((64, 1), (96, 3), (96, 3)),
            self.pooled(pool),
        )

    def block_17(self, narrow: int) -> Branches:
        """Inception module for maps of 17×17 pixels: convolutions 7×7 as a row and a column."""
        row, column = (1, 7), (7, 1)
        return self.join(
            4 * self.scaled(192),
            self.chain((192, 1)),
            self.chain((narrow, 1), (narrow, row), (192, column)),
            self.chain((narrow, 1), (narrow, column), (narrow, row), (narrow, column), (192, row)),
            self.pooled(192),
        )

    def block_8(self) -> Branches:
        """Inception module for maps of 8×8 pixels."""
        return self.join(
            self.scaled(320) + 4 * self.scaled(384) + self.scaled(192),
            self.chain((320, 1)),
            self.split((384, 1)),
            self.split((448, 1), (384, 3)),
            self.pooled(192),
        )

    def to_17(self) -> Branches:
        """Halves maps of 35×35 pixels."""
        return self.join(
            self.scaled(384) + self.scaled(96) + self.channels,
            self.chain((384, 3), stride=2),
            self.chain((64, 1), (96, 3), (96, 3), stride=2),
            nn.MaxPool2d(3, stride=2),
        )

    def to_8(self) -> Branches:
        """Halves maps of 17×17 pixels."""
        return self.join(
            self.scaled(320) + self.scaled(192) + self.channels,
            self.chain((192, 1), (320, 3), stride=2),
            self.chain((192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3), stride=2),
            nn.MaxPool2d(3, stride=2),
        )


class Auxiliary(nn.Module):
    """The classifier half-way: means, two convolutions, a linear layer."""

    def __init__(self, builder: Builder, num_classes: int) -> None:
        super().__init__()
        narrow, wide = builder.scaled(128), builder.scaled(768)
        self.convs = nn.Sequential(ConvModule(builder.channels, narrow, 1), ConvModule(narrow, wide, 5, same=False))
        self.output = nn.Linear(wide, num_classes)

    def forward(self, maps: Tensor) -> Tensor:
        # Below the published size the windows 5×5 do not fit; the means then cover the map without overlap.
        few = min(maps.shape[-2:]) < AUXILIARY_MAP
        means = F.adaptive_avg_pool2d(maps, 5) if few else F.avg_pool2d(maps, 5, stride=3)
        logits: Tensor = self.output(global_mean(self.convs(means)))
        return logits


class InceptionV3(nn.Module):
    """Convolutions, eleven modules with two halvings among them, the mean over pixels, dropout, a linear layer."""

    def __init__(self, channels: int, num_classes: int, width: float, dropout: float, auxiliary: bool) -> None:
        super().__init__()
        build = Builder(channels, width)
        sizes = [channels, *map(build.scaled, (32, 32, 64, 80, 192))]
        pool = nn.MaxPool2d(3, stride=2)
        self.stem = nn.Sequential(
            ConvModule(sizes[0], sizes[1], 3, stride=2, same=False),
            ConvModule(sizes[1], sizes[2], 3, same=False),
            ConvModule(sizes[2], sizes[3], 3),
            pool,
            ConvModule(sizes[3], sizes[4], 1),
            ConvModule(sizes[4], sizes[5], 3, same=False),
            pool,
        )
        build.channels = sizes[5]
        self.first = nn.Sequential(
            *(build.block_35(pooled) for pooled in (32, 64, 64)),
            build.to_17(),
            *(build.block_17(narrow) for narrow in (128, 160, 160, 192)),
        )
        self.auxiliary = Auxiliary(build, num_classes) if auxiliary else None
        self.last = nn.Sequential(build.to_8(), build.block_8(), build.block_8())
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(build.channels, num_classes)
        he_normal(self, self.output)
        if self.auxiliary is not None:  # as near to zero at the start as the last layer's
            head = self.auxiliary.output
            nn.init.normal_(head.weight, std=1 / head.in_features)

    def forward(self, inputs: Tensor) -> Tensor | WithAuxiliary:
        maps = self.first(self.stem(inputs))
        logits: Tensor = self.output(self.dropout(global_mean(self.last(maps))))
        if self.training and self.auxiliary is not None:
            return WithAuxiliary(logits, self.auxiliary(maps), AUXILIARY_WEIGHT)
        return logits


@model(
    summary="Inception V3 for images of 299 pixels, with its auxiliary classifier",
    paper="Szegedy et al. (2016), Rethinking the Inception Architecture; Zhang et al. (2017), Section 3",
)
def inception_v3(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    dropout: Probability = 0.0,
    auxiliary: Truth = True,
    width: Share = 1.0,
) -> nn.Module:
    """Inception V3: 27,161,264 parameters for 3 channels and 1000 classes, 23,834,568 without auxiliary classifier.

    In training mode it returns `WithAuxiliary`, whose second loss counts 0.4; in evaluation mode the logits alone.
    The counts are those of the widely used public implementation (torchvision's ``inception_v3``), in which every
    convolution is followed by batch normalisation with scale and shift, floor 0.001.

    Differs from the paper:
        1. Zhang et al. reuse a TensorFlow package, in which batch normalisation has a shift and no scale; a scale
           before ReLU is undone by the next layer's weights.
        2. For images below 299 pixels the auxiliary classifier takes 5×5 means that cover its map without overlap.

    Args:
        input_shape: (channels, height, width); below 75 pixels, or flat, raises `ModelError`.
        num_classes: number of outputs.
        dropout: probability that a mean is dropped before the last layer; 0.2 in the TensorFlow package.
        auxiliary: whether there is an auxiliary classifier half-way.
        width: fraction of the published number of channels, in (0, 1].
    """
    channels, tall, wide = image_shape("inception_v3", input_shape)
    if min(tall, wide) < LEAST_SIDE:
        raise ModelError(
            "model-images-too-small",
            f"inception_v3 needs images of {LEAST_SIDE} x {LEAST_SIDE} pixels or more, and these have {tall} x {wide}; "
            f"set data.image_size={LEAST_SIDE} or more for a folder of images, or take resnet50.",
        )
    return InceptionV3(channels, num_classes, width, dropout, auxiliary)
