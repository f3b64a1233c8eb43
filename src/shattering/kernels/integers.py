"""Inner products of bytes: exact, and where the processor multiplies bytes, several times as fast as float32."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ORIGIN = 128
"""Subtracted from integers in 0 … 255, so that they are signed bytes."""

LONGEST = 2**31 // ORIGIN**2 - 1
"""So many products of signed bytes cannot leave 32 bits."""

_TRIAL = (256, 784, 512)
"""Shapes of the products that are timed: rows, features, columns."""


def signed_bytes(steps: NDArray[Any]) -> NDArray[np.int8] | None:
    """``steps - ORIGIN`` for integers in 0 … 255; none where one lies outside, or too many would be added up.

    Args:
        steps: integers in any type, ``[n, features]``.
    """
    if steps.size == 0 or steps.shape[1] > LONGEST or steps.min() < 0 or steps.max() > 255:
        return None
    return (steps - ORIGIN).astype(np.int8)


def byte_products(left: Tensor, right: Tensor) -> Tensor:
    """⟨x, y⟩ of signed bytes ``[a, features]`` and ``[b, features]``: int32 ``[a, b]``, exact."""
    products: Tensor = torch._int_mm(left, right.T)
    return products


@cache
def pays() -> bool:
    """Whether this processor multiplies bytes faster than float32 numbers; right in either case, so that one may ask.

    Both give the same integers, so the answer moves no result.
    """
    rows, features, columns = _TRIAL
    spread = torch.arange(rows * features) * 37 % 256 - ORIGIN
    left = spread.reshape(rows, features).to(torch.int8)
    right = left.repeat(columns // rows, 1)
    try:
        right_answer = torch.equal(byte_products(left, right).double(), left.double() @ right.double().T)
    except (AttributeError, RuntimeError):  # an older or an other build of PyTorch
        return False
    return right_answer and _seconds(left, right, byte_products) < 0.8 * _seconds(left.float(), right.float(), _float)


def _float(left: Tensor, right: Tensor) -> Tensor:
    return left @ right.T


def _seconds(left: Tensor, right: Tensor, multiply: Callable[[Tensor, Tensor], Tensor]) -> float:
    taken = []
    for _ in range(4):
        begun = time.perf_counter()
        multiply(left, right)
        taken.append(time.perf_counter() - begun)
    return min(taken)
