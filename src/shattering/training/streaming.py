"""Batches of images that are decoded ahead of the training, a bounded number of them in memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shattering.core.errors import DataError, ShatteringError, SpecError
from shattering.core.spec import RunSpec
from shattering.data.dataset import Dataset
from shattering.data.image_files import PURPOSE, ImageFiles, crop_words
from shattering.training.augmentation import whiten_batch

AHEAD = 2
"""Batches that are decoded, or being decoded, while another one is trained on."""

Decode = Callable[[int], NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """Stands where the tensor of a split's inputs would; its batches come from the disk.

    Args:
        files: the images, brought to the run's size.
        sources: int64 ``[n]``, where each stands in the whole training split.
        spec: the run.
        failed: called with what is wrong with an image, in whose place zeros are given; none: it is raised.
    """

    files: ImageFiles
    sources: NDArray[np.int64]
    spec: RunSpec
    failed: Callable[[ShatteringError], None] | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(n, 3, side, side)``."""
        return len(self.files), 3, self.files.side, self.files.side

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        """The inputs at ``rows`` as an evaluation sees them, decoded now."""
        every = torch.arange(len(self.files))
        return next(self.evaluated([every[rows if isinstance(rows, slice) else rows.cpu()]]))

    def evaluated(self, batches: Sequence[Tensor]) -> Generator[Tensor, None, None]:
        """The middle of the images of each batch ``[b]``: inputs ``[b, 3, side, side]``."""
        return self._ahead([(rows.cpu().numpy(), self.files.central) for rows in batches])

    def trained_on(self, batches: Sequence[Tensor], epoch: int) -> Generator[Tensor, None, None]:
        """The images of each batch as the training sees them in an epoch: random crops where the run asks for them."""
        if self.spec.training.augmentation != "resized_crop":
            return self.evaluated(batches)
        seed = self.spec.seed_of(PURPOSE)

        def crops(rows: NDArray[np.int64]) -> Decode:
            words = dict(zip(rows.tolist(), crop_words(seed, epoch, self.sources[rows]), strict=True))
            return lambda row: self.files.cropped(row, words[row])

        arrays = [rows.cpu().numpy() for rows in batches]
        return self._ahead((rows, crops(rows)) for rows in arrays)

    def _ahead(self, jobs: Iterable[tuple[NDArray[np.int64], Decode]]) -> Generator[Tensor, None, None]:
        waiting: deque[list[Future[NDArray[np.uint8]]]] = deque()
        coming = iter(jobs)
        try:
            while True:
                while len(waiting) <= AHEAD and (job := next(coming, None)) is not None:
                    rows, decode = job
                    waiting.append([_pool().submit(decode, int(row)) for row in rows])
                if not waiting:
                    return
                yield self._finished([self._result(future) for future in waiting.popleft()])
        finally:
            for future in (future for batch in waiting for future in batch):
                future.cancel()

    def _result(self, future: Future[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        try:
            return future.result()
        except ShatteringError as error:
            if self.failed is None:
                raise
            self.failed(error)
            return np.zeros((self.files.side, self.files.side, 3), dtype=np.uint8)

    def _finished(self, images: list[NDArray[np.uint8]]) -> Tensor:
        """uint8 images to inputs on the device: in -1 … 1, or whitened one by one."""
        compute = self.spec.compute
        pixels = torch.from_numpy(np.stack(images)).to(compute.device).permute(0, 3, 1, 2)
        inputs = pixels.to(torch.float64 if compute.dtype == "float64" else torch.float32)
        inputs = whiten_batch(inputs / 255) if self.spec.data.whiten else inputs / 127.5 - 1
        layout = torch.channels_last if compute.channels_last else torch.contiguous_format
        return inputs.contiguous(memory_format=layout)


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads for decoding, which gives up Python's lock: as many as this process's share of the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    sharing = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return ThreadPoolExecutor(max(1, cores // sharing), thread_name_prefix="shattering-decode")


def streamed_images(
    dataset: Dataset, spec: RunSpec, failed: Callable[[ShatteringError], None] | None = None
) -> StreamedImages:
    """The inputs of a split whose images stay on the disk."""
    assert dataset.files is not None and spec.data.image_size is not None
    return StreamedImages(dataset.files.brought_to(spec.data.image_size), dataset.source_indices, spec, failed)


def require_streamable(dataset: Dataset, spec: RunSpec) -> None:
    """Refuses what cannot be done with images that stay on the disk, and what can be done with no others.

    Raises:
        DataError: the images stay on the disk, and the run asks for images in memory.
        SpecError: a field that fits only the one or the other kind.
    """
    from shattering.corruptions.registry import corruptions

    size, augmentation = spec.data.image_size, spec.training.augmentation
    if dataset.files is None:
        if size is not None or augmentation == "resized_crop":
            field = f"data.image_size={size}" if size is not None else f"training.augmentation={augmentation}"
            raise SpecError(
                "spec-not-streamed",
                f"{field} is for images that are streamed from a folder, and {dataset.name} is in memory; leave it out "
                "or give a folder of images.",
            )
        return
    if size is None:
        raise DataError(
            "data-streamed",
            f"The images of {dataset.name} are of any size and stay on the disk, and this study wants them in memory "
            "and of one size; use zhang2017-imagenet, or say their size with --set data.image_size=224.",
        )
    if corruptions.get(spec.corruption.name).changes == "inputs":
        raise SpecError(
            "spec-corruption-streamed",
            f"The corruption {spec.corruption.name!r} changes pixels, and the images of {dataset.name} stay on the "
            "disk; take one that changes labels, or a data set that fits into memory.",
        )
    if spec.data.crop is not None or augmentation in ("crop", "full"):
        field = f"data.crop={spec.data.crop}" if spec.data.crop is not None else f"training.augmentation={augmentation}"
        raise SpecError(
            "spec-augmentation-streamed",
            f"{field} is for images in memory, and those of {dataset.name} stay on the disk; set data.image_size, and "
            "training.augmentation to none or resized_crop.",
        )
