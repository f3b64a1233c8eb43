"""The illustrative example of Chatterjee & Zielinski (2022): one common feature, or none."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from shattering.gradients.engine import Engine

SIGNS = torch.tensor([1.0, -1, -1, 1, -1], dtype=torch.float64)
TRAIN = slice(0, 4)
RATE = 0.1


def half_squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.squeeze(1) - targets).square() / 2


def examples(common: bool) -> Tensor:
    """Feature i is example i's own; the sixth equals the label, or is absent."""
    inputs = torch.zeros(5, 6, dtype=torch.float64)
    inputs[:, :5] = SIGNS.diag()
    if common:
        inputs[:, 5] = SIGNS
    return inputs


@dataclass
class Descent:
    alphas: list[float]
    m_coherences: list[float]
    train_losses: list[float]
    first_mean_gradient: Tensor
    weights: Tensor
    test_prediction: float
    test_loss: float


def descend(common: bool, steps: int) -> Descent:
    inputs = examples(common)
    model = nn.Linear(6, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    engine = Engine(model, half_squares)
    alphas, m_coherences, train_losses, first = [], [], [], None
    for _ in range(steps):
        sums = engine.sums((inputs[TRAIN], SIGNS[TRAIN]))
        alphas.append(sums.alignment().alpha)
        m_coherences.append(sums.alignment().m_coherence)
        train_losses.append(float(sums.losses.mean()))
        gradient = sums.mean_gradient()["weight"]
        first = gradient[0] if first is None else first
        with torch.no_grad():
            model.weight -= RATE * gradient
    assert first is not None
    final = model(inputs).detach()
    train_losses.append(float(half_squares(final[TRAIN], SIGNS[TRAIN]).mean()))
    return Descent(
        alphas,
        m_coherences,
        train_losses,
        first,
        model.weight.detach()[0],
        float(final[4]),
        float(half_squares(final[4:], SIGNS[4:])),
    )


# Some hundred steps, until the residual (1 − rate·speed)^t is about 1e-12 of itself; the gradients are then still
# exact multiples of one another.
LONG = {True: 210, False: 1_100}


@pytest.fixture(scope="module", params=[True, False], ids=["real", "random"])
def run(request: pytest.FixtureRequest) -> tuple[bool, Descent]:
    return request.param, descend(request.param, LONG[request.param])


def test_alpha_is_constant(run: tuple[bool, Descent]) -> None:
    real, descent = run
    expected = 0.625 if real else 0.25
    assert max(abs(alpha - expected) for alpha in descent.alphas[:100]) < 1e-12
    # Later the residuals are rounding of 1 − prediction: alike to 1e-16 of it, not of themselves.
    assert max(abs(alpha - expected) for alpha in descent.alphas) < 1e-3
    assert descent.m_coherences[0] == pytest.approx(2.5 if real else 1.0, abs=1e-12)


def test_common_feature_gets_four_times_the_gradient(run: tuple[bool, Descent]) -> None:
    real, descent = run
    gradient = descent.first_mean_gradient
    assert torch.allclose(gradient[5] / gradient[:4], torch.full((4,), 4.0 if real else 0.0, dtype=torch.float64))


def test_limit(run: tuple[bool, Descent]) -> None:
    real, descent = run
    weights = [0.2] * 4 + [0.0, 0.8] if real else [1.0] * 4 + [0.0, 0.0]
    assert descent.weights.tolist() == pytest.approx(weights, abs=1e-10)
    assert descent.test_prediction == pytest.approx(-0.8 if real else 0.0, abs=1e-10)
    assert descent.test_loss == pytest.approx(0.02 if real else 0.5, abs=1e-10)
    assert descent.train_losses[-1] == pytest.approx(0, abs=1e-10)


def test_train_loss_along_the_way(run: tuple[bool, Descent]) -> None:
    real, descent = run
    assert descent.train_losses[0] == 0.5
    ten, hundred = (0.0346, 0.0000) if real else (0.301, 0.0032)
    assert descent.train_losses[10] == pytest.approx(ten, abs=5e-4 if ten > 0.1 else 5e-5)
    assert descent.train_losses[100] == pytest.approx(hundred, abs=5e-5)
    # Each residual shrinks by rate × (eigenvalue of the mean of xxᵀ): 1.25 against 0.25 per unit time.
    speed = 1.25 if real else 0.25
    assert descent.train_losses[10] == pytest.approx(0.5 * (1 - RATE * speed) ** 20, rel=1e-12)
