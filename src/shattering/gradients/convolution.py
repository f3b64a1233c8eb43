"""Convolutions: the sum of the single examples' weight gradients, and their squared norms, in one bounded pass."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from shattering.gradients.convolution_geometry import Geometry
from shattering.gradients.convolution_gram import gram_norms
from shattering.gradients.convolution_products import Products
from shattering.gradients.convolution_winograd import FewerProducts, fewer_positions

CACHE_BYTES = 3 << 20
"""What a chunk's copies may fill on a CPU, for each thread: more falls out of cache, less makes products too small."""

DEVICE_BYTES = 64 << 20
"""Likewise on an accelerator, where a product wants many examples."""

FEW_COLUMNS = 64
"""Products narrower than this waste the processor: all taps are then laid side by side."""

FEW_CHANNELS = 16
"""With fewer, the channels of one position make too short a run to be copied at speed."""

SUMS = 45
"""What the sums of `FewerProducts` cost beside its products, in multiply-adds for each entry of the weight."""


def accumulate(
    inputs: Tensor,
    output_gradients: Tensor,
    geometry: Geometry,
    weight_total: Tensor | None,
    bias_total: Tensor | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """Adds Σgᵢ of a convolution's weight and bias to totals, and returns ‖gᵢ‖² of each example.

    The sum of the examples' gradients is the gradient that a backward pass would compute, so none is needed besides.
    Memory beyond the arguments is a few megabytes and twice the weight, whatever n; for channels-last inputs with
    groups, or with fewer than 16 channels, a copy of them besides. In float32 squares of entries below 1e-19 vanish.

    Args:
        inputs: ``[n, channels, *space]``, what the convolution was applied to; in either memory format.
        output_gradients: δ ``[n, channels, *space]``, the gradient of each example's own loss by the output.
        geometry: of the convolution.
        weight_total: in the weight's shape, changed in place; None where the weight's gradient is not wanted.
        bias_total: likewise, ``[channels]``.

    Returns:
        Squared norms of the weight's and of the bias's gradients, float64 ``[n]``, at least 0; None where not wanted.
    """
    with torch.no_grad():
        weight_norms = bias_norms = None
        if weight_total is not None:
            small, large = _maps(inputs, output_gradients, geometry)
            if len(large) and gram_is_cheaper(small, large, geometry):
                weight_total += _summed(small, large, geometry)
                size = _positions(small) ** 2 + _positions(large) ** 2
                weight_norms = gram_norms(small, large, geometry, _chunk(large, 2 * size * geometry.groups))
            else:
                weight_norms = _accumulated(small, large, geometry, weight_total)
        if bias_total is not None:
            each = output_gradients.sum(tuple(range(2, output_gradients.dim())))
            bias_total += each.sum(0)
            bias_norms = each.double().square().sum(1)
        return weight_norms, bias_norms


def per_example_weight_gradients(
    inputs: Tensor, output_gradients: Tensor, geometry: Geometry, rows: slice = slice(None)
) -> Tensor:
    """gᵢ of a convolution's weight for the examples ``rows``: ``[c, *weight.shape]``.

    For a weight that is used more than once, whose gradients must be added before their norms are taken. Arguments as
    those of `accumulate`. Takes c times the memory of the weight.
    """
    with torch.no_grad():
        small, large = _maps(inputs[rows], output_gradients[rows], geometry)
        dtype = torch.promote_types(large.dtype, torch.float32)
        shape = (len(large), small.shape[1], large.shape[1] // geometry.groups, *geometry.kernel)
        gradients = torch.zeros(shape, dtype=dtype, device=large.device)
        products = _products(small, large, geometry)
        parts = torch.split(gradients, products.chunk)
        for chunk, tap, flat in products:
            parts[chunk][(slice(None), slice(None), slice(None), *products.taps[tap])] = products.as_weights(flat)
        return gradients


def gram_is_cheaper(small: Tensor, large: Tensor, geometry: Geometry) -> bool:
    """Whether norms cost less from inner products between positions than from the gradients themselves.

    Counted in multiply-adds. The constants were measured on a processor with AVX-512: single examples' products run at
    0.77 of the speed of a batch's, a weight's square and sum take as long as 12 multiply-adds, an entry of a shifted
    block as long as 20. The choice is a function of shapes alone, so that the same run rounds the same way each time.
    """
    if large.dtype not in (torch.float32, torch.float64):
        return False
    positions, entries, groups = _positions(small), _positions(large), geometry.groups
    taps = math.prod(geometry.kernel)
    weight = small.shape[1] * large.shape[1] // groups * taps
    direct = (1.3 * positions + 12) * weight
    if _fewer_is_cheaper(small, large, geometry):
        direct = (1.3 * fewer_positions(small, geometry) + SUMS + 12) * weight
    gram = positions * weight + 1.4 * (positions**2 * small.shape[1] + entries**2 * large.shape[1])
    return gram + 20 * groups * sum(geometry.kernel) * max(positions, entries) ** 2 < direct


def _fewer_is_cheaper(small: Tensor, large: Tensor, geometry: Geometry) -> bool:
    """Whether a product's fewer multiplications are worth the sums on either side of it."""
    channels_inside = large.stride(1) == 1 and large.shape[1] >= FEW_CHANNELS
    if not channels_inside or large.shape[1] * geometry.kernel[-1] < FEW_COLUMNS or not FewerProducts.applies(geometry):
        return False
    return 1.3 * fewer_positions(small, geometry) + SUMS < 1.3 * _positions(small)


def _maps(inputs: Tensor, output_gradients: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """The small and the large map."""
    return (inputs, output_gradients) if geometry.transposed else (output_gradients, inputs)


def _summed(small: Tensor, large: Tensor, geometry: Geometry) -> Tensor:
    """Σgᵢ, as a backward pass computes it."""
    extra = [0] * len(geometry.kernel)
    shape = (small.shape[1], large.shape[1] // geometry.groups, *geometry.kernel)
    pads: list[int] = []
    symmetric = True
    along = zip(small.shape[2:], large.shape[2:], geometry.kernel, geometry.stride, strict=True)
    for (p, n, k, s), before, d in zip(along, geometry.padding, geometry.dilation, strict=True):
        behind = (p - 1) * s + (k - 1) * d + 1 - before - n
        symmetric &= 0 <= before - behind < s
        pads = [before, behind, *pads]
    padding = geometry.padding
    if not symmetric:
        # So it is with an even kernel and 'same' padding, and where a transposed convolution's output is padded far.
        large, padding = torch.nn.functional.pad(large, pads), (0,) * len(padding)
    weight = large.new_empty(1).expand(shape)
    slide = (geometry.stride, padding, geometry.dilation, False, extra, geometry.groups)
    total: Tensor = torch.ops.aten.convolution_backward(small, large, weight, None, *slide, [False, True, False])[1]
    return total


def _accumulated(small: Tensor, large: Tensor, geometry: Geometry, weight_total: Tensor) -> Tensor:
    """Adds Σgᵢ, and returns ‖gᵢ‖², from the gradients themselves, chunk by chunk."""
    products = _products(small, large, geometry)
    count = len(products.taps)
    norms = torch.zeros((count, len(large)), dtype=products.dtype, device=large.device)
    sums = norms.new_zeros((count, products.width * small.shape[1]))
    places = [part.unbind() for part in torch.split(norms, products.chunk, dim=1)]
    totals = sums.unbind()
    ones = [torch.ones_like(place[0]) for place in places]
    # Each product is read once for the norm and once for the sum, while it is in cache.
    for chunk, tap, flat in products:
        torch.linalg.vector_norm(flat, dim=1, out=places[chunk][tap])
        totals[tap].addmv_(flat.mT, ones[chunk])
    for taps, total in zip(products.taps, products.as_weights(sums), strict=True):
        weight_total[(slice(None), slice(None), *taps)] += total
    return norms.double().square().sum(0)


def _products(small: Tensor, large: Tensor, geometry: Geometry) -> Products | FewerProducts:
    """Products as they suit the shapes and the memory format."""
    if _fewer_is_cheaper(small, large, geometry):
        fewer = FewerProducts(small, large, geometry, len(large))
        fewer.chunk = min(fewer.chunk, _chunk(large, fewer.entries))
        return fewer
    channels = large.shape[1] // geometry.groups
    side_by_side = channels * geometry.kernel[-1] < FEW_COLUMNS
    last = len(geometry.kernel) - 1
    unfolded = tuple(side_by_side or j == last or k == 1 for j, k in enumerate(geometry.kernel))
    inside = geometry.groups == 1 and large.stride(1) == 1 and channels >= FEW_CHANNELS
    products = Products(small, large, geometry, unfolded, inside, len(large))
    products.chunk = min(products.chunk, _chunk(large, products.entries))
    return products


def _positions(maps: Tensor) -> int:
    return math.prod(maps.shape[2:])


def _chunk(like: Tensor, numbers: int) -> int:
    """How many examples with so many numbers each are worked on at once."""
    held = CACHE_BYTES * torch.get_num_threads() if like.device.type == "cpu" else DEVICE_BYTES
    return max(1, -(-held // (max(4, like.element_size()) * max(1, numbers))))
