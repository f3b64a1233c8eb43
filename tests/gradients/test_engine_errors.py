"""What cannot be measured is refused with one clear sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shattering.core.errors import DataError, ModelError, ShatteringError, SpecError
from shattering.gradients.coherence import coherence
from shattering.gradients.engine import Engine

X, Y = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0, 1, 0])


def each(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


def refused(
    kind: type[ShatteringError], identifier: str, model: nn.Module, batches: Any, loss: Any = each, **options: Any
) -> str:
    with pytest.raises(kind) as caught:
        coherence(model, batches, loss, **options)
    assert caught.value.identifier == identifier
    assert "\n" not in caught.value.message
    return caught.value.message


def test_no_examples() -> None:
    model = nn.Linear(2, 2)
    refused(DataError, "gradients-no-examples", model, [])
    refused(DataError, "gradients-empty-batch", model, (X[:0], Y[:0]))
    refused(DataError, "gradients-too-few-examples", model, (X[:1], Y[:1]))
    refused(DataError, "gradients-batch-sizes", model, (X, Y[:5]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_bad_example_is_named(value: float) -> None:
    inputs = X.clone()
    inputs[4, 1] = value
    message = refused(
        DataError, "gradients-loss-not-finite", nn.Linear(2, 2), [(inputs[:3], Y[:3]), (inputs[3:], Y[3:])]
    )
    assert "example 4 (" in message
    inputs[0, 0] = value
    assert "example 0 (" in refused(DataError, "gradients-loss-not-finite", nn.Linear(2, 2), (inputs, Y))
    inputs = X.clone()
    inputs[5] = value
    assert "example 5 (" in refused(DataError, "gradients-loss-not-finite", nn.Linear(2, 2), (inputs, Y))


@pytest.mark.parametrize("place", [0, 3, 5])
def test_a_gradient_that_is_not_finite_is_named(place: int) -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.sum(1) * targets).abs().sqrt() + outputs.square().sum(1)

    targets = torch.ones(6)
    targets[place] = 0
    message = refused(DataError, "gradients-not-finite", nn.Linear(2, 2), (X, targets), loss)
    assert f"example {place} (" in message
    assert "weight" in message or "bias" in message


def test_nothing_to_measure() -> None:
    model = nn.Linear(2, 2)
    refused(
        ModelError, "gradients-loss-constant", model, (X, Y), lambda outputs, targets: each(outputs.detach(), targets)
    )
    refused(ModelError, "gradients-no-parameters", nn.Linear(2, 2).requires_grad_(False), (X, Y))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.complex64])
def test_arithmetic_that_drowns_coherence(dtype: torch.dtype) -> None:
    model = nn.Linear(2, 2, bias=False)
    model.weight = nn.Parameter(torch.ones(2, 2, dtype=dtype))
    message = refused(ModelError, "gradients-arithmetic", model, (X, Y))
    assert str(dtype) in message
    assert "weight" in message


def test_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        refused(ModelError, "gradients-autocast", nn.Linear(2, 2), (X, Y))


def test_autocast_inside_the_model() -> None:
    class Mixed(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return super().forward(input).float()

    refused(ModelError, "gradients-autocast", Mixed(2, 2), (X, Y))


def test_wrong_losses() -> None:
    model = nn.Linear(2, 2)
    refused(ModelError, "gradients-loss-shape", model, (X, Y), lambda outputs, targets: outputs)
    refused(ModelError, "gradients-loss-shape", model, (X, Y), lambda outputs, targets: 3.0)
    message = refused(ModelError, "gradients-model-fails", nn.Linear(3, 2), (X, Y))
    assert "mat1" in message


def test_a_model_of_chance() -> None:
    class Noisy(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            outputs: Tensor = super().forward(input + torch.randn_like(input))
            return outputs

    refused(ModelError, "gradients-model-random", Noisy(2, 2), (X, Y))


def test_batch_statistics() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    found = coherence(model, (X, Y), each)
    assert found.notes[0].startswith("a per-example gradient does not exist with batch statistics;")
    refused(ModelError, "gradients-batch-norm", model, (X, Y), batch_norm="refuse")
    assert coherence(model.eval(), (X, Y), each, batch_norm="refuse").notes == ()
    bare = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False))
    assert "shattering.gradients.minibatch" in refused(ModelError, "gradients-batch-statistics", bare, (X, Y))


def test_dropout_that_cannot_be_fixed() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.LSTM(2, 3, num_layers=2, dropout=0.5, batch_first=True)

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.layers(inputs)[0][:, -1]
            return outputs

    batch = (X.unsqueeze(1), Y)
    refused(ModelError, "gradients-recurrent-dropout", Recurrent(), batch, dropout="fixed")
    assert coherence(Recurrent(), batch, each).coverage.share("closed form") == 1


def test_unknown_options() -> None:
    model = nn.Linear(2, 2)
    for options, identifier in (
        ({"dropout": "on"}, "gradients-dropout"),
        ({"batch_norm": "training"}, "gradients-batch-norm"),
        ({"max_memory": 0}, "gradients-max-memory"),
    ):
        with pytest.raises(SpecError) as caught:
            Engine(model, each, **options)
        assert caught.value.identifier == identifier
