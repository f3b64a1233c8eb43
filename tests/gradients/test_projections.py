"""Inner products with one direction, forward, against those of the gradients themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from awkward_networks import Awkward, build, cross_entropy, labels, zoo
from torch import Tensor, nn

from shattering.core.errors import DataError, ModelError, SpecError
from shattering.gradients import per_example
from shattering.gradients.batches import batch_size, rows_of
from shattering.gradients.looped import gradients_of, looped_sums
from shattering.gradients.measured import loss_alone, measured, trainable
from shattering.gradients.projections import projections


def random_direction(case: Awkward) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for name, value in trainable(case.model).items()
    }


def one_by_one(case: Awkward, direction: dict[str, Tensor]) -> Tensor:
    parameters, found = trainable(case.model), []
    with measured(case.model):
        for i in range(batch_size(case.batch)):
            value = loss_alone(case.model, case.loss, rows_of(case.batch, slice(i, i + 1)))
            gradients = gradients_of(value, parameters)
            found.append(sum(float((gradients[name] * along).double().sum()) for name, along in direction.items()))
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("name", zoo)
def test_every_awkward_network(name: str) -> None:
    case = build(name)
    direction = random_direction(case)
    expected = one_by_one(case, direction)
    found = projections(case.model, case.batch, case.loss, direction)
    assert found.dtype == torch.float64 and found.shape == expected.shape
    assert float((found - expected).norm()) <= 1e-12 * float(expected.norm())


@pytest.mark.parametrize("name", ["conv_stack", "transformer_encoder_layer", "our_resnet", "class_weighted_mean_loss"])
def test_forward_alone_gets_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One example's gradients, to compare with, and no others: else it would be no cheaper than they are."""
    case = build(name)
    taken = 0
    gradients = per_example.Alone.gradients

    def counted(self: per_example.Alone, batch: Any, parameters: Any) -> Any:
        nonlocal taken
        taken += batch_size(batch)
        return gradients(self, batch, parameters)

    monkeypatch.setattr(per_example.Alone, "gradients", counted)
    projections(case.model, case.batch, case.loss, random_direction(case))
    assert taken == 1


def test_shares_of_the_decrease_sum_to_one() -> None:
    case = build("conv_stack", torch.float32)
    sums = looped_sums(case.model, case.batch, case.loss)
    shares = projections(case.model, case.batch, case.loss, sums.total) / sums.alignment().squared_norm_of_sum
    assert float(shares.sum()) == pytest.approx(1, rel=1e-6)


def test_it_is_the_rate_at_which_losses_rise() -> None:
    case = build("mlp")
    direction = random_direction(case)
    step = 1e-6
    before = looped_sums(case.model, case.batch, case.loss).losses
    found = projections(case.model, case.batch, case.loss, direction)
    with torch.no_grad():
        for name, parameter in case.model.named_parameters():
            parameter.add_(direction[name], alpha=step)
    after = looped_sums(case.model, case.batch, case.loss).losses
    assert torch.allclose((after - before) / step, found, rtol=1e-4)


@pytest.mark.parametrize("max_memory", [1, 1_000, 2**30])
def test_some_parameters_any_batches_any_memory(max_memory: int) -> None:
    case = build("mlp")
    direction = {name: value for name, value in random_direction(case).items() if name.startswith("2.")}
    parts = (rows_of(case.batch, rows) for rows in (slice(0, 2), slice(2, 2), slice(2, 5)))
    found = projections(case.model, parts, case.loss, direction, max_memory=max_memory)
    assert torch.allclose(found, one_by_one(case, direction), rtol=1e-12)


def test_examples_that_send_no_gradient_to_a_padding_row() -> None:
    """Only the third example shows that the derivative and the backward of an embedding differ."""
    model = nn.Sequential(nn.Embedding(4, 3, padding_idx=0), nn.Tanh(), nn.Flatten(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        model[0].get_parameter("weight").normal_(generator=torch.Generator().manual_seed(0))
    case = Awkward(model, (torch.tensor([[1, 2], [3, 3], [0, 1]]), labels(3)), cross_entropy)
    direction = random_direction(case)
    assert torch.allclose(projections(model, case.batch, case.loss, direction), one_by_one(case, direction), rtol=1e-12)


@pytest.mark.parametrize(
    ("direction", "message"),
    [
        ({}, "names no parameter"),
        ({"0.wieght": torch.zeros(6, 4)}, "did you mean '0.weight'"),
        ({"0.weight": torch.zeros(4, 6)}, r"\[4, 6\].*\[6, 4\]"),
    ],
)
def test_impossible_directions(direction: dict[str, Tensor], message: str) -> None:
    case = build("mlp")
    with pytest.raises(SpecError, match=message) as caught:
        projections(case.model, case.batch, case.loss, direction)
    assert caught.value.identifier == "projections-direction"


def test_nothing_to_measure() -> None:
    case = build("mlp")
    with pytest.raises(DataError, match="no examples"):
        projections(case.model, [], case.loss, random_direction(case))
    direction = random_direction(case)
    case.model.requires_grad_(False)
    with pytest.raises(ModelError, match="no parameter that requires a gradient"):
        projections(case.model, case.batch, case.loss, direction)
