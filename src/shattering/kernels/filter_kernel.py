"""The linear kernel on random convolutional features, summed block of filters by block of filters.

Neither the features of all filters nor the filters' answers are ever held for all images at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shattering.kernels.random_filters import FilterBank, Images, filter_features

if TYPE_CHECKING:
    import torch

BLOCK = 256
"""Filters whose features are held at a time."""

ROWS = 2048
"""Rows of the kernel that are formed at a time."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """What makes every feature of the training images have mean 0 and deviation 1.

    Args:
        mean: float64 ``[D]``.
        scale: float64 ``[D]``: one over the deviation; 0 for a feature that never varies.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]


def linear_kernel(
    images: Images,
    bank: FilterBank,
    *,
    device: str = "cpu",
    told: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[NDArray[np.float64], Scaling]:
    """The linear kernel of the training images on standardised features, with a constant one.

    ``K_ij = 1 + φ̂(x_i)ᵀ φ̂(x_j) / D``, summed over blocks of filters. Products are in the features' float32, their sum
    over blocks in float64: entries are exact to about 1e-6, and it is these entries that a solve takes as given.

    Args:
        images: the training images, ``[n, h, w, c]``.
        bank: the filters.
        device: where it is computed.
        told: called with the filters done and their number after each block.

    Returns:
        float64 ``[n, n]`` on the CPU, symmetric, diagonal about 2; and the scaling of the features.

    Cost: ``n² D`` operations and those of the convolutions; memory ``8 n²`` and a block's features.
    """
    import torch

    count = len(images)
    kernel = torch.ones((count, count), dtype=torch.float64, device=device)
    means, scales = [], []
    for start, block in _blocks(images, bank, device):
        deviation, mean = torch.std_mean(block.double(), dim=0, correction=0)
        scale = torch.where(deviation > 0, 1 / deviation, torch.zeros_like(deviation))
        means.append(mean.cpu().numpy())
        scales.append(scale.cpu().numpy())
        block.sub_(mean.float()).mul_((scale / bank.features**0.5).float())
        _add_products(kernel, block)
        told(start + block.shape[1] // bank.per_filter, len(bank))
    _mirror(kernel)
    return kernel.cpu().numpy(), Scaling(np.concatenate(means), np.concatenate(scales))


def feature_weights(
    images: Images, bank: FilterBank, scaling: Scaling, dual: NDArray[np.float64], *, device: str = "cpu"
) -> NDArray[np.float64]:
    """The weights of the standardised features (and of the constant, last) that dual coefficients stand for.

    ``w = Φ̂ᵀ A / √D``; with them a test image costs its features and no kernel. Arguments are those of
    `linear_kernel`; ``dual`` is ``[n, classes]`` and the answer float64 ``[D + 1, classes]``.
    """
    import torch

    coefficients = torch.from_numpy(dual).to(device)
    parts = []
    for start, block in _blocks(images, bank, device):
        mean, scale = _on(scaling, start * bank.per_filter, block)
        # The scale goes to the product, not to the features: these stay float32, the sum over examples is float64.
        product = block.double().sub_(mean).T @ coefficients
        parts.append((product * scale[:, None] / bank.features**0.5).cpu().numpy())
    parts.append(dual.sum(axis=0, keepdims=True))
    return np.concatenate(parts)


def filter_scores(
    images: Images, bank: FilterBank, scaling: Scaling, weights: NDArray[np.float64], *, device: str = "cpu"
) -> NDArray[np.float64]:
    """What a linear model on the standardised features says: float64 ``[n, classes]``."""
    import torch

    found = torch.from_numpy(np.repeat(weights[-1:], len(images), axis=0)).to(device)
    for start, block in _blocks(images, bank, device):
        first = start * bank.per_filter
        mean, scale = _on(scaling, first, block)
        part = torch.from_numpy(weights[first : first + block.shape[1]]).to(device)
        found += block.double().sub_(mean) @ (part * scale[:, None] / bank.features**0.5)
    return found.cpu().numpy()


def _blocks(images: Images, bank: FilterBank, device: str) -> Iterator[tuple[int, torch.Tensor]]:
    """The first filter of each block, with the features of all images for it."""
    for start in range(0, len(bank), BLOCK):
        yield start, filter_features(images, bank.part(start, start + BLOCK), device=device)


def _on(scaling: Scaling, first: int, block: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    part = slice(first, first + block.shape[1])
    return torch.from_numpy(scaling.mean[part]).to(block.device), torch.from_numpy(scaling.scale[part]).to(block.device)


def _add_products(kernel: torch.Tensor, block: torch.Tensor) -> None:
    """Adds the lower triangle of ``block · blockᵀ``, panel by panel; what lies above in a panel is not used."""
    for start in range(0, len(block), ROWS):
        stop = min(start + ROWS, len(block))
        kernel[start:stop, :stop] += block[start:stop] @ block[:stop].T


def _mirror(kernel: torch.Tensor) -> None:
    for start in range(0, len(kernel), ROWS):
        stop = start + ROWS
        corner = kernel[start:stop, start:stop]
        corner.copy_(corner.tril() + corner.tril(-1).T)
        kernel[:start, start:stop] = kernel[start:stop, :start].T
