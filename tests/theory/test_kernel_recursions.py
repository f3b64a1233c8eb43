"""Kernel recursions beside quadrature, wide random networks and their gradients, and the verified limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from shattering.core.streams import Stream
from shattering.models.build import build_model
from shattering.simulations.kernel_phases import kernel_phases
from shattering.simulations.registry import Bench
from shattering.theory.kernel_recursions import (
    condition_number,
    critical_condition,
    critical_weight_variance,
    expected_product,
    expected_slopes,
    fixed_variance,
    kernels,
    mean_predictor,
    off_diagonal,
    slope_factor,
)

BENCH = Bench(lambda purpose: Stream(1, purpose), None)  # type: ignore[arg-type]


def test_expectations_are_integrals() -> None:
    from scipy.special import erf

    kernel = np.array([[1.3, 0.4], [0.4, 0.7]])
    grid = np.linspace(-8, 8, 301)
    density = np.exp(-(grid**2) / 2) / np.exp(-(grid**2) / 2).sum()
    first = math.sqrt(1.3) * grid
    second = 0.4 / math.sqrt(1.3) * grid[:, None] + math.sqrt(0.7 - 0.16 / 1.3) * grid

    def bend(values: np.ndarray) -> np.ndarray:
        return 2 / math.sqrt(math.pi) * np.exp(-(values**2))

    for function, found in ((erf, expected_product(kernel)), (bend, expected_slopes(kernel))):
        assert found[0, 1] == pytest.approx(float((density * function(first)) @ (function(second) @ density)), rel=1e-8)
        assert found[0, 0] == pytest.approx(float(density @ function(first) ** 2), rel=1e-8)


def test_wide_networks_have_the_kernels() -> None:
    """The outputs of 40 random networks, and the gradients of one, in parameters scaled as the recursion has them."""
    inputs = torch.tensor(BENCH.normals("simulation/inputs", 4, 10))
    kernel, tangent = kernels(inputs.numpy(), 2, 1.8, 0.2)
    torch.manual_seed(3)
    outputs, gradients = [], []
    for _ in range(40):
        network = build_model("deep_erf", {"depth": 2, "width": 300, "weight_variance": 1.8, "bias_variance": 0.2},
                              (10,), 20).double()  # fmt: skip
        outputs.append(network(inputs).detach().T.numpy())
    values = np.concatenate(outputs)
    assert values.T @ values / len(values) == pytest.approx(kernel, abs=0.25)
    layers = [layer for layer in network if hasattr(layer, "weight")]
    for row in network(inputs)[:, :6].T:
        products = 0.0
        for layer in layers:
            scale = (1.8 / layer.in_features, 0.2)
            for parameter, factor in zip((layer.weight, layer.bias), scale, strict=True):
                found = [torch.autograd.grad(value, parameter, retain_graph=True)[0].flatten() for value in row]
                stacked = torch.stack(found)
                products = products + factor * (stacked @ stacked.T)
        gradients.append(products.numpy())
    assert np.mean(gradients, axis=0) == pytest.approx(tangent, rel=0.15, abs=0.15)


def test_the_critical_line_is_the_verified_one() -> None:
    assert critical_weight_variance(0.1) == pytest.approx(1.5521, abs=5e-5)
    assert slope_factor(0.9322, 0.1) == pytest.approx(0.764, abs=1e-3)
    assert slope_factor(3.1018, 0.1) == pytest.approx(1.345, abs=1e-3)
    variance = fixed_variance(2.0, 0.1)
    one = np.array([[variance]])
    assert 2.0 * float(expected_product(one)[0, 0]) + 0.1 == pytest.approx(variance)


def test_condition_numbers_have_the_verified_limits() -> None:
    critical = {row["depth"]: row for row in kernel_phases(BENCH)}
    for depth, wanted in ((8, 5.30), (32, 6.28), (128, 6.65)):
        assert critical[depth]["simulated_condition"] == pytest.approx(wanted, rel=0.06)
    assert critical_condition(12) == 7
    assert critical[256]["off_diagonal"] == pytest.approx(1 / 3, abs=0.02)
    ordered = {row["depth"]: row["simulated_condition"] for row in kernel_phases(BENCH, weight_variance=0.9322)}
    assert max(ordered) < 256
    grown = math.log(ordered[32] * 32 / (ordered[16] * 16)) / 16
    assert grown == pytest.approx(-math.log(0.764), rel=0.1)
    chaotic = {row["depth"]: row for row in kernel_phases(BENCH, weight_variance=3.1018)}
    for depth, wanted in ((8, 1.29), (16, 1.04), (32, 1.00)):
        assert chaotic[depth]["simulated_condition"] == pytest.approx(wanted, rel=0.06)
    assert chaotic[32]["prediction"] < 1e-4 < critical[32]["prediction"]


def test_condition_prediction_and_ratio_of_kernels_known_by_hand() -> None:
    kernel = np.array([[2.0, 1.0, 0.5], [1.0, 2.0, 0.0], [0.5, 0.0, 2.0]])
    assert condition_number(kernel[:2, :2]) == pytest.approx(3.0)
    assert condition_number(-kernel) == math.inf
    assert off_diagonal(kernel[:2, :2]) == pytest.approx(0.5)
    assert mean_predictor(kernel, np.array([1.0, 2.0]), 2) == pytest.approx([0.0])
