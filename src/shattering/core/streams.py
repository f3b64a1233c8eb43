"""Named, independent random streams, the same bits on every platform and library version.

Every random choice of a run comes from ``Stream(seed, purpose)``. The mapping, which a second implementation can follow
from this text alone (all integers unsigned, ``>>`` and ``//`` as in C):

* key of Philox4x32-10: ``(seed mod 2³², seed >> 32)``;
* counter: ``(block, index mod 2³², index >> 32, CRC-32 of the purpose's name in UTF-8)``;
* ``index`` says which thing is drawn for (an example, an epoch, a step), ``block`` counts the draws made for it;
* a uniform class in ``0 … k-1`` from a word ``w`` is ``(w · k) >> 32`` (bias below ``k / 2³²``);
* an event of probability ``p`` happens where ``w < floor(p · 2³²)``, so ``p = 1`` is certain and ``p = 0`` impossible,
  and the events of a smaller ``p`` are a subset of those of a larger one;
* a permutation of ``m`` positions for an index: position ``j`` has the key word ``j mod 4`` of block ``j // 4``;
  positions are sorted by (key, position), and the sorted positions are the permutation;
* a standard normal number from 16 bits ``u``: ``NORMAL_TABLE[u] / 4096``, with
  ``NORMAL_TABLE[u] = round(4096 · Φ⁻¹((u + ½) / 65536))``; each word gives two, low half first.
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shattering.core.philox import Words, philox4x32

NORMAL_ONE = 4096
"""The integer that stands for 1.0 in ``NORMAL_TABLE``."""


@dataclass(frozen=True)
class Stream:
    """A random stream: a pure function of (seed, purpose, index, block).

    Args:
        seed: integer in [0, 2⁶⁴).
        purpose: what is drawn, such as ``"labels"`` or ``"order"``; streams of different purposes are independent.
    """

    seed: int
    purpose: str

    def words(self, indices: NDArray[np.integer] | int, blocks: int = 1, first_block: int = 0) -> Words:
        """The raw words: uint32 of shape ``[len(indices), 4 · blocks]``, or ``[4 · blocks]`` for one index."""
        index = np.asarray(indices, dtype=np.uint64)[..., None]
        counter = (
            np.arange(first_block, first_block + blocks, dtype=np.uint32),
            (index & np.uint64(0xFFFFFFFF)).astype(np.uint32),
            (index >> np.uint64(32)).astype(np.uint32),
            np.asarray(zlib.crc32(self.purpose.encode()), dtype=np.uint32),
        )
        words = philox4x32(counter, (self.seed & 0xFFFFFFFF, self.seed >> 32))
        return words.reshape(*words.shape[:-2], 4 * blocks)

    def permutations(self, indices: NDArray[np.integer], size: int) -> NDArray[np.int64]:
        """One permutation of ``0 … size-1`` per index, shape ``[len(indices), size]``."""
        keys = self.words(indices, blocks=-(-size // 4))[:, :size].astype(np.uint64)
        # Key above, position below: one integer sort gives the order and breaks ties by position.
        tagged = (keys << np.uint64(32)) | np.arange(size, dtype=np.uint64)
        tagged.sort(axis=-1)
        order: NDArray[np.int64] = (tagged & np.uint64(0xFFFFFFFF)).astype(np.int64)
        return order

    def permutation(self, size: int, index: int = 0) -> NDArray[np.int64]:
        """A permutation of ``0 … size-1``, shape ``[size]``."""
        order: NDArray[np.int64] = self.permutations(np.array([index]), size)[0]
        return order

    def normals(self, indices: NDArray[np.integer], size: int) -> NDArray[np.int32]:
        """Standard normal numbers times ``NORMAL_ONE``, int32 of shape ``[len(indices), size]``; extremes ±17,715."""
        words = self.words(indices, blocks=-(-size // 8))
        halves = np.stack([words & np.uint32(0xFFFF), words >> np.uint32(16)], axis=-1)
        return normal_table()[halves.reshape(len(words), -1)[:, :size]]

    def integer(self, index: int = 0) -> int:
        """A 63-bit integer, to seed a generator that is not ours (initialisation, dropout)."""
        low, high = (int(word) for word in self.words(index)[:2])
        return ((high << 32) | low) & 0x7FFFFFFFFFFFFFFF


def uniform_classes(words: Words, num_classes: int) -> NDArray[np.int64]:
    """Maps words to classes ``0 … num_classes-1`` by multiply and shift."""
    return ((words.astype(np.uint64) * np.uint64(num_classes)) >> np.uint64(32)).astype(np.int64)


def events(words: Words, probability: float) -> NDArray[np.bool_]:
    """Where an event of the given probability happens; exact, since scaling by 2³² only moves the exponent."""
    return words.astype(np.uint64) < np.uint64(int(probability * 2**32))


@functools.cache
def normal_table() -> NDArray[np.int32]:
    """The 65,536 normal quantiles in units of 1/4096, symmetric by construction."""
    from statistics import NormalDist

    inverse = NormalDist().inv_cdf
    upper = [round(NORMAL_ONE * inverse((u + 0.5) / 65536)) for u in range(32768, 65536)]
    return np.array([-value for value in reversed(upper)] + upper, dtype=np.int32)
