"""How a convolution slides over its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Geometry:
    """How a convolution slides, in one, two or three dimensions; each tuple has one entry a dimension.

    Args:
        kernel: taps.
        stride: steps between windows.
        padding: zeros before the first entry; those behind the last one follow from the shape of the output.
        dilation: steps between taps.
        groups: channels are split into so many groups that do not mix.
        transposed: whether it is a transposed convolution, whose output is the large map.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False

    @staticmethod
    def of_call(
        weight: Tensor,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        transposed: bool = False,
    ) -> Geometry:
        """The geometry of a call of ``F.conv1d`` to ``F.conv_transpose3d``, whose arguments these are.

        ``weight`` tells the number of dimensions. A transposed convolution's output padding is not needed: it shows in
        the shape of the output.
        """
        dimensions = weight.dim() - 2
        kernel = tuple(weight.shape[2:])
        steps, spread = _each(stride, dimensions), _each(dilation, dimensions)
        if isinstance(padding, str):
            # Of an odd number of zeros, torch puts the one more behind.
            same = tuple(d * (k - 1) // 2 for k, d in zip(kernel, spread, strict=True))
            before = same if padding == "same" else (0,) * dimensions
        else:
            before = _each(padding, dimensions)
        return Geometry(kernel, steps, before, spread, groups, transposed)


def _each(value: int | Sequence[int], dimensions: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * dimensions
    return tuple(value) if len(value) == dimensions else (int(value[0]),) * dimensions
