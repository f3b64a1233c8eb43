"""Labels somebody else gave, such as noisy human annotations."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.core.streams import Stream
from shattering.corruptions.registry import corruption, relabel
from shattering.data.dataset import Dataset


@corruption(paper="Wei et al. (2022), human label noise", changes="labels", test_set="untouched")
def label_file(dataset: Dataset, stream: Callable[[str], Stream], *, path: str, sha256: str = "") -> Dataset:
    """Replaces the training labels by those of a file: one whole number per line, or a one-dimensional ``.npy`` array.

    The file's SHA-256 belongs to the run's identity: the planner fills it in, and a file that changed since is refused.
    The labels stand in the order of the full training split; a subset takes those of its own examples.

    Args:
        dataset: a training split.
        stream: unused; nothing is random.
        path: the file.
        sha256: what the file must hash to; empty: anything.

    Raises:
        DataError: file missing, changed, not numbers, of the wrong length, or with labels out of range.
    """
    contents = read_label_file(path)
    if sha256 and hashlib.sha256(contents).hexdigest() != sha256:
        raise DataError("label-file-changed", f"{path} has changed since the run was planned; restore it or plan anew.")
    labels = _parse(path, contents)
    if dataset.source_size != len(labels):
        raise DataError(
            "label-file-length",
            f"{path} holds {len(labels)} labels, the training split {dataset.source_size} examples; give one a line.",
        )
    if labels.min() < 0 or labels.max() >= dataset.num_classes:
        worst = int(np.argmax((labels < 0) | (labels >= dataset.num_classes)))
        raise DataError(
            "label-file-range",
            f"{path}: label {labels[worst]} at line {worst + 1} is outside 0 to {dataset.num_classes - 1}; mend it.",
        )
    return relabel(dataset, labels[dataset.source_indices])


def read_label_file(path: str) -> bytes:
    """The file's bytes; raises `DataError` where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError("label-file-missing", f"{path} cannot be read ({error.strerror}); check the path.") from None


def _parse(path: str, contents: bytes) -> NDArray[np.int64]:
    try:
        # From the bytes that were hashed: the file itself may have changed since.
        labels = _array(contents) if contents.startswith(b"\x93NUMPY") else [int(line) for line in contents.split()]
        return np.array(labels, dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(
            "label-file-format", f"{path} is not a list of whole numbers ({str(error)[:80]}); write one label per line."
        ) from None


def _array(contents: bytes) -> NDArray[np.integer]:
    # The header is text from outside handed to a parser, which may raise nearly anything.
    try:
        array = np.load(io.BytesIO(contents), allow_pickle=False)
    except Exception as error:
        raise ValueError(error) from None
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"an array of {array.dtype} with shape {array.shape}")
    return array  # type: ignore[no-any-return]
