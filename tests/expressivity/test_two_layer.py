"""Theorem 1: networks with 2n+d weights that fit any labels."""

from __future__ import annotations

import copy
from fractions import Fraction

import numpy as np
import pytest
import torch
from memorised_problems import exact_value, problem

from shattering.core.errors import DataError
from shattering.core.streams import Stream
from shattering.expressivity import TwoLayerMemoriser, construct, memorise
from shattering.expressivity.classes import class_scores

EPSILON = np.finfo(np.float64).eps


@pytest.mark.parametrize("seed", range(20))
def test_any_labels_are_fitted_with_2n_plus_d_weights(seed) -> None:
    points, targets = problem(seed)
    made = construct(points, targets, stream=Stream(seed, "direction"))
    n, d = points.shape
    inputs = torch.from_numpy(points)

    fast, dense = made.model(inputs).numpy(), made.model.dense(inputs).numpy()

    assert sum(parameter.numel() for parameter in made.model.parameters()) == 2 * n + d
    scale = np.abs(targets).max()
    # A unit in the last place of the output, and of the steepest piece's height beside it; never the condition.
    assert np.abs(fast - targets).max() <= 1e-9 * scale
    # n terms, each rounded: at most n·ε·Σ|w| (z - b).
    span = made.layout.projections[-1] - made.thresholds
    assert np.abs(dense - targets).max() <= 2 * n * EPSILON * float(np.abs(made.weights) @ span) + 1e-9 * scale
    for index in range(0, n, 17):
        along = float(made.model.project(inputs[index : index + 1]))
        assert abs(exact_value(along, made.thresholds, made.weights) - Fraction(float(targets[index]))) <= 1e-12 * scale


@pytest.mark.parametrize("seed", range(5))
def test_fast_and_dense_evaluation_agree_where_the_network_was_not_fitted(seed) -> None:
    points, targets = problem(seed)
    model = memorise(points, targets)
    elsewhere = torch.from_numpy(np.random.default_rng(seed).normal(size=(50, points.shape[1])) * np.abs(points).max())

    fast, dense = model(elsewhere), model.dense(elsewhere)

    along = model.project(elsewhere)
    terms = (along[:, None] - model.thresholds).clamp(min=0) @ model.weights.abs()
    assert ((fast - dense).abs() <= 4 * len(targets) * EPSILON * terms).all()
    assert (fast[along <= model.thresholds[0]] == 0).all()


def test_several_outputs_share_directions_and_thresholds() -> None:
    rng = np.random.default_rng(0)
    points, targets = rng.normal(size=(40, 3)), rng.normal(size=(40, 4))

    model = memorise(points, targets)

    outputs = model(torch.from_numpy(points)).numpy()
    assert outputs.shape == (40, 4)
    assert np.abs(outputs - targets).max() < 1e-9
    assert np.abs(model.dense(torch.from_numpy(points)).numpy() - targets).max() < 1e-6
    assert sum(parameter.numel() for parameter in model.parameters()) == 40 + 40 * 4 + 3


@pytest.mark.parametrize(
    ("n", "d", "residual", "weight"), [(500, 20, 1e-7, 2.5e5), (2000, 50, 1.5e-5, 2.6e6), (5000, 784, 2.3e-5, 2.4e6)]
)
def test_midpoints_need_weights_as_large_as_was_found_independently(n, d, residual, weight) -> None:
    """Gaussian points, labels 0 … 9, thresholds half-way: a float64 solve was off by ``residual``; ours is not."""
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(n, d)), rng.integers(0, 10, n)

    made = construct(points, labels, place=0.5)
    beside = construct(points, labels)

    dense = made.model.dense(torch.from_numpy(points)).numpy()
    # There the direction was Gaussian too, about √d long.
    largest = made.largest_weight * np.linalg.norm(made.layout.direction) / np.sqrt(d)
    assert weight / 30 < largest < weight * 30
    assert np.abs(dense - labels).max() < 100 * residual
    assert np.abs(made.model(torch.from_numpy(points)).numpy() - labels).max() < 1e-6
    assert beside.largest_weight < made.largest_weight
    assert beside.condition < made.condition
    assert (made.model.classes(torch.from_numpy(points), 10).numpy() == labels).all()


def test_float32_fails_where_float64_does_not() -> None:
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(3000, 10)), torch.from_numpy(rng.integers(0, 10, 3000))
    inputs = torch.from_numpy(points)
    model = memorise(points, labels.numpy())

    narrow = copy.deepcopy(model).float()

    assert (model.dense(inputs) - labels).abs().max() < 1e-4
    assert (narrow.dense(inputs) - labels).abs().max() > 0.5
    assert (class_scores(narrow.dense(inputs), 10).argmax(dim=1) != labels).any()


def test_weights_are_saved_and_loaded(tmp_path) -> None:
    points, targets = problem(4)
    model = memorise(points, targets)
    inputs = torch.from_numpy(points)
    torch.save(model.state_dict(), tmp_path / "weights.pt")

    other = TwoLayerMemoriser(points.shape[1], len(targets))
    before = other(inputs)
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))

    assert (before == 0).all()
    assert torch.equal(other(inputs), model(inputs))
    assert sorted(model.state_dict()) == ["direction", "thresholds", "weights"]


def test_the_table_follows_the_weights() -> None:
    points, targets = problem(6)
    model, inputs = memorise(points, targets), torch.from_numpy(points)
    outputs = model(inputs)

    model.weights.mul_(2)
    doubled = model(inputs)
    model.weights.data = torch.zeros_like(model.weights)

    assert torch.allclose(doubled, 2 * outputs, rtol=1e-12, atol=0)
    assert (model(inputs) == 0).all()
    assert copy.deepcopy(model).float()(inputs).dtype == torch.float32


def test_gradients_flow_to_inputs_and_through_the_dense_sum_to_weights() -> None:
    points, targets = problem(1)
    model, inputs = memorise(points, targets), torch.from_numpy(points).requires_grad_()

    (fast,) = torch.autograd.grad(model(inputs).sum(), inputs)
    (dense,) = torch.autograd.grad(model.dense(inputs).sum(), inputs)
    model.weights.requires_grad_()
    model.dense(inputs).sum().backward()

    assert torch.allclose(fast, dense, rtol=1e-6, atol=1e-6 * float(fast.abs().max()))
    assert model.weights.grad is not None and (model.weights.grad >= 0).all()


def test_a_projection_does_not_depend_on_the_rows_beside_it() -> None:
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(600, 300)).astype(np.float32))
    model = memorise(points.numpy(), np.arange(600) % 7)

    apart = torch.cat([model(points[start : start + 37]) for start in range(0, 600, 37)])

    assert torch.equal(apart, model(points))


def test_images_and_fewer_points_than_features_and_one_point_are_no_exceptions() -> None:
    images = np.random.default_rng(0).random((5, 4, 4, 3)).astype(np.float32)

    few = memorise(images, [3.0, 1.0, 4.0, 1.0, 5.0])
    one = construct(np.zeros((1, 2)), [7.0])

    assert np.allclose(few(torch.from_numpy(images)), [3, 1, 4, 1, 5], rtol=1e-12)
    assert one.model(torch.zeros(1, 2, dtype=torch.float64)).item() == 7
    assert one.smallest_gap == np.inf
    assert one.condition == 1
    assert len(few(torch.zeros(0, 4, 4, 3))) == 0


def test_equal_points_with_equal_targets_count_once() -> None:
    points = np.array([[1.0, 0.0], [2.0, -0.0], [1.0, -0.0], [2.0, 0.0], [3.0, 1.0]])

    made = construct(points, [1.0, 2.0, 1.0, 2.0, 5.0])

    assert made.merged == 2
    assert sum(parameter.numel() for parameter in made.model.parameters()) == 2 * 3 + 2
    assert np.allclose(made.model(torch.from_numpy(points)), [1, 2, 1, 2, 5])


def refusal(inputs, targets, **others) -> tuple[str, str]:
    with pytest.raises(DataError) as caught:
        construct(inputs, targets, **others)
    return caught.value.identifier, caught.value.message


def test_what_cannot_be_fitted_is_refused_in_a_sentence() -> None:
    points = np.array([[0.0, 1.0], [2.0, 3.0], [0.0, 1.0]])
    close = np.array([[1.0, 1.0], [1.0, np.nextafter(1.0, 2.0)], [2.0, 2.0]])

    conflict = refusal(points, [1.0, 2.0, 3.0])
    assert conflict[0] == "memorise-conflict" and "Points 0 and 2" in conflict[1] and "1 and 3" in conflict[1]
    gap = refusal(np.where([[0, 0], [0, 1], [0, 0]], np.nan, points), [1.0, 2.0, 1.0])
    assert gap[0] == "memorise-not-finite" and "point at index 1 has the value nan" in gap[1]
    assert refusal(points, [1.0, np.inf, 1.0])[0] == "memorise-not-finite"
    assert refusal(points, [1.0, 2.0])[0] == "memorise-shape"
    assert refusal(points[:0], [])[0] == "memorise-shape"
    assert refusal(np.zeros(3), [1.0, 2.0, 3.0])[0] == "memorise-shape"
    assert refusal(points, ["a", "b", "c"])[0] == "memorise-type"
    degenerate = refusal(close, [1.0, 2.0, 3.0])
    assert degenerate[0] == "memorise-degenerate" and "points 0 and 1" in degenerate[1]
    assert refusal(points[:2], [1.0, 2.0], place=1.0)[0] == "memorise-place"
    for _, message in (conflict, gap, degenerate):
        assert message.endswith(".") and "\n" not in message


def test_a_direction_along_which_points_tie_is_drawn_again() -> None:
    """The first eight directions are zero; the next eight are not."""

    class Degenerate(Stream):
        def words(self, indices, blocks=1, first_block=0):
            words = super().words(indices, blocks, first_block)
            words[np.asarray(indices) < 8] = 0
            words[np.asarray(indices) < 8, ::2] = 2**31
            return words

    # Every coordinate of the first directions is 2⁻⁵³; points with equal sums of coordinates tie.
    points = np.array([[1.0, 2.0], [2.0, 1.0], [0.0, 3.0]])

    made = construct(points, [1.0, 2.0, 3.0], stream=Degenerate(0, "direction"))

    assert made.layout.direction[0] != made.layout.direction[1]
    assert np.allclose(made.model(torch.from_numpy(points)), [1, 2, 3])


def test_the_nearest_class_is_predicted_and_a_class_s_number_is_one_hot() -> None:
    outputs = torch.tensor([-1e9, 0.0, 1.2, 1.9, 2.5, 1e9], dtype=torch.float64)

    scores = class_scores(outputs, 4)

    assert scores.argmax(dim=1).tolist() == [0, 0, 1, 2, 2, 3]
    assert torch.allclose(scores.sum(dim=1), torch.ones(6, dtype=torch.float64))
    assert scores[1].tolist() == [1, 0, 0, 0]
