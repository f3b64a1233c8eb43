"""The search for critical samples, on networks whose boundary is known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shattering.measures.critical_samples import critical


def threshold(at: float) -> nn.Module:
    """Class 1 where the mean of four inputs lies above ``at``."""
    network = nn.Sequential(nn.Linear(4, 2)).double()
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[0.0] * 4, [0.25] * 4]))
        network[0].bias.copy_(torch.tensor([0.0, -at]))
    return network.eval()


def found(inputs: torch.Tensor, budget: int = 10, radius: float = 0.1) -> list[bool]:
    noise = torch.randn(budget, 4, generator=torch.Generator().manual_seed(0)).double()
    return critical(threshold(0.5), inputs, noise, radius, radius * 0.25 / 0.3, radius * 0.2 / 0.3).tolist()


def test_an_example_is_critical_where_the_boundary_lies_within_the_radius() -> None:
    means = (0.3, 0.39, 0.41, 0.49, 0.51, 0.59, 0.61, 0.9)
    inputs = torch.tensor(means, dtype=torch.float64)[:, None].expand(-1, 4)

    assert found(inputs) == [abs(mean - 0.5) < 0.1 for mean in means]


def test_the_walk_never_leaves_the_box() -> None:
    seen: list[torch.Tensor] = []
    network = threshold(5.0)
    network.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach().clone()))
    inputs = torch.zeros(3, 4, dtype=torch.float64)
    noise = 50 * torch.randn(6, 4, generator=torch.Generator().manual_seed(1)).double()

    assert not critical(network, inputs, noise, 0.2, 0.1, 0.1).any()
    assert max(float(batch.abs().max()) for batch in seen) == pytest.approx(0.2)


def test_an_example_s_search_does_not_depend_on_the_others() -> None:
    inputs = torch.linspace(0.38, 0.62, 30, dtype=torch.float64)[:, None].expand(-1, 4)

    assert found(inputs)[::7] == found(inputs[::7])
