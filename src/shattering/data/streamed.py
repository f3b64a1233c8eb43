"""A folder of images of any size and number, left on the disk: what is in memory are paths and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.data.dataset import Dataset, Split, Splits
from shattering.data.files import show, unreadable
from shattering.data.folder import list_folder
from shattering.data.image_files import ImageFiles, digest_of, names_of

SMALL_BYTES = 64 << 20
"""A folder of no more is identified by the contents of its files, a larger one by their paths and sizes."""


def stream_folder(root: Path, name: str | None = None) -> Splits:
    """Lists ``train/CLASS/image`` and ``val/CLASS/image`` (or ``test``); no image is opened.

    Labels are the classes in sorted order, one for each file, so a corruption draws once for each file and its draw
    holds for all epochs.

    Args:
        root: the folder.
        name: of the data set; none: the folder's.

    Raises:
        DataError: no test split, classes that differ between the splits, an empty class, a link that leaves the folder.
    """
    folder = list_folder(root)
    names = {split: names_of(files, root) for split, files in folder.files.items()}
    sizes = {split: _sizes(files) for split, files in folder.files.items()}
    total = sum(map(sum, sizes.values()))
    notes = [*folder.notes, *_digest_notes(total)]
    parts = {}
    for split, files in folder.files.items():
        if len(files) < (least := 2 if split == "train" else 1):
            raise DataError(
                "data-too-few", f"{show(root)} has {len(files)} {split} images; at least {least} are needed, add some."
            )
        digest = digest_of(names[split], sizes[split], files if total <= SMALL_BYTES else None)
        labels = np.repeat(np.arange(len(folder.classes), dtype=np.int64), folder.counts[split])
        parts[split] = Dataset(
            # Array-like as far as a data set asks: rows are taken from it, and its shape is looked at.
            inputs=cast("NDArray[Any]", ImageFiles(root, names[split], digest)),
            labels=labels,
            num_classes=len(folder.classes),
            name=name or show(root.resolve().name),
            split=cast("Split", split),
            class_names=tuple(show(each) for each in folder.classes),
            notes=tuple(notes),
        )
    if len(folder.classes) < 2:
        raise DataError(
            "data-one-class", f"{show(root)} has one class folder; a classifier needs at least two classes, add one."
        )
    return Splits(parts["train"], parts["test"])


def _sizes(files: list[Path]) -> list[int]:
    sizes = []
    for path in files:
        try:
            sizes.append(path.stat().st_size)
        except OSError as error:
            raise unreadable(path, error) from None
    return sizes


def _digest_notes(total: int) -> list[str]:
    how = "contents of its files" if total <= SMALL_BYTES else "paths and sizes of its files, not their contents"
    return [f"images are read from the disk as they are needed; the data set is identified by the {how}"]
