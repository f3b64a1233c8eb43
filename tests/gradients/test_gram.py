"""Inner products of gradients against those of the gradients themselves, and their summaries against loops."""

from __future__ import annotations

import math

import pytest
import torch
from awkward_networks import build
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from shattering.core.errors import DataError
from shattering.gradients.batches import rows_of
from shattering.gradients.gram import class_blocks, cosines, gram, gram_alignment
from shattering.gradients.looped import looped_sums
from shattering.gradients.per_example import per_example_gradients


def flat_gradients(name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    case = build(name, dtype)
    chunks = [
        torch.cat([value.reshape(len(value), -1) for value in chunk.values()], dim=1)
        for chunk in per_example_gradients(case.model, case.batch, case.loss)
    ]
    return torch.cat(chunks).double()


@pytest.mark.parametrize("name", ["conv_stack", "embedding_tied_to_output", "lstm", "control_flow_on_the_data"])
@pytest.mark.parametrize("max_memory", [1, 4_000, 2**30])
def test_all_pairs_whatever_the_memory(name: str, max_memory: int) -> None:
    case, gradients = build(name), flat_gradients(name)
    found = gram(case.model, case.batch, case.loss, max_memory=max_memory)
    expected = gradients @ gradients.t()
    assert float((found - expected).abs().max()) <= 1e-13 * float(expected.diagonal().max())


def test_batches_of_any_structure() -> None:
    case = build("mlp")
    expected = gram(case.model, case.batch, case.loss)
    parts = (rows_of(case.batch, rows) for rows in (slice(0, 2), slice(2, 2), slice(2, 3), slice(3, 5)))
    assert torch.allclose(gram(case.model, parts, case.loss, max_memory=1_200), expected, rtol=1e-13)
    with pytest.raises(DataError, match="no examples"):
        gram(case.model, [], case.loss)


def test_products_of_float32_gradients_are_summed_in_float64() -> None:
    case, gradients = build("mlp", torch.float32), flat_gradients("mlp", torch.float32)
    found = gram(case.model, case.batch, case.loss)
    assert torch.allclose(found, gradients @ gradients.t(), rtol=1e-12)


@pytest.mark.parametrize("name", ["conv_stack", "examples_already_fitted", "identical_examples"])
def test_alignment_is_that_of_the_sums(name: str) -> None:
    case = build(name)
    expected = looped_sums(case.model, case.batch, case.loss).alignment()
    found = gram_alignment(gram(case.model, case.batch, case.loss), roundoff=expected.roundoff)
    assert found.examples == expected.examples and found.roundoff == expected.roundoff
    assert found.m_coherence == pytest.approx(expected.m_coherence, rel=1e-12)
    assert found.mean_gradient_norm == pytest.approx(expected.mean_gradient_norm, rel=1e-12)


@given(st.integers(1, 9), st.integers(1, 3), st.integers(0, 99))
def test_class_blocks_against_a_loop(m: int, classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(m, 4, generator=generator, dtype=torch.float64)
    vectors[torch.rand(m, generator=generator) < 0.2] = 0
    labels = torch.randint(classes, (m,), generator=generator)
    found = class_blocks(vectors @ vectors.t(), labels)
    for a in range(int(labels.max()) + 1):
        for b in range(int(labels.max()) + 1):
            pairs = [
                float(vectors[i] @ vectors[j] / vectors[i].norm() / vectors[j].norm())
                for i in range(m)
                for j in range(m)
                if i != j and labels[i] == a and labels[j] == b and vectors[i].norm() * vectors[j].norm() > 0
            ]
            expected = sum(pairs) / len(pairs) if pairs else math.nan
            assert float(found[a, b]) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_orthogonal_classes_of_parallel_examples() -> None:
    vectors = torch.tensor([[1.0, 0], [3, 0], [0, 2], [0, 5]], dtype=torch.float64)
    products = vectors @ vectors.t()
    assert torch.equal(class_blocks(products, torch.tensor([0, 0, 1, 1])), torch.eye(2, dtype=torch.float64))
    assert torch.equal(cosines(products)[0], torch.tensor([1.0, 1, 0, 0], dtype=torch.float64))
