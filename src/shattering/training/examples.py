"""A split as tensors on the device, decoded and whitened once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from shattering.core.spec import RunSpec
from shattering.data.preprocessing import centre_crop, scale, whiten
from shattering.training.augmentation import unaugmented

if TYPE_CHECKING:
    from shattering.data.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Examples:
    """One split, ready for batches.

    Args:
        inputs: ``[n, channels, height, width]`` or ``[n, features]`` in the run's dtype; or unwhitened float32 pixels
            divided by the divisor where batches are augmented and whitened as they are drawn.
        labels: int64 ``[n]``, what is trained on or tested with.
        original_labels: int64 ``[n]``, before any corruption.
        changed: bool ``[n]``, the examples a corruption changed.
        num_classes: number of classes.
        finish: what an evaluation does to a batch of inputs first: nothing, or crop and whiten where that was put off.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    original_labels: torch.Tensor
    changed: torch.Tensor
    num_classes: int
    finish: Callable[[torch.Tensor], torch.Tensor] = lambda inputs: inputs

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example: ``(channels, height, width)`` or ``(features,)``."""
        return tuple(self.inputs.shape[1:])


def torch_dtype(spec: RunSpec) -> torch.dtype:
    """The dtype of weights and inputs; bfloat16 stands for autocast over float32."""
    return torch.float64 if spec.compute.dtype == "float64" else torch.float32


def prepare(dataset: Dataset, spec: RunSpec, *, augmented: bool = False) -> Examples:
    """Turns a split into tensors on the run's device.

    Args:
        dataset: a split, corrupted already; images are uncropped only where ``augmented``.
        spec: says whether to whiten, the dtype, the device and the memory layout.
        augmented: keep the pixels unwhitened, since each batch is cropped first.
    """
    ready = whiten if spec.data.whiten and not augmented else scale
    array = ready(dataset.inputs, dataset.divisor)
    if dataset.is_image:
        array = np.moveaxis(array, -1, 1)  # [n, c, h, w]; the memory stays channels-last
    inputs = torch.from_numpy(array).to(dtype=torch_dtype(spec), device=spec.compute.device)
    if dataset.is_image:
        layout = torch.channels_last if spec.compute.channels_last else torch.contiguous_format
        inputs = inputs.contiguous(memory_format=layout)
    device = spec.compute.device
    return Examples(
        inputs=inputs,
        labels=torch.from_numpy(np.array(dataset.labels)).to(device),
        original_labels=torch.from_numpy(np.array(dataset.original_labels)).to(device),
        changed=torch.from_numpy(np.array(dataset.changed)).to(device),
        num_classes=dataset.num_classes,
        **({"finish": partial(unaugmented, spec=spec)} if augmented else {}),
    )


def cropped(dataset: Dataset, spec: RunSpec) -> Dataset:
    """The centre crop that ``spec`` asks for; features and images of that size stay as they are."""
    if spec.data.crop is None or not dataset.is_image:
        return dataset
    return centre_crop(dataset, spec.data.crop)
