"""The engine: scales, chunks, masks, reuse, and what it leaves untouched."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shattering.gradients.engine import Engine
from shattering.gradients.looped import looped_sums
from shattering.gradients.sums import GradientSums


def each(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)
    )


def examples(n: int = 9, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(n, 1, 5, 5, generator=generator).to(dtype), torch.randint(3, (n,), generator=generator)


def assert_close(found: GradientSums, wanted: GradientSums, tolerance: float) -> None:
    assert found.examples == wanted.examples
    for name, total in wanted.total.items():
        assert float((found.total[name] - total).norm()) <= tolerance * float(total.norm()), name
        assert found.squared[name] == pytest.approx(wanted.squared[name], rel=tolerance)
    assert torch.allclose(found.squared_norms, wanted.squared_norms, rtol=tolerance, atol=0)


@pytest.mark.parametrize("scale", [1e-36, 1e-30, 1.0, 1e30])
def test_gradients_beyond_the_squares_of_float32(scale: float) -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return each(outputs, targets) * scale

    model = network()
    engine = Engine(model, loss)
    inputs, targets = examples()
    exact = looped_sums(copy.deepcopy(model).double(), (inputs.double(), targets), loss)
    assert_close(engine.sums((inputs, targets)), exact, 1e-5)
    assert engine.coverage.share("closed form") == 1


def test_the_scale_may_change_between_passes() -> None:
    model = nn.Linear(3, 2)
    inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs * targets).sum(1)

    engine = Engine(model, loss)
    for scale in (1.0, 1e-32, 1e32):
        targets = torch.full((4, 2), scale)
        exact = looped_sums(copy.deepcopy(model).double(), (inputs.double(), targets.double()), loss)
        assert_close(engine.sums((inputs, targets)), exact, 1e-5)


def test_a_tiny_gradient_among_ordinary_ones_keeps_its_norm() -> None:
    model = nn.Linear(3, 2)
    weights = torch.tensor([[1.0], [1e-24], [0.0], [2.0]])

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs * targets).sum(1)

    batch = (torch.ones(4, 3), weights.expand(4, 2).contiguous())
    norms = Engine(model, loss).sums(batch).squared_norms
    # Per unit: the weight once for the bias and for each of three inputs of 1.
    assert torch.allclose(norms, 8 * weights[:, 0].double().square(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("max_memory", [1, 3_000, 30_000, 2**30])
def test_any_chunk_size_gives_the_same(max_memory: int) -> None:
    model = network().double()
    batch = examples(dtype=torch.float64)
    assert_close(Engine(model, each, max_memory=max_memory).sums(batch), looped_sums(model, batch, each), 1e-10)


def test_chunks_are_cut_by_memory() -> None:
    sizes: list[int] = []

    def forward(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        sizes.append(len(given[0]))

    model = network()
    model.register_forward_pre_hook(forward)
    Engine(model, each, max_memory=1).sums(examples())
    assert max(sizes) <= 2  # two for the inspection
    sizes.clear()
    Engine(model, each).sums(examples())
    assert max(sizes) == 9


def test_more_examples_than_a_window_of_float32() -> None:
    model = nn.Linear(2, 2)
    n = 2500
    batch = (torch.ones(n, 2), torch.ones(n, 2))
    sums = Engine(model, lambda outputs, targets: ((outputs - outputs.detach() + 1) * targets).sum(1)).sums(batch)
    assert torch.equal(sums.total["weight"], torch.full((2, 2), float(n), dtype=torch.float64))
    assert sums.alignment().m_coherence == pytest.approx(n, rel=1e-6)


def test_an_engine_is_used_again_as_weights_change() -> None:
    model = network()
    engine = Engine(model, each)
    batch = examples()
    for _ in range(3):
        assert_close(engine.sums(batch), looped_sums(model, batch, each), 1e-4)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))


def test_a_second_pass_costs_one_forward_per_chunk() -> None:
    calls: list[int] = []
    model = network()
    model.register_forward_hook(lambda module, given, output: calls.append(len(given[0])))
    engine = Engine(model, nn.CrossEntropyLoss())
    engine.sums(examples())
    calls.clear()
    engine.sums([examples(), examples(4)])
    assert calls == [9, 4]


def test_zero_gradients_prove_nothing() -> None:
    """A rule that is wrong must be caught when the first non-zero gradient comes, however late."""

    class Mixing(nn.Module):
        """Sums over what it takes for positions and are examples."""

        def __init__(self) -> None:
            super().__init__()
            self.inner, self.output = nn.Linear(2, 2), nn.Linear(2, 2)
            nn.init.zeros_(self.output.weight)

        def forward(self, inputs: Tensor) -> Tensor:
            rows = inputs.flip(0)
            result: Tensor = self.output(self.inner(rows).flip(0))
            return result

    torch.manual_seed(0)
    model = Mixing().double()
    batch = (torch.randn(5, 2, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1]))
    engine = Engine(model, each)
    engine.sums(batch)
    nn.init.normal_(model.output.weight)
    assert_close(engine.sums(batch), looped_sums(model, batch, each), 1e-10)
    assert "inner.weight" in engine.coverage.parameters("vmap")


@pytest.mark.parametrize("layers", [nn.Dropout(0.5), nn.AlphaDropout(0.4), nn.Dropout1d(0.5)])
def test_fixed_dropout_is_one_mask_for_all(layers: nn.Module) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Unflatten(1, (4, 1)), nn.Linear(1, 6), layers, nn.Flatten(), nn.Linear(24, 3)).double()
    row = torch.randn(1, 4, dtype=torch.float64)
    batch = (row.expand(5, 4).contiguous(), torch.ones(5, dtype=torch.long))
    engine = Engine(model, each, dropout="fixed", seed=1)
    sums = engine.sums(batch)
    # Equal examples under one mask have equal gradients.
    assert sums.alignment().m_coherence == pytest.approx(5, rel=1e-12)
    assert engine.coverage.share("closed form") == 1
    assert torch.equal(engine.sums(batch).squared_norms, sums.squared_norms)
    off = Engine(model, each).sums(batch)
    other = Engine(model, each, dropout="fixed", seed=2).sums(batch)
    assert len({float(s.squared_norms[0]) for s in (sums, off, other)}) == 3
    assert engine.notes == ("dropout is on with one mask that all examples share",)


def test_every_way_has_the_same_fixed_mask() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3)).double()
    batch = (torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1]))
    fast = Engine(model, each, dropout="fixed", seed=1)
    wanted = fast.sums(batch)
    slow = Engine(model, each, dropout="fixed", seed=1)
    slow._trust.slow = {"0.weight": ("vmap", "for the test")}
    assert_close(slow.sums(batch), wanted, 1e-10)
    assert slow.coverage.parameters("vmap") == ("0.weight",)
    loop = Engine(model, each, dropout="fixed", seed=1)
    loop._trust.slow, loop._singles.alone.vectorised = {"0.weight": ("vmap", "for the test")}, False
    assert_close(loop.sums(batch), wanted, 1e-10)
    assert loop.coverage.parameters("loop") == ("0.weight",)


def test_attention_under_a_fixed_mask() -> None:
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.3, batch_first=True)
    model = nn.Sequential(encoder, nn.Flatten(), nn.Linear(12, 3)).double()
    batch = (torch.randn(1, 3, 4, dtype=torch.float64).expand(4, 3, 4).contiguous(), torch.ones(4, dtype=torch.long))
    engine = Engine(model, each, dropout="fixed")
    assert engine.sums(batch).alignment().m_coherence == pytest.approx(4, rel=1e-12)
    assert engine.coverage.share("closed form") == 1


class Stateful(nn.Module):
    """Counts its calls in a buffer."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        outputs: Tensor = self.layers(inputs)
        return outputs


@pytest.mark.parametrize("dropout", ["off", "fixed"])
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(dropout: str, fails: bool) -> None:
    torch.manual_seed(0)
    model = Stateful().train()
    model.layers[1].eval()
    model.layers[0].bias.requires_grad_(False)
    model.layers[3].weight.grad = torch.full((2, 4), 7.0)
    state = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    generator = torch.get_rng_state()
    batch = (torch.randn(5, 2, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 0, 1, 1]))
    stops = iter([False, fails])

    def should_stop() -> None:
        if next(stops):
            raise KeyboardInterrupt

    engine = Engine(model, each, dropout=dropout)
    if fails:
        with pytest.raises(KeyboardInterrupt):
            engine.sums([batch, batch], should_stop=should_stop)
    else:
        engine.sums([batch, batch], should_stop=should_stop)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True, True, True]
    assert model.layers[0].weight.grad is None
    assert torch.equal(model.layers[3].weight.grad, torch.full((2, 4), 7.0))


def test_decisions_by_value_are_checked_for_every_example() -> None:
    """The batch goes the first example's way; only the third would have gone another one alone."""

    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.layer(inputs)
            return outputs if inputs[0, 0] > 0 else outputs * 3

    torch.manual_seed(0)
    model = Branching().double()
    inputs = torch.randn(5, 2, dtype=torch.float64).abs()
    inputs[2, 0] = -1
    batch = (inputs, torch.tensor([0, 1, 1, 0, 1]))
    engine = Engine(model, each)
    assert_close(engine.sums(batch), looped_sums(model, batch, each), 1e-10)
    assert engine.coverage.modules("loop") == ("layer",)
    inputs[2, 0] = 1
    engine = Engine(model, each)
    assert_close(engine.sums(batch), looped_sums(model, batch, each), 1e-10)
    assert engine.coverage.share("closed form") == 1


def test_rows_chosen_by_value_are_not_mistaken_for_examples() -> None:
    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            order = inputs[:, 0].argsort()
            outputs: Tensor = self.layer(inputs[order])[order.argsort()]
            return outputs

    torch.manual_seed(0)
    model = Sorted().double()
    ordered = torch.tensor([[0.0, 1], [1, 2], [2, -1], [3, 0.5]], dtype=torch.float64)
    targets = torch.tensor([0, 1, 1, 0])
    batches = [(ordered, targets), (ordered[[0, 2, 1, 3]], targets)]
    engine = Engine(model, each)
    assert_close(engine.sums(batches), looped_sums(model, batches, each), 1e-10)


def test_a_third_partys_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    from shattering.gradients.rules import registry
    from shattering.gradients.rules.linear import linear

    monkeypatch.setattr(registry, "_rules", dict(registry._rules))
    batch = (torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0]))

    class Einsum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.arange(4.0).reshape(2, 2))

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.einsum("npi,oi->npo", inputs, self.weight).sum(1)

    before = Engine(Einsum(), each)
    wanted = before.sums(batch)
    assert "no rule for einsum" in str(before.coverage)

    @registry.rule(torch.functional.einsum)
    def einsum(capture: Any, equation: str, inputs: Tensor, weight: Tensor) -> Any:
        return linear(capture, inputs, weight)

    after = Engine(Einsum(), each)
    assert_close(after.sums(batch), wanted, 1e-5)
    assert str(after.coverage) == "closed form: 1 of 1 modules (100.0% of 4 parameters)"


def test_a_wrong_rule_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    from shattering.gradients.rules import linear as rules

    right: Callable[..., Tensor] = rules._sequence
    monkeypatch.setattr(rules, "_sequence", lambda a, d, total: right(a * 1.01, d, total))
    model = nn.Linear(2, 2).double()
    batch = (torch.randn(4, 5, 2, dtype=torch.float64), torch.tensor([0, 1, 1, 0]))

    def each(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.sum(1), targets, reduction="none")

    engine = Engine(model, each)
    assert_close(engine.sums(batch), looped_sums(model, batch, each), 1e-10)
    assert engine.coverage.ways == {"weight": "vmap", "bias": "closed form"}


def test_sums_keep_their_numbers_while_they_are_held_and_their_memory_serves_again_afterwards() -> None:
    torch.manual_seed(0)
    model = nn.Linear(64, 64)
    engine = Engine(model, nn.CrossEntropyLoss())
    batches = [(torch.randn(8, 64), torch.randint(0, 64, (8,))) for _ in range(3)]

    held = engine.sums(batches[0])
    before = {name: value.clone() for name, value in held.total.items()}
    place = engine.sums(batches[1]).total._kept["weight"].data_ptr()
    again = engine.sums(batches[2])

    assert all(torch.equal(held.total[name], value) for name, value in before.items())
    assert again.total._kept["weight"].data_ptr() == place
    fresh = Engine(model, nn.CrossEntropyLoss()).sums(batches[2])
    assert all(torch.equal(again.total[name], fresh.total[name]) for name in fresh.total)
