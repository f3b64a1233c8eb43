"""Kernels, as functions of inner products: each turns a tile of ⟨x, x′⟩ into a tile of k(x, x′), in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

KernelName = Literal["gaussian", "laplacian", "linear"]

Tile = Callable[["Tensor", "Tensor", "Tensor", float], "Tensor"]
"""``(products [a, b], squares [a], squares [b], gamma) -> values [a, b]``, all float64."""


def gaussian(products: Tensor, left: Tensor, right: Tensor, gamma: float) -> Tensor:
    """k(x, x′) = exp(-γ ‖x - x′‖²), from ⟨x, x′⟩, ‖x‖² and ‖x′‖². Zhang et al. (2017), Section 5."""
    exponent = products.mul_(2 * gamma).sub_((gamma * left)[:, None]).sub_(gamma * right)
    return exponent.exp_()


def laplacian(products: Tensor, left: Tensor, right: Tensor, gamma: float) -> Tensor:
    """k(x, x′) = exp(-γ ‖x - x′‖), from ⟨x, x′⟩, ‖x‖² and ‖x′‖². Belkin, Ma and Mandal (2018)."""
    squares = products.mul_(-2).add_(left[:, None]).add_(right)
    # Rounding may leave the square of a tiny distance below zero.
    return squares.clamp_(min=0).sqrt_().mul_(-gamma).exp_()


def linear(products: Tensor, left: Tensor, right: Tensor, gamma: float) -> Tensor:
    """k(x, x′) = ⟨x, x′⟩."""
    return products


TILES: dict[str, Tile] = {"gaussian": gaussian, "laplacian": laplacian, "linear": linear}


@dataclass(frozen=True)
class Kernel:
    """Which kernel, and how wide.

    Args:
        name: ``gaussian``, ``laplacian`` or ``linear``.
        gamma: γ above, positive: per squared unit of the inputs for the Gaussian kernel, per unit for the Laplacian
            one; the linear kernel has none and ignores it.
    """

    name: KernelName = "gaussian"
    gamma: float = 0.02

    @property
    def centred(self) -> bool:
        """Whether the kernel depends on differences alone, so that the origin may be put where numbers are small."""
        return self.name != "linear"

    def values(self, products: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """The tile of kernel values, in the memory of ``products``."""
        return TILES[self.name](products, left, right, self.gamma)

    def diagonal(self, squares: Tensor) -> Tensor:
        """k(x, x) from ‖x‖²."""
        return squares.clone() if self.name == "linear" else squares.new_ones(squares.shape)
