"""Images that stay on the disk: each is decoded when it is asked for, cut to a square, and forgotten."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.core.streams import Stream
from shattering.data.files import read_source, show, source_digest
from shattering.data.images import decode_image

if TYPE_CHECKING:
    from PIL.Image import Image

NOMINAL_SIDE = 299
"""Side that images are shown with where no run has said another."""

CENTRAL = 0.875
"""Part of the shorter side that an evaluation looks at."""

AREA = (0.08, 1.0)
"""Least and largest part of an image that a random crop takes."""

ASPECT = (3 / 4, 4 / 3)
"""Least and largest ratio of width to height of a random crop."""

TRIES = 10
"""Boxes drawn for a random crop before the centre is taken: one that leaves the image does not count."""

PURPOSE = "augmentation"
"""The stream that crops and flips are drawn from."""


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Stands where the array ``[n, side, side, 3]`` of a split's images would, and holds the paths alone.

    Args:
        root: the data set's folder.
        names: bytes ``[n]``, paths below it.
        digest: SHA-256 of what identifies the files.
        side: of the square that an image is brought to, pixels.
    """

    root: Path
    names: NDArray[np.bytes_]
    digest: str
    side: int = NOMINAL_SIDE

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """What the array's would be."""
        return len(self), self.side, self.side, 3

    @property
    def nbytes(self) -> int:
        """Memory that the paths take."""
        return int(self.names.nbytes)

    def __getitem__(self, rows: Any) -> Any:
        """An array or slice of rows gives those files; a single row its image, as an evaluation sees it."""
        if isinstance(rows, int | np.integer):
            return self.central(int(rows))
        return replace(self, names=self.names[rows])

    def __array__(self, *_: object, **__: object) -> NDArray[Any]:
        raise DataError(
            "data-streamed",
            f"The images of {show(self.root)} are read from the disk one by one and cannot be had all at once; "
            "use a set that fits into memory, or what changes labels only.",
        )

    def brought_to(self, side: int) -> ImageFiles:
        """The same files, brought to squares of another side."""
        return replace(self, side=side)

    def path(self, row: int) -> Path:
        """Where an image lies."""
        return self.root / os.fsdecode(bytes(self.names[row]))

    def central(self, row: int) -> NDArray[np.uint8]:
        """The middle square, 87.5% of the shorter side, brought to ``[side, side, 3]``.

        Raises:
            DataError: the file is missing, no PNG or JPEG, damaged, or too large.
        """
        image = self._decoded(row)
        side = CENTRAL * min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        return self._resized(image, (left, top, left + side, top + side))

    def cropped(self, row: int, words: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """A random crop, flipped left to right with probability ½, brought to ``[side, side, 3]``.

        Szegedy et al. (2015), Section 6: a box whose area is uniform in 8% … 100% of the image's and whose aspect ratio
        lies in 3/4 … 4/3 (here uniform in its logarithm).

        Args:
            row: of the image.
            words: of `crop_words`.

        Raises:
            DataError: as `central`.
        """
        image = self._decoded(row)
        pixels = self._resized(image, _box(image.width, image.height, words))
        return np.ascontiguousarray(pixels[:, ::-1]) if words[4 * TRIES] & 1 else pixels

    def _decoded(self, row: int) -> Image:
        from PIL import Image

        path = self.path(row)
        pixels, _ = decode_image(read_source(path), show(path), channels=3, cmyk=True)
        return Image.fromarray(pixels)

    def _resized(self, image: Image, box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
        from PIL import Image

        return np.asarray(image.resize((self.side, self.side), Image.Resampling.BILINEAR, box=box))


def crop_words(seed: int, epoch: int, sources: NDArray[np.int64]) -> NDArray[np.uint32]:
    """What the crops and flips of an epoch are made of, uint32 ``[b, 4·TRIES + 4]``.

    Image i of the whole training split has, in epoch e, the stream ``augmentation`` at index ``e · 2³² + i``: block t
    gives the t-th box (area, aspect ratio, column, row, each a 32-bit fraction), and the lowest bit of the block after
    the last decides the flip. So a crop depends on nothing but the seed, the epoch and the file.

    Args:
        seed: of the stream.
        epoch: passes begun before this one.
        sources: where each image stands in the whole training split.
    """
    indices = (np.uint64(epoch) << np.uint64(32)) | sources.astype(np.uint64)
    return Stream(seed, PURPOSE).words(indices, blocks=TRIES + 1)


def _box(width: int, height: int, words: NDArray[np.uint32]) -> tuple[int, int, int, int]:
    for attempt in range(TRIES):
        area, aspect, column, row = (int(word) / 2**32 for word in words[4 * attempt : 4 * attempt + 4])
        wanted = width * height * (AREA[0] + area * (AREA[1] - AREA[0]))
        low, high = map(math.log, ASPECT)
        ratio = math.exp(low + aspect * (high - low))
        wide, tall = round(math.sqrt(wanted * ratio)), round(math.sqrt(wanted / ratio))
        if 0 < wide <= width and 0 < tall <= height:
            left, top = int(column * (width - wide + 1)), int(row * (height - tall + 1))
            return left, top, left + wide, top + tall
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def names_of(files: list[Path], root: Path) -> NDArray[np.bytes_]:
    """Paths below ``root`` as bytes, which takes a tenth of the memory of path objects."""
    start = len(os.fsencode(root)) + 1
    return np.array([os.fsencode(file)[start:] for file in files], dtype=np.bytes_)


def digest_of(names: NDArray[np.bytes_], sizes: list[int], contents: list[Path] | None) -> str:
    """SHA-256 over paths below the root and sizes in bytes, in order; over the contents of the files where given."""
    digest = hashlib.sha256(f"{len(names)} {contents is not None}".encode())
    for row, (name, size) in enumerate(zip(names, sizes, strict=True)):
        digest.update(b"\0%s\0%d\0" % (bytes(name), size))
        digest.update(source_digest(contents[row]) if contents is not None else b"")
    return digest.hexdigest()
