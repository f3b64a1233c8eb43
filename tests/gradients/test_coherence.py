"""Coherence as users see it."""

from __future__ import annotations

import doctest

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shattering.gradients import coherence as module
from shattering.gradients.coherence import coherence


def each(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


def small() -> tuple[nn.Sequential, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    return model, (torch.randn(7, 3, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1, 0, 1]))


def test_documentation_example() -> None:
    assert doctest.testmod(module).failed == 0


def test_against_the_definition() -> None:
    model, (inputs, targets) = small()
    rows = []
    for x, y in zip(inputs, targets, strict=True):
        gradients = torch.autograd.grad(each(model(x[None]), y[None]).sum(), list(model.parameters()))
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    rowwise = torch.stack(rows)
    alpha = float((rowwise @ rowwise.T).mean() / rowwise.square().sum(1).mean())
    found = coherence(model, (inputs, targets), each)
    assert found.alpha == pytest.approx(alpha, rel=1e-10)
    assert found.m_coherence == pytest.approx(7 * alpha, rel=1e-10)
    assert found.examples == 7
    assert torch.allclose(found.squared_norms, rowwise.square().sum(1), rtol=1e-10)
    assert found.mean_loss == pytest.approx(float(F.cross_entropy(model(inputs), targets).detach()), rel=1e-10)
    mean = torch.cat([found.mean_gradient[name].flatten() for name, _ in model.named_parameters()])
    assert torch.allclose(mean, rowwise.mean(0), rtol=1e-10)


def test_the_whole_is_the_weighted_mean_of_its_layers() -> None:
    model, batch = small()
    found = coherence(model, batch, each)
    assert list(found.layers) == ["0", "2"]
    assert list(found.parameters) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    for parts in (found.layers, found.parameters):
        whole = sum(part.sum_of_squared_norms for part in parts.values())
        assert whole == pytest.approx(found.alignment.sum_of_squared_norms, rel=1e-12)
        mean = sum(part.alpha * part.sum_of_squared_norms / whole for part in parts.values())
        assert mean == pytest.approx(found.alpha, rel=1e-10)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_the_reduction_of_the_loss_does_not_matter(reduction: str) -> None:
    model, batch = small()
    expected = coherence(model, batch, each)
    for loss in (
        nn.CrossEntropyLoss(reduction=reduction),
        lambda outputs, targets: F.cross_entropy(outputs, targets, reduction=reduction),
    ):
        found = coherence(model, batch, loss)
        assert found.m_coherence == pytest.approx(expected.m_coherence, rel=1e-10)
        assert torch.allclose(found.losses, expected.losses, rtol=1e-10)
        assert torch.allclose(found.squared_norms, expected.squared_norms, rtol=1e-10)
        assert found.coverage.share("closed form") == 1


def test_cancelling_gradients_are_below_the_floor() -> None:
    model = nn.Linear(1, 1, bias=False)
    found = coherence(
        model,
        (torch.ones(4, 1), torch.tensor([1.0, -1.0, 2.0, -2.0])),
        lambda outputs, targets: outputs[:, 0] * targets,
    )
    assert found.alpha == 0
    assert not found.resolved
    assert f"< {10 * found.floor:.1g}" in str(found)


def test_the_table() -> None:
    model, batch = small()
    lines = str(coherence(model, batch, each)).splitlines()
    assert lines[0].startswith("Gradients of 7 examples, mean loss ")
    assert lines[1].split() == ["layer", "m-coherence", "alpha", "share", "of", "the", "squared", "norm"]
    assert [line.split()[0] for line in lines[2:5]] == ["0", "2", "all"]
    assert lines[4].endswith("100.0%")
    assert lines[-1] == "closed form: 2 of 2 modules (100.0% of 26 parameters)"


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("convert", [False, True])
def test_rounding_in_float32_is_not_taken_for_examples_that_depend_on_each_other(seed: int, convert: bool) -> None:
    """Whatever dtype the losses come in: they were rounded by the network's arithmetic before."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 4))
    batches = [{"x": torch.randn(100, 20), "y": torch.randint(4, (100,))} for _ in range(2)]

    def loss(network: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        outputs = network(batch["x"])
        return nn.functional.cross_entropy(outputs.double() if convert else outputs, batch["y"])

    assert coherence(network, batches, loss).coverage.share("closed form") == 1
