"""Linear layers: of vectors, and of sequences or maps of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from shattering.gradients.capture import Capture
from shattering.gradients.rules.registry import Use, rule, squared_rows

SCRATCH = 2**19
"""Entries of a scratch tensor that stays in a core's cache."""

TRAFFIC = 30
"""What writing an entry of gᵢ and reading it twice costs, in multiply-adds of a matrix product."""

CANCELLATION = 1e-3
"""Below this share of the Gram terms' absolute sum, their sum has lost too many digits of float32."""


class Linear(Use):
    """``y = x Wᵀ + b``: gᵢ = δᵢᵀ aᵢ for a vector, summed over positions for a sequence (Goodfellow 2015).

    ‖gᵢ‖² is ‖aᵢ‖²‖δᵢ‖² for a vector. For T positions it is either the sum over pairs of positions of
    (aₛ·aₜ)(δₛ·δₜ), or taken from gᵢ itself, whichever costs less.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.parameters = (weight, bias)

    def forward(self, *inputs: Tensor) -> Tensor:
        weight, bias = self.parameters
        assert weight is not None
        return F.linear(inputs[0], weight, bias)

    def data_gradients(
        self, inputs: Sequence[Tensor], delta: Tensor, needed: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        weight = self.parameters[0]
        assert weight is not None
        return [delta @ weight if delta.dim() > 1 else weight.t() @ delta]

    def per_example(self, inputs: Sequence[Tensor], delta: Tensor, wanted: Sequence[bool]) -> Sequence[Tensor | None]:
        a, d = _positions(inputs[0]), _positions(delta)
        return [torch.bmm(d.transpose(1, 2), a) if wanted[0] else None, d.sum(1) if wanted[1] else None]

    def stacked(self, uses: Sequence[tuple[Sequence[Tensor], Tensor]]) -> tuple[Sequence[Tensor], Tensor] | None:
        rows = [_positions(inputs[0]) for inputs, _ in uses], [_positions(delta) for _, delta in uses]
        return [torch.cat(rows[0], dim=1)], torch.cat(rows[1], dim=1)

    def accumulate(
        self, inputs: Sequence[Tensor], delta: Tensor, totals: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        return _accumulated(1, inputs[0], delta, *totals)

    def add_outer(self, inputs: Sequence[Tensor], delta: Tensor, totals: Sequence[Tensor | None], fresh: bool) -> bool:
        if delta.dim() != 2:
            return False
        _add_outer(0 if fresh else 1, inputs[0], delta, *totals)
        return True

    def write(
        self, inputs: Sequence[Tensor], delta: Tensor, totals: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        return _accumulated(0, inputs[0], delta, *totals)


def _accumulated(
    share: int, a: Tensor, d: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Sequence[Tensor | None]:
    """Norms; Σgᵢ goes into the totals, of which the ``share``, 1 or 0, of what they hold stays."""
    norms: list[Tensor | None] = [None, None]
    if d.dim() == 2:
        _add_outer(share, a, d, weight, bias)
        squares = squared_rows(d)
        if bias is not None:
            norms[1] = squares
        if weight is not None:
            norms[0] = squared_rows(a) * squares
        return norms
    if weight is not None:
        if not share:
            weight.zero_()
        norms[0] = _sequence(_positions(a), _positions(d), weight)
    if bias is not None:
        if not share:
            bias.zero_()
        each = _positions(d).sum(1)
        bias += each.sum(0)
        norms[1] = squared_rows(each)
    return norms


def _add_outer(share: int, a: Tensor, d: Tensor, weight: Tensor | None, bias: Tensor | None) -> None:
    if bias is not None:
        if share:
            bias += d.sum(0)
        else:
            torch.sum(d, 0, out=bias)
    if weight is not None:
        # With a share of 0 what is there is not even read.
        weight.addmm_(d.t(), a, beta=share)


def _positions(x: Tensor) -> Tensor:
    """``[n, T, features]``."""
    return x.unsqueeze(1) if x.dim() == 2 else x.flatten(1, -2)


def _sequence(a: Tensor, d: Tensor, total: Tensor) -> Tensor:
    positions = a.shape[1]
    rows, columns = total.shape
    if 4 * positions**2 * (rows + columns) < TRAFFIC * rows * columns:
        total.addmm_(d.flatten(0, 1).t(), a.flatten(0, 1))
        return torch.cat([_gram(a[r], d[r]) for r in _chunks(len(a), positions**2)])
    norms = []
    for r in _chunks(len(a), rows * columns):
        gradients = torch.bmm(d[r].transpose(1, 2), a[r])
        norms.append(squared_rows(gradients))
        total += gradients.sum(0)
    return torch.cat(norms)


def _gram(a: Tensor, d: Tensor) -> Tensor:
    terms = torch.bmm(a, a.transpose(1, 2)) * torch.bmm(d, d.transpose(1, 2))
    norms = terms.sum((1, 2)).double()
    lost = ~(norms > CANCELLATION * terms.abs_().sum((1, 2)))
    if a.dtype == torch.float32 and bool(lost.any()):
        for i in lost.nonzero()[:, 0].tolist():
            norms[i] = torch.linalg.vector_norm(d[i].double().t() @ a[i].double()) ** 2
    return norms.clamp_(min=0)


def _chunks(n: int, entries: int) -> list[slice]:
    step = max(1, SCRATCH // max(1, entries))
    return [slice(start, start + step) for start in range(0, n, step)]


@rule(F.linear)
def linear(capture: Capture, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    """Any linear layer whose input varies from example to example."""
    if weight.dim() != 2 or input.dim() < 2:
        return NotImplemented
    return capture.measure(Linear(weight, bias), input)


@rule(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm)
def matmul(capture: Capture, input: Tensor, other: Tensor) -> Any:
    """``x @ W`` with a matrix of weights on the right."""
    if other.dim() != 2 or input.dim() < 2 or capture.is_tracked(input):
        return NotImplemented
    return capture.measure(Linear(capture.view(other, lambda w: w.t()), None), input)


@rule(torch.addmm, Tensor.addmm)
def addmm(capture: Capture, input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
    """``b + x @ W``, the layer of early language models."""
    if beta != 1 or alpha != 1 or input.dim() != 1 or capture.is_tracked(mat1):
        return NotImplemented
    return capture.measure(Linear(capture.view(mat2, lambda w: w.t()), input), mat1)
