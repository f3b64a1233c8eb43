"""Norms of a convolution's weight gradients from inner products between positions: cheap where maps are small."""

from __future__ import annotations

import torch
from torch import Tensor

from shattering.gradients.convolution_geometry import Geometry

CANCELLED = 1e-2
"""Below this share of its terms' absolute sum, a squared norm is computed again in float64: differences of large
float32 terms would leave fewer than five digits."""


def gram_norms(small: Tensor, large: Tensor, geometry: Geometry, chunk: int) -> Tensor:
    """‖gᵢ‖² of each example, ``[n]`` in float64, without any gᵢ.

    With g[o, c, k] = Σ_p small[o, p]·large[c, p·s + k·d − padding], ‖g‖² is the sum over pairs of positions (p, q) of
    ⟨small at p, small at q⟩ · Σ_k ⟨large at p's k-th tap, large at q's k-th tap⟩. The inner sum adds shifted blocks of
    one Gram matrix of the large map. Costs positions²·(channels + taps) an example, where g costs
    positions·channels²·taps.
    """
    norms = torch.empty(len(large), dtype=torch.float64, device=large.device)
    for start in range(0, len(large), chunk):
        rows = slice(start, start + chunk)
        value, magnitude = _sums(small[rows], large[rows], geometry)
        cancelled = value < CANCELLED * magnitude
        if value.dtype != torch.float64 and bool(cancelled.any()):
            again, _ = _sums(small[rows][cancelled].double(), large[rows][cancelled].double(), geometry)
            value = value.double()
            value[cancelled] = again
        norms[rows] = value
    return norms.clamp_(min=0)


def _sums(small: Tensor, large: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """The squared norms, and the sums of their terms' absolute values: ``[n]`` each."""
    space, size, groups = tuple(small.shape[2:]), tuple(large.shape[2:]), geometry.groups
    of_small, of_large = (_gram(maps, groups, extent) for maps, extent in ((small, space), (large, size)))
    taps = of_large
    # Along one dimension after the other, for the taps of a kernel are those of its rows, each in every column.
    for j, (kernel, stride, padding, dilation) in enumerate(
        zip(geometry.kernel, geometry.stride, geometry.padding, geometry.dilation, strict=True)
    ):
        unsummed, shape = taps, list(taps.shape)
        shape[j] = shape[j + len(space)] = space[j]
        taps = unsummed.new_zeros(shape)
        for k in range(kernel):
            shift = k * dilation - padding
            first = max(0, -(shift // stride))
            last = min(space[j], (size[j] - 1 - shift) // stride + 1)
            if last > first:
                start = first * stride + shift
                source = slice(start, start + (last - first - 1) * stride + 1, stride)
                taps[_block(slice(first, last), j, len(space))] += unsummed[_block(source, j, len(space))]
    terms = (taps * of_small).view(-1, len(small), groups)
    return terms.sum((0, 2)), terms.abs().sum((0, 2))


def _block(places: slice, dimension: int, dimensions: int) -> tuple[slice, ...]:
    """``places`` along one dimension of either position of a pair, all others whole."""
    return tuple(places if j % dimensions == dimension else slice(None) for j in range(2 * dimensions))


def _gram(maps: Tensor, groups: int, extent: tuple[int, ...]) -> Tensor:
    """⟨maps at p, maps at q⟩ as ``[*extent, *extent, n · groups]``: examples inside, so that blocks are long rows."""
    flat = maps.flatten(2).reshape(len(maps) * groups, -1, maps.shape[2:].numel())
    product = torch.bmm(flat.transpose(1, 2), flat)
    return product.permute(1, 2, 0).reshape(*extent, *extent, -1)
