"""From stored pixels to what a network is given, as Zhang et al. (2017), appendix, prepare CIFAR-10."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import SpecError
from shattering.data.checks import frozen
from shattering.data.dataset import Dataset

_CHUNK_VALUES = 1 << 17


def centre_crop(dataset: Dataset, side: int) -> Dataset:
    """The middle ``side`` x ``side`` pixels of every image: rows and columns 2 … 29 for 32 to 28.

    An odd margin leaves the extra row below and the extra column on the right. Moments stay those of the whole images.

    Raises:
        SpecError: the inputs are not images, or are smaller than ``side``.
    """
    if not dataset.is_image:
        raise SpecError("crop-not-images", f"{dataset.name} has no images to crop; leave the crop out.")
    height, width = dataset.inputs.shape[1:3]
    if not 0 < side <= min(height, width):
        raise SpecError("crop-size", f"A crop of {side} does not fit {dataset.name} ({height} x {width}); choose less.")
    top, left = (height - side) // 2, (width - side) // 2
    return replace(dataset, inputs=frozen(dataset.inputs[:, top : top + side, left : left + side]))


def whiten(inputs: NDArray[Any], divisor: float) -> NDArray[np.float32]:
    """Gives every example mean 0 and standard deviation 1.

    With ``x = inputs / divisor``, ``N`` values in an example and mean and population deviation over all of them,
    channels together: ``(x - mean) / max(deviation, 1 / sqrt(N))``. Source: Zhang et al. (2017), appendix ("per image
    whitening"). Integers are summed exactly, so the result does not depend on the order of the pixels, nor on the
    platform, by a single bit: it is ``(N·v - S) / max(sqrt(N·Q - S²), divisor·sqrt(N))`` for the stored value ``v`` and
    the sums ``S`` of values and ``Q`` of squares.

    Args:
        inputs: ``[n, …]`` integers or floats.
        divisor: the value that stands for 1.

    Returns:
        float32 of the same shape; all zero for an example of one value.
    """
    result = np.empty(inputs.shape, dtype=np.float32)
    exact = inputs.dtype.kind in "biu"
    for rows, block in _blocks(inputs):
        result[rows] = (_whiten_exactly if exact else _whiten_floats)(block, divisor).reshape(result[rows].shape)
    return result


def scale(inputs: NDArray[Any], divisor: float) -> NDArray[np.float32]:
    """``inputs / divisor`` in float32, divided in float64; bytes over 255 lie in 0 … 1."""
    result = np.empty(inputs.shape, dtype=np.float32)
    for rows, block in _blocks(inputs):
        result[rows] = (block.astype(np.float64) / divisor).reshape(result[rows].shape)
    return result


def _blocks(inputs: NDArray[Any]) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Consecutive examples as rows of values, few enough that temporaries stay in the cache."""
    size = int(np.prod(inputs.shape[1:]))
    step = max(1, _CHUNK_VALUES // max(1, size))
    for start in range(0, len(inputs), step):
        rows = slice(start, start + step)
        yield rows, inputs[rows].reshape(-1, size)


def _whiten_exactly(block: NDArray[Any], divisor: float) -> NDArray[np.float64]:
    size = block.shape[1]
    largest = max(abs(int(block.max(initial=0))), abs(int(block.min(initial=0))))
    # N·Q and S² are at most (N·largest)². Float64 holds integers to 2⁵³ exactly and is fastest; beyond come int64 and,
    # past 63 bits, Python's integers. All three give the same bits.
    bound = 2 * (size * largest) ** 2
    wide: NDArray[Any] = block.astype(np.float64 if bound < 2**53 else np.int64 if bound < 2**63 else object)
    total = wide.sum(axis=1, keepdims=True)
    squares = (wide * wide).sum(axis=1, keepdims=True)
    spread = np.sqrt((size * squares - total * total).astype(np.float64))
    wide *= size
    wide -= total
    centred: NDArray[np.float64] = wide.astype(np.float64, copy=False)
    centred /= np.maximum(spread, divisor * np.sqrt(np.float64(size)))
    return centred


def _whiten_floats(block: NDArray[Any], divisor: float) -> NDArray[np.float64]:
    values = block.astype(np.float64) / divisor
    centred = values - values.mean(axis=1, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(axis=1, keepdims=True))
    return centred / np.maximum(deviation, 1 / np.sqrt(np.float64(block.shape[1])))  # type: ignore[no-any-return]
