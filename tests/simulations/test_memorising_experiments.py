"""First-epoch easiness and loss sensitivity: against a plain twin, and on examples all alike."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from shattering.core.streams import Stream
from shattering.data.load import load_data
from shattering.models.build import build_model
from shattering.simulations.first_epoch_easiness import binomial_quantiles, excess_variance, first_epoch_easiness
from shattering.simulations.loss_sensitivity import derived, loss_sensitivity, trained
from shattering.simulations.registry import Bench


def bench() -> Bench:
    splits = load_data("digits")
    few = type(splits)(splits.train.take(np.arange(40)), splits.test)
    return Bench(lambda purpose: Stream(3, purpose), few, whiten=False)


def test_examples_equally_easy_have_the_variance_of_a_binomial() -> None:
    words = Stream(0, "test").words(np.arange(4000), blocks=5).astype(np.float64) / 2**32
    right = (words < 0.3).mean(axis=1)

    # Of 4,000 frequencies: the ratio's own deviation is about sqrt(2 / 4000).
    assert excess_variance(right, 20) == pytest.approx(1, abs=0.1)
    assert excess_variance(np.array([0.0, 1.0, 0.0, 1.0]), 20) == pytest.approx(20)
    assert excess_variance(np.ones(5), 20) == 0


def test_quantiles_are_those_of_the_binomial() -> None:
    found = binomial_quantiles(4, 0.5, (0.0, 1 / 16, 0.5, 0.95, 1.0))

    assert found == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_easiness_counts_what_each_training_gets_right() -> None:
    rows = list(first_epoch_easiness(bench(), repeats=3, width=8, batch_size=10))

    assert [row["quantile"] for row in rows] == [place / 20 for place in range(21)]
    assert all(round(3 * row["right"], 6) == round(3 * row["right"]) for row in rows[::20])
    assert sorted(row["right"] for row in rows) == [row["right"] for row in rows]
    assert 0 <= rows[0]["mean"] <= 1
    assert rows == list(first_epoch_easiness(bench(), repeats=3, width=8, batch_size=10))


def test_sensitivity_is_the_derivative_through_the_updates() -> None:
    rows, labels = torch.from_numpy(bench().inputs("train"))[:12], torch.arange(12) % 3
    torch.manual_seed(0)
    model = build_model("mlp", {"depth": 2, "width": 5}, (rows.shape[1],), 3).double()
    weights = {name: value.detach().clone() for name, value in model.named_parameters()}
    batches = [torch.tensor(batch) for batch in ([0, 1, 2, 3], [4, 5, 6, 0], [1, 7, 8, 2])]
    found = derived(model, trained(model, weights, rows, labels, batches, 0.3), rows, labels, batches, 0.3)

    def last_loss(changed: torch.Tensor) -> float:
        last = trained(model, weights, changed, labels, batches, 0.3)[-1]
        outputs = torch.func.functional_call(model, last, (rows,))  # itself evaluated at the unchanged inputs
        return float(torch.nn.functional.cross_entropy(outputs, labels))

    for example, pixel in ((0, 20), (2, 3), (6, 43)):
        change = torch.zeros_like(rows)
        change[example, pixel] = 1e-6
        numeric = (last_loss(rows + change) - last_loss(rows - change)) / 2e-6
        # Central differences of a loss near 1 in float64 are good to about 1e-9.
        assert float(found[example, pixel]) == pytest.approx(numeric, abs=1e-8, rel=1e-5)
    assert not found[9:].any()
    assert found[:9].abs().sum(dim=1).min() > 0


@pytest.mark.parametrize("own_class", [False, True])
def test_lorenz_curve_and_gini_of_the_sensitivity_agree(own_class: bool) -> None:
    rows = list(loss_sensitivity(bench(), width=4, steps=8, every=4, batch_size=10, own_class=own_class))
    held = [row["held"] for row in rows]

    assert held[0] == 0
    assert held[-1] == pytest.approx(1)
    assert held == sorted(held)
    # Twice the area between the diagonal and the curve, by trapezia over 20 of the 40 steps.
    assert rows[0]["gini"] == pytest.approx(1 - sum(a + b for a, b in pairwise(held)) / 20, abs=0.01)
