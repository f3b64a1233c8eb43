"""The properties of coherence proved by Chatterjee & Zielinski (2022), on random vectors and a network's gradients."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from awkward_networks import build
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from shattering.gradients.alignment import Alignment
from shattering.gradients.engine import Engine
from shattering.gradients.minibatch import alpha_of_batches
from shattering.gradients.per_example import per_example_gradients
from shattering.gradients.sums import GradientSums

EXACT = 1e-10


def product(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.squeeze(1)


def of_vectors(vectors: Tensor) -> Alignment:
    """Through the engine: a linear network whose loss is its output has its inputs as gradients."""
    model = nn.Linear(vectors.shape[1], 1, bias=False).double()
    return Engine(model, product).sums((vectors, torch.zeros(len(vectors)))).alignment()


def random_vectors(seed: int, m: int, dimensions: int) -> Tensor:
    """Normal around a common vector of random length, so that α lies anywhere in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(dimensions, generator=generator, dtype=torch.float64)
    scale = 3 * torch.rand(1, generator=generator, dtype=torch.float64)
    return torch.randn(m, dimensions, generator=generator, dtype=torch.float64) + scale * common


@pytest.fixture(scope="module")
def network_gradients() -> Tensor:
    """``[m, parameters]`` of a convolutional network."""
    case = build("conv_stack")
    chunks = per_example_gradients(case.model, case.batch, case.loss)
    return torch.cat([torch.cat([value.flatten(1) for value in chunk.values()], dim=1) for chunk in chunks])


@pytest.fixture(params=["random-1", "random-2", "random-3", "network"])
def vectors(request: pytest.FixtureRequest, network_gradients: Tensor) -> Tensor:
    if request.param == "network":
        return network_gradients
    return random_vectors(int(request.param[-1]), 5, 7)


def test_the_engine_measures_the_vectors(vectors: Tensor) -> None:
    found = of_vectors(vectors)
    assert found.alpha == pytest.approx(
        float(vectors.mean(0).square().sum() / vectors.square().sum(1).mean()), rel=EXACT
    )
    assert found.m_coherence == pytest.approx(len(vectors) * found.alpha, rel=EXACT)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 4), st.sampled_from([-3.0, 1e-6, 0.5, 1e6]))
def test_p1_range_and_scale(seed: int, m: int, dimensions: int, scale: float) -> None:
    vectors = random_vectors(seed, m, dimensions)
    alpha = of_vectors(vectors).alpha
    assert 0 <= alpha <= 1 + EXACT
    assert of_vectors(scale * vectors).alpha == pytest.approx(alpha, rel=EXACT)


def test_p1_zero_if_they_cancel_one_if_equal(vectors: Tensor) -> None:
    cancelled = of_vectors(torch.cat([vectors, -vectors]))
    assert cancelled.alpha <= EXACT**2
    equal = of_vectors(vectors[:1].expand(6, -1))
    assert equal.alpha == pytest.approx(1, abs=EXACT) and equal.m_coherence == pytest.approx(6, abs=EXACT)
    assert of_vectors(vectors).alpha < 1 - 1e-6
    assert math.isnan(of_vectors(0 * vectors).alpha)


def test_p2_batches_of_independent_draws(vectors: Tensor) -> None:
    """All mᵏ draws of k, each equally likely."""
    alpha = of_vectors(vectors).alpha
    for k in (2, 3):
        draws = torch.tensor(list(itertools.product(range(len(vectors)), repeat=k)))
        batched = of_vectors(vectors[draws].mean(1)).alpha
        assert batched == pytest.approx(k * alpha / (1 + (k - 1) * alpha), rel=EXACT)
        assert batched == pytest.approx(alpha_of_batches(alpha, batch_size=k), rel=EXACT)
        assert batched > alpha


def test_p3_zero_vectors_dilute(vectors: Tensor) -> None:
    alone, diluted = of_vectors(vectors), of_vectors(torch.cat([vectors, torch.zeros(15, vectors.shape[1])]))
    assert diluted.alpha == pytest.approx(len(vectors) / (len(vectors) + 15) * alone.alpha, rel=EXACT)
    assert diluted.m_coherence == pytest.approx(alone.m_coherence, rel=EXACT)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5))
def test_p4_mixture_of_orthogonal_supports(seed: int, first: int, second: int) -> None:
    left, right = random_vectors(seed, first, 3), random_vectors(seed + 1, second, 2)
    mixed = torch.cat([F.pad(left, (0, 2)), F.pad(right, (3, 0))])
    p = first / (first + second)
    assert of_vectors(mixed).alpha <= p * of_vectors(left).alpha + (1 - p) * of_vectors(right).alpha + EXACT


def test_p5_expected_difference(vectors: Tensor) -> None:
    alpha, mean_square = of_vectors(vectors).alpha, float(vectors.square().sum(1).mean())
    differences = (vectors[:, None] - vectors[None]).norm(dim=-1)
    assert float(differences.square().mean()) == pytest.approx(2 * (1 - alpha) * mean_square, rel=EXACT)
    assert float(differences.mean()) <= math.sqrt(2 * (1 - alpha) * mean_square) * (1 + EXACT)


@pytest.mark.parametrize("name", ["mlp", "conv_stack", "transformer_encoder_layer", "embedding_tied_to_output"])
def test_p6_decomposition_over_parameters_and_layers(name: str) -> None:
    case = build(name)
    sums = Engine(case.model, case.loss).sums(case.batch)
    whole = sums.alignment()
    for groups in ([(parameter,) for parameter in sums.total], list(sums.layers.values())):
        parts = [sums.alignment(group) for group in groups]
        weights = [part.mean_squared_norm / whole.mean_squared_norm for part in parts]
        assert sum(weights) == pytest.approx(1, rel=EXACT)
        assert whole.alpha == pytest.approx(
            sum(w * part.alpha for w, part in zip(weights, parts, strict=True) if w > 0), rel=EXACT
        )


def test_orthogonal_vectors_of_any_length_have_m_coherence_one() -> None:
    found = of_vectors(torch.diag(torch.tensor([1.0, 20, 0.3, 4], dtype=torch.float64)))
    assert found.m_coherence == pytest.approx(1, abs=EXACT) and found.alpha == pytest.approx(0.25, abs=EXACT)


def test_copies_of_orthogonal_vectors() -> None:
    """k copies of each of d orthogonal vectors: α = 1/d, m-coherence k."""
    found = of_vectors(torch.eye(3, dtype=torch.float64).repeat(4, 1))
    assert found.alpha == pytest.approx(1 / 3, abs=EXACT) and found.m_coherence == pytest.approx(4, abs=EXACT)


def test_net_opposition_is_below_one() -> None:
    found = of_vectors(torch.tensor([[1.0, 0.1], [-1.0, 0.1]], dtype=torch.float64))
    assert 0 < found.m_coherence < 1


def test_identical_examples_have_m_coherence_m() -> None:
    case = build("identical_examples")
    assert Engine(case.model, case.loss).sums(case.batch).alignment().m_coherence == pytest.approx(7, abs=EXACT)


def test_sums_of_disjoint_sets_add() -> None:
    case = build("conv_stack")
    engine = Engine(case.model, case.loss)
    inputs, targets = case.batch
    parts: list[GradientSums] = [engine.sums((inputs[rows], targets[rows])) for rows in (slice(0, 2), slice(2, 5))]
    added, together = parts[0] + parts[1], engine.sums(case.batch)
    assert added.alignment().m_coherence == pytest.approx(together.alignment().m_coherence, rel=EXACT)
    assert torch.allclose(added.squared_norms, together.squared_norms, rtol=EXACT)
    cross = together.alignment().squared_norm_of_sum
    assert cross == pytest.approx(
        sum(part.alignment().squared_norm_of_sum for part in parts) + 2 * parts[0].dot(parts[1]), rel=EXACT
    )
