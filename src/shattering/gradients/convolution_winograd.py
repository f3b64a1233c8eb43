"""A convolution's weight gradients of single examples with a third fewer multiplications.

Two neighbouring entries ``d0, d1`` of the small map, along its last dimension, meet four of the large one at three
taps: ``g[k] = d0·x[k] + d1·x[k+1]`` for k = 0, 1, 2, six products of which four are enough (Winograd 1980; the filters
of two taps of Lavin & Gray 2016, whose points 0, 1, -1 and ∞ keep rounding errors small)::

    a = d0·(x[0] - x[2])   b = (d0 + d1)/2·(x[1] + x[2])   c = (d0 - d1)/2·(x[2] - x[1])   e = d1·(x[3] - x[1])
    g[0] = b + c + a       g[1] = b - c                    g[2] = b + c + e

Two taps take three products instead of four, as in Karatsuba's rule. Every product is a matrix product over the pairs
of positions, and the sums on either side are small beside it. A kernel's last dimension is cut into runs of three taps
and of two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from shattering.gradients.convolution_geometry import Geometry

Operation: TypeAlias = tuple[Callable[..., Tensor], Tensor, Tensor, Tensor]
"""A function of two tensors, these, and the tensor that it writes to."""


class FewerProducts:
    """The weight gradients of a few examples at a time, for one tap of the kernel's first dimension at a time.

    Serves like `Products`, of which it is the faster form where it `applies`.

    Args:
        small: ``[n, channels, *space]``.
        large: ``[n, channels, *space]``.
        geometry: of the convolution.
        chunk: examples a product.
    """

    def __init__(self, small: Tensor, large: Tensor, geometry: Geometry, chunk: int) -> None:
        self.small, self.large, self.geometry = small, large, geometry
        self.chunk = max(1, min(chunk, len(large)))
        self.dtype = torch.promote_types(large.dtype, torch.float32)
        self.channels, self.rows = large.shape[1], small.shape[1]
        self.last = geometry.kernel[-1]
        self.width = self.channels * self.last
        self.runs = runs(self.last)
        self.half = -(-small.shape[-1] // 2)
        self.upright = self.channels * len(self.runs) >= self.rows
        self.lines = tuple(p + k - 1 for p, k in zip(small.shape[2:-1], geometry.kernel[:-1], strict=True))
        self.taps: list[tuple[int | slice, ...]] = (
            [(k, slice(None)) for k in range(geometry.kernel[0])] if self.lines else [(slice(None),)]
        )

    @staticmethod
    def applies(geometry: Geometry) -> bool:
        """Whether windows move by single steps, in one or two dimensions, and see at least two entries of a line."""
        dimensions = len(geometry.kernel)
        plain = geometry.groups == 1 and geometry.stride == geometry.dilation == (1,) * dimensions
        return plain and dimensions <= 2 and geometry.kernel[-1] > 1

    @property
    def entries(self) -> int:
        """Numbers that one example takes in the buffers."""
        lines, rows = math.prod(self.lines), math.prod(self.small.shape[2:-1])
        padded = lines * (2 * self.half + self.last - 1) * self.channels
        sides = self.half * (lines * self._products * self.channels + 4 * rows * self.rows)
        return padded + sides + self.rows * self.channels * (self._products + self.last)

    @property
    def _products(self) -> int:
        return sum(size + 1 for _, size in self.runs)

    def as_weights(self, flat: Tensor) -> Tensor:
        """Numbers ``[n, …]`` as they are yielded, as a view ``[n, weight.shape[0], weight.shape[1], *taps]``."""
        if self.upright:
            return flat.view(len(flat), self.rows, self.last, self.channels).movedim(-1, 2)
        return flat.view(len(flat), self.last, self.channels, self.rows).permute(0, 3, 2, 1)

    def __iter__(self) -> Iterator[tuple[int, int, Tensor]]:
        """The chunk, the place in ``taps``, and numbers ``[examples, …]``, which the next product overwrites."""
        if len(self.large) == 0 or self.small.numel() == 0:
            return
        n = 0
        parts = zip(torch.split(self.small, self.chunk), torch.split(self.large, self.chunk), strict=True)
        for chunk, (of_small, of_large) in enumerate(parts):
            if n != len(of_small):
                # Views are made once, not once a chunk: to make them takes as long as a small product.
                n = len(of_small)
                work = _Work(self, n)
            work.take(of_small, of_large)
            for tap in range(len(self.taps)):
                yield chunk, tap, work.gradients(tap)


def runs(taps: int) -> list[tuple[int, int]]:
    """The first tap and the length, 3 or 2, of each run that a line of two or more taps is cut into."""
    threes = {0: taps // 3, 1: taps // 3 - 1, 2: taps // 3}[taps % 3]
    twos = (taps - 3 * threes) // 2
    return [(3 * i, 3) for i in range(threes)] + [(3 * threes + 2 * i, 2) for i in range(twos)]


def fewer_positions(small: Tensor, geometry: Geometry) -> float:
    """Multiply-adds for each entry of the weight; each position takes one where nothing is saved."""
    products = sum(size + 1 for _, size in runs(geometry.kernel[-1]))
    return math.prod(small.shape[2:-1]) * -(-small.shape[-1] // 2) * products / geometry.kernel[-1]


class _Work:
    """Buffers for n examples, and the views of them that are read and written."""

    def __init__(self, of: FewerProducts, n: int) -> None:
        make = partial(torch.empty, dtype=of.dtype, device=of.large.device)
        rows, half, channels = tuple(of.small.shape[2:-1]), of.half, of.channels
        threes = sum(size == 3 for _, size in of.runs)
        counts = (len(of.runs), len(of.runs), len(of.runs), threes)
        # The small map's sides: first and second of each pair, half their sum, half their difference.
        left = make((4, n, *rows, half, of.rows)).zero_()
        self.pairs, self.mixed = left[:2].unbind(), left[2:].unbind()
        self.halved = left[2:]
        lefts = left.view(4, n, -1, of.rows).unbind()
        padded = make((n, *of.lines, 2 * half + of.last - 1, channels)).zero_()
        self.center, self.source = _overlap(padded, of)
        rights = [make((n, *of.lines, half, count, channels)) for count in counts]
        entry = [padded[..., e : e + 2 * half - 1 : 2, :] for e in range(of.last + 1)]
        self.sides = [
            _right(entry[k : k + size + 1], [r[..., i, :] for r in rights[: size + 1]], size)
            for i, (k, size) in enumerate(of.runs)
        ]
        positions = math.prod(rows) * half
        products = []
        for count in counts:
            shape = (of.rows, count * channels) if of.upright else (count * channels, of.rows)
            products.append(make((n, *shape)))
        self.calls = []
        for tap in range(len(of.taps)):
            row = []
            for side, right, product, count in zip(lefts, rights, products, counts, strict=True):
                if count:
                    window = right.view(n, -1, count * channels)[:, tap * half : tap * half + positions]
                    row.append((side.mT, window, product) if of.upright else (window.mT, side, product))
            self.calls.append(row)
        whole = (n, of.rows, of.last, channels) if of.upright else (n, of.last, channels, of.rows)
        found = make(whole)
        self.flat = found.view(n, -1)
        across = 2 if of.upright else 1
        taps = found.unbind(across)
        parts = [
            product.view((n, of.rows, count, channels) if of.upright else (n, count, channels, of.rows)).unbind(across)
            for product, count in zip(products, counts, strict=True)
        ]
        self.sums = [
            (taps[k : k + size], [part[i] for part in parts[: size + 1]]) for i, (k, size) in enumerate(of.runs)
        ]

    def take(self, small: Tensor, large: Tensor) -> None:
        """Lays out both sides of the products of n examples."""
        small = small.movedim(1, -1)
        for j, place in enumerate(self.pairs):
            entries = small[..., j::2, :]
            place[..., : entries.shape[-2], :].copy_(entries)
        torch.add(*self.pairs, out=self.mixed[0])
        torch.sub(*self.pairs, out=self.mixed[1])
        self.halved.mul_(0.5)
        self.center.copy_(large.movedim(1, -1)[self.source])
        for operations in self.sides:
            for operation, one, other, out in operations:
                operation(one, other, out=out)

    def gradients(self, tap: int) -> Tensor:
        """gᵢ at one tap of the first dimension and all of the last: ``[n, …]``."""
        for one, other, out in self.calls[tap]:
            torch.bmm(one, other, out=out)
        for taps, (first, second, half_sum, *rest) in self.sums:
            for half_difference in rest:
                torch.sub(half_sum, half_difference, out=taps[1])
                half_sum += half_difference
            torch.add(half_sum, first, out=taps[0])
            torch.add(half_sum, second, out=taps[-1])
        return self.flat


def _right(x: list[Tensor], out: list[Tensor], size: int) -> list[Operation]:
    """What the large map's entries are combined to, for one run of taps, as operations with their operands."""
    if size == 3:
        return [
            (torch.sub, x[0], x[2], out[0]),
            (torch.sub, x[3], x[1], out[1]),
            (torch.add, x[1], x[2], out[2]),
            (torch.sub, x[2], x[1], out[3]),
        ]
    # Twice, since the small map's side is half a sum.
    return [(torch.sub, x[0], x[1], out[0]), (torch.sub, x[2], x[1], out[1]), (torch.add, x[1], x[1], out[2])]


def _overlap(padded: Tensor, of: FewerProducts) -> tuple[Tensor, tuple[slice, ...]]:
    """Where in the padded map the large one lies, and the part of it that lies there."""
    place, source = [slice(None)], [slice(None)]
    for extent, size, before in zip(padded.shape[1:-1], of.large.shape[2:], of.geometry.padding, strict=True):
        start, skipped = max(0, before), max(0, -before)
        count = max(0, min(extent - start, size - skipped))
        place.append(slice(start, start + count))
        source.append(slice(skipped, skipped + count))
    return padded[tuple(place)], tuple(source)
