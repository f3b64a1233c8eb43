"""The five-layer network of the double-descent papers: its published size, and the map at its end."""

from __future__ import annotations

import pytest
import torch

from shattering.core.errors import ModelError
from shattering.models.build import build_model


def test_published_number_of_parameters() -> None:
    network = build_model("five_layer_cnn", {}, (3, 32, 32), 10)

    assert sum(value.numel() for value in network.parameters()) == 1_558_026


@pytest.mark.parametrize("side", [8, 28, 32])
def test_any_image_becomes_one_pixel(side) -> None:
    network = build_model("five_layer_cnn", {"width": 2}, (1, side, side), 7)

    assert network(torch.zeros(3, 1, side, side)).shape == (3, 7)


def test_a_table_is_refused() -> None:
    with pytest.raises(ModelError, match="five_layer_cnn needs images"):
        build_model("five_layer_cnn", {}, (20,), 10)
