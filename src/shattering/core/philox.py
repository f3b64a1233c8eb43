"""Philox4x32-10, a counter-based generator made of integer arithmetic alone.

Source: Salmon, Moraes, Dror, Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3". Written out here because
NumPy promises its own streams for one build only, and because anybody can re-implement these twenty lines and get the
same bits on any machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox4x32(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> Words:
    """Applies the ten rounds to every counter.

    Args:
        counter: four arrays of uint32 that broadcast against one another to shape ``[…]``.
        key: two integers in [0, 2³²).

    Returns:
        uint32 of shape ``[…, 4]``: the four output words of each counter.
    """
    c0, c1, c2, c3 = (np.asarray(part, dtype=np.uint64) for part in np.broadcast_arrays(*counter))
    k0, k1 = key
    for _ in range(10):
        low, high = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (high >> _HALF) ^ c1 ^ np.uint64(k0),
            high & _MASK,
            (low >> _HALF) ^ c3 ^ np.uint64(k1),
            low & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)
