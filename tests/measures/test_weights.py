"""Norms of the weights beside a slow twin."""

from __future__ import annotations

import math

import pytest
import torch
from no_gradients import NO_GRADIENTS
from torch import nn

from shattering.measures.registry import Probe
from shattering.measures.weights import weights


def nothing() -> tuple[torch.Tensor, torch.Tensor]:
    raise AssertionError("weights look at no example")


def measured(network: nn.Module, initial: dict[str, torch.Tensor]) -> dict[str, float]:
    empty = torch.zeros(0, dtype=torch.int64)
    return weights(Probe(network, 0, empty, empty, empty > 0, empty, initial, nothing, nothing, **NO_GRADIENTS))


def test_norms_equal_a_sum_over_single_numbers() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4))
    initial = {name: torch.randn_like(value) for name, value in network.named_parameters()}

    pairs = [
        (now, then)
        for name, value in network.named_parameters()
        for now, then in zip(value.flatten().tolist(), initial[name].flatten().tolist(), strict=True)
    ]
    norm = math.sqrt(math.fsum(now * now for now, _ in pairs))
    distance = math.sqrt(math.fsum((now - then) ** 2 for now, then in pairs))

    assert len(pairs) == 2 * 3 * 9 + 3 + 3 + 3 + 12 * 4 + 4
    assert measured(network, initial) == pytest.approx(
        {"weight_norm": norm, "distance_from_initialisation": distance}, rel=1e-12
    )


def test_norms_are_zero_for_zeros_and_for_a_network_that_stayed() -> None:
    network = nn.Linear(3, 2)
    initial = {name: value.detach().clone() for name, value in network.named_parameters()}

    assert measured(network, initial)["distance_from_initialisation"] == 0.0
    with torch.no_grad():
        for value in network.parameters():
            value.zero_()
    assert measured(network, initial)["weight_norm"] == 0.0


def test_sums_are_exact_where_float32_is_not() -> None:
    network = nn.Linear(1, 20_000, bias=False)
    with torch.no_grad():
        network.weight.fill_(1.0)
        network.weight[0] = 4096.0

    numbers = measured(network, {"weight": network.weight.detach() - 1.0})

    # In float32, 2^24 + 1 is 2^24, and the 19,999 ones could vanish beside it.
    assert numbers["weight_norm"] == pytest.approx(math.sqrt(2**24 + 19_999), rel=1e-14)
    assert numbers["distance_from_initialisation"] == pytest.approx(math.sqrt(20_000), rel=1e-14)
