"""Splits written where worker processes load them from."""

from __future__ import annotations

import io as memory
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from shattering.core import io
from shattering.core.errors import DataError
from shattering.data.dataset import Splits
from shattering.data.load import load_data


def hand_over(splits: Splits, folder: Path) -> Path:
    """Writes splits where worker processes load them from, unless they are there; returns the path.

    `load_data` gives splits of the same fingerprint from it. The arrays are not copied on the way.

    Raises:
        StoreError: the folder cannot be written to.
    """
    path = folder / f"data-{splits.fingerprint[:16]}.npz"
    if path.is_file():
        try:
            if load_data(str(path)).fingerprint == splits.fingerprint:
                return path
        except DataError:
            pass  # damaged: written again below
    train, test = splits.train, splits.test
    arrays = {"x_train": train.inputs, "y_train": train.labels, "x_test": test.inputs, "y_test": test.labels}
    arrays["divisor"] = np.array([train.divisor])
    if train.class_names:
        arrays["class_names"] = np.array(train.class_names)
    if len(np.unique(test.labels)) < test.num_classes:
        arrays["partial_test"] = np.array([True])
    io.write_file(path, _archive(arrays))
    return path


class _Pieces:
    """A file that is only written to: it keeps what it is given, uncopied."""

    def __init__(self) -> None:
        self.parts: list[io.Payload] = []

    def write(self, data: Any) -> int:
        self.parts.append(data)
        return memoryview(data).nbytes

    def flush(self) -> None:
        pass


def _archive(arrays: Mapping[str, NDArray[Any]]) -> io.Parts:
    """An ``.npz`` archive, uncompressed, in pieces; the same arrays give the same bytes."""
    pieces = _Pieces()
    with zipfile.ZipFile(cast("Any", pieces), "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            header = memory.BytesIO()
            whole = np.ascontiguousarray(array)
            np.lib.format.write_array_header_2_0(header, np.lib.format.header_data_from_array_1_0(whole))
            large = whole.nbytes > 2**31 - 2**16
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=large) as member:
                member.write(header.getvalue())
                member.write(whole.view(np.uint8).reshape(-1).data if whole.nbytes else b"")
    return tuple(pieces.parts)
