"""Examples that are there more than once: exact copies by hash, near ones by distance."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.streams import Stream
from shattering.data.checks import comparable
from shattering.data.dataset import Dataset, Splits

CLOSE = 0.1
"""Two images are near-copies where their distance is at most this part of their distances to the mean image."""

MOST_PRODUCTS = 4_000_000_000
"""Multiplications that the search for near-copies may take, a second or so."""

_BLOCK = 512


@dataclass(frozen=True, eq=False)
class Copies:
    """Exact copies.

    Args:
        groups: for each input that is there more than once in both splits together, its places in the training split
            and those in the test split, as positions in the arrays.
        train, test: bool, whether an example is a copy of another one of its own split (the first one included).
        contaminated: bool, test examples whose input is in the training split too.
    """

    groups: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]
    contaminated: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class NearCopies:
    """Test images close to a training image without being equal to it.

    Args:
        test, train: positions of the pairs, the closest first, each test image once.
        distance: relative, in (0, `CLOSE`].
        looked_at: test and training examples that were compared.
    """

    test: NDArray[np.int64]
    train: NDArray[np.int64]
    distance: NDArray[np.float64]
    looked_at: tuple[int, int]


def exact_copies(splits: Splits) -> Copies:
    """Groups equal inputs by their 128-bit hash, over both splits; a false match has odds below 1 in 10²⁵."""
    places: dict[bytes, tuple[list[int], list[int]]] = {}
    for side, dataset in enumerate((splits.train, splits.test)):
        for position, row in enumerate(dataset.inputs):
            digest = hashlib.blake2b(np.ascontiguousarray(comparable(row)).tobytes(), digest_size=16).digest()
            places.setdefault(digest, ([], []))[side].append(position)
    several = [pair for pair in places.values() if len(pair[0]) + len(pair[1]) > 1]
    train = np.zeros(len(splits.train), dtype=np.bool_)
    test, contaminated = (np.zeros(len(splits.test), dtype=np.bool_) for _ in range(2))
    for ours, theirs in several:
        if len(ours) > 1:
            train[ours] = True
        if len(theirs) > 1:
            test[theirs] = True
        if ours:
            contaminated[theirs] = True
    groups = tuple((np.array(ours, np.int64), np.array(theirs, np.int64)) for ours, theirs in several)
    return Copies(groups, train, test, contaminated)


def near_copies(splits: Splits, copies: Copies) -> NearCopies | None:
    """Test images that lie close to a training image: ‖x - x'‖ ≤ 0.1 √(‖x - μ‖ ‖x' - μ‖), μ the mean training image.

    Where all pairs would take too long, a random part of both splits is compared (stream ``near-copies``). Exact copies
    are left out.

    Returns:
        None where inputs are not images in memory.
    """
    train, test = splits.train, splits.test
    if not train.is_image or train.files is not None:
        return None
    share = math.sqrt(min(1.0, MOST_PRODUCTS / (len(train) * len(test) * train.inputs[0].size)))
    ours, theirs = (_part(dataset, share, index) for index, dataset in enumerate((train, test)))
    mean = train.inputs.reshape(len(train), -1).mean(axis=0, dtype=np.float64).astype(np.float32)
    left, left_norms = _centred(train, ours, mean)
    theirs = theirs[~copies.contaminated[theirs]]
    found: list[tuple[float, int, int]] = []
    for start in range(0, len(theirs), _BLOCK):
        rows = theirs[start : start + _BLOCK]
        right, right_norms = _centred(test, rows, mean)
        squared = right_norms[:, None] ** 2 + left_norms[None, :] ** 2 - 2 * (right @ left.T)
        relative = np.maximum(squared, 0.0) / np.maximum(right_norms[:, None] * left_norms[None, :], 1e-12)
        nearest = relative.argmin(axis=1)
        for row, place in enumerate(nearest):
            if relative[row, place] <= CLOSE**2:
                found.append((math.sqrt(float(relative[row, place])), int(rows[row]), int(ours[place])))
    found.sort()
    columns = list(zip(*found, strict=True)) if found else [(), (), ()]
    return NearCopies(
        np.array(columns[1], np.int64), np.array(columns[2], np.int64), np.array(columns[0], np.float64),
        (len(theirs), len(ours)),
    )  # fmt: skip


def _part(dataset: Dataset, share: float, index: int) -> NDArray[np.int64]:
    count = max(1, int(share * len(dataset)))
    if count >= len(dataset):
        return np.arange(len(dataset))
    return np.sort(Stream(0, "near-copies").permutation(len(dataset), index)[:count])


def _centred(
    dataset: Dataset, rows: NDArray[np.int64], mean: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    flat = dataset.inputs[rows].reshape(len(rows), -1).astype(np.float32) - mean
    return flat, np.sqrt(np.einsum("ij,ij->i", flat, flat, dtype=np.float64)).astype(np.float32)
