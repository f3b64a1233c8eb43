"""Batch normalisation with a shift and no scale."""

from __future__ import annotations

import torch
from torch import nn


class ShiftBatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose only parameter is the shift, one per channel, in place of the convolution's bias.

    A scale before ReLU is undone by the next layer's weights. Ioffe & Szegedy (2015), Section 3.2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        del self.weight
        # A constant and not None, because fused kernels want a scale.
        self.register_buffer("weight", torch.ones(channels), persistent=False)

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        nn.init.zeros_(self.bias)
