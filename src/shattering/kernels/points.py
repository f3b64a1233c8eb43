"""Points and their inner products, to the last digit of float64, in float32 arithmetic wherever that is exact.

The inner product of integers is exact in float32 as long as no partial sum leaves ±2²⁴, in whatever order it is summed.
Bytes of images are integers; moved to a middle value, 784 of them stay below that, and more are summed in groups of
features. Matrix products of float32 take half the time of float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DIVISORS = (1, 255, 16)
"""Scales at which inputs are looked for on a grid of integers: as they are, bytes of images, pixels of the digits."""

EXACT_IN_FLOAT32 = 2**24
NUMBERS_AT_ONCE = 2**22


def _chunks(inputs: NDArray[Any]) -> Iterator[slice]:
    """Rows to work on at a time, so that what is made of them stays small."""
    height = max(1, NUMBERS_AT_ONCE // max(1, inputs.shape[1]))
    return (slice(start, start + height) for start in range(0, len(inputs), height))


@dataclass(frozen=True, eq=False)
class Frame:
    """How inputs become coordinates: minus ``centre``, and on a grid of integers or not.

    Args:
        centre: float64 ``[features]``, subtracted; on a grid in steps of it.
        divisor: the inputs are integers over this number; 0 where they are not.
        cuts: where the features are divided into groups whose inner products are exact in float32, ends included.
    """

    centre: NDArray[np.float64]
    divisor: int
    cuts: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Points:
    """Points in a frame.

    Args:
        rows: float32 ``[n, features]``: integers on the grid, centred; or else the inputs as they are (any float type).
        squares: float64 ``[n]``, squared norms of the centred points, in the units of the inputs.
        frame: how they were placed.
        on_grid: whether ``rows`` are integers of the frame's grid.
        group_squares: float64 ``[groups]``, the greatest squared norm in each group of features, in steps.
    """

    rows: Tensor
    squares: Tensor
    frame: Frame
    on_grid: bool
    group_squares: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def coordinates(self, start: int, stop: int) -> Tensor:
        """Some points in float64, centred, in the units of the inputs."""
        rows = self.rows[start:stop].double()
        if self.on_grid:
            return rows.div_(self.frame.divisor)
        return rows.sub_(torch.from_numpy(self.frame.centre).to(rows.device))


def grid_of(inputs: NDArray[Any]) -> int:
    """The divisor D with which every input is the number nearest to k/D in its own precision, k an integer; or 0.

    Bytes divided by 255 are found in float32 and in float64, and mean k/255 itself.
    """
    for divisor in DIVISORS:
        if all(_on_grid(inputs[rows], divisor) for rows in _chunks(inputs)):
            return divisor
    return 0


def _on_grid(inputs: NDArray[Any], divisor: int) -> bool:
    steps = np.rint(inputs.astype(np.float64) * divisor)
    return bool((np.abs(steps) < 2**12).all() and ((steps / divisor).astype(inputs.dtype) == inputs).all())


def frame_of(inputs: NDArray[Any], centred: bool) -> Frame:
    """A frame in which the inputs are small, and integers where they lie on a grid.

    Args:
        inputs: float ``[n, features]``, finite.
        centred: whether the origin may be moved.
    """
    features = inputs.shape[1]
    divisor = grid_of(inputs)
    centre = np.zeros(features)
    if centred:
        centre = inputs.mean(axis=0, dtype=np.float64)
    if divisor == 0:
        return Frame(centre, 0, (0, features))
    centre = np.rint(centre * divisor)
    # The sum of |a_k b_k| over a group is at most the greatest squared norm in it: cut before that passes 2²⁴.
    greatest = np.zeros(features)
    for rows in _chunks(inputs):
        steps = np.rint(inputs[rows].astype(np.float64) * divisor) - centre
        np.maximum(greatest, np.cumsum(steps**2, axis=1).max(axis=0), out=greatest)
    groups = max(1, int(np.ceil(greatest[-1] / (0.6 * EXACT_IN_FLOAT32)))) if features else 1
    cuts = np.searchsorted(greatest, np.arange(1, groups) * greatest[-1] / groups) if groups > 1 else np.array([], int)
    return Frame(centre, divisor, tuple(sorted({0, *(int(cut) for cut in cuts), features})))


def place(inputs: NDArray[Any], frame: Frame, device: str = "cpu") -> Points:
    """Inputs as points of ``frame``; those off its grid are kept as they are.

    Args:
        inputs: float ``[n, features]``, finite; as many features as the frame has.
        frame: from `frame_of` of the training inputs.
        device: where the points shall lie.
    """
    n, features = inputs.shape
    on_grid = frame.divisor > 0 and all(_on_grid(inputs[part], frame.divisor) for part in _chunks(inputs))
    cuts = list(pairwise(frame.cuts))
    group_squares = np.zeros(len(cuts))
    squares = np.zeros(n)
    rows = np.empty((n, features), np.float32) if on_grid else np.ascontiguousarray(inputs)
    for piece in _chunks(inputs):
        chunk = inputs[piece].astype(np.float64)
        chunk = np.rint(chunk * frame.divisor) - frame.centre if on_grid else chunk - _offset(frame)
        for g, (low, high) in enumerate(cuts):
            part = np.einsum("nk,nk->n", chunk[:, low:high], chunk[:, low:high])
            group_squares[g] = max(group_squares[g], part.max(initial=0.0))
            squares[piece] += part
        if on_grid:
            rows[piece] = chunk
    if on_grid:
        squares /= frame.divisor**2
    else:
        frame = Frame(_offset(frame), frame.divisor, frame.cuts)
    return Points(
        torch.from_numpy(rows).to(device),
        torch.from_numpy(squares).to(device),
        frame,
        on_grid,
        torch.from_numpy(group_squares),
    )


def _offset(frame: Frame) -> NDArray[np.float64]:
    """The centre in the units of the inputs."""
    return frame.centre / frame.divisor if frame.divisor else frame.centre


class Products:
    """Tiles of inner products between points of two sets, row by row: the left ones of a row are converted once."""

    def __init__(self, left: Points, right: Points) -> None:
        self.left, self.right = left, right
        both = left.on_grid and right.on_grid
        bound = torch.sqrt(left.group_squares * right.group_squares).max().item() if both else np.inf
        exact = both and bound < EXACT_IN_FLOAT32
        if left.rows.is_cuda and torch.backends.cuda.matmul.allow_tf32:
            exact = False
        self.exact = exact

    def tiles(self, low: int, high: int, spans: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int, Tensor]]:
        """For each span of right points: ⟨x_i, x_j⟩ with left points ``low`` to ``high``, float64, in fresh memory."""
        if not self.exact:
            ours = self.left.coordinates(low, high)
            for start, stop in spans:
                yield start, stop, ours @ self.right.coordinates(start, stop).T
            return
        steps = self.left.rows[low:high]
        cuts = list(pairwise(self.left.frame.cuts))
        scale = self.left.frame.divisor**-2
        for start, stop in spans:
            theirs = self.right.rows[start:stop]
            products: Tensor | None = None
            for first, last in cuts:
                part = torch.mm(steps[:, first:last], theirs[:, first:last].T)
                products = part.double() if products is None else products.add_(part)
            assert products is not None
            yield start, stop, products.mul_(scale)
