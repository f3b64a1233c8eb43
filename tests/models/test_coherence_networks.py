"""The networks of the studies of coherence: counts, initialisation, and the linear model of six weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shattering.core.errors import SpecError
from shattering.models.build import build_model
from shattering.models.same_padding import max_pool_halving


@pytest.mark.parametrize(
    ("name", "fields", "shape", "count"),
    [
        # (784 + 1) · 2048 + (2048 + 1) · 10, the network of Chatterjee (2020)
        ("mlp", {}, (1, 28, 28), 1_628_170),
        # (784 + 1) · 256 + 2 · (256 + 1) · 256 + (256 + 1) · 10, that of its winsorized gradients
        ("mlp", {"depth": 3, "width": 256}, (1, 28, 28), 335_114),
        ("small_convnet", {}, (1, 28, 28), 206_922),
        ("small_convnet", {}, (3, 32, 32), 268_650),
        ("linear", {}, (6,), 70),
        ("linear", {"outputs": "one", "bias": False}, (6,), 6),
    ],
)
def test_parameter_counts(name, fields, shape, count) -> None:
    network = build_model(name, fields, shape, 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_the_first_mlp_of_zhang_et_al_is_one_of_them() -> None:
    torch.manual_seed(0)
    theirs = build_model("mlp_1x512", {}, (1, 8, 8), 10)
    torch.manual_seed(0)
    ours = build_model("mlp", {"width": 512, "initialisation": "he"}, (1, 8, 8), 10)
    inputs = torch.randn(3, 1, 8, 8)
    assert torch.equal(ours(inputs), theirs(inputs))


def test_xavier_is_uniform_between_its_bounds() -> None:
    torch.manual_seed(0)
    network = build_model("mlp", {}, (600,), 300)
    for layer in (layer for layer in network.modules() if isinstance(layer, nn.Linear)):
        bound = math.sqrt(6 / (layer.in_features + layer.out_features))
        weight = layer.weight.detach()
        assert float(weight.abs().max()) == pytest.approx(bound, rel=1e-4)
        # The deviation of a uniform variable; its relative standard error is below 0.1% for so many draws.
        assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.01)
        assert not bool(layer.bias.any())


def test_small_convnet_rectifies_before_pooling_as_far_as_anyone_can_tell() -> None:
    network = build_model("small_convnet", {"channels": 3, "hidden": 5}, (2, 7, 10), 4).double()
    part = network.get_submodule
    maps = inputs = torch.randn(2, 2, 7, 10, dtype=torch.float64)
    for index in "12":
        maps = max_pool_halving(F.relu(part(f"conv{index}")(maps)))
    hidden = F.relu(part("linear")(maps.permute(0, 2, 3, 1).reshape(2, -1)))
    torch.testing.assert_close(network(inputs), part("output")(hidden), rtol=1e-12, atol=1e-12)


def test_linear_model_is_linear_and_may_begin_at_zero() -> None:
    network = build_model("linear", {"outputs": "one", "bias": False, "initialisation": "zeros"}, (6,), 2)
    assert not bool(network.get_parameter("output.weight").any())
    with torch.no_grad():
        network.get_parameter("output.weight").copy_(torch.arange(6.0)[None])
    assert network(torch.eye(6)).flatten().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("mlp", {"initialisation": "zeros"}),
        ("mlp", {"depth": 0}),
        ("linear", {"outputs": "two"}),
        ("linear", {"bias": 2}),
    ],
)
def test_wrong_fields_are_refused(name, fields) -> None:
    with pytest.raises(SpecError) as caught:
        build_model(name, fields, (6,), 2)
    assert caught.value.identifier == "spec-wrong-type"
