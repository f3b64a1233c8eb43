"""The IDX format of MNIST: a magic number, big-endian dimensions, bytes. Plain or gzipped, told by content."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.data.files import file_size, open_source, show, unreadable
from shattering.data.memory import require

_UINT8 = 0x08
_GZIP = b"\x1f\x8b"
_DEFLATE_LIMIT = 1032
"""The largest ratio by which deflate can expand."""


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Reads unsigned bytes with the given number of axes.

    Raises:
        DataError: wrong magic number, dimensions that the file cannot hold, a file too short, too long or damaged.
    """
    size = file_size(path)
    with open_source(path) as raw:
        zipped = raw.read(2) == _GZIP
        raw.seek(0)
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if zipped else raw
        try:
            return _read(stream, path, axes, size, zipped)
        except EOFError:
            raise DataError(
                "data-gzip-truncated", f"{show(path)} ends in the middle of its gzip stream; download it again."
            ) from None
        except (zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                "data-gzip-damaged", f"{show(path)} is damaged gzip ({error}); download it again."
            ) from None
        except OSError as error:
            raise unreadable(path, error) from None


def _read(stream: BinaryIO, path: Path, axes: int, size: int, zipped: bool) -> NDArray[np.uint8]:
    magic = stream.read(4)
    if magic != bytes([0, 0, _UINT8, axes]):
        raise DataError(
            "data-idx-magic",
            f"{show(path)} begins with 0x{magic.hex()}, not 0x{bytes([0, 0, _UINT8, axes]).hex()} (IDX, unsigned "
            f"bytes, {axes} {'axis' if axes == 1 else 'axes'}); check that it is the right file, or download it again.",
        )
    header = stream.read(4 * axes)
    if len(header) < 4 * axes:
        raise _short(path, 4 + 4 * axes, 4 + len(header))
    shape = struct.unpack(f">{axes}I", header)
    count, offset = math.prod(shape), 4 + 4 * axes
    if zipped and count > size * _DEFLATE_LIMIT:
        raise DataError(
            "data-idx-forged",
            f"{show(path)} declares the shape {shape} at offset 4, more than its {size} gzipped bytes can hold; "
            "download it again.",
        )
    if not zipped and size != offset + count:
        if size < offset + count:
            raise _short(path, offset + count, size)
        raise _long(path, offset + count)
    require(count, show(path))
    array = np.empty(count, dtype=np.uint8)
    filled = 0
    while filled < count:
        piece = stream.read(min(1 << 24, count - filled))
        if not piece:
            raise _short(path, offset + count, offset + filled)
        array[filled : filled + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
        filled += len(piece)
    if stream.read(1):
        raise _long(path, offset + count)
    return array.reshape(shape)


def _short(path: Path, expected: int, found: int) -> DataError:
    return DataError(
        "data-idx-truncated",
        f"{show(path)} declares {expected} bytes in its header and ends at offset {found}; download it again.",
    )


def _long(path: Path, expected: int) -> DataError:
    return DataError(
        "data-idx-longer",
        f"{show(path)} goes on after offset {expected}, where its header says it ends; download it again.",
    )
