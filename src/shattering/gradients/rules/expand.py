"""A parameter repeated for each example: class tokens, initial states, learnt queries."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from shattering.gradients.capture import Capture
from shattering.gradients.rules.registry import rule


def _spread(capture: Capture, source: Tensor, shape: torch.Size, repeats: tuple[int, ...] | None) -> Any:
    for place in range(min(2, len(shape))):
        own = len(shape) - source.dim()
        fits = shape[place] == capture.examples and (place < own or source.shape[place - own] == 1)
        if not fits:
            continue
        copies = capture.copies(source, len(shape))
        if copies is None or copies.shape[place] != capture.examples:
            return NotImplemented
        if repeats is None:
            return copies.expand(shape)
        times = list(repeats)
        times[place] = 1
        return copies.repeat(times)
    return NotImplemented


@rule(Tensor.expand, Tensor.expand_as, torch.broadcast_to, Tensor.broadcast_to, spreads=True)
def expand(capture: Capture, source: Tensor, *size: Any, **kwargs: Any) -> Any:
    """One copy per example, the examples in the first or second dimension."""
    if not capture.is_tracked(source):
        return NotImplemented
    like = size[0] if len(size) == 1 and isinstance(size[0], Tensor) else None
    shape = like.shape if like is not None else source.detach().expand(*size, **kwargs).shape
    return _spread(capture, source, shape, None)


@rule(Tensor.repeat, spreads=True)
def repeat(capture: Capture, source: Tensor, *sizes: Any) -> Any:
    """Likewise, in memory of their own."""
    times = tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else tuple(sizes)
    shape = source.detach().repeat(times).shape
    return _spread(capture, source, shape, times)
