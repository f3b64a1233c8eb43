"""What a kernel machine says of points, in tiles: the kernel between two sets is never held."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from shattering.kernels.functions import Kernel
from shattering.kernels.matrix import spans
from shattering.kernels.points import Points, Products

HEIGHT, WIDTH = 512, 512
"""Rows and columns of a tile."""


def predict(
    kernel: Kernel, given: Points, points: Points, coefficients: Tensor, told: Callable[[], None] = lambda: None
) -> Tensor:
    """f(x) = Σᵢ k(x, xᵢ) aᵢ in float64.

    Args:
        kernel: k.
        given: m points x, in the frame of the others.
        points: the n training points xᵢ.
        coefficients: float64 ``[n, columns]``, where the points lie.
        told: called after each row of tiles; may raise to stop.

    Returns:
        float64 ``[m, columns]``.
    """
    # Columns lie in memory as rows: thin matrix products are several times as fast that way.
    weights = coefficients.T.contiguous()
    total = weights.new_zeros(len(weights), len(given))
    products = Products(given, points)
    for low, high in spans(len(given), HEIGHT):
        for start, stop, tile in products.tiles(low, high, iter(spans(len(points), WIDTH))):
            values = kernel.values(tile, given.squares[low:high], points.squares[start:stop])
            total[:, low:high].addmm_(weights[:, start:stop], values.T)
        told()
    return total.T.contiguous()
