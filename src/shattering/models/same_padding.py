"""Shapes, and the padding called SAME: an output of ``ceil(size / stride)``, surplus zeros below and to the right."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shattering.core.errors import ModelError


def image_shape(name: str, input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """``input_shape`` as (channels, height, width); anything else raises `ModelError`."""
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ModelError(
            "model-needs-images",
            f"{name} needs images (channels, height, width), but the data have the input shape {tuple(input_shape)}; "
            "take an MLP, or reshape the data to images.",
        )
    channels, height, width = input_shape
    return channels, height, width


def halved(size: int) -> int:
    """The size after SAME striding by 2."""
    return -(-size // 2)


def max_pool_halving(inputs: Tensor) -> Tensor:
    """SAME max-pooling 3×3 with stride 2."""
    # An even size lacks one row at its end: rounding the number of windows up adds just that row, without a copy of
    # the input. An odd size lacks one row at either end, which is ordinary padding.
    height, width = inputs.shape[-2:]
    return F.max_pool2d(inputs, 3, stride=2, padding=(height % 2, width % 2), ceil_mode=True)


class HalvingConv(nn.Conv2d):
    """SAME convolution 3×3 with stride 2."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        top, left = input.shape[-2] % 2, input.shape[-1] % 2
        return super().forward(F.pad(input, (left, 1, top, 1)))


def global_mean(inputs: Tensor) -> Tensor:
    """Mean over all pixels: ``[n, c, h, w]`` to ``[n, c]``."""
    return torch.mean(inputs, dim=(2, 3))
