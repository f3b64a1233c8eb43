"""NumPy archives, measured before they are unpacked and never unpickled."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.data.arrays import from_arrays
from shattering.data.dataset import Splits
from shattering.data.files import open_source, show
from shattering.data.memory import require

_NAMES = (("x_train", "y_train", "x_test", "y_test"), ("train_inputs", "train_labels", "test_inputs", "test_labels"))
_BESIDE = ("class_names", "divisor", "partial_test")
_RATIO = 1000
_RATIO_FROM = 1 << 24
"""Members above 16 MiB that expand more than a thousandfold are bombs: images and labels never come near."""


def read_npz(path: Path) -> Splits:
    """Reads ``x_train, y_train, x_test, y_test`` (or ``train_inputs, train_labels, …``); the test pair may be absent.

    ``class_names`` (text) and ``divisor`` (one number that inputs are divided by) may stand beside them, and
    ``partial_test``, with which the test split may lack classes.

    Raises:
        DataError: a damaged archive, an absent name, an object array, a header that disagrees with the member's size,
            a member that expands beyond reason, not enough memory, or what `from_arrays` refuses.
    """
    with _opened(path) as archive:
        members = _members(archive)
        names = _choose(members, path)
        arrays = _read(archive, members, (*names, *(name for name in _BESIDE if name in members)), path)
    classes = tuple(str(name) for name in arrays["class_names"].ravel()) if "class_names" in arrays else ()
    divisor = float(arrays["divisor"].ravel()[0]) if "divisor" in arrays else None
    return from_arrays(
        *(arrays[name] for name in names),
        name=show(path.stem),
        class_names=classes,
        divisor=divisor,
        partial_test="partial_test" in arrays,
    )


def read_npz_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an archive by name; raises as `read_npz` does for damaged, unsafe and too large ones."""
    with _opened(path) as archive:
        members = _members(archive)
        return _read(archive, members, tuple(members), path)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    with open_source(path) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise _damaged(path, error) from None
        with archive:
            yield archive


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {info.filename.removesuffix(".npy"): info for info in archive.infolist()}


def _read(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], names: tuple[str, ...], path: Path
) -> dict[str, NDArray[Any]]:
    require(sum(members[name].file_size for name in names), f"Reading {show(path)}")
    return {name: _read_member(archive, members[name], path) for name in names}


def _choose(members: dict[str, zipfile.ZipInfo], path: Path) -> tuple[str, ...]:
    for names in _NAMES:
        present = [name for name in names if name in members]
        if len(present) == 4 or present == list(names[:2]):
            return tuple(present)
        if present:
            lacking = next(name for name in names if name not in members)
            raise DataError(
                "data-npz-name", f"{show(path)} has {', '.join(present)} and no {lacking!r}; add that array."
            )
    found = ", ".join(show(name) for name in list(members)[:10]) or "nothing"
    raise DataError(
        "data-npz-name",
        f"{show(path)} holds {found}; name the arrays 'x_train', 'y_train' and, optionally, 'x_test', 'y_test'.",
    )


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> NDArray[Any]:
    place = f"{show(info.filename)} in {show(path)}"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        raise DataError(
            "data-npz-damaged", f"{place} is encrypted or packed in a way NumPy never uses; write it with np.savez."
        )
    if info.file_size > _RATIO_FROM and info.file_size > _RATIO * max(1, info.compress_size):
        raise DataError(
            "data-npz-bomb",
            f"{place} would expand {info.compress_size} bytes to {info.file_size}; write the archive again with "
            "np.savez if its contents are real.",
        )
    try:
        with archive.open(info) as opened:
            member = cast(BinaryIO, opened)
            shape, fortran, dtype = _header(member, place)
            declared = opened.tell() + math.prod(shape) * dtype.itemsize
            if declared != info.file_size:
                raise DataError(
                    "data-npz-size",
                    f"{place} declares shape {shape} of {dtype}, {declared} bytes with its header, and has "
                    f"{info.file_size}; write it again with np.savez.",
                )
            array = np.empty(math.prod(shape), dtype=dtype)
            view = array.view(np.uint8).data.cast("B") if array.nbytes else memoryview(b"")
            filled = 0
            while piece := member.read(1 << 20):
                view[filled : filled + len(piece)] = piece
                filled += len(piece)
            if filled != len(view):
                raise EOFError(f"{filled} of {len(view)} bytes")
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise _damaged(path, error) from None
    return array.reshape(shape, order="F" if fortran else "C")


def _header(member: BinaryIO, place: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    # The header is text from outside handed to a parser, which may raise nearly anything.
    try:
        version = npy.read_magic(member)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(member)
    except (zipfile.BadZipFile, zlib.error):
        raise
    except Exception as error:
        raise DataError(
            "data-npz-header",
            f"{place} has no valid array header ({show(str(error))[:80]}); write it again with np.savez.",
        ) from None
    if dtype.hasobject:
        raise DataError(
            "data-npz-object",
            f"{place} is an array of Python objects, which could run code when read; convert it with "
            "np.asarray(values, dtype=...) and save it again.",
        )
    if dtype.itemsize == 0 or dtype.kind not in "biufcSU" or any(size < 0 for size in shape):
        raise DataError("data-dtype", f"{place} is of type {dtype}; save numbers or, for labels, strings.")
    return shape, fortran, dtype


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        "data-npz-damaged",
        f"{show(path)} is not a sound .npz archive ({show(str(error))[:80]}); copy it again.",
    )
