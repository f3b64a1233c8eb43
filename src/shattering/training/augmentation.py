"""Random crops, flips and rotations of whole batches, on the device."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from shattering.core.spec import RunSpec
from shattering.core.streams import Stream, uniform_classes

MAX_DEGREES = 25.0


def draws(spec: RunSpec, step: int, count: int, margins: tuple[int, int]) -> NDArray[np.int64]:
    """What is drawn for each image of a step's batch, int64 ``[count, 4]``: row, column, flip, angle.

    Image j of the batch takes the four words of the stream ``augmentation`` at index ``step`` and block j: the offset
    of the crop's first row and column (uniform over ``margins + 1`` places each), a flip (0 or 1), and an angle in
    65,536 equal parts.
    """
    stream = Stream(spec.seed_of("augmentation"), "augmentation")
    words = stream.words(step, blocks=count).reshape(count, 4)
    ranges = (margins[0] + 1, margins[1] + 1, 2, 65536)
    return np.stack([uniform_classes(words[:, part], size) for part, size in enumerate(ranges)], axis=1)


def augment(images: torch.Tensor, spec: RunSpec, step: int) -> torch.Tensor:
    """Augments one batch as ``spec.training.augmentation`` says.

    ``crop`` takes a random ``spec.data.crop`` square of each image (the whole image where no crop is set). ``full``
    adds left-right flips with probability ½ and rotations, bilinear with zeros outside, by an angle uniform within
    ±25 degrees, before the crop.

    Args:
        images: ``[b, channels, height, width]``, unwhitened.
        spec: the run.
        step: the optimizer step that the batch is for.

    Returns:
        ``[b, channels, crop, crop]``, or of the images' own size where no crop is set; unwhitened.
    """
    height, width = images.shape[-2:]
    tall, wide = spec.data.crop or height, spec.data.crop or width
    drawn = torch.from_numpy(draws(spec, step, len(images), (height - tall, width - wide))).to(images.device)
    if spec.training.augmentation == "full":
        images = _flip_and_rotate(images, drawn[:, 2], drawn[:, 3])
    rows = drawn[:, 0, None] + torch.arange(tall, device=images.device)  # [b, tall]
    columns = drawn[:, 1, None] + torch.arange(wide, device=images.device)
    batch = torch.arange(len(images), device=images.device)
    pixels = images.permute(0, 2, 3, 1)[batch[:, None, None], rows[:, :, None], columns[:, None, :]]
    return pixels.permute(0, 3, 1, 2)


def unaugmented(images: torch.Tensor, spec: RunSpec) -> torch.Tensor:
    """What an evaluation sees of images kept for augmentation: the centre crop, whitened where the run whitens."""
    height, width = images.shape[-2:]
    tall, wide = spec.data.crop or height, spec.data.crop or width
    top, left = (height - tall) // 2, (width - wide) // 2
    images = images[..., top : top + tall, left : left + wide]
    return whiten_batch(images) if spec.data.whiten else images


def whiten_batch(images: torch.Tensor) -> torch.Tensor:
    """Per-image whitening on the device; the float counterpart of `shattering.data.preprocessing.whiten`."""
    dims = tuple(range(1, images.ndim))
    count = images[0].numel()
    deviation = images.std(dim=dims, correction=0, keepdim=True).clamp_min(1 / math.sqrt(count))
    return (images - images.mean(dim=dims, keepdim=True)) / deviation


def _flip_and_rotate(images: torch.Tensor, flips: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    radians = (angles.to(images.dtype) / 65535 * 2 - 1) * math.radians(MAX_DEGREES)
    sign = 1 - 2 * flips.to(images.dtype)
    height, width = images.shape[-2:]
    cosine, sine, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    # Grid coordinates run over [-1, 1] on both axes, so a rotation of a non-square image needs the aspect ratio.
    rows = [sign * cosine, -sine * height / width * sign, zero, sine * width / height, cosine, zero]
    matrices = torch.stack(rows, dim=1).reshape(-1, 2, 3)
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
