"""The permutations of `Stream.permutation` in compiled code: the same bits, in the time of a few updates."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.training.steppers.compiled_products import entry, kernel, sources


@kernel
def _philox(low_seed: Any, high_seed: Any, purpose: Any, low_index: Any, high_index: Any, keys: Any) -> None:
    """Philox4x32-10 (Salmon et al., 2011): the words of block after block; see `core/philox.py`."""
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for block in range(len(keys) // 4):
        c0, c1, c2, c3 = np.uint64(block), low_index, high_index, purpose
        k0, k1 = low_seed, high_seed
        for _ in range(10):
            low, high = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
            c0, c1, c2, c3 = (high >> half) ^ c1 ^ k0, high & mask, (low >> half) ^ c3 ^ k1, low & mask
            k0, k1 = (k0 + np.uint64(0x9E3779B9)) & mask, (k1 + np.uint64(0xBB67AE85)) & mask
        keys[4 * block], keys[4 * block + 1], keys[4 * block + 2], keys[4 * block + 3] = c0, c1, c2, c3


@kernel
def _permutation(low_seed: Any, high_seed: Any, purpose: Any, low_index: Any, high_index: Any, size: int) -> Any:
    """Sorts positions by their keys, byte by byte from the lowest, which leaves equal keys in their order."""
    keys, other_keys = np.empty((size + 3) // 4 * 4, np.uint32), np.empty(size, np.uint32)
    _philox(low_seed, high_seed, purpose, low_index, high_index, keys)
    places, other_places = np.empty(size, np.int64), np.empty(size, np.int64)
    counts = np.zeros((4, 256), np.int64)
    for j in range(size):
        places[j] = j
        for digit in range(4):
            counts[digit, (keys[j] >> np.uint32(8 * digit)) & np.uint32(255)] += 1
    for digit in range(4):
        begin = 0
        for value in range(256):
            count = counts[digit, value]
            counts[digit, value] = begin
            begin += count
        for j in range(size):
            key = keys[j]
            value = (key >> np.uint32(8 * digit)) & np.uint32(255)
            at = counts[digit, value]
            counts[digit, value] = at + 1
            other_keys[at], other_places[at] = key, places[j]
        keys, other_keys, places, other_places = other_keys, keys, other_places, places
    return places


def _entry(stamp: int) -> Callable[..., NDArray[np.int64]]:
    @entry
    def permuted(*arguments: Any) -> NDArray[np.int64]:
        places: NDArray[np.int64] = _permutation(*arguments)
        return places if stamp >= 0 else places[:0]

    return permuted


_permuted = _entry(sources())


def permutation(seed: int, purpose: str, size: int, index: int = 0) -> NDArray[np.int64]:
    """``Stream(seed, purpose).permutation(size, index)``, to the bit.

    Args:
        seed: integer in [0, 2⁶⁴).
        purpose: of the stream.
        size: positions, below 2³².
        index: which permutation.
    """
    words = (seed & 0xFFFFFFFF, seed >> 32, zlib.crc32(purpose.encode()), index & 0xFFFFFFFF, index >> 32)
    return _permuted(*(np.uint64(word) for word in words), size)
