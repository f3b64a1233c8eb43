"""What a measurement hands out: float64 to whoever reads it, exact, and never changed by a later one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shattering.gradients.engine import Engine
from shattering.gradients.sums import IN_CACHE, GradientSums, Totals, inner_product


def _sums_of(total: dict[str, Tensor], exponents: dict[str, int] | None = None) -> GradientSums:
    number = torch.ones(1, dtype=torch.float64)
    return GradientSums(1, Totals(total, exponents), dict.fromkeys(total, 1.0), number, number, 1e-7)


@pytest.mark.parametrize("size", [0, 1, IN_CACHE - 1, 2 * IN_CACHE + 3])
def test_inner_products_of_float32_are_those_of_float64(size: int) -> None:
    torch.manual_seed(0)
    first, second = torch.randn(2, size)
    assert inner_product(first, second) == pytest.approx(float((first.double() * second.double()).sum()), rel=1e-13)
    assert inner_product(first, first) == pytest.approx(float(first.double().square().sum()), rel=1e-13)


def test_totals_are_read_in_float64_whatever_they_are_kept_in() -> None:
    torch.manual_seed(0)
    kept = torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    total = _sums_of({"w": kept}, {"w": 100}).total["w"]
    assert total.dtype == torch.float64
    assert total.is_contiguous()
    assert torch.equal(total, kept.double() * 2.0**-100)


def test_scaled_totals_give_the_numbers_of_unscaled_ones() -> None:
    torch.manual_seed(0)
    kept = {"a": torch.randn(7, 3), "b": torch.randn(5)}
    scaled = _sums_of(kept, {"a": -20, "b": 30})
    plain = _sums_of({"a": kept["a"].double() * 2.0**20, "b": kept["b"].double() * 2.0**-30})
    assert scaled.alignment().squared_norm_of_sum == pytest.approx(plain.alignment().squared_norm_of_sum, rel=1e-14)
    assert scaled.dot(plain) == pytest.approx(plain.dot(plain), rel=1e-14)
    assert torch.equal((scaled + scaled).total["b"], 2 * plain.total["b"])


def test_sums_do_not_change_when_the_engine_measures_again() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    batch = (torch.randn(20, 6), torch.randint(0, 3, (20,)))
    engine = Engine(model, lambda outputs, targets: F.cross_entropy(outputs, targets, reduction="none"))
    first = engine.sums(batch)
    before = {name: value.clone() for name, value in first.total.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    second = engine.sums(batch)
    assert all(torch.equal(first.total[name], value) for name, value in before.items())
    assert not torch.equal(first.total["0.weight"], second.total["0.weight"])


def test_a_first_chunk_is_written_over_whatever_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """New buffers come full of NaN here; one parameter is a view's, one used twice, one without any gradient."""
    empty = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda *given, **options: empty(*given, **options).fill_(torch.nan))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.joined = nn.Parameter(torch.randn(8, 6))
            self.twice = nn.Linear(4, 4)
            self.maps = nn.Conv1d(1, 2, 3, padding=1)
            self.switched_off = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = F.linear(x, self.joined[:4]) + F.linear(x.sin(), self.joined[4:])
            x = self.maps(self.twice(self.twice(x).tanh())[:, None]).sum(1)
            outputs: Tensor = x + 0 * self.switched_off(x).detach().sum()
            return outputs

    torch.manual_seed(0)
    network = Network()
    batch = (torch.randn(9, 6), torch.randint(0, 4, (9,)))
    engine = Engine(network, lambda outputs, targets: F.cross_entropy(outputs, targets, reduction="none"))
    found = engine.sums(batch)
    torch.autograd.backward(F.cross_entropy(network(batch[0]), batch[1], reduction="sum"))
    for name, parameter in network.named_parameters():
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert torch.allclose(found.total[name].float(), wanted, atol=1e-5), name
    assert engine.coverage.ways["joined"] == "closed form"
