"""The network of the lottery ticket hypothesis."""

from __future__ import annotations

import torch
from torch import nn

from shattering.models.build import build_model
from shattering.models.lenet_300_100 import MeanPool


def test_it_has_the_published_number_of_weights() -> None:
    network = build_model("lenet_300_100", {}, (1, 28, 28), 10)
    weights = [value.numel() for value in network.parameters() if value.dim() > 1]
    assert sum(weights) == 266_200 and sum(value.numel() for value in network.parameters()) == 266_610
    assert all(bool((value == 0).all()) for value in network.parameters() if value.dim() == 1)


def test_weights_are_glorot_normal() -> None:
    torch.manual_seed(0)
    network = build_model("lenet_300_100", {"first": 800, "second": 400}, (1, 28, 28), 10)
    for layer in (network.hidden1, network.hidden2):
        wanted = (2 / (layer.in_features + layer.out_features)) ** 0.5
        assert abs(float(layer.weight.detach().std()) / wanted - 1) < 0.01


def test_pooling_takes_the_mean_of_squares() -> None:
    images = torch.rand(3, 2, 7, 9, dtype=torch.float64)
    assert torch.allclose(MeanPool(2)(images), nn.functional.avg_pool2d(images, 2))
    small = build_model("lenet_300_100", {"first": 5, "second": 4, "pool": 2}, (1, 28, 28), 10)
    assert small.hidden1.in_features == 196 and small(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
