"""Coherence beside gradients taken one by one, and where it is known without computing."""

from __future__ import annotations

import pytest
import torch
from gradient_probes import examples, gradient_probe, network, single_gradients
from torch import nn

from shattering.measures.coherence import coherence

COUNT = 14


def m_coherence(gradients: torch.Tensor) -> float:
    return float(gradients.sum(0).square().sum() / gradients.square().sum())


@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
def test_every_number_equals_that_of_single_gradients(loss: str) -> None:
    inputs, labels = examples(COUNT + 6)
    changed = torch.arange(COUNT + 6) % 3 == 0
    rows = torch.tensor([0, 1, 3, 4, 5, 6, 8, 9, 11, 12, 14, 15, 17, 19])
    probe = gradient_probe(network(), inputs, labels, changed, rows, loss)

    numbers = coherence(probe)

    gradients, corrupt = single_gradients(probe), changed[rows]
    expected = {
        "m_coherence": m_coherence(gradients),
        "alpha": m_coherence(gradients) / COUNT,
        "pristine_m_coherence": m_coherence(gradients[~corrupt]),
        "pristine_alpha": m_coherence(gradients[~corrupt]) / int((~corrupt).sum()),
        "corrupt_m_coherence": m_coherence(gradients[corrupt]),
        "corrupt_alpha": m_coherence(gradients[corrupt]) / int(corrupt.sum()),
        "coherence_floor": torch.finfo(torch.float64).eps ** 2,
        "gradient_norm": float(gradients.mean(0).norm()),
        **{f"m_coherence/{layer}": m_coherence(single_gradients(probe, f"{layer}.")) for layer in "014"},
    }
    assert numbers == pytest.approx(expected, rel=1e-10)


def test_order_of_the_sample_does_not_matter() -> None:
    inputs, labels = examples(COUNT)
    changed, order = torch.arange(COUNT) % 3 == 0, torch.randperm(COUNT, generator=torch.Generator().manual_seed(3))

    there = coherence(gradient_probe(network(), inputs, labels, changed))
    back = coherence(gradient_probe(network(), inputs, labels, changed, order))

    assert back == pytest.approx(there, rel=1e-12)


@pytest.mark.parametrize("corrupt", [False, True])
def test_numbers_of_an_empty_group_are_left_out(corrupt: bool) -> None:
    inputs, labels = examples(COUNT)

    numbers = coherence(gradient_probe(network(), inputs, labels, torch.full((COUNT,), corrupt)))

    present, absent = ("corrupt", "pristine") if corrupt else ("pristine", "corrupt")
    assert numbers[f"{present}_m_coherence"] == numbers["m_coherence"]
    assert numbers[f"{present}_alpha"] == numbers["alpha"]
    assert not [name for name in numbers if name.startswith(absent)]


def test_equal_gradients_have_the_coherence_m_and_orthogonal_ones_1() -> None:
    network = nn.Linear(4, 1, bias=False).double()
    with torch.no_grad():
        network.weight.zero_()
    labels, none = torch.ones(4, dtype=torch.int64), torch.zeros(4, dtype=torch.bool)
    same, apart = torch.ones(4, 4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)

    equal = coherence(gradient_probe(network, same, labels, none, loss="squared"))
    orthogonal = coherence(gradient_probe(network, apart, labels, none, loss="squared"))

    assert (equal["m_coherence"], equal["alpha"]) == pytest.approx((4.0, 1.0), rel=1e-12)
    assert (orthogonal["m_coherence"], orthogonal["alpha"]) == pytest.approx((1.0, 0.25), rel=1e-12)
    # The one layer is the network itself.
    assert equal["m_coherence/network"] == equal["m_coherence"]


def test_coherence_of_gradients_that_are_all_zero_is_left_out() -> None:
    network = nn.Sequential(nn.Linear(5, 1)).double()
    with torch.no_grad():
        for value in network.parameters():
            value.zero_()
        network[0].bias.fill_(1.0)
    labels, changed = torch.tensor([1, 1, 1, 0]), torch.tensor([False, False, False, True])
    probe = gradient_probe(network, torch.randn(4, 5, dtype=torch.float64), labels, changed, loss="squared")

    fitted = gradient_probe(network, torch.randn(3, 5, dtype=torch.float64), labels[:3], changed[:3], loss="squared")

    # The pristine ones are fitted exactly; the corrupt one stands alone.
    assert coherence(probe)["m_coherence"] == pytest.approx(1.0)
    assert "pristine_m_coherence" not in coherence(probe)
    assert coherence(probe)["corrupt_alpha"] == pytest.approx(1.0)
    assert coherence(fitted) == {"coherence_floor": torch.finfo(torch.float64).eps ** 2, "gradient_norm": 0.0}
