"""The stability bound, against gaps and coherences computed without sampling over a distribution of a few points."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from shattering.core.errors import SpecError
from shattering.gradients.bound import generalization_gap_bound
from shattering.gradients.looped import looped_sums

RATES = [0.5] * 8

# Unit inputs: the logistic loss is then 1-Lipschitz and 1/4-smooth in the weights for every example.
POINTS = F.normalize(torch.tensor([[1.0, 0.2], [1.0, 0.2], [0.3, -1.0], [-0.6, -0.8]], dtype=torch.float64))
SIGNS = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)


def logistic(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.softplus(-targets * outputs.squeeze(1))


@dataclass
class Trained:
    losses: Tensor
    """Of each point of the distribution, at the last weights."""
    alphas: list[float]
    """Of the distribution, before each step."""


def train(sample: tuple[int, ...]) -> Trained:
    model = nn.Linear(2, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    rows = list(sample)
    alphas = []
    for rate in RATES:
        alphas.append(looped_sums(model, (POINTS, SIGNS), logistic).alignment().alpha)
        step = looped_sums(model, (POINTS[rows], SIGNS[rows]), logistic).mean_gradient()
        with torch.no_grad():
            model.weight -= rate * step["weight"]
    return Trained(logistic(model(POINTS), SIGNS).detach(), alphas)


@pytest.fixture(scope="module", params=[1, 2, 3])
def every_sample(request: pytest.FixtureRequest) -> dict[tuple[int, ...], Trained]:
    """All samples of m points, each equally likely: expectations over them are sums."""
    return {sample: train(sample) for sample in itertools.product(range(len(POINTS)), repeat=request.param)}


def expected_gap(every_sample: dict[tuple[int, ...], Trained]) -> float:
    gaps = [float(run.losses.mean() - run.losses[list(sample)].mean()) for sample, run in every_sample.items()]
    return sum(gaps) / len(gaps)


def test_gap_is_instability_under_replacing_one_example(every_sample: dict[tuple[int, ...], Trained]) -> None:
    changes = []
    for sample, run in every_sample.items():
        for place, replacement in itertools.product(range(len(sample)), range(len(POINTS))):
            other = every_sample[(*sample[:place], replacement, *sample[place + 1 :])]
            changes.append(float(other.losses[sample[place]] - run.losses[sample[place]]))
    stability = sum(changes) / len(changes)
    assert stability == pytest.approx(expected_gap(every_sample), abs=1e-10)
    assert stability > 1e-3  # this distribution has noisy labels: there is something to overfit


def test_gap_is_below_the_bound(every_sample: dict[tuple[int, ...], Trained]) -> None:
    bounds = [
        generalization_gap_bound(run.alphas, RATES, lipschitz=1.0, smoothness=0.25, examples=len(sample))
        for sample, run in every_sample.items()
    ]
    gap = expected_gap(every_sample)
    assert gap <= sum(bounds) / len(bounds)
    assert sum(bounds) / len(bounds) < 100 * gap  # of the right order here, so a bound a hundredfold too large shows


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 2)), max_size=6),
    st.floats(0, 3),
    st.floats(0, 3),
    st.integers(1, 9),
)
def test_the_formula_term_by_term(
    steps: list[tuple[float, float]], lipschitz: float, smoothness: float, examples: int
) -> None:
    expected = sum(
        math.prod(1 + rate * smoothness for _, rate in steps[t + 1 :]) * steps[t][1] * math.sqrt(2 * (1 - steps[t][0]))
        for t in range(len(steps))
    )
    bound = generalization_gap_bound(
        [alpha for alpha, _ in steps],
        [rate for _, rate in steps],
        lipschitz=lipschitz,
        smoothness=smoothness,
        examples=examples,
    )
    assert bound == pytest.approx(lipschitz**2 / examples * expected, rel=1e-12)


def test_equal_gradients_do_not_overfit_and_alpha_hardly_matters_below_a_tenth() -> None:
    def bound(alpha: float) -> float:
        return generalization_gap_bound([alpha] * 3, [0.1] * 3, lipschitz=2, smoothness=1, examples=10)

    assert bound(1) == 0
    assert [bound(alpha) / bound(0) * math.sqrt(2) for alpha in (0.1, 0.01)] == pytest.approx([1.342, 1.407], abs=1e-3)


def test_exponentials_bound_the_bound() -> None:
    """Fixed rate: exp((T − t)ηβ) per step; rate η/t: T^(ηβ) for all."""
    alphas, beta, rate = [0.0, 0.3, 0.6, 0.2], 1.5, 0.7
    spreads = [math.sqrt(2 * (1 - alpha)) for alpha in alphas]
    fixed = generalization_gap_bound(alphas, [rate] * 4, lipschitz=1, smoothness=beta, examples=1)
    assert 0.3 < fixed / sum(rate * math.exp((3 - t) * rate * beta) * spread for t, spread in enumerate(spreads)) <= 1
    falling = [rate / t for t in range(1, 5)]
    annealed = generalization_gap_bound(alphas, falling, lipschitz=1, smoothness=beta, examples=1)
    assert 0 < annealed <= rate * 4 ** (rate * beta) * sum(spreads)


@pytest.mark.parametrize(
    ("changed", "identifier"),
    [
        ({"alphas": [0.5]}, "bound-lengths"),
        ({"alphas": [0.5, 1.1]}, "bound-range"),
        ({"alphas": [0.5, math.nan]}, "bound-range"),
        ({"learning_rates": [0.1, -0.1]}, "bound-range"),
        ({"smoothness": math.inf}, "bound-range"),
        ({"examples": 0}, "bound-range"),
    ],
)
def test_impossible_values(changed: dict[str, object], identifier: str) -> None:
    given = {"alphas": [0.5, 0.5], "learning_rates": [0.1, 0.1], "lipschitz": 1, "smoothness": 1, "examples": 3}
    with pytest.raises(SpecError) as caught:
        generalization_gap_bound(**{**given, **changed})  # type: ignore[arg-type]
    assert caught.value.identifier == identifier
