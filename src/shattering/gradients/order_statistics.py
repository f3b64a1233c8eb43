"""Winsorized sums over the examples of a batch, coordinate by coordinate, of gradients that are never all held at once.

Two facts make this fast. A linear layer's per-example gradient is the product aᵢ[j]·δᵢ[o], so a block of coordinates
can be made when it is wanted; and rectified units leave many zeros in a and δ, whose rank is known without sorting.
NumPy sorts short rows of numbers in vector registers, about twenty times as fast as `torch.sort` on a CPU (100 float32
to a row, AVX-512); elsewhere than on a CPU, PyTorch sorts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

CPU_BLOCK = 2**18
"""Numbers sorted at a time: a mebibyte of float32, which stays in the second-level cache."""

GPU_BLOCK = 2**26
"""The same on a GPU: 256 MiB of float32, and as much again for the sorted copy and for torch's indices, twice."""

NEARLY_ALL = 0.8
"""A column with a larger fraction of nonzero entries is not packed: gathering costs as much as sorting a fifth."""


def moved(percent: float, examples: int) -> int:
    """k, how many of the values at each end of a coordinate a winsorized mean moves: ⌊c·b/100⌋, at most ⌊(b-1)/2⌋.

    A fraction is cut off: a batch of fewer than 100/c examples moves none, and its winsorized mean is its mean.

    Args:
        percent: c, 0 ≤ c < 50.
        examples: b.
    """
    # The small addition puts right what the division of floats loses: 0.29·100 is 28.999….
    return min(math.floor(percent * examples / 100 + 1e-9), median_moves(examples))


def median_moves(examples: int) -> int:
    """⌊(b-1)/2⌋: a winsorized mean that moves so many at each end is the median (b even: the middle two's mean)."""
    return (examples - 1) // 2


def winsorized_sum(values: Tensor, k: int) -> Tensor:
    """Sum over the first dimension once the k smallest are raised to the next value, the k largest lowered to the next.

    Args:
        values: ``[b, …]``.
        k: 0 ≤ k ≤ ⌊(b-1)/2⌋.

    Returns:
        Shape ``[…]``: the sum if k = 0; b times the median if k = ⌊(b-1)/2⌋.
    """
    columns = values.reshape(len(values), math.prod(values.shape[1:])).t()  # [coordinates, b]
    out = columns.new_empty(len(columns))
    step = max(1, _block(values.device) // len(values))
    for start in range(0, len(columns), step):
        block = columns[start : start + step].clone(memory_format=torch.contiguous_format)
        out[start : start + step] = sum_of_sorted(sort_rows(block), k, 0)
    return out.view(values.shape[1:])


def winsorized_sum_of_products(left: Tensor, right: Tensor, k: int) -> Tensor:
    """As `winsorized_sum` of the products left[i, p]·right[i, q] over the examples i, which are never held together.

    Memory: a few blocks of 1 MiB (on a GPU, 256 MiB), beside the operands and the result. Columns of either operand
    that at most k examples share cost nothing: all but k of their products are zero, and so is the sum.

    Args:
        left: ``[b, P]``, such as the gradients after a linear layer.
        right: ``[b, Q]``, such as its inputs.
        k: 0 ≤ k ≤ ⌊(b-1)/2⌋.

    Returns:
        ``[P, Q]``.
    """
    if _density(left) < _density(right):
        return winsorized_sum_of_products(right, left, k).t()
    examples, width = left.shape
    across, packed = left.t().contiguous(), right.t().contiguous()  # [P, b], [Q, b]
    order, counted = nonzero_first(packed)
    counts, columns = counted.sort(stable=True)
    sizes = [_rows(count, k, examples) for count in counts.tolist()]
    sums = left.new_zeros(len(packed), width)
    begin = sizes.count(0)
    while begin < len(sizes):
        end = _end_of_group(sizes, begin, _block(left.device) // max(1, width))
        rows, chosen = sizes[end - 1], columns[begin:end]
        if rows == examples:
            block = across[:, None, :] * packed[chosen]  # [P, columns, b]
        else:
            where = order[chosen, :rows]  # [columns, rows]
            block = across.index_select(1, where.flatten()).view(width, *where.shape)
            block.mul_(packed[chosen].gather(1, where))
        sums[begin:end] = sum_of_sorted(sort_rows(block), k, examples - rows).t()
        begin = end
    return torch.empty_like(sums).index_copy_(0, columns, sums).t()


def nonzero_first(values: Tensor) -> tuple[Tensor, Tensor]:
    """Where each row's nonzero values are, in order, then, as often as there is room, one of its zeros.

    Args:
        values: ``[r, n]``.

    Returns:
        Indices ``[r, n]`` and the number of nonzero values ``[r]``.
    """
    filled = values != 0
    counts = filled.sum(dim=1)
    row, column = filled.nonzero(as_tuple=True)
    starts = counts.cumsum(dim=0) - counts
    order = filled.to(torch.uint8).argmin(dim=1, keepdim=True).repeat(1, values.shape[1])
    order[row, torch.arange(len(row), device=row.device) - starts[row]] = column
    return order, counts


def median_of(values: Sequence[Tensor]) -> Tensor:
    """Elementwise median of tensors of one shape; of an even number, the mean of the middle two."""
    if len(values) == 3:
        first, second, third = values
        return torch.maximum(torch.minimum(first, second), torch.minimum(torch.maximum(first, second), third))
    ordered = torch.stack(list(values)).sort(dim=0).values
    return torch.lerp(ordered[(len(values) - 1) // 2], ordered[len(values) // 2], 0.5)


def sort_rows(block: Tensor) -> Tensor:
    """Sorts the last dimension, rising, NaN last; ``block`` is contiguous and may be overwritten."""
    if block.device.type != "cpu" or block.dtype not in (torch.float32, torch.float64):
        return block.sort(dim=-1).values
    block.numpy().sort(axis=-1)
    return block


def sum_of_sorted(ordered: Tensor, k: int, zeros: int) -> Tensor:
    """The winsorized sum of sorted values and of so many zeros more, which are not written down.

    Args:
        ordered: ``[…, n]``, rising; where zeros are left out, k of them at least are not, unless the median is wanted.
        k: values moved at each end.
        zeros: b - n.

    Returns:
        Shape ``[…]``.
    """
    n = ordered.shape[-1]
    examples = n + zeros
    ends = _ranked(ordered, k, zeros) + _ranked(ordered, examples - 1 - k, zeros)
    if k == median_moves(examples):
        return ends * (0.5 * examples)
    # The k first are negative or zero and the k last positive or zero, so that leaving out zeros moves no rank of them.
    kept = ordered[..., k : n - k].sum(dim=-1)
    return kept + ends * k if k else kept


def _ranked(ordered: Tensor, rank: int, zeros: int) -> Tensor:
    """The value of a rank among n sorted values and so many zeros: the median of S[rank - zeros], 0 and S[rank]."""
    n = ordered.shape[-1]
    if zeros == 0:
        return ordered[..., rank]
    value = torch.zeros_like(ordered[..., 0])
    if rank < n:
        value = torch.minimum(value, ordered[..., rank])
    if rank >= zeros:
        value = torch.maximum(value, ordered[..., rank - zeros])
    return value


def _rows(count: int, k: int, examples: int) -> int:
    """How many examples of a column with so many nonzero entries are to be sorted: none where the sum is zero."""
    if count <= k:
        return 0
    rows = count if k == median_moves(examples) else count + k
    return rows if rows <= NEARLY_ALL * examples else examples


def _end_of_group(sizes: list[int], begin: int, limit: int) -> int:
    """The end of the columns, of rising sizes, that fit together into a block of so many rows."""
    end = begin + 1
    while end < len(sizes) and (end + 1 - begin) * sizes[end] <= limit:
        end += 1
    return end


def _density(operand: Tensor) -> float:
    """The mean number of nonzero examples in the columns that are not all zero."""
    filled = (operand != 0).sum(dim=0)
    return float(filled.sum() / (filled > 0).sum().clamp(min=1))


def _block(device: torch.device) -> int:
    return CPU_BLOCK if device.type == "cpu" else GPU_BLOCK
