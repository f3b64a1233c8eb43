"""A split as tensors on the device, decoded and whitened once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shattering.core.spec import RunSpec
from shattering.data.preprocessing import centre_crop, scale, whiten
from shattering.training.augmentation import draws_of_steps, margins, sent, trained_on, unaugmented

if TYPE_CHECKING:
    from shattering.data.dataset import Dataset
    from shattering.training.parallel import Team
    from shattering.training.streaming import StreamedImages

DRAWN_TOGETHER = 64
"""On a GPU the augmentation of so many steps is drawn and sent at once, so that no step waits for a copy."""


@dataclass(frozen=True, eq=False)
class Examples:
    """One split, ready for batches.

    Args:
        inputs: ``[n, channels, height, width]`` or ``[n, features]`` in the run's dtype; or unwhitened float32 pixels
            divided by the divisor where batches are augmented and whitened as they are drawn; or what stands for them
            where the images stay on the disk.
        labels: int64 ``[n]``, what is trained on or tested with.
        original_labels: int64 ``[n]``, before any corruption.
        changed: bool ``[n]``, the examples a corruption changed.
        num_classes: number of classes.
        finish: what an evaluation does to a batch of inputs first: nothing, or crop and whiten where that was put off.
        team: the processes that share the work on the split; none: this one does it all.
    """

    inputs: torch.Tensor | StreamedImages
    labels: torch.Tensor
    original_labels: torch.Tensor
    changed: torch.Tensor
    num_classes: int
    finish: Callable[[torch.Tensor], torch.Tensor] = lambda inputs: inputs
    team: Team | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.integer]) -> Examples:
        """The examples at ``rows``, in that order; of inputs in memory."""
        chosen = torch.from_numpy(np.asarray(rows, dtype=np.int64))
        names = ("inputs", "labels", "original_labels", "changed")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def laid_out_for(self, model: nn.Module) -> Examples:
        """The same with images channel by channel where the network begins by flattening them.

        In any other order each batch would be copied to be flattened, a thirtieth of the time of an update of 1×512.
        """
        flattens = type(model) is nn.Sequential and len(model) > 0 and type(model[0]) is nn.Flatten
        if not flattens or not isinstance(self.inputs, torch.Tensor):
            return self
        return replace(self, inputs=self.inputs.contiguous())

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example: ``(channels, height, width)`` or ``(features,)``."""
        return tuple(self.inputs.shape[1:])


def torch_dtype(spec: RunSpec) -> torch.dtype:
    """The dtype of weights and inputs; bfloat16 stands for autocast over float32."""
    return torch.float64 if spec.compute.dtype == "float64" else torch.float32


def prepare(dataset: Dataset, spec: RunSpec, *, augmented: bool = False, team: Team | None = None) -> Examples:
    """Turns a split into tensors on the run's device; images that stay on the disk are only made ready to be read.

    Args:
        dataset: a split, corrupted already; images are uncropped only where ``augmented``.
        spec: says whether to whiten, the dtype, the device and the memory layout.
        augmented: keep the pixels unwhitened, since each batch is cropped first.
        team: the processes that share the work on the split.
    """
    inputs = _streamed(dataset, spec, team) if dataset.files is not None else _in_memory(dataset, spec, augmented)
    device = spec.compute.device
    return Examples(
        inputs=inputs,
        labels=torch.from_numpy(np.array(dataset.labels)).to(device),
        original_labels=torch.from_numpy(np.array(dataset.original_labels)).to(device),
        changed=torch.from_numpy(np.array(dataset.changed)).to(device),
        num_classes=dataset.num_classes,
        team=team,
        **({"finish": partial(unaugmented, spec=spec)} if augmented and dataset.files is None else {}),
    )


def _streamed(dataset: Dataset, spec: RunSpec, team: Team | None) -> StreamedImages:
    from shattering.training.streaming import streamed_images

    return streamed_images(dataset, spec, None if team is None else team.note)


def _in_memory(dataset: Dataset, spec: RunSpec, augmented: bool) -> torch.Tensor:
    ready = whiten if spec.data.whiten and not augmented else scale
    array = ready(dataset.inputs, dataset.divisor)
    if dataset.is_image:
        array = np.moveaxis(array, -1, 1)  # [n, c, h, w]; the memory stays channels-last
    inputs = torch.from_numpy(array).to(dtype=torch_dtype(spec), device=spec.compute.device)
    if dataset.is_image:
        layout = torch.channels_last if spec.compute.channels_last else torch.contiguous_format
        inputs = inputs.contiguous(memory_format=layout)
    return inputs


def training_batches(
    examples: Examples, spec: RunSpec, batches: Sequence[torch.Tensor], epoch: int, step: int
) -> Generator[torch.Tensor, None, None]:
    """The inputs of the batches to come, as the training sees them; of a team's batches, this process's part.

    Args:
        examples: the training split.
        spec: the run.
        batches: rows of each batch.
        epoch: that they belong to.
        step: that the first of them is for.
    """
    team = examples.team
    parts = list(batches) if team is None else [team.share(rows) for rows in batches]
    if isinstance(examples.inputs, torch.Tensor):
        return _augmented(examples.inputs, spec, parts, step)
    return examples.inputs.trained_on(parts, epoch)


def _augmented(
    inputs: torch.Tensor, spec: RunSpec, batches: Sequence[torch.Tensor], step: int
) -> Generator[torch.Tensor, None, None]:
    if spec.training.augmentation == "none":
        for rows in batches:
            yield inputs[rows]
        return
    # On a CPU a step's numbers are drawn when they are needed; a GPU gets those of many steps in one copy.
    together = DRAWN_TOGETHER if inputs.is_cuda else 1
    for first in range(0, len(batches), together):
        some = batches[first : first + together]
        largest = max(map(len, some))
        drawn = draws_of_steps(spec, step + first, len(some), largest, margins(spec, inputs))
        on_device = sent(drawn, inputs.device)
        for rows, words in zip(some, on_device, strict=True):
            yield trained_on(inputs[rows], spec, words[: len(rows)])


def evaluation_batches(examples: Examples, first: int, end: int, size: int) -> Generator[torch.Tensor, None, None]:
    """The inputs of the examples from ``first`` to before ``end`` as an evaluation sees them, ``size`` at a time."""
    starts = range(first, end, size)
    if isinstance(examples.inputs, torch.Tensor):
        for start in starts:
            yield examples.finish(examples.inputs[start : min(start + size, end)])
    else:
        yield from examples.inputs.evaluated([torch.arange(start, min(start + size, end)) for start in starts])


def cropped(dataset: Dataset, spec: RunSpec) -> Dataset:
    """The centre crop that ``spec`` asks for; features and images of that size stay as they are."""
    if spec.data.crop is None or not dataset.is_image:
        return dataset
    return centre_crop(dataset, spec.data.crop)
