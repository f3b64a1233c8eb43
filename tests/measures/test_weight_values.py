"""The first few weights, in order."""

from __future__ import annotations

import torch
from torch import nn

from shattering.measures.registry import measures


class Looked:
    """All of a probe that the measure may look at."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model


def measured(model: nn.Module) -> dict[str, float]:
    return measures.get("weight_values").function(Looked(model))  # type: ignore[arg-type]


def test_weights_are_listed_row_by_row_then_the_next_parameter() -> None:
    network = nn.Linear(3, 2)
    with torch.no_grad():
        network.weight.copy_(torch.arange(1.0, 7).reshape(2, 3))
        network.bias.copy_(torch.tensor([7.0, 8.0]))

    assert measured(network) == {f"weight_{number}": float(number) for number in range(1, 9)}


def test_more_than_eight_are_cut_and_fewer_are_not_made_up() -> None:
    assert list(measured(nn.Linear(20, 3))) == [f"weight_{number}" for number in range(1, 9)]
    assert list(measured(nn.Linear(6, 1, bias=False))) == [f"weight_{number}" for number in range(1, 7)]
