"""Corollary 1: any depth, width O(n/k), O(n+d) weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from memorised_problems import problem

from shattering.core.errors import DataError, SpecError
from shattering.expressivity import DeepMemoriser, construct_deep, memorise, memorise_deep

DEPTHS = (2, 3, 5, 10)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("n", [60, 500])
def test_width_and_weights_are_of_the_order_that_the_corollary_says(depth, n) -> None:
    rng = np.random.default_rng(depth)
    points, targets = rng.normal(size=(n, 20)), rng.normal(size=n)

    model = memorise_deep(points, targets, depth)

    assert np.abs(model(torch.from_numpy(points)).numpy() - targets).max() < 1e-6
    assert model.depth == depth
    assert len(model.hidden) == depth - 1
    assert model.width <= 3 * n / depth
    assert model.connections <= 5 * (n + 20)
    assert sum(parameter.numel() for parameter in model.parameters()) == 2 * n + 20 + 1


@pytest.mark.parametrize("depth", DEPTHS)
def test_it_is_a_plain_network_of_linear_layers_and_relus(depth) -> None:
    points, targets = problem(7)
    model, inputs = memorise_deep(points, targets, depth), torch.from_numpy(points)

    plain = model.as_sequential()

    linear = [stage for stage in plain if isinstance(stage, torch.nn.Linear)]
    assert len(linear) == depth
    assert len(plain) == 2 * depth - 1
    assert max(stage.out_features for stage in linear) == max(model.width, model.blocks[0] + 1)
    scale = 1e-6 * np.abs(targets).max()
    assert torch.allclose(plain(inputs)[:, 0], model(inputs), rtol=0, atol=scale)
    first, *others = linear
    shared = len({tuple(row) for row in first.weight.tolist()})
    assert shared == 1
    nonzero = sum(int((stage.weight != 0).sum()) for stage in others)
    nonzero += sum(int((stage.bias != 0).sum()) for stage in others[:-1])
    assert nonzero + points.shape[1] + first.out_features == model.connections


@pytest.mark.parametrize("seed", range(20))
def test_every_depth_is_the_same_function_as_two_layers(seed) -> None:
    points, targets = problem(seed)
    inputs = torch.from_numpy(points)
    elsewhere = torch.from_numpy(np.random.default_rng(1).normal(size=(20, points.shape[1])) * np.abs(points).max())
    model = memorise_deep(points, targets, 2 + seed % 5)
    two = memorise(points, targets)

    assert np.abs(model(inputs).numpy() - targets).max() <= 1e-6 * np.abs(targets).max()
    size = float(two(elsewhere).abs().max()) + np.abs(targets).max()
    assert torch.allclose(model(elsewhere), two(elsewhere), rtol=0, atol=1e-5 * size)


def test_more_layers_than_points_only_hand_on() -> None:
    model = memorise_deep(np.array([[0.0], [1.0], [5.0]]), [2.0, -3.0, 1.0], 8)

    outputs = model(torch.tensor([[0.0], [1.0], [5.0]], dtype=torch.float64))

    assert torch.allclose(outputs, torch.tensor([2.0, -3.0, 1.0], dtype=torch.float64))
    assert model.blocks == (1, 1, 1, 0, 0, 0, 0)


def test_weights_are_loaded() -> None:
    points, targets = problem(9)
    model = memorise_deep(points, targets, 4)

    other = DeepMemoriser(points.shape[1], model.blocks)
    other.load_state_dict(model.state_dict())

    assert torch.equal(other(torch.from_numpy(points)), model(torch.from_numpy(points)))
    assert torch.equal(model.classes(torch.from_numpy(points), 3), model.scores(torch.from_numpy(points), 3).argmax(1))


def test_what_a_deep_network_cannot_be_is_refused() -> None:
    points = np.eye(3)

    with pytest.raises(SpecError, match="depth of 2 or more"):
        construct_deep(points, [1.0, 2.0, 3.0], 1)
    with pytest.raises(DataError, match="one output"):
        construct_deep(points, np.eye(3), 3)
