"""The gradients of single examples against one backward for each, on every awkward network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from awkward_networks import Awkward, N, build, cross_entropy, labels, zoo
from torch import Tensor, nn

from shattering.core.errors import ModelError
from shattering.gradients.batches import batch_size, rows_of
from shattering.gradients.engine import Engine
from shattering.gradients.gram import gram
from shattering.gradients.looped import gradients_of, looped_sums
from shattering.gradients.measured import loss_alone, measured, trainable
from shattering.gradients.per_example import per_example_gradients
from shattering.gradients.projections import projections


def gradients_one_by_one(case: Any) -> dict[str, Tensor]:
    parameters = trainable(case.model)
    with measured(case.model):
        single = [
            gradients_of(loss_alone(case.model, case.loss, rows_of(case.batch, slice(i, i + 1))), parameters)
            for i in range(batch_size(case.batch))
        ]
    return {name: torch.stack([gradients[name] for gradients in single]) for name in parameters}


def joined(chunks: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


@pytest.mark.parametrize("name", zoo)
def test_every_awkward_network(name: str) -> None:
    case = build(name)
    expected = gradients_one_by_one(case)
    found = joined(list(per_example_gradients(case.model, case.batch, case.loss)))
    assert list(found) == list(expected)
    scale = max(float(value.norm()) for value in expected.values())
    for parameter, value in found.items():
        assert value.dtype == torch.float64 and not value.requires_grad
        assert float((value - expected[parameter]).norm()) <= 1e-12 * scale, parameter


def test_chunks_keep_the_order_and_the_bound() -> None:
    case = build("mlp")
    expected = gradients_one_by_one(case)
    size = sum(value[0].numel() * 8 for value in expected.values())
    chunks = list(per_example_gradients(case.model, case.batch, case.loss, max_memory=12 * size))
    assert 1 < len(chunks) < N
    for name, value in joined(chunks).items():
        assert torch.allclose(value, expected[name], rtol=1e-12)
    assert [len(chunk["0.weight"]) for chunk in per_example_gradients(*parts(case), max_memory=1)] == [1] * N


def parts(case: Awkward) -> tuple[nn.Module, Any, Any]:
    return case.model, (rows_of(case.batch, rows) for rows in (slice(0, 2), slice(2, 2), slice(2, N))), case.loss


def test_float32_gradients_stay_float32() -> None:
    case = build("conv_stack", torch.float32)
    expected = gradients_one_by_one(case)
    found = joined(list(per_example_gradients(case.model, case.batch, case.loss)))
    for name, value in found.items():
        assert value.dtype == torch.float32
        assert float((value - expected[name]).norm()) <= 1e-5 * float(expected[name].norm())


def test_networks_that_cannot_be_vectorised_are_looped(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: object, **named: object) -> None:
        raise RuntimeError("no vectorisation here")

    case = build("conv_stack")
    vectorised = joined(list(per_example_gradients(case.model, case.batch, case.loss)))
    monkeypatch.setattr("shattering.gradients.per_example.vmap", refused)
    looped = joined(list(per_example_gradients(case.model, case.batch, case.loss)))
    scale = max(float(value.norm()) for value in looped.values())
    assert all(float((vectorised[name] - looped[name]).norm()) <= 1e-13 * scale for name in looped)
    assert not all(torch.equal(vectorised[name], looped[name]) for name in looped)  # two ways, not one


class Restless(nn.Module):
    """Counts its calls in place and by replacement, keeps batch statistics, and has modes that differ."""

    calls: Tensor
    replaced: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(()))
        self.layers[1].eval()

    def forward(self, inputs: Tensor) -> Any:
        self.calls.add_(1)
        self.replaced = self.replaced + 1
        return self.layers(inputs)


@pytest.mark.parametrize("measure", ["looped", "per_example", "projections", "gram", "engine"])
def test_the_model_is_left_as_it_was(measure: str) -> None:
    torch.manual_seed(0)
    model = Restless()
    model.layers[0].weight.grad = torch.ones(5, 4)
    model.layers[3].requires_grad_(False)
    batch = (torch.randn(N, 4), labels())
    state = {name: value.clone() for name, value in model.state_dict(keep_vars=False).items()}
    calls, replaced, modes = model.calls, model.replaced, [module.training for module in model.modules()]
    generator = torch.random.get_rng_state()
    with torch.no_grad():
        if measure == "looped":
            looped_sums(model, batch, cross_entropy)
        elif measure == "per_example":
            for _ in per_example_gradients(model, batch, cross_entropy, max_memory=1):
                assert [module.training for module in model.modules()] == modes
                assert not torch.is_grad_enabled()
        elif measure == "projections":
            projections(model, batch, cross_entropy, {"layers.0.weight": torch.ones(5, 4)})
        elif measure == "gram":
            gram(model, batch, cross_entropy)
        else:
            Engine(model, cross_entropy).sums(batch)
        assert not torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert model.calls is calls and model.replaced is replaced
    assert torch.equal(torch.random.get_rng_state(), generator)
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert torch.equal(grads.pop("layers.0.weight"), torch.ones(5, 4))  # type: ignore[arg-type]
    assert all(value is None for value in grads.values())
    assert not any(parameter.requires_grad for parameter in model.layers[3].parameters())


def test_automatic_casting_does_not_reach_the_measurement() -> None:
    case = build("mlp", torch.float32)
    expected = looped_sums(case.model, case.batch, case.loss)
    with torch.autocast("cpu", torch.bfloat16):
        assert case.model(case.batch[0]).dtype == torch.bfloat16
        found = looped_sums(case.model, case.batch, case.loss)
        gradients = joined(list(per_example_gradients(case.model, case.batch, case.loss)))
    assert torch.equal(found.squared_norms, expected.squared_norms)
    for name, value in gradients.items():
        assert torch.allclose(value.double().sum(0), expected.total[name], atol=1e-6)


def test_losses_of_an_example_that_are_no_number() -> None:
    case = build("mlp")
    with pytest.raises(ModelError, match=r"single example is a tensor \(1, 3\)") as caught:
        list(per_example_gradients(case.model, case.batch, lambda outputs, targets: outputs))
    assert caught.value.identifier == "gradients-loss-shape"
    with pytest.raises(ModelError, match="requires a gradient"):
        list(per_example_gradients(case.model.requires_grad_(False), case.batch, case.loss))


def test_a_users_own_error_comes_through() -> None:
    case = build("mlp")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        list(per_example_gradients(case.model, (torch.randn(N, 3).double(), labels()), case.loss))
