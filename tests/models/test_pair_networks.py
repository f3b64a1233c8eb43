"""The networks that grokking is watched on: their formulas and their sizes."""

from __future__ import annotations

import pytest
import torch

from shattering.core.errors import ModelError
from shattering.models.build import build_model


def one_hot(first: int, second: int, size: int) -> torch.Tensor:
    inputs = torch.zeros(1, 2 * size)
    inputs[0, first] = inputs[0, size + second] = 1
    return inputs


def test_the_quadratic_network_is_its_formula() -> None:
    network = build_model("quadratic", {"width": 6}, (10,), 5).double()
    u, v = network.hidden.weight[:, 3], network.hidden.weight[:, 5 + 1]

    found = network(one_hot(3, 1, 5).double())

    torch.testing.assert_close(found[0], network.output.weight @ (u + v) ** 2)


def test_the_quadratic_network_starts_as_told() -> None:
    torch.manual_seed(0)
    network = build_model("quadratic", {}, (118,), 59)

    assert network.hidden.weight.std().item() == pytest.approx(0.35, rel=0.03)
    assert network.output.weight.std().item() == pytest.approx(128**-0.5, rel=0.03)
    assert sum(value.numel() for value in network.parameters()) == 128 * (118 + 59)


def test_the_transformer_has_the_published_size() -> None:
    network = build_model("pair_transformer", {}, (194,), 97)
    linear = sum(p.numel() for block in network.blocks for p in block.parameters() if p.ndim == 2)

    assert linear == 393_216  # about 4e5 without embeddings
    assert not any(name.endswith("bias") and "after" not in name for name, _ in network.named_parameters())


def test_the_transformer_tells_the_order_of_a_pair() -> None:
    torch.manual_seed(1)
    network = build_model("pair_transformer", {"width": 16, "heads": 2}, (14,), 7).eval()

    assert not torch.allclose(network(one_hot(2, 5, 7)), network(one_hot(5, 2, 7)), atol=1e-3)


def test_the_transformer_sees_nothing_later() -> None:
    torch.manual_seed(1)
    block = build_model("pair_transformer", {"width": 16, "heads": 2}, (14,), 7).blocks[0].eval()
    values = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(2))
    changed = values.clone()
    changed[:, 3:] = 1.0

    torch.testing.assert_close(block(changed)[:, :3], block(values)[:, :3])


@pytest.mark.parametrize(
    ("shape", "fields", "identifier"),
    [((7,), {}, "pair-transformer-inputs"), ((8,), {"width": 6, "heads": 4}, "pair-transformer-width")],
)
def test_unfit_inputs_and_widths_are_refused(shape, fields, identifier) -> None:
    with pytest.raises(ModelError) as caught:
        build_model("pair_transformer", fields, shape, 4)

    assert caught.value.identifier == identifier
