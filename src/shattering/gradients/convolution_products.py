"""A convolution's weight gradients of single examples, as matrix products over a few examples at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from shattering.gradients.convolution_geometry import Geometry
from shattering.gradients.convolution_layout import layout

VECTOR = 16
"""Numbers that a processor multiplies at once, in float32 with AVX-512."""


class Products:
    """The weight gradients of a few examples at a time, some taps at a time.

    Args:
        small: ``[n, channels, *space]``.
        large: ``[n, channels, *space]``.
        geometry: of the convolution.
        unfolded: per dimension; see `convolution_layout`.
        channels_inside: whether buffers keep the channels of a position together, as channels-last tensors do. Not
            with groups.
        chunk: examples a product.
    """

    def __init__(
        self,
        small: Tensor,
        large: Tensor,
        geometry: Geometry,
        unfolded: tuple[bool, ...],
        channels_inside: bool,
        chunk: int,
    ) -> None:
        self.small, self.large, self.geometry, self.inside = small, large, geometry, channels_inside
        self.chunk = max(1, min(chunk, len(large)))
        self.dtype = torch.promote_types(large.dtype, torch.float32)
        self.plan = layout(tuple(small.shape[2:]), tuple(large.shape[2:]), geometry, unfolded)
        self.phases = self.plan.combinations(False)
        self.kernel = tuple(k for k, unfold in zip(geometry.kernel, unfolded, strict=True) if unfold)
        self.channels = large.shape[1] // geometry.groups
        self.width = self.channels * self.plan.columns
        self.rows = small.shape[1] // geometry.groups
        # Products run faster with that side inside which fills vectors of the processor, or else the longer one: by a
        # third for the first layer of an image network.
        sides = [(side % VECTOR == 0, side) for side in (self.rows, self.width)]
        self.upright = geometry.groups > 1 or sides[1] >= sides[0]
        self.starts: list[list[int]] = []
        self.taps: list[tuple[int | slice, ...]] = []
        """Which taps each of the products of a chunk is about, as an index of the kernel's dimensions."""
        for phase in self.phases:
            members = list(itertools.product(*(part.taps for part in phase)))
            offsets = (self.plan.offset(tuple(shift for shift, _ in taps)) for taps in members)
            self.starts.append([self.plan.base + offset for offset in offsets])
            for taps in members:
                chosen = iter(k for _, k in taps)
                self.taps.append(tuple(slice(None) if unfold else next(chosen) for unfold in unfolded))

    @property
    def entries(self) -> int:
        """Numbers that one example takes in the buffers: large map, small map and product."""
        of_large = len(self.phases) * self.plan.length * self.width
        return self.geometry.groups * (of_large + self.rows * (self.plan.positions + self.width))

    def as_weights(self, flat: Tensor) -> Tensor:
        """Numbers ``[n, …]`` as a product orders them, as a view ``[n, weight.shape[0], weight.shape[1], *taps]``."""
        inner = (*self.kernel, self.channels) if self.inside else (self.channels, *self.kernel)
        if self.upright:
            weights = flat.view(len(flat), self.rows * self.geometry.groups, *inner)
        else:
            weights = flat.view(len(flat), *inner, self.rows).movedim(-1, 1)
        return weights.movedim(-1, 2) if self.inside else weights

    def __iter__(self) -> Iterator[tuple[int, int, Tensor]]:
        """The chunk, the place in ``taps``, and numbers ``[examples, …]``, which the next product overwrites."""
        small, large, plan, groups = self.small, self.large, self.plan, self.geometry.groups
        if len(large) == 0 or small.numel() == 0:
            return
        in_place = plan.holds(tuple(large.shape[2:]), self.geometry.stride)
        if not (in_place or self.inside):
            large = large.contiguous()
        copies = [] if in_place else [plan.copies(phase, self.geometry.stride) for phase in self.phases]
        sources = [
            torch.split(large[(slice(None), slice(None), *source)], self.chunk)
            for phase in copies
            for _, _, source in phase
        ]
        buffers = [self._zeros(large.shape[1], plan.columns, plan.length) for _ in copies]
        # The small map with rows as long as the large one's; None where it has them as they are.
        wide = None
        if plan.extent[1:] != tuple(small.shape[3:]):
            wide = self._zeros(small.shape[1], 1, plan.positions)[:, :, 0]
        shape = (self.rows, self.width) if self.upright else (self.width, self.rows)
        out = torch.empty((self.chunk * groups, *shape), dtype=self.dtype, device=large.device)
        targets: list[Tensor] = []
        windows: list[Tensor] = []
        n = 0
        parts = zip(torch.split(small, self.chunk), torch.split(large, self.chunk), strict=True)
        for chunk, (of_small, of_large) in enumerate(parts):
            if n != len(of_small):
                # Views are made once, not once a chunk: to make them takes as long as a small product.
                n = len(of_small)
                product, flat = out[: n * groups], out[: n * groups].view(n, -1)
                targets, windows = [], []
                for buffer, starts, phase in zip(buffers, self.starts, copies, strict=False):
                    body = buffer[:n].narrow(3, plan.base, math.prod(plan.extent))
                    body = body.view(*body.shape[:3], *plan.extent)
                    targets += [body[:, :, column][(slice(None), slice(None), *target)] for column, target, _ in phase]
                    ordered = buffer[:n].transpose(1, 2) if self.inside else buffer[:n]
                    windows += self._windows(ordered.flatten(1, 2), starts)
                if wide is not None:
                    rows = wide[:n].view(n, -1, small.shape[2], *plan.extent[1:])
                    center = rows[(slice(None), slice(None), *(slice(size) for size in small.shape[2:]))]
            if wide is not None:
                center.copy_(of_small)
            left = (of_small.flatten(2) if wide is None else wide[:n]).to(self.dtype)
            left = left.reshape(n * groups, self.rows, -1)
            if in_place:
                windows = self._windows(of_large.flatten(2).to(self.dtype), self.starts[0])
            for target, source in zip(targets, sources, strict=True):
                target.copy_(source[chunk])
            for tap, window in enumerate(windows):
                if self.upright:
                    torch.bmm(left, window.mT, out=product)
                else:
                    torch.bmm(window, left.mT, out=product)
                yield chunk, tap, flat

    def _zeros(self, channels: int, columns: int, length: int) -> Tensor:
        """``[chunk, channels, columns, length]``; what copies leave alone stays zero."""
        if self.inside:
            shape = (self.chunk, length, columns, channels)
            return torch.zeros(shape, dtype=self.dtype, device=self.large.device).permute(0, 3, 2, 1)
        return torch.zeros((self.chunk, channels, columns, length), dtype=self.dtype, device=self.large.device)

    def _windows(self, maps: Tensor, starts: list[int]) -> list[Tensor]:
        """What each tap reads of the large map: ``[n · groups, width, positions]``."""
        maps = maps.reshape(len(maps) * self.geometry.groups, self.width, -1)
        return [maps[:, :, start : start + self.plan.positions] for start in starts]
