"""Noise in place of images."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.core.streams import NORMAL_ONE, Stream
from shattering.corruptions.pixels import CHUNK
from shattering.corruptions.registry import corruption, replace_inputs
from shattering.data.dataset import Dataset, Moments


@corruption(paper="Zhang et al. (2017), Section 2.1", changes="inputs", test_set="drawn anew")
def gaussian(dataset: Dataset, stream: Callable[[str], Stream]) -> Dataset:
    """Replaces every image by Gaussian noise with the mean and variance of the original training images.

    Mean and variance are matched per channel (the paper does not say: per channel or over all), before whitening, and
    come from the whole original training split. Value v of image i uses the v-th normal number of the stream
    ``gaussian`` (``gaussian/test`` for test images) at index i, values in the order row, column, channel.

    For integer pixels all arithmetic is in integers, with S the sum, Q the sum of squares and N the count of a channel:
    ``mean = (S · 2¹⁶) // N``, ``deviation = isqrt(((N · Q - S²) · 2³²) // N²)`` and, with z the normal number in units
    of 1/4096, ``value = (mean · 4096 + deviation · z + 2²⁷) >> 28``: rounded to whole pixel units and not clipped,
    int16.
    """
    if dataset.moments is None:
        raise DataError("data-no-moments", f"{dataset.name}: the moments of the training split are not set.")
    draws = stream("gaussian" if dataset.split == "train" else "gaussian/test")
    integral = bool(np.issubdtype(dataset.inputs.dtype, np.integer))
    noise = np.empty(dataset.inputs.shape, dtype=np.int16 if integral else dataset.inputs.dtype)
    channels = len(dataset.moments.total)
    flat = noise.reshape(len(dataset), -1, channels)
    for start in range(0, len(dataset), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(dataset)))
        normals = draws.normals(dataset.source_indices[rows], flat[0].size).reshape(len(rows), -1, channels)
        flat[rows] = _integers(normals, dataset.moments) if integral else _floats(normals, dataset.moments)
    return replace_inputs(dataset, noise)


def _integers(normals: NDArray[np.int32], moments: Moments) -> NDArray[Any]:
    count = moments.count
    sums = [(int(total), int(squares)) for total, squares in zip(moments.total, moments.squares, strict=True)]
    means = np.array([(total << 16) // count for total, _ in sums], dtype=np.int64)
    deviations = np.array(
        [isqrt(((count * squares - total * total) << 32) // (count * count)) for total, squares in sums], dtype=np.int64
    )
    return (means * NORMAL_ONE + deviations * normals.astype(np.int64) + (1 << 27)) >> 28


def _floats(normals: NDArray[np.int32], moments: Moments) -> NDArray[Any]:
    means = np.array(moments.total) / moments.count
    variances = np.maximum(np.array(moments.squares) / moments.count - means**2, 0.0)
    return means + np.sqrt(variances) * (normals / NORMAL_ONE)
