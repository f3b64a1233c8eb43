"""The erf network's size, and that its variances at the start are those asked for."""

from __future__ import annotations

import math

import pytest
import torch

from shattering.models.build import build_model


def test_variances_at_the_start_are_those_asked_for() -> None:
    torch.manual_seed(0)
    network = build_model(
        "deep_erf", {"depth": 3, "width": 200, "weight_variance": 2.5, "bias_variance": 0.3}, (64,), 10
    )
    layers = [layer.requires_grad_(False) for layer in network if hasattr(layer, "weight")]
    assert [layer.out_features for layer in layers] == [200, 200, 200, 10]
    for layer in layers[:3]:
        assert float(layer.weight.var()) * layer.in_features == pytest.approx(2.5, rel=0.06)
    biases = torch.cat([layer.bias for layer in layers])
    assert float(biases.square().mean()) == pytest.approx(0.3, rel=0.25)


def test_hidden_units_are_erf_of_sums() -> None:
    network = build_model("deep_erf", {"depth": 1, "width": 3}, (1, 2, 2), 2).requires_grad_(False)
    image = torch.arange(4.0).reshape(1, 1, 2, 2) / 4
    hidden = network[1](image.flatten(1))
    by_hand = torch.tensor([math.erf(float(value)) for value in hidden[0]])
    assert network(image)[0].tolist() == pytest.approx(
        (network[3].weight @ by_hand + network[3].bias).tolist(), abs=1e-6
    )
