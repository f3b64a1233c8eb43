"""The noun everything after it works on: examples with labels, frozen, fingerprinted, in memory once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shattering.core.registry import Registry
from shattering.core.study import DataFacts
from shattering.data.image_files import ImageFiles

Split = Literal["train", "test"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set.

    Args:
        inputs: ``[n, height, width, channels]`` images as stored (uint8; int16 after Gaussian noise), or ``[n, …]``
            features (float32 or float64). Pixels stay integers until they are whitened.
        labels: int64 ``[n]`` in ``0 … num_classes-1``: what the network is trained on or tested with.
        num_classes: number of classes.
        name: of the data set.
        split: ``"train"`` or ``"test"``.
        divisor: what inputs are divided by first (255 for 8-bit images, 16 for digits, 1 for features).
        class_names: one per class; empty where unknown.
        original_labels: labels before any corruption; the same array as ``labels`` until then.
        changed: bool ``[n]``, the examples a corruption changed (label moved, or input replaced).
        moments: of the whole original *training* split, also on the test split.
        notes: what a reader must know beside a result, such as a re-encoding or a count of duplicates.
        source_indices: int64 ``[n]``, where each example stands in the whole split; all of them unless a subset.
        source_size: size of the whole split.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    num_classes: int
    name: str
    split: Split
    divisor: float = 255.0
    class_names: tuple[str, ...] = ()
    original_labels: NDArray[np.int64] = field(default=None)  # type: ignore[arg-type]
    changed: NDArray[np.bool_] = field(default=None)  # type: ignore[arg-type]
    moments: Moments | None = None
    notes: tuple[str, ...] = ()
    source_indices: NDArray[np.int64] = field(default=None)  # type: ignore[arg-type]
    source_size: int = 0

    def __post_init__(self) -> None:
        if self.source_indices is None:
            object.__setattr__(self, "source_indices", np.arange(len(self.labels)))
            object.__setattr__(self, "source_size", len(self.labels))
        if self.original_labels is None:
            object.__setattr__(self, "original_labels", self.labels)
        if self.changed is None:
            object.__setattr__(self, "changed", np.zeros(len(self.labels), dtype=np.bool_))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def files(self) -> ImageFiles | None:
        """Where the images lie, for those that are read from the disk as they are needed; none for inputs in memory."""
        return self.inputs if isinstance(self.inputs, ImageFiles) else None

    @property
    def is_image(self) -> bool:
        """Whether inputs are ``[n, height, width, channels]``."""
        return self.inputs.ndim == 4

    def take(self, indices: NDArray[np.int64]) -> Dataset:
        """The examples at ``indices``, in that order."""
        return replace(
            self,
            inputs=self.inputs[indices],
            labels=self.labels[indices],
            original_labels=self.original_labels[indices],
            changed=self.changed[indices],
            source_indices=self.source_indices[indices],
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 over dtype, shape, inputs and labels; independent of the file format they came from.

        Images left on the disk are told by the digest of their files instead.
        """
        digest = hashlib.sha256()
        if self.files is not None:
            digest.update(self.files.digest.encode())
        for array in (self.labels,) if self.files is not None else (self.inputs, self.labels):
            little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
            digest.update(f"{little.dtype.str}{little.shape}".encode())
            digest.update(little.data.cast("B") if little.size else b"")
        return digest.hexdigest()


@dataclass(frozen=True)
class Moments:
    """Exact per-channel sums over every pixel of a training split: integers for integer inputs.

    Args:
        count: values per channel.
        total: sum of the values, per channel.
        squares: sum of their squares, per channel.
    """

    count: int
    total: tuple[int, ...] | tuple[float, ...]
    squares: tuple[int, ...] | tuple[float, ...]


def moments(inputs: NDArray[Any]) -> Moments:
    """The moments of ``inputs`` over all axes but the last."""
    flat = inputs.reshape(-1, inputs.shape[-1])
    if np.issubdtype(inputs.dtype, np.integer):
        total = [0] * flat.shape[1]
        squares = [0] * flat.shape[1]
        for start in range(0, len(flat), 1 << 20):
            block = flat[start : start + (1 << 20)].astype(np.int64)
            total = [a + int(b) for a, b in zip(total, block.sum(axis=0), strict=True)]
            squares = [a + int(b) for a, b in zip(squares, (block * block).sum(axis=0), strict=True)]
        return Moments(len(flat), tuple(total), tuple(squares))
    wide = flat.astype(np.float64)
    return Moments(len(flat), tuple(map(float, wide.sum(axis=0))), tuple(map(float, (wide * wide).sum(axis=0))))


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set: its training and its test split."""

    train: Dataset
    test: Dataset

    @property
    def fingerprint(self) -> str:
        """SHA-256 over both splits' fingerprints and the number of classes."""
        text = f"{self.train.fingerprint} {self.test.fingerprint} {self.train.num_classes}"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def facts(self) -> DataFacts:
        """What a study plans with."""
        return DataFacts(
            name=self.train.name,
            train_size=len(self.train),
            test_size=len(self.test),
            input_shape=self.train.inputs.shape[1:],
            num_classes=self.train.num_classes,
            fingerprint=self.fingerprint,
            notes=self.train.notes,
            streamed=self.train.files is not None,
        )


Loader = Callable[[Path | None], Splits]


@dataclass(frozen=True)
class DatasetEntry:
    """A registered data set.

    Args:
        name: as typed after ``--data``.
        summary: one line for listings.
        load: reads it from a folder (none for embedded data).
        files: the file names looked for, any complete alternative of which will do; empty for embedded data.
        where: where to get it and how to lay it down, ending the message when it is missing.
    """

    name: str
    summary: str
    load: Loader
    files: tuple[tuple[str, ...], ...] = ()
    where: str = ""


datasets: Registry[DatasetEntry] = Registry("dataset", "shattering.data")


def dataset(
    name: str, *, summary: str, files: tuple[tuple[str, ...], ...] = (), where: str = ""
) -> Callable[[Loader], Loader]:
    """Registers a loader: a function from a folder to `Splits`."""

    def register(load: Loader) -> Loader:
        datasets.add(name, DatasetEntry(name, summary, load, files, where))
        return load

    return register
