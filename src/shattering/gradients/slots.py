"""Where in its parameter a tensor of weights lies: the whole, a view of it, or something computed from it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Slot:
    """A tensor that stems from parameters alone, not from examples.

    Args:
        tensor: it.
        roots: names of the parameters it stems from.
        whole: whether it is its parameter itself.
        view: whether its entries are entries of one parameter, each at most once.
        offset: of its first entry, from the parameter's first.
    """

    tensor: Tensor
    roots: tuple[str, ...]
    whole: bool
    view: bool
    offset: int = 0

    def within(self, total: Tensor) -> Tensor:
        """The entries that `tensor` has in the parameter, of a tensor laid out like the parameter."""
        if self.whole:
            return total
        start = total.storage_offset() + self.offset
        return total.as_strided(self.tensor.shape, self.tensor.stride(), start)

    def within_rows(self, rows: Tensor) -> Tensor:
        """Likewise of ``[c, *parameter.shape]``, each row laid out like the parameter."""
        if self.whole:
            return rows
        start = rows.storage_offset() + self.offset
        shape, stride = (len(rows), *self.tensor.shape), (rows.stride(0), *self.tensor.stride())
        return rows.as_strided(shape, stride, start)

    @property
    def span(self) -> tuple[int, int]:
        """First entry and the one behind the last, in the parameter's memory."""
        length = 1 + sum((n - 1) * step for n, step in zip(self.tensor.shape, self.tensor.stride(), strict=True))
        return self.offset, self.offset + length


def slot_of_view(tensor: Tensor, parameter: Tensor, name: str) -> Slot | None:
    """The slot of a view of a parameter; none if the view repeats entries or the parameter's memory has gaps."""
    if tensor is parameter and parameter.is_contiguous() and parameter.numel() > 0:
        return Slot(tensor, (name,), True, True)
    offset = int(tensor.storage_offset() - parameter.storage_offset())
    if tensor.dtype != parameter.dtype or not _injective(tensor) or tensor.numel() == 0:
        return None
    whole = tensor is parameter
    if not whole and (offset < 0 or not is_dense(parameter)):
        return None
    return Slot(tensor, (name,), whole, True, offset)


def is_dense(tensor: Tensor) -> bool:
    """Whether the entries fill a stretch of memory without gap or repetition, in whatever order of dimensions."""
    expected = 1
    for step, n in sorted((step, n) for n, step in zip(tensor.shape, tensor.stride(), strict=True) if n != 1):
        if step != expected:
            return False
        expected *= n
    return True


def _injective(tensor: Tensor) -> bool:
    reach = 0
    for step, n in sorted((step, n) for n, step in zip(tensor.shape, tensor.stride(), strict=True) if n > 1):
        if step <= reach:
            return False
        reach += step * (n - 1)
    return True


def disjoint(slots: list[Slot]) -> bool:
    """Whether all are views of one parameter that share no entry."""
    if not all(slot.view for slot in slots):
        return False
    spans = sorted(slot.span for slot in slots)
    return all(first[1] <= second[0] for first, second in pairwise(spans))
