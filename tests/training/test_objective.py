"""Losses and predictions beside their definitions."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from shattering.training.objective import losses, mean_loss, predictions


def outputs_and_labels(count: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    outputs = torch.randn(count, classes, generator=generator, dtype=torch.float64)
    return outputs, torch.randint(0, max(classes, 2), (count,), generator=generator)


def test_cross_entropy_is_the_negative_log_of_the_softmax() -> None:
    outputs, labels = outputs_and_labels(7, 4)
    expected = -outputs.softmax(dim=1).log()[torch.arange(7), labels]
    assert torch.allclose(losses(outputs, labels, "cross_entropy"), expected, rtol=1e-12, atol=0)
    assert float(mean_loss(outputs, labels, "cross_entropy")) == float(functional.cross_entropy(outputs, labels))


def test_squared_loss_is_half_the_squared_distance_to_the_one_hot_label() -> None:
    outputs, labels = outputs_and_labels(6, 3)
    expected = [0.5 * np.sum((row - np.eye(3)[label]) ** 2) for row, label in zip(outputs.numpy(), labels, strict=True)]
    assert np.allclose(losses(outputs, labels, "squared"), expected, rtol=1e-12, atol=0)
    assert np.isclose(float(mean_loss(outputs, labels, "squared")), np.mean(expected), rtol=1e-12, atol=0)


def test_one_output_stands_between_minus_one_and_one() -> None:
    outputs = torch.tensor([[0.5], [-2.0], [0.0]])
    assert losses(outputs, torch.tensor([1, 0, 1]), "squared").tolist() == [0.125, 0.5, 0.5]
    assert predictions(outputs).tolist() == [1, 0, 0]


def test_the_class_with_the_largest_output_is_predicted() -> None:
    assert predictions(torch.tensor([[0.1, 3.0, 2.0], [5.0, -1.0, 4.0]])).tolist() == [1, 0]
