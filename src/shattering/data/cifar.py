"""What CIFAR-10 and CIFAR-100 share: 32 x 32 colour images in Parquet, Python batches or binary batches."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.data.cache import cached
from shattering.data.checks import Part, build_splits
from shattering.data.dataset import Splits
from shattering.data.files import Alternatives, choose, file_size, read_source, show
from shattering.data.images import conversion_notes
from shattering.data.memory import require
from shattering.data.parquet import FILES as PARQUET_FILES
from shattering.data.parquet import read_parquet_images
from shattering.data.pickles import read_pickle

SHAPE = (32, 32, 3)
_PIXELS = 3072
JPEG_NOTE = "images re-encoded as JPEG; pixel values differ slightly from the original files"


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets.

    Args:
        name: as registered.
        class_names: in label order.
        folder: the original archives' folder names without ``-py`` / ``-bin`` endings: (python, binary).
        train, test: file stems of the batches.
        label_key: of the Python batches.
        label_columns: of the Parquet files.
        label_bytes: before each image of the binary batches; the last of them is the label.
    """

    name: str
    class_names: tuple[str, ...]
    folder: tuple[str, str]
    train: tuple[str, ...]
    test: str
    label_key: str
    label_columns: tuple[str, ...]
    label_bytes: int

    @property
    def stems(self) -> tuple[str, ...]:
        return (*self.train, self.test)

    @property
    def files(self) -> Alternatives:
        """Every way in which the files may lie, in order of preference."""
        binary = tuple(f"{stem}.bin" for stem in self.stems)
        return (
            tuple(f"{self.folder[0]}/{stem}" for stem in self.stems),
            tuple(f"{self.folder[1]}/{name}" for name in binary),
            PARQUET_FILES,
            binary,
            self.stems,
        )


def read_cifar(kind: Cifar, folder: Path | None) -> Splits:
    """Reads whichever form lies in ``folder``; the original files are preferred to Parquet.

    Raises:
        DataError: incomplete, damaged or forged files; see the readers.
    """
    found = choose(folder, kind.files) if folder is not None else None
    if found is None:
        raise DataError("data-incomplete", f"{show(folder or '.')} lacks files of {kind.name}; put them there.")
    paths = list(found.values())
    if PARQUET_FILES[0] in found:
        return cached(kind.name, paths, lambda: _from_parquet(kind, paths))
    if paths[0].suffix == ".bin":
        return _from_batches(kind, paths, _read_binary)
    return cached(kind.name, paths, lambda: _from_batches(kind, paths, _read_python))


def _from_parquet(kind: Cifar, paths: list[Path]) -> Splits:
    tally: Counter[str] = Counter()
    parts = []
    for path in paths:
        images, labels, found = read_parquet_images(path, kind.label_columns, SHAPE)
        tally += found
        parts.append(Part(images, labels, show(path)))
    notes = conversion_notes(tally) + ((JPEG_NOTE,) if tally["jpeg"] else ())
    return _checked(kind, parts, notes)


def _from_batches(kind: Cifar, paths: list[Path], read: Any) -> Splits:
    require(2 * sum(file_size(path) for path in paths), f"Reading {kind.name}")
    parts = []
    for batch in (paths[:-1], paths[-1:]):
        pixels, labels = zip(*(read(kind, path) for path in batch), strict=True)
        planes = np.concatenate(pixels).reshape(-1, 3, 32, 32)
        where = show(batch[0]) if len(batch) == 1 else f"{show(batch[0])} and {len(batch) - 1} more"
        parts.append(Part(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), np.concatenate(labels), where))
    return _checked(kind, parts)


def _checked(kind: Cifar, parts: list[Part], notes: tuple[str, ...] = ()) -> Splits:
    train, test = parts
    size = len(kind.class_names)
    return build_splits(train, test, name=kind.name, num_classes=size, class_names=kind.class_names, notes=notes)


def _read_binary(kind: Cifar, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    data = np.frombuffer(read_source(path), dtype=np.uint8)
    record = kind.label_bytes + _PIXELS
    if len(data) % record:
        raise DataError(
            "data-binary-truncated",
            f"{show(path)} has {len(data)} bytes, not a multiple of the {record} of one record: it ends inside the "
            f"record at offset {len(data) // record * record}; get it again.",
        )
    rows = data.reshape(-1, record)
    return rows[:, kind.label_bytes :], rows[:, kind.label_bytes - 1]


def _read_python(kind: Cifar, path: Path) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    tree = read_pickle(read_source(path), show(path))
    for key in ("data", kind.label_key):
        if key not in tree:
            raise DataError(
                "data-pickle-key",
                f"{show(path)} has no entry {key!r} (it has {len(tree)} others); get the original file of {kind.name}.",
            )
    pixels, labels = tree["data"], tree[kind.label_key]
    if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape[1:] == (_PIXELS,)):
        raise DataError(
            "data-pickle-shape",
            f"The entry 'data' of {show(path)} is not an array of bytes [n, {_PIXELS}]; get the original file.",
        )
    if isinstance(labels, list) and all(type(label) is int and abs(label) < 2**62 for label in labels):
        labels = np.array(labels, dtype=np.int64)
    if not (isinstance(labels, np.ndarray) and labels.ndim == 1):
        raise DataError(
            "data-pickle-labels",
            f"The entry {kind.label_key!r} of {show(path)} is not a flat list of integers; get the original file.",
        )
    if len(labels) != len(pixels):
        raise DataError(
            "data-count-mismatch",
            f"{show(path)} has {len(pixels)} images and {len(labels)} labels; get the original file.",
        )
    return pixels, labels
