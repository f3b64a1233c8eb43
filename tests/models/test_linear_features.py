"""A linear model of the first features only."""

from __future__ import annotations

import pytest
import torch

from shattering.core.errors import ModelError
from shattering.models.build import build_model


def test_it_sees_the_first_features_and_no_others() -> None:
    network = build_model("linear", {"features": 3, "bias": False}, (5,), 2)
    inputs = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    changed = inputs.clone()
    changed[:, 3:] = 9.0

    assert torch.equal(network(inputs), inputs[:, :3] @ network.output.weight.T)
    assert torch.equal(network(changed), network(inputs))
    assert sum(value.numel() for value in network.parameters()) == 6


def test_all_features_are_the_model_as_it_was() -> None:
    names = [list(build_model("linear", fields, (1, 2, 2), 3).state_dict()) for fields in ({}, {"features": 4})]

    assert names[0] == names[1] == ["output.weight", "output.bias"]


def test_more_features_than_there_are_is_refused() -> None:
    with pytest.raises(ModelError, match="features=6 of 5") as caught:
        build_model("linear", {"features": 6}, (5,), 2)

    assert caught.value.identifier == "linear-features"
