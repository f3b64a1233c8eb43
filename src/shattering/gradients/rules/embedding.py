"""Embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from shattering.gradients.capture import Capture
from shattering.gradients.rules.registry import Use, rule, squared_rows


class Embedding(Use):
    """``y = W[x]``: gᵢ has δ in the rows that the example looked up, summed where it did so repeatedly."""

    def __init__(self, weight: Tensor, padding: int | None) -> None:
        self.parameters = (weight,)
        self.padding = padding

    def forward(self, *inputs: Tensor) -> Tensor:
        (weight,) = self.parameters
        assert weight is not None
        return F.embedding(inputs[0], weight)

    def _rows(self, indices: Tensor, delta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each look-up that counts: the example, the row of W, and δ."""
        n = len(indices)
        tokens = indices.reshape(n, -1)
        examples = torch.arange(n, device=tokens.device)[:, None].expand_as(tokens).reshape(-1)
        rows, gradients = tokens.reshape(-1), delta.reshape(-1, delta.shape[-1])
        if self.padding is None:
            return examples, rows, gradients
        kept = rows != self.padding
        return examples[kept], rows[kept], gradients[kept]

    def per_example(self, inputs: Sequence[Tensor], delta: Tensor, wanted: Sequence[bool]) -> Sequence[Tensor | None]:
        (weight,) = self.parameters
        assert weight is not None
        examples, rows, gradients = self._rows(inputs[0], delta)
        each = delta.new_zeros(len(delta), *weight.shape)
        each.index_put_((examples, rows), gradients, accumulate=True)
        return [each]

    def accumulate(
        self, inputs: Sequence[Tensor], delta: Tensor, totals: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        (total,) = totals
        assert total is not None
        examples, rows, gradients = self._rows(inputs[0], delta)
        pairs, place = torch.unique(examples * len(total) + rows, return_inverse=True)
        each = gradients.new_zeros(len(pairs), gradients.shape[1]).index_add_(0, place, gradients)
        total.index_add_(0, pairs % len(total), each)
        norms = torch.zeros(len(delta), dtype=torch.float64, device=delta.device)
        return [norms.index_add_(0, pairs // len(total), squared_rows(each))]


@rule(F.embedding)
def embedding(
    capture: Capture,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """Look-ups whose indices vary from example to example, without the options that mix examples."""
    if max_norm is not None or scale_grad_by_freq or weight.dim() != 2:
        return NotImplemented
    if padding_idx is not None and padding_idx < 0:
        padding_idx += len(weight)
    return capture.measure(Embedding(weight, padding_idx), input)
