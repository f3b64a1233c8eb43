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
    drawn: NDArray[np.int64] = draws_of_steps(spec, step, 1, count, margins)[0]
    return drawn


def draws_of_steps(spec: RunSpec, first: int, steps: int, count: int, margins: tuple[int, int]) -> NDArray[np.int64]:
    """The `draws` of ``steps`` steps from ``first`` on at once, int64 ``[steps, count, 4]``."""
    stream = Stream(spec.seed_of("augmentation"), "augmentation")
    words = stream.words(np.arange(first, first + steps), blocks=count).reshape(steps, count, 4)
    ranges = (margins[0] + 1, margins[1] + 1, 2, 65536)
    return np.stack([uniform_classes(words[..., part], size) for part, size in enumerate(ranges)], axis=-1)


def crop_of(spec: RunSpec, height: int, width: int) -> tuple[int, int]:
    """Height and width of the crops that a run takes of images of this size."""
    return spec.data.crop or height, spec.data.crop or width


def margins(spec: RunSpec, images: torch.Tensor) -> tuple[int, int]:
    """By how many rows and columns the images ``[…, height, width]`` exceed the crop."""
    height, width = images.shape[-2:]
    tall, wide = crop_of(spec, height, width)
    return height - tall, width - wide


def sent(drawn: NDArray[np.int64], device: torch.device) -> torch.Tensor:
    """Drawn numbers on the device; a GPU gets them through pinned memory, and nobody waits for the copy."""
    tensor = torch.from_numpy(drawn)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


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
    return augment_as_drawn(images, spec, sent(draws(spec, step, len(images), margins(spec, images)), images.device))


def augment_as_drawn(images: torch.Tensor, spec: RunSpec, drawn: torch.Tensor) -> torch.Tensor:
    """`augment` with numbers drawn before, int64 ``[b, 4]`` on the device; nothing is asked of the host."""
    tall, wide = crop_of(spec, *images.shape[-2:])
    if spec.training.augmentation == "full":
        images = _flip_and_rotate(images, drawn[:, 2], drawn[:, 3])
    rows = drawn[:, 0, None] + torch.arange(tall, device=images.device)  # [b, tall]
    columns = drawn[:, 1, None] + torch.arange(wide, device=images.device)
    batch = torch.arange(len(images), device=images.device)
    pixels = images.permute(0, 2, 3, 1)[batch[:, None, None], rows[:, :, None], columns[:, None, :]]
    return pixels.permute(0, 3, 1, 2)


def trained_on(images: torch.Tensor, spec: RunSpec, drawn: torch.Tensor | None) -> torch.Tensor:
    """What a training sees of a batch from memory: as it is, or augmented as ``drawn`` says and whitened."""
    if drawn is None:
        return images
    images = augment_as_drawn(images, spec, drawn)
    return whiten_batch(images) if spec.data.whiten else images


def unaugmented(images: torch.Tensor, spec: RunSpec) -> torch.Tensor:
    """What an evaluation sees of images kept for augmentation: the centre crop, whitened where the run whitens."""
    height, width = images.shape[-2:]
    tall, wide = crop_of(spec, height, width)
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
