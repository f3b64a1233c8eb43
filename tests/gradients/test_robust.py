"""Robust gradients against a loop over examples and NumPy, in any of torch's optimizers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from shattering.core.errors import DataError, ModelError, SpecError
from shattering.gradients.linear_factors import LinearFactors
from shattering.gradients.reduction import mean_loss
from shattering.gradients.robust import (
    backward_median,
    backward_median_of_means,
    backward_winsorized,
    rolling_median,
)

EXAMPLES, FEATURES, CLASSES = 11, 6, 3


class Awkward(nn.Module):
    """Linear layers whose gradient is not the product of one input and one delta, among others whose is."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, 4)
        self.twice = nn.Linear(4, 4)
        self.positions = nn.Linear(2, 2)
        self.shared = nn.Linear(4, 4, bias=False)
        self.elsewhere = nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4)
        self.last = nn.Linear(4, CLASSES)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.unused = nn.Parameter(torch.zeros(2))
        self.tied = nn.Linear(4, 4, bias=False)
        self.tied.weight = self.shared.weight
        self.frozen.weight.requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = functional.relu(self.first(inputs), inplace=True)
        hidden = torch.tanh(self.twice(self.twice(hidden)))
        hidden = hidden + self.positions(hidden.unflatten(1, (2, 2))).flatten(1)
        hidden = self.tied(torch.sin(self.shared(hidden)))
        hidden = self.elsewhere(hidden) + torch.tanh(hidden @ self.elsewhere.weight) + self.frozen(hidden)
        output: Tensor = self.last(hidden * self.scale)
        return output


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Linear(FEATURES, 8), nn.ReLU(inplace=True), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, CLASSES)
    )


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(6, 5), nn.GELU(),
        nn.LayerNorm(5), nn.Linear(5, CLASSES),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "perceptron": perceptron,
    "convolutional": convolutional,
    "awkward": Awkward,
}


def network(name: str) -> nn.Module:
    torch.manual_seed(3)
    return NETWORKS[name]().double()


def some_batch(examples: int = EXAMPLES) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(examples, FEATURES, generator=generator, dtype=torch.float64)
    inputs[:, 2] = 0.0
    return inputs, torch.randint(CLASSES, (examples,), generator=generator)


def gradients_alone(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, np.ndarray]:
    """Each example's gradient from a forward and a backward pass of its own."""
    found: dict[str, list[np.ndarray]] = {}
    for inputs, label in zip(*batch, strict=True):
        model.zero_grad()
        functional.cross_entropy(model(inputs[None]), label[None]).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                found.setdefault(name, []).append(parameter.grad.numpy().copy())
    model.zero_grad()
    return {name: np.stack(values) for name, values in found.items()}


def winsorized_mean(values: np.ndarray, k: int) -> np.ndarray:
    ordered = np.sort(values, axis=0)
    return np.clip(values, ordered[k], ordered[len(values) - 1 - k]).mean(axis=0)


def gradients_of(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: p.grad.numpy().copy() for name, p in model.named_parameters() if p.grad is not None}


def assert_equal(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], tolerance: float = 1e-12) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert np.allclose(found[name], value, rtol=tolerance, atol=tolerance), name


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("percent, k", [(10.0, 1), (30.0, 3)])
@pytest.mark.parametrize("max_memory", [2**28, 1])
def test_winsorized_equals_the_loop(name: str, percent: float, k: int, max_memory: int) -> None:
    model, batch = network(name), some_batch()
    alone = gradients_alone(model, batch)
    value = backward_winsorized(model, functional.cross_entropy, batch, percent, max_memory=max_memory)
    assert_equal(gradients_of(model), {name: winsorized_mean(values, k) for name, values in alone.items()})
    assert torch.allclose(value, functional.cross_entropy(model(batch[0]), batch[1]))
    assert not value.requires_grad


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("examples", [1, 2, 8, 11])
def test_median_equals_the_loop(name: str, examples: int) -> None:
    model, batch = network(name), some_batch(examples)
    alone = gradients_alone(model, batch)
    backward_median(model, functional.cross_entropy, batch)
    assert_equal(gradients_of(model), {name: np.median(values, axis=0) for name, values in alone.items()})


def test_the_fast_way_is_taken_where_it_is_right() -> None:
    model, (inputs, labels) = network("awkward"), some_batch()
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with LinearFactors(model, EXAMPLES) as factors:
        mean = functional.cross_entropy(model(inputs), labels)
        found = torch.autograd.grad(mean, list(parameters.values()), allow_unused=True)
    gradients = {p: g for p, g in zip(parameters.values(), found, strict=True) if g is not None}
    fast = factors.confirm(gradients)
    names = {name for name, parameter in parameters.items() if parameter in fast}
    # The bias of a layer whose weight is used elsewhere is used once.
    assert names == {"first.weight", "first.bias", "elsewhere.bias", "frozen.bias", "last.weight", "last.bias"}


@pytest.mark.parametrize("name", NETWORKS)
def test_without_a_percent_it_is_sgd_to_the_bit(name: str) -> None:
    model, batch = network(name), some_batch()
    functional.cross_entropy(model(batch[0]), batch[1]).backward()
    wanted = gradients_of(model)
    model.zero_grad()
    backward_winsorized(model, functional.cross_entropy, batch, 0.0)
    found = gradients_of(model)
    assert found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("groups, examples", [(1, 7), (2, 7), (3, 9), (3, 11), (4, 11), (3, 2), (3, 1)])
def test_median_of_means_equals_the_loop(groups: int, examples: int) -> None:
    model, batch = network("awkward"), some_batch(examples)
    alone = gradients_alone(model, batch)
    value = backward_median_of_means(model, functional.cross_entropy, batch, groups)
    count = min(groups, examples)
    bounds = [part * examples // count for part in range(count + 1)]
    assert max(np.diff(bounds)) - min(np.diff(bounds)) <= 1
    wanted = {
        name: np.median([values[a:b].mean(axis=0) for a, b in pairwise(bounds)], axis=0)
        for name, values in alone.items()
    }
    assert_equal(gradients_of(model), wanted)
    assert torch.allclose(value, functional.cross_entropy(model(batch[0]), batch[1]))


def test_median_of_equal_means_is_sgd() -> None:
    model, (inputs, labels) = network("perceptron"), some_batch(4)
    functional.cross_entropy(model(inputs), labels).backward()
    wanted = gradients_of(model)
    model.zero_grad()
    backward_median_of_means(model, functional.cross_entropy, (inputs.repeat(3, 1), labels.repeat(3)))
    assert_equal(gradients_of(model), wanted, 1e-15)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "each": lambda outputs, labels: functional.cross_entropy(outputs, labels, reduction="none"),
    "sum": lambda outputs, labels: functional.cross_entropy(outputs, labels, reduction="sum"),
    "of a dict": lambda model, batch: functional.cross_entropy(model(batch["x"]), batch["y"]),
    "sum of a dict": lambda model, batch: functional.cross_entropy(model(batch["x"]), batch["y"], reduction="sum"),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("rule", [backward_winsorized, backward_median, backward_median_of_means])
def test_how_the_loss_is_given_does_not_matter(rule: Callable[..., Tensor], name: str) -> None:
    model, batch = network("convolutional"), some_batch()
    value = rule(model, functional.cross_entropy, batch)
    wanted = gradients_of(model)
    model.zero_grad()
    given: Any = {"x": batch[0], "y": batch[1]} if "dict" in name else batch
    assert torch.allclose(rule(model, LOSSES[name], given), value)
    assert_equal(gradients_of(model), wanted)


def test_a_loss_that_is_neither_mean_nor_sum_is_refused() -> None:
    model, batch = network("perceptron"), some_batch()
    weights = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    for loss in (
        lambda outputs, labels: functional.cross_entropy(outputs, labels, weight=weights),
        lambda outputs, labels: outputs,
    ):
        with pytest.raises(DataError) as error:
            backward_winsorized(model, loss, batch)
        assert error.value.identifier == "gradients-loss-reduction"
    with pytest.raises(DataError) as error:
        backward_median_of_means(model, functional.cross_entropy, (batch[0][:0], batch[1][:0]))
    assert error.value.identifier == "gradients-batch-empty"


def test_pairs_without_loss_do_not_tell_mean_from_sum() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    inputs = torch.tensor([[0.0], [0.0], [1.0], [3.0]])
    for loss in (lambda outputs, _: outputs.sum(), lambda outputs, _: outputs.mean()):
        assert mean_loss(model, loss, (inputs, inputs)).item() == 1.0


def test_gradients_add_up_as_those_of_backward() -> None:
    model, batch = network("perceptron"), some_batch()
    backward_median(model, functional.cross_entropy, batch)
    once = gradients_of(model)
    backward_median(model, functional.cross_entropy, batch)
    assert_equal(gradients_of(model), {name: 2 * value for name, value in once.items()})


class Dropped(nn.Module):
    """A hidden unit that is dropped for an example has no part in any of that example's gradients."""

    def __init__(self, scaled: bool) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, 32)
        self.scale = nn.Parameter(torch.ones(32), requires_grad=scaled)
        self.last = nn.Linear(32, CLASSES)
        nn.init.normal_(self.last.weight, std=1e-3)

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.last(functional.dropout(self.first(inputs), 0.5) * self.scale)
        return output


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("max_memory", [2**28, 1])
def test_dropout_draws_once_for_all_parameters(scaled: bool, max_memory: int) -> None:
    """Of three equal examples, the median is zero for the units that two of them dropped, in every layer."""
    torch.manual_seed(0)
    model = Dropped(scaled).double()
    inputs, labels = (tensor[:1].repeat_interleave(3, dim=0) for tensor in some_batch())
    value = backward_median(model, functional.cross_entropy, (inputs, labels), max_memory=max_memory)
    kept = model.last.weight.grad[labels[0]] != 0
    assert 4 < kept.sum() < 28
    assert torch.equal((model.first.weight.grad != 0).any(dim=1), kept)
    assert torch.equal(model.first.bias.grad != 0, kept)
    assert not scaled or torch.equal(model.scale.grad != 0, kept)
    assert abs(value.item() - np.log(CLASSES)) < 0.5


def test_batch_norm_and_half_precision_are_refused() -> None:
    model = nn.Sequential(nn.Linear(FEATURES, 4), nn.BatchNorm1d(4), nn.Linear(4, CLASSES)).double()
    batch = some_batch()
    for rule in (backward_winsorized, backward_median):
        with pytest.raises(ModelError) as error:
            rule(model, functional.cross_entropy, batch)
        assert error.value.identifier == "robust-batch-norm" and "'1'" in error.value.message
    backward_median_of_means(model, functional.cross_entropy, batch)
    model.eval()
    backward_winsorized(model, functional.cross_entropy, batch)
    single = nn.Linear(FEATURES, CLASSES)
    with pytest.raises(ModelError) as error, torch.autocast("cpu", dtype=torch.bfloat16):
        backward_median(single, functional.cross_entropy, (batch[0].float(), batch[1]))
    assert error.value.identifier == "robust-half-precision"


def test_numbers_out_of_range_are_refused() -> None:
    model, batch = network("perceptron"), some_batch()
    for percent in (-1.0, 50.0, float("nan")):
        with pytest.raises(SpecError):
            backward_winsorized(model, functional.cross_entropy, batch, percent)
    with pytest.raises(SpecError):
        backward_median_of_means(model, functional.cross_entropy, batch, 0)


def test_the_model_keeps_its_hooks_and_modes() -> None:
    model, batch = network("convolutional"), some_batch()
    model[3].eval()
    before = [module.training for module in model.modules()], copy.deepcopy(model.state_dict())
    backward_winsorized(model, functional.cross_entropy, batch, 20.0)
    assert [module.training for module in model.modules()] == before[0]
    assert all(torch.equal(value, before[1][name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


# The rolling median


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.5),
    "fused sgd": lambda p: torch.optim.SGD(p, lr=0.5, fused=True),
    "momentum and decay": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, fused=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.5),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
}


def raw_gradients(steps: int) -> Tensor:
    return torch.randn(steps, 4, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def stepped(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradients: Tensor) -> list[Tensor]:
    path = []
    for gradient in gradients:
        optimizer.zero_grad()
        parameter.grad = gradient.clone()
        optimizer.step()
        path.append(parameter.detach().clone())
    return path


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rolling_median_is_the_optimizer_on_medians(name: str) -> None:
    gradients = raw_gradients(6)
    medians = np.stack([np.median(gradients[max(0, step - 2) : step + 1], axis=0) for step in range(6)])
    plain, robust = (nn.Parameter(torch.ones(4, 2, dtype=torch.float64)) for _ in range(2))
    wanted = stepped(OPTIMIZERS[name]([plain]), plain, torch.from_numpy(medians))
    optimizer = OPTIMIZERS[name]([robust])
    rolling_median(optimizer)
    for found, value in zip(stepped(optimizer, robust, gradients), wanted, strict=True):
        assert torch.allclose(found, value, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("first", [1, 2, 4])
def test_rolling_median_is_saved_and_restored(name: str, first: int) -> None:
    gradients = raw_gradients(6)
    parameter = nn.Parameter(torch.ones(4, 2, dtype=torch.float64))
    optimizer = OPTIMIZERS[name]([parameter])
    rolling_median(optimizer)
    path = stepped(optimizer, parameter, gradients[:first])
    saved = copy.deepcopy(optimizer.state_dict())
    path += stepped(optimizer, parameter, gradients[first:])
    again = nn.Parameter(path[first - 1].clone())
    resumed = OPTIMIZERS[name]([again])
    rolling_median(resumed)
    resumed.load_state_dict(saved)
    for found, wanted in zip(stepped(resumed, again, gradients[first:]), path[first:], strict=True):
        assert torch.equal(found, wanted)


def test_rolling_median_is_removed() -> None:
    parameter = nn.Parameter(torch.zeros(4, 2, dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    handle = rolling_median(optimizer)
    gradients = raw_gradients(4)
    stepped(optimizer, parameter, gradients[:3])
    handle.remove()
    before = parameter.detach().clone()
    assert torch.equal(stepped(optimizer, parameter, gradients[3:])[0], before - gradients[3])
    assert not any(key.startswith("gradient") for state in optimizer.state.values() for key in state)


def test_rolling_median_leaves_out_parameters_without_a_gradient() -> None:
    first, second = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    optimizer = torch.optim.Adam([first, second], lr=0.1)
    rolling_median(optimizer)
    for step in range(4):
        first.grad = torch.full((2,), float(step))
        second.grad = torch.ones(2) if step > 1 else None
        optimizer.step()
    assert optimizer.state[second]["step"] == 2
    assert second.detach().ne(0).all()


def test_rolling_median_refuses_a_closure() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    rolling_median(optimizer)
    for given in (lambda: optimizer.step(lambda: 0.0), lambda: optimizer.step(closure=lambda: 0.0)):
        with pytest.raises(SpecError) as error:
            given()
        assert error.value.identifier == "rolling-median-closure"
