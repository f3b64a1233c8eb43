"""How a convolution's maps are laid out so that its weight gradients are matrix products over shifted views.

In the words of this module a convolution reads a *large* map at the positions of a *small* one:
``g[o, c, k] = Σ_p small[o, p] · large[c, p·stride + k·dilation − padding]``. Ordinary convolutions have δ as the small
map and their input as the large one; transposed convolutions the reverse.

Each dimension is treated in one of two ways. An *unfolded* dimension copies the large map once a tap, side by side with
the channels, so that its taps share one product. Along the others the map is copied once, padded, and each tap is the
same memory read from another start: with rows laid one behind another, a row's zeros at its end are the next row's
zeros at its beginning. Strides split such a dimension into phases that each have stride one.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

from shattering.gradients.convolution_geometry import Geometry

Place = tuple[slice, ...]
"""A box in a map: a range along each dimension."""


@dataclass(frozen=True)
class Piece:
    """What one tap (of an unfolded dimension) or one phase (of another) copies along its dimension.

    Args:
        taps: the taps that read the copy, each with the distance in positions from the copy's first entry.
        first: the copy's first place in the buffer.
        start: the map's entry copied there; after it every ``stride``-th.
        count: how many are copied.
    """

    taps: tuple[tuple[int, int], ...]
    first: int
    start: int
    count: int


@dataclass(frozen=True)
class Layout:
    """Buffers for one shape of maps.

    Args:
        unfolded: per dimension, whether its taps lie side by side with the channels.
        pieces: per dimension.
        extent: per dimension, entries of the buffer; at least the small map's.
        base: zeros in front of the first entry.
        positions: entries over which a product sums.
        length: entries of the buffer for one channel.
        columns: taps side by side.
    """

    unfolded: tuple[bool, ...]
    pieces: tuple[tuple[Piece, ...], ...]
    extent: tuple[int, ...]
    base: int
    positions: int
    length: int
    columns: int

    def combinations(self, unfolded: bool) -> list[tuple[Piece, ...]]:
        """One piece for each (un)folded dimension, in every combination."""
        return list(itertools.product(*(p for p, u in zip(self.pieces, self.unfolded, strict=True) if u == unfolded)))

    def copies(self, phase: tuple[Piece, ...], stride: tuple[int, ...]) -> list[tuple[int, Place, Place]]:
        """For one phase, each column with its place in the buffer and that of the large map's entries it holds."""
        places = []
        for column, taps in enumerate(self.combinations(True)):
            folded, side = iter(phase), iter(taps)
            pieces = [next(side) if unfold else next(folded) for unfold in self.unfolded]
            if all(piece.count for piece in pieces):
                target = tuple(slice(piece.first, piece.first + piece.count) for piece in pieces)
                source = tuple(
                    slice(piece.start, piece.start + (piece.count - 1) * step + 1, step)
                    for piece, step in zip(pieces, stride, strict=True)
                )
                places.append((column, target, source))
        return places

    def holds(self, size: tuple[int, ...], stride: tuple[int, ...]) -> bool:
        """Whether a large map of this size is its own buffer, so that nothing need be copied."""
        single = self.base == 0 and self.length == math.prod(size) and all(step == 1 for step in stride)
        same = (p[0].start == p[0].first == 0 and p[0].count == n for p, n in zip(self.pieces, size, strict=True))
        return single and all(len(parts) == 1 for parts in self.pieces) and all(same)

    def offset(self, shifts: tuple[int, ...]) -> int:
        """Distance in memory of positions ``shifts`` apart along the dimensions that are not unfolded."""
        inner = [math.prod(self.extent[j + 1 :]) for j, u in enumerate(self.unfolded) if not u]
        return sum(shift * step for shift, step in zip(shifts, inner, strict=True))


@lru_cache(maxsize=4096)
def layout(small: tuple[int, ...], large: tuple[int, ...], geometry: Geometry, unfolded: tuple[bool, ...]) -> Layout:
    """The buffers for a small and a large map of these sizes."""
    pieces: list[tuple[Piece, ...]] = []
    extent: list[int] = []
    for j, unfold in enumerate(unfolded):
        along = (small[j], large[j], geometry.kernel[j], geometry.stride[j], geometry.padding[j], geometry.dilation[j])
        parts = _taps(*along) if unfold else _phases(*along)
        pieces.append(parts)
        if unfold:
            extent.append(small[j])
        else:
            # Wide enough that a read beyond either end of a row meets zeros before it meets the neighbouring row.
            shifts = [shift for part in parts for shift, _ in part.taps]
            before = max(0, -min(shifts))
            extent.append(max(small[j] + max(0, *shifts), before + max(part.count for part in parts)))
    columns = math.prod(k for k, u in zip(geometry.kernel, unfolded, strict=True) if u)
    plan = Layout(unfolded, tuple(pieces), tuple(extent), 0, 0, 0, columns)
    offsets = [
        plan.offset(tuple(shift for shift, _ in taps))
        for parts in plan.combinations(False)
        for taps in itertools.product(*(part.taps for part in parts))
    ]
    row = math.prod(extent[1:])
    base, positions = max(0, -min(offsets)), small[0] * row
    rows = small[0] if unfolded[0] else max(1, max(part.count for part in pieces[0]))
    plan_extent = (rows, *extent[1:])
    length = base + max(rows * row, max(offsets) + positions)
    return Layout(unfolded, tuple(pieces), plan_extent, base, positions, length, columns)


def _taps(small: int, large: int, kernel: int, stride: int, padding: int, dilation: int) -> tuple[Piece, ...]:
    """One piece a tap: the entries that it meets at each position."""
    parts = []
    for k in range(kernel):
        shift = k * dilation - padding
        first = max(0, -(shift // stride))
        last = min(small, (large - 1 - shift) // stride + 1)
        parts.append(Piece(((0, k),), first, first * stride + shift, max(0, last - first)))
    return tuple(parts)


def _phases(small: int, large: int, kernel: int, stride: int, padding: int, dilation: int) -> tuple[Piece, ...]:
    """One piece a phase: every ``stride``-th entry; its taps are whole positions apart."""
    taps: dict[int, list[tuple[int, int]]] = {}
    for k in range(kernel):
        taps.setdefault(k * dilation % stride, []).append((k * dilation // stride, k))
    parts = []
    for phase, members in taps.items():
        lead = -((phase - padding) // stride)
        start = stride * lead + phase - padding
        needed = small + max(shift for shift, _ in members) - lead
        count = max(0, min((large - 1 - start) // stride + 1, needed))
        parts.append(Piece(tuple((shift - lead, k) for shift, k in members), 0, start, count))
    return tuple(parts)
