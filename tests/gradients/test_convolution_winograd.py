"""Convolutions with fewer multiplications, against gradients of single examples by autograd."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from shattering.gradients import convolution
from shattering.gradients.convolution import accumulate
from shattering.gradients.convolution_geometry import Geometry
from shattering.gradients.convolution_winograd import FewerProducts, runs

CASES = [
    # channels in, out; size of the map; kernel; padding
    (16, 24, (14, 14), (3, 3), (1, 1)),
    (16, 20, (13, 15), (5, 5), (2, 2)),
    (20, 80, (9, 12), (3, 2), (0, 1)),
    (24, 16, (8, 11), (1, 4), (3, 0)),
    (18, 17, (6, 10), (2, 7), (1, 3)),
    (16, 70, (30,), (5,), (2,)),
    (32, 16, (3, 5), (3, 5), (0, 0)),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_and_norms_are_those_of_single_examples(case, transposed, dtype, monkeypatch) -> None:
    monkeypatch.setattr(convolution, "_fewer_is_cheaper", lambda *_: True)
    monkeypatch.setattr(convolution, "gram_is_cheaper", lambda *_: False)
    monkeypatch.setattr(convolution, "_chunk", lambda *_: 2)
    channels, rows, size, kernel, padding = case
    torch.manual_seed(0)
    inputs = torch.randn(5, channels, *size, dtype=dtype)
    if len(size) == 2:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    function = getattr(F, f"conv{'_transpose' if transposed else ''}{len(size)}d")
    shape = (channels, rows, *kernel) if transposed else (rows, channels, *kernel)
    weight = torch.randn(shape, dtype=dtype, requires_grad=True)
    bias = torch.randn(rows, dtype=dtype, requires_grad=True)
    outputs = function(inputs, weight, bias, padding=padding)
    deltas = torch.randn_like(outputs)
    exact = weight.detach().double().requires_grad_()
    alone = [
        torch.autograd.grad(function(x.double()[None], exact, padding=padding), exact, d.double()[None])[0]
        for x, d in zip(inputs, deltas, strict=True)
    ]
    geometry = Geometry.of_call(weight, padding=padding, transposed=transposed)
    assert FewerProducts.applies(geometry)
    total = torch.zeros(shape, dtype=dtype)
    norms, _ = accumulate(inputs, deltas, geometry, total, torch.zeros(rows, dtype=dtype))
    tolerance = 2e-6 if dtype == torch.float32 else 1e-14
    wanted = torch.stack([g.square().sum() for g in alone])
    assert norms is not None
    assert float((norms / wanted - 1).abs().max()) < tolerance
    away = torch.linalg.vector_norm(total.double() - sum(alone))
    assert float(away / torch.linalg.vector_norm(sum(alone))) < tolerance


def test_runs_cover_every_tap_once() -> None:
    for taps in range(2, 12):
        found = [k for first, length in runs(taps) for k in range(first, first + length)]
        assert found == list(range(taps))


def test_only_where_windows_move_by_single_steps() -> None:
    weight = torch.zeros(4, 4, 3, 3)
    assert FewerProducts.applies(Geometry.of_call(weight))
    for settings in ({"stride": 2}, {"dilation": 2}, {"groups": 2}):
        assert not FewerProducts.applies(Geometry.of_call(weight, **settings))
    assert not FewerProducts.applies(Geometry.of_call(torch.zeros(4, 4, 3, 1)))
    assert not FewerProducts.applies(Geometry.of_call(torch.zeros(4, 4, 3, 3, 3)))
