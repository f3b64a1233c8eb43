"""Functions that amount to others that have rules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from shattering.gradients.capture import Capture
from shattering.gradients.rules.registry import rule


@rule(torch.bilinear)
def bilinear(capture: Capture, input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    """A linear layer of all products of two vectors' entries."""
    with capture:
        products = (input1.unsqueeze(-1) * input2.unsqueeze(-2)).flatten(-2)
        return F.linear(products, weight.flatten(1), bias)


@rule(F.embedding_bag)
def embedding_bag(
    capture: Capture,
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """The sum or mean of an example's embeddings, for bags of equal length."""
    if offsets is not None or max_norm is not None or scale_grad_by_freq or mode == "max" or input.dim() != 2:
        return NotImplemented
    with capture:
        found = F.embedding(input, weight, padding_idx)
        counted = torch.ones_like(input, dtype=weight.dtype)
        if padding_idx is not None:
            counted = (input != padding_idx % len(weight)).to(weight.dtype)
        scale = counted if per_sample_weights is None else counted * per_sample_weights
        total = (found * scale.unsqueeze(-1)).sum(1)
        return total if mode == "sum" else total / counted.sum(1, keepdim=True).clamp(min=1)
