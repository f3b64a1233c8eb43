"""The small Inception of Zhang et al. (2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shattering.core.spec import Truth
from shattering.models.batch_norm import ShiftBatchNorm
from shattering.models.initialisation import he_normal
from shattering.models.registry import model
from shattering.models.same_padding import HalvingConv, global_mean, image_shape, max_pool_halving


class ConvModule(nn.Sequential):
    """Convolution, batch normalisation (or a bias without it), ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, batch_norm: bool, halving: bool = False
    ) -> None:
        if halving:
            conv: nn.Conv2d = HalvingConv(in_channels, out_channels, bias=not batch_norm)
        else:
            conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=not batch_norm)
        norm = [ShiftBatchNorm(out_channels)] if batch_norm else []
        super().__init__(conv, *norm, nn.ReLU())


class InceptionModule(nn.Module):
    """Convolutions 1×1 and 3×3 side by side, their channels concatenated."""

    def __init__(self, in_channels: int, narrow: int, wide: int, batch_norm: bool) -> None:
        super().__init__()
        self.narrow = ConvModule(in_channels, narrow, 1, batch_norm)
        self.wide = ConvModule(in_channels, wide, 3, batch_norm)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([self.narrow(inputs), self.wide(inputs)], dim=1)


class DownsampleModule(nn.Module):
    """A convolution 3×3 and max-pooling 3×3 side by side, both with stride 2, their channels concatenated."""

    def __init__(self, in_channels: int, out_channels: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv = ConvModule(in_channels, out_channels, 3, batch_norm, halving=True)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([self.conv(inputs), max_pool_halving(inputs)], dim=1)


class SmallInception(nn.Module):
    """A convolution, eight Inception modules with two halvings between them, the mean over pixels, a linear layer."""

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int, batch_norm: bool) -> None:
        super().__init__()
        self.stem = ConvModule(input_shape[0], 96, 3, batch_norm)
        channels = 96
        stages: list[nn.Module] = []
        # (narrow, wide) channels of an Inception module, or (channels,) of a downsampling one.
        for widths in (
            (32, 32),
            (32, 48),
            (80,),
            (112, 48),
            (96, 64),
            (80, 80),
            (48, 96),
            (96,),
            (176, 160),
            (176, 160),
        ):
            if len(widths) == 2:
                stages.append(InceptionModule(channels, widths[0], widths[1], batch_norm))
                channels = sum(widths)
            else:
                stages.append(DownsampleModule(channels, widths[0], batch_norm))
                channels += widths[0]
        self.stages = nn.Sequential(*stages)
        self.output = nn.Linear(channels, num_classes)
        he_normal(self, self.output)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.output(global_mean(self.stages(self.stem(inputs))))
        return logits


@model(
    summary="small Inception: 1×1 and 3×3 convolutions side by side, with or without batch normalisation",
    paper="Zhang et al. (2017), Figure 3 and Appendix A",
)
def inception(input_shape: tuple[int, ...], num_classes: int, *, batch_norm: Truth = True) -> nn.Module:
    """The paper's small Inception. 1,649,402 parameters on CIFAR-10 at 28×28×3, with and without batch normalisation.

    Differs from the paper:
        1. What the normalisation's parameters are is not printed there; the printed count leaves one a channel, which
           is its shift, or the bias of the convolution where there is no normalisation.
        2. Its momentum (0.1 of a new batch) and floor (10⁻⁵) are not printed; they are PyTorch's.
        3. The mean at the end runs over all pixels that are left, 7×7 for the paper's images.

    Args:
        input_shape: (channels, height, width); a flat shape raises `ModelError`.
        num_classes: number of outputs.
        batch_norm: whether each convolution is followed by batch normalisation.
    """
    return SmallInception(image_shape("inception", input_shape), num_classes, batch_norm)
