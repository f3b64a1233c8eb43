"""The extreme eigenvalues of a kernel matrix, by Rayleigh quotients of vectors found with its factor."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 16
"""How often a block is multiplied at most."""

SETTLED = 0.01
"""Where a step moves the estimated eigenvalue by less than this share of it, there is none further."""


def block_width(n: int) -> int:
    """Vectors in a block: more of them settle in fewer steps, each of which reads the whole factor, but take memory."""
    return 8 if n <= 2**14 else 4


def cosines(n: int, device: torch.device) -> Tensor:
    """Where a search begins, float64 ``[n, width]``: cosines of n multiples of different numbers.

    Fixed, so that no solve depends on a generator, and without a pattern that a kernel could share.
    """
    count = torch.arange(1, n + 1, dtype=torch.float64, device=device)
    roots = [math.sqrt(prime) for prime in (2, 3, 5, 7, 11, 13, 17, 19)[: min(block_width(n), n)]]
    return torch.stack([torch.cos(2 * math.pi * torch.frac(root * count)) for root in roots], dim=1)


def greatest_vector(apply: Callable[[Tensor], Tensor], n: int, device: torch.device) -> Tensor:
    """Near the eigenvector of the greatest eigenvalue of a kernel matrix, float64 ``[n, 1]`` of norm 1.

    Begins with a constant vector among others: where all entries are positive, the one sought has but one sign.

    Args:
        apply: multiplies by the matrix; float64 ``[n, columns]`` to the same shape.
        n: number of rows.
        device: where vectors lie.
    """
    start = cosines(n, device)
    start[:, 0] = 1
    return _extreme_vector(apply, start)


def least_vector(apply: Callable[[Tensor], Tensor], n: int, device: torch.device) -> Tensor:
    """Near the eigenvector of the least eigenvalue of a kernel matrix, float64 ``[n, 1]`` of norm 1.

    What is found is multiplied by the inverse twice more, which leaves next to nothing of the directions with great
    eigenvalues: these would spoil the Rayleigh quotient of the matrix itself.

    Args:
        apply: multiplies by the inverse; float64 ``[n, columns]`` to the same shape.
        n: number of rows.
        device: where vectors lie.
    """
    image = apply(_extreme_vector(apply, cosines(n, device)))
    vector: Tensor = image / torch.linalg.vector_norm(image)
    return vector


def _extreme_vector(apply: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Approximates the eigenvector of the greatest eigenvalue of a symmetric operator, by block Lanczos.

    All basis vectors are kept and each is made orthogonal to all earlier ones. What is found is multiplied by the
    operator once more, which costs nothing: the product is a combination of those at hand.
    """
    n = len(start)
    block = torch.linalg.qr(start)[0]
    basis, images = block, block[:, :0]
    value = 0.0
    found: Tensor = block[:, :1]
    for _ in range(STEPS):
        image = apply(block)
        images = torch.cat([images, image], dim=1)
        small = basis.T @ images
        values, vectors = torch.linalg.eigh((small + small.T) / 2)
        found, value, before = images @ vectors[:, -1:], float(values[-1]), value
        if abs(value - before) <= SETTLED * abs(value) or basis.shape[1] == n:
            break
        block = image[:, : n - basis.shape[1]]
        for _ in range(2):
            block = block - basis @ (basis.T @ block)
        if float(torch.linalg.vector_norm(block, dim=0).min()) <= 1e-12 * float(torch.linalg.vector_norm(image)):
            break
        block = torch.linalg.qr(block)[0]
        basis = torch.cat([basis, block], dim=1)
    vector: Tensor = found / torch.linalg.vector_norm(found)
    return vector
