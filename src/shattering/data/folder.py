"""Image folders: ``train/CLASS/image`` and ``test/CLASS/image`` (or ``val``), the layout of ImageNet."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shattering.core.errors import DataError
from shattering.data.cache import cached
from shattering.data.checks import Part, build_splits
from shattering.data.dataset import Splits
from shattering.data.files import odd_name, read_source, show
from shattering.data.images import conversion_notes, decode_images, read_header
from shattering.data.parts import Given

_FORMAT = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_OTHER_IMAGES = {".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".heic", ".avif", ".jp2"}
_TEST_NAMES = ("test", "val", "validation")
_SHOWN = 5


@dataclass(frozen=True)
class Listing:
    """The images of one split by class name, and what else lies there."""

    images: dict[str, list[Path]]
    others: int
    odd: int


def has_layout(root: Path) -> bool:
    """Whether ``root`` has a folder ``train``."""
    return (root / "train").is_dir()


@dataclass(frozen=True)
class Folder:
    """What an image folder holds, by split (``train``, ``test``); no image has been opened.

    Args:
        classes: the sorted names of the class folders.
        files: the images, class by class, each class in the order of their names.
        counts: how many images each class has.
        test_name: what the folder of the test split is called.
        others: files that are no images, by split.
        odd: file names with unprintable characters, by split.
    """

    classes: list[str]
    files: dict[str, list[Path]]
    counts: dict[str, list[int]]
    test_name: str
    others: dict[str, int]
    odd: dict[str, int]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out or looks odd, with counts."""
        others, odd = sum(self.others.values()), sum(self.odd.values())
        notes = []
        if others:
            notes.append(f"{others} files that are not images were left out")
        if odd:
            notes.append(f"{odd} file names have unprintable characters or blanks at their ends")
        return tuple(notes)


def list_folder(root: Path) -> Folder:
    """Lists an image folder and checks its layout.

    Raises:
        DataError: no test split, classes that differ between the splits, an empty class, a link that leaves the folder.
    """
    test_name = next((name for name in _TEST_NAMES if has_classes(root / name)), None)
    if test_name is None:
        raise DataError(
            "data-split-missing",
            f"{show(root)} has train but neither test nor val with one folder per class; add one of them.",
        )
    listings = {split: _list(root / name, root) for split, name in (("train", "train"), ("test", test_name))}
    classes = sorted(listings["train"].images)
    _check_same_classes(classes, sorted(listings["test"].images), root, test_name)
    return Folder(
        classes,
        {split: [path for name in classes for path in listing.images[name]] for split, listing in listings.items()},
        {split: [len(listing.images[name]) for name in classes] for split, listing in listings.items()},
        test_name,
        {split: listing.others for split, listing in listings.items()},
        {split: listing.odd for split, listing in listings.items()},
    )


def read_folder(root: Path) -> Splits:
    """Reads an image folder into memory; its name is the data set's, the classes are the sorted folder names.

    Raises:
        DataError: what `list_folder` refuses, images of several sizes, an image that cannot be read, or not enough
            memory.
    """
    folder = list_folder(root)
    classes, files, test_name = folder.classes, folder.files, folder.test_name

    def build() -> Splits:
        shape = _common_shape([*files["train"], *files["test"]], root)
        tally: Counter[str] = Counter()
        parts = []
        for split, counts in folder.counts.items():
            images, found = decode_images(_cells(files[split]), len(files[split]), shape=shape)
            tally += found
            labels = np.repeat(np.arange(len(classes), dtype=np.int64), counts)
            parts.append(Part(images, labels, show(root / (split if split == "train" else test_name))))
        notes = folder.notes + conversion_notes(tally)
        names = tuple(show(name) for name in classes)
        return build_splits(
            *parts, name=show(root.resolve().name), num_classes=len(names), class_names=names, notes=notes
        )

    # The counts of other files are part of the notes, so they are part of the key as well.
    counts = [(len(files[split]), folder.others[split], folder.odd[split]) for split in folder.files]
    return cached(f"folder {root.resolve().name} {test_name} {classes} {counts}", files["train"] + files["test"], build)


def read_class_folders(root: Path) -> Given:
    """Reads ``CLASS/image`` as one split.

    Raises:
        DataError: as `read_folder`.
    """
    listing = _list(root, root.resolve())
    classes = sorted(listing.images)
    files = [path for name in classes for path in listing.images[name]]
    images, tally = decode_images(_cells(files), len(files), shape=_common_shape(files, root))
    labels = np.repeat(np.arange(len(classes)), [len(listing.images[name]) for name in classes])
    left_out = (f"{listing.others} files that are not images were left out",) if listing.others else ()
    names = tuple(show(name) for name in classes)
    return Given((("", images),), labels, show(root), class_names=names, notes=left_out + conversion_notes(tally))


def has_classes(folder: Path) -> bool:
    """Whether ``folder`` is one that has folders."""
    return folder.is_dir() and any(entry.is_dir() for entry in folder.iterdir())


def _list(folder: Path, root: Path) -> Listing:
    home = root.resolve()
    images: dict[str, list[Path]] = {}
    others = odd = 0
    for entry in _entries(folder, home):
        if not entry.is_dir():
            others += 1
            continue
        odd += odd_name(entry.name)
        found = images[entry.name] = []
        for file in _entries(Path(entry.path), home):
            suffix = Path(file.name).suffix.lower()
            if file.is_dir():
                raise DataError(
                    "data-folder-nested",
                    f"{show(file.path)} is a folder inside a class folder; move its images up and remove it.",
                )
            if suffix in _OTHER_IMAGES:
                raise DataError("data-image-format", f"{show(file.path)} is neither PNG nor JPEG; convert it.")
            if suffix not in _FORMAT:
                others += 1
                continue
            odd += odd_name(file.name)
            found.append(Path(file.path))
        if not found:
            raise DataError(
                "data-class-empty",
                f"The class folder {show(entry.path)} has no image; add some or remove the folder.",
            )
    return Listing(images, others, odd)


def _entries(folder: Path, home: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError("data-unreadable", f"{show(folder)} cannot be listed ({error.strerror}).") from None
    for entry in entries:
        if entry.is_symlink():
            _check_link(Path(entry.path), home)
    return entries


def _check_link(link: Path, home: Path) -> None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        raise DataError(
            "data-link", f"{show(link)} is a link that leads nowhere or to itself; remove or replace it."
        ) from None
    if not target.is_relative_to(home):
        raise DataError(
            "data-link", f"{show(link)} is a link to {show(target)}, outside {show(home)}; copy the file instead."
        )
    if link.parent.resolve().is_relative_to(target):
        raise DataError("data-link", f"{show(link)} is a link to a folder that contains it, a loop; remove it.")


def _check_same_classes(train: list[str], test: list[str], root: Path, test_name: str) -> None:
    if not train:
        raise DataError("data-class-missing", f"{show(root / 'train')} has no class folder; add one folder per class.")
    for ours, theirs, split in ((train, test, test_name), (test, train, "train")):
        lacking = [name for name in ours if name not in theirs]
        if lacking:
            raise DataError(
                "data-class-missing",
                f"{show(root / split)} lacks the class folder {show(lacking[0])!r} ({len(lacking)} missing); "
                "both splits need the same classes, so add it there or remove it from the other.",
            )


def _common_shape(paths: list[Path], root: Path) -> tuple[int, int, int]:
    """The shape all images will have; grey ones become RGB where others are in colour."""
    sizes: Counter[tuple[int, int]] = Counter()
    channels = 1
    for path in paths:
        header = read_header(read_source(path), show(path))
        declared = _FORMAT[path.suffix.lower()]
        if header.format != declared:
            raise DataError(
                "data-image-extension",
                f"{show(path)} is named {path.suffix} and contains {header.format}; rename the file.",
            )
        sizes[header.height, header.width] += 1
        channels = max(channels, header.channels)
    if len(sizes) > 1:
        listed = ", ".join(f"{width} x {height} ({count})" for (height, width), count in sizes.most_common(_SHOWN))
        more = f" and {len(sizes) - _SHOWN} more" if len(sizes) > _SHOWN else ""
        raise DataError(
            "data-mixed-sizes", f"The images of {show(root)} have several sizes: {listed}{more}; resize them to one."
        )
    ((height, width),) = sizes
    return height, width, channels


def _cells(paths: list[Path]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        yield show(path), read_source(path)
