"""Winsorized sums against sorting everything in NumPy, in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from shattering.gradients import order_statistics
from shattering.gradients.order_statistics import (
    median_moves,
    median_of,
    moved,
    nonzero_first,
    winsorized_sum,
    winsorized_sum_of_products,
)


def slow_winsorized_sum(values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Sorts each coordinate's values, writes the next one over the k at each end, adds up."""
    total = np.zeros(values.shape[1:])
    for place in np.ndindex(*values.shape[1:]):
        ordered = sorted(values[(slice(None), *place)])
        ordered[:k] = [ordered[k]] * k
        ordered[len(ordered) - k :] = [ordered[len(ordered) - 1 - k]] * k
        total[place] = sum(ordered)
    return total


def sparse(generator: np.random.Generator, shape: tuple[int, ...], density: float) -> Tensor:
    """Normal numbers of few digits, so that some are equal, many of them zero."""
    values = np.round(generator.standard_normal(shape), 1) * (generator.random(shape) < density)
    return torch.from_numpy(values)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_sums_equal_sorting_everything(data: st.DataObject) -> None:
    examples = data.draw(st.integers(1, 24), label="b")
    k = data.draw(st.integers(0, median_moves(examples)), label="k")
    generator = np.random.default_rng(data.draw(st.integers(0, 10**6), label="seed"))
    left, right = (
        sparse(generator, (examples, data.draw(st.integers(0, 5))), data.draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])))
        for _ in range(2)
    )
    products = left[:, :, None] * right[:, None, :]
    wanted = slow_winsorized_sum(products.numpy(), k)
    assert np.allclose(winsorized_sum(products, k).numpy(), wanted, rtol=1e-12, atol=1e-12)
    assert np.allclose(winsorized_sum_of_products(left, right, k).numpy(), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-13)])
@pytest.mark.parametrize("density", [0.05, 0.3, 0.9])
def test_many_blocks_of_columns(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, tolerance: float, density: float
) -> None:
    monkeypatch.setattr(order_statistics, "CPU_BLOCK", 500)
    generator = np.random.default_rng(1)
    left, right = sparse(generator, (30, 6), 0.7).to(dtype), sparse(generator, (30, 40), density).to(dtype)
    products = left[:, :, None] * right[:, None, :]
    for k in (0, 1, 3, 14):
        wanted = slow_winsorized_sum(products.double().numpy(), k)
        for found in (winsorized_sum_of_products(left, right, k), winsorized_sum(products, k)):
            assert found.dtype == dtype
            assert np.allclose(found.double().numpy(), wanted, rtol=tolerance, atol=10 * tolerance)


def test_operands_are_left_as_they_were() -> None:
    values = torch.randn(1, 7, generator=torch.Generator().manual_seed(0)).t().contiguous()  # [7, 1]
    left, right = values.clone(), values.clone()
    winsorized_sum(values, 2)
    winsorized_sum(values[:, 0], 2)
    winsorized_sum_of_products(left, right, 2)
    assert torch.equal(values, left) and torch.equal(values, right)


def test_order_of_the_examples_does_not_matter_to_the_bit() -> None:
    generator = np.random.default_rng(2)
    left, right = sparse(generator, (50, 9), 0.5).float(), sparse(generator, (50, 12), 0.6).float()
    mixed = torch.from_numpy(generator.permutation(50))
    for k in (1, 4, 24):
        assert torch.equal(
            winsorized_sum_of_products(left, right, k), winsorized_sum_of_products(left[mixed], right[mixed], k)
        )


def test_the_last_k_is_the_median() -> None:
    generator = np.random.default_rng(3)
    for examples in (1, 2, 5, 8):
        values = torch.from_numpy(generator.standard_normal((examples, 6)))
        found = winsorized_sum(values, median_moves(examples)) / examples
        assert np.allclose(found, np.median(values.numpy(), axis=0), rtol=1e-14)


def test_a_coordinate_that_no_more_than_k_examples_share_is_ignored() -> None:
    values = torch.zeros(100, 3)
    values[7, 0], values[7:9, 1], values[7:10, 2] = 1e6, -1e6, 1.0
    assert winsorized_sum(values, 2).tolist() == [0.0, 0.0, 3.0]
    assert winsorized_sum_of_products(torch.ones(100, 1), values, 2).tolist() == [[0.0, 0.0, 3.0]]


def test_a_huge_value_leaves_no_rounding_behind() -> None:
    values = torch.full((20, 1), 0.25)
    values[3] = 1e30
    assert winsorized_sum(values, 1).item() == 5.0


@pytest.mark.parametrize(
    "percent, examples, wanted",
    [(0, 100, 0), (2, 100, 2), (2, 99, 1), (2, 49, 0), (0.29, 10_000, 29), (49.9999999999, 100, 49), (7, 1, 0)],
)
def test_fractions_of_an_example_are_cut_off(percent: float, examples: int, wanted: int) -> None:
    assert moved(percent, examples) == wanted


def test_nonzero_first() -> None:
    order, counts = nonzero_first(torch.tensor([[0, 3, 0, 5], [0, 0, 0, 0], [1, 2, 3, 4]]))
    assert counts.tolist() == [2, 0, 4]
    assert order[0].tolist() == [1, 3, 0, 0] and order[2].tolist() == [0, 1, 2, 3]


@given(st.integers(1, 7), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_median_of_tensors(count: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(-3, 4, (count, 5)).astype(np.float64)
    assert np.array_equal(median_of(list(torch.from_numpy(values))).numpy(), np.median(values, axis=0))
