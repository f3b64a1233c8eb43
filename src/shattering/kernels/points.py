"""Points and their inner products, to the last digit of float64, in float32 arithmetic wherever that is exact.

The inner product of integers is exact in float32 as long as no partial sum leaves ±2²⁴, in whatever order it is summed.
Bytes of images are integers; moved to a middle value, 784 of them stay below that, and more are summed in groups of
features. Matrix products of float32 take half the time of float64, those of bytes, on processors that have them, a
tenth: with x = b + s, for bytes b and a shift s common to all points, ⟨x, y⟩ = ⟨b, b'⟩ + ⟨s, b⟩ + ⟨s, b'⟩ + ⟨s, s⟩. All
of these are integers, so every way gives the same bits.
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

from shattering.kernels.integers import ORIGIN, byte_products, pays, signed_bytes

DIVISORS = (1, 255, 16)
"""Scales at which inputs are looked for on a grid of integers: as they are, bytes of images, pixels of the digits."""

EXACT_IN_FLOAT32 = 2**24
NUMBERS_AT_ONCE = 2**16
"""So few that what is made of them on the way stays in a core's cache."""

FIRST = 16
"""Points that are looked at before all are: most inputs that lie on no grid show it at once."""


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
        bytes: int8 ``[n, features]``, integers of the grid that are not centred but moved by `ORIGIN`; none where they
            do not fit, or where the processor has no use for them.
        tilt: float64 ``[n]``, the inner products of the bytes with the shift that makes them ``rows``.
    """

    rows: Tensor
    squares: Tensor
    frame: Frame
    on_grid: bool
    group_squares: Tensor
    bytes: Tensor | None = None
    tilt: Tensor | None = None

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
        pieces = (inputs[:FIRST], *(inputs[rows] for rows in _chunks(inputs)))
        if all(_steps(piece, divisor) is not None for piece in pieces):
            return divisor
    return 0


def _steps(inputs: NDArray[Any], divisor: int) -> NDArray[Any] | None:
    """The integers k of inputs k/divisor, in their own float type; none where one lies off the grid."""
    steps = np.rint(inputs * inputs.dtype.type(divisor))
    near = bool((np.abs(steps) < 2**12).all())
    # Both are exact and a quotient is rounded once: what lies on the grid comes back to the bit.
    return steps if near and np.array_equal(steps / inputs.dtype.type(divisor), inputs) else None


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
    found = _placed_on_grid(inputs, frame, device) if frame.divisor > 0 else None
    if found is not None:
        return found
    frame = Frame(_offset(frame), frame.divisor, frame.cuts)
    squares = np.zeros(len(inputs))
    for piece in _chunks(inputs):
        chunk = inputs[piece].astype(np.float64) - frame.centre
        squares[piece] = np.einsum("nk,nk->n", chunk, chunk)
    rows = torch.from_numpy(np.ascontiguousarray(inputs)).to(device)
    return Points(rows, torch.from_numpy(squares).to(device), frame, False, torch.zeros(len(frame.cuts) - 1))


def _placed_on_grid(inputs: NDArray[Any], frame: Frame, device: str) -> Points | None:
    """Inputs as integers of the frame's grid; none where one lies off it."""
    n, features = inputs.shape
    cuts = list(pairwise(frame.cuts))
    group_squares, squares, tilt = np.zeros(len(cuts)), np.zeros(n), np.zeros(n)
    rows = np.empty((n, features), np.float32)
    small = np.empty((n, features), np.int8) if device == "cpu" and pays() else None
    shift = ORIGIN - frame.centre
    for piece in _chunks(inputs):
        steps = _steps(inputs[piece], frame.divisor)
        if steps is None:
            return None
        chunk = steps - frame.centre
        for g, (low, high) in enumerate(cuts):
            part = np.einsum("nk,nk->n", chunk[:, low:high], chunk[:, low:high])
            group_squares[g] = max(group_squares[g], part.max(initial=0.0))
            squares[piece] += part
        rows[piece] = chunk
        moved = signed_bytes(steps) if small is not None else None
        if small is None or moved is None:
            small = None
        else:
            small[piece] = moved
            tilt[piece] = moved @ shift
    return Points(
        torch.from_numpy(rows).to(device),
        torch.from_numpy(squares / frame.divisor**2).to(device),
        frame,
        True,
        torch.from_numpy(group_squares),
        None if small is None else torch.from_numpy(small),
        None if small is None else torch.from_numpy(tilt),
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
        scale = self.left.frame.divisor**-2
        if self.left.bytes is not None and self.right.bytes is not None:
            for start, stop in spans:
                yield start, stop, self._of_bytes(low, high, start, stop).mul_(scale)
            return
        steps = self.left.rows[low:high]
        cuts = list(pairwise(self.left.frame.cuts))
        for start, stop in spans:
            theirs = self.right.rows[start:stop]
            products: Tensor | None = None
            for first, last in cuts:
                part = torch.mm(steps[:, first:last], theirs[:, first:last].T)
                products = part.double() if products is None else products.add_(part)
            assert products is not None
            yield start, stop, products.mul_(scale)

    def _of_bytes(self, low: int, high: int, start: int, stop: int) -> Tensor:
        left, right = self.left, self.right
        assert left.bytes is not None and left.tilt is not None
        assert right.bytes is not None and right.tilt is not None
        products = byte_products(left.bytes[low:high], right.bytes[start:stop]).double()
        shift = ORIGIN - left.frame.centre
        products.add_(left.tilt[low:high, None]).add_(right.tilt[start:stop] + float(shift @ shift))
        return products
