"""Coherence through batches: against every partition of a few vectors, and against the examples themselves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from awkward_networks import build, cross_entropy, labels
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from shattering.core.errors import SpecError
from shattering.gradients.batches import rows_of
from shattering.gradients.engine import Engine
from shattering.gradients.looped import looped_sums
from shattering.gradients.minibatch import (
    MinibatchCoherence,
    alpha_of_batches,
    alpha_of_examples,
    minibatch_coherence,
)

alphas = st.floats(0, 1)
sizes = st.integers(1, 50)


def alpha(vectors: Tensor) -> float:
    return float(vectors.mean(0).square().sum() / vectors.square().sum(1).mean())


def partitions(rows: tuple[int, ...], size: int) -> Iterator[list[tuple[int, ...]]]:
    """Every way of cutting the rows into unordered batches of that size."""
    if not rows:
        yield []
        return
    for others in itertools.combinations(rows[1:], size - 1):
        batch = (rows[0], *others)
        for rest in partitions(tuple(row for row in rows if row not in batch), size):
            yield [batch, *rest]


@given(alphas, sizes)
def test_inversion_undoes_batching(value: float, size: int) -> None:
    batched = alpha_of_batches(value, batch_size=size)
    assert value - 1e-12 <= batched <= 1
    assert alpha_of_examples(batched, batch_size=size) == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize(("m", "k"), [(4, 2), (6, 2), (6, 3)])
def test_finite_sample_inversion_is_exact_over_all_partitions(m: int, k: int) -> None:
    vectors = torch.randn(m, 5, generator=torch.Generator().manual_seed(m + k), dtype=torch.float64) + 0.4
    means = [torch.stack([vectors[list(batch)].mean(0) for batch in cut]) for cut in partitions(tuple(range(m)), k)]
    mean_squared_norm = sum(float(cut.square().sum(1).mean()) for cut in means) / len(means)
    batched = float(vectors.mean(0).square().sum()) / mean_squared_norm
    assert alpha_of_examples(batched, batch_size=k, examples=m) == pytest.approx(alpha(vectors), rel=1e-12)


def test_orthogonal_gradients_in_batches() -> None:
    """m = 512, k = 16: the mean of each batch has α_W = k/m; only the finite-sample formula gives back 1/m."""
    batched = alpha(torch.eye(512, dtype=torch.float64).reshape(32, 16, 512).mean(1))
    assert batched == pytest.approx(16 / 512)
    assert 512 * alpha_of_examples(batched, batch_size=16, examples=512) == pytest.approx(1, abs=1e-12)
    independent = 512 * alpha_of_examples(batched, batch_size=16)
    assert independent == pytest.approx(512 / (512 - 16 + 1), abs=1e-12) == pytest.approx(1.030, abs=1e-3)


@given(alphas, sizes, st.integers(1, 50))
def test_inversions_stay_in_range_and_meet_for_many_examples(value: float, size: int, more: int) -> None:
    found = alpha_of_examples(value, batch_size=size, examples=size + more)
    assert 0 <= found <= 1 + 1e-12
    assert found == pytest.approx(value if value in (0, 1) or size == 1 else found)
    many = alpha_of_examples(value, batch_size=size, examples=10**9)
    assert many == pytest.approx(alpha_of_examples(value, batch_size=size), rel=1e-4)


@pytest.mark.parametrize(
    "given",
    [{"alpha": 1.1, "batch_size": 2}, {"alpha": math.nan, "batch_size": 2}, {"alpha": 0.5, "batch_size": 0},
     {"alpha": 0.5, "batch_size": 4, "examples": 4}],
)  # fmt: skip
def test_values_out_of_range(given: dict[str, float]) -> None:
    with pytest.raises(SpecError) as caught:
        alpha_of_examples(**given)  # type: ignore[arg-type]
    assert caught.value.identifier == "minibatch-range"


def of_vectors(vectors: Tensor) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """A network whose gradients are the given vectors: its loss is their inner product with its weight."""
    model = nn.Linear(vectors.shape[1], 1, bias=False).to(vectors.dtype)
    return model, (vectors, torch.zeros(len(vectors)))


def product(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.squeeze(1)


def test_within_a_per_cent_of_the_examples_own_coherence() -> None:
    """Without batch normalisation both are defined; m not divisible by k."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(259, 40, generator=generator, dtype=torch.float64) + 0.15
    model, batch = of_vectors(vectors)
    direct = Engine(model, product).sums(batch).alignment()
    found = minibatch_coherence(model, batch, product, batch_size=16, repeats=120, seed=1)
    assert found.batch_sizes == (17,) * 3 + (16,) * 13 and found.batch_norm == "none"
    assert found.m_coherence() == pytest.approx(direct.m_coherence, rel=0.01)
    assert abs(found.m_coherence() - direct.m_coherence) < 4 * found.standard_error()
    assert 0 < found.standard_error() < 0.01 * direct.m_coherence
    assert found.alpha() == found.m_coherence() / 259


def test_uneven_batches_are_exact_over_all_orders() -> None:
    vectors = torch.randn(5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.5
    sums, squares = [], []
    for order in itertools.permutations(range(5)):
        parts = [vectors[list(rows)].sum(0) for rows in (order[:3], order[3:])]
        sums.append(float(sum(parts).square().sum()))  # type: ignore[union-attr]
        squares.append(sum(float(part.square().sum()) for part in parts))
    every = MinibatchCoherence(
        5, (3, 2), {"w": torch.tensor(sums).double()}, {"w": torch.tensor(squares, dtype=torch.float64)}, "none"
    )
    assert every.m_coherence() == pytest.approx(5 * alpha(vectors), rel=1e-6)


def test_batch_statistics_are_those_of_the_batch() -> None:
    torch.manual_seed(0)
    dropout = nn.Dropout(0.5)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), dropout, nn.Linear(6, 3)).double()
    batch = (torch.randn(12, 4, dtype=torch.float64), labels(12))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model[2].eval()
    state = torch.random.get_rng_state()
    found = minibatch_coherence(model, batch, cross_entropy, batch_size=6, repeats=1, seed=5)
    assert found.batch_norm == "batch" and found.batch_sizes == (6, 6)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [module.training for module in model.modules()] == [True, True, True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())

    # By hand, with the same partition: batch normalisation in training mode, dropout off.
    dropout.p = 0.0
    sums = []
    for rows in torch.split(torch.randperm(12, generator=torch.Generator().manual_seed(5)), 6):
        value = cross_entropy(model(batch[0][rows]), batch[1][rows]).sum()
        sums.append(torch.autograd.grad(value, list(model.parameters())))
    for i, (name, _) in enumerate(model.named_parameters()):
        parts = torch.stack([part[i] for part in sums])
        assert float(found.sum_of_squared_norms[name]) == pytest.approx(float(parts.square().sum()), rel=1e-12)
        assert float(found.squared_norm_of_sum[name]) == pytest.approx(float(parts.sum(0).square().sum()), abs=1e-12)
    evaluation = looped_sums(model, batch, cross_entropy).alignment()
    assert found.m_coherence() != pytest.approx(evaluation.m_coherence, rel=0.01)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_any_reduction_any_batches_and_layers(reduction: str) -> None:
    case = build("mean_loss")
    loss = nn.CrossEntropyLoss(reduction=reduction)
    expected = minibatch_coherence(case.model, case.batch, nn.CrossEntropyLoss(reduction="none"), batch_size=2)
    parts = [rows_of(case.batch, slice(0, 3)), rows_of(case.batch, slice(3, 5))]
    found = minibatch_coherence(case.model, parts, loss, batch_size=2)
    for names in (None, ["0.weight"]):
        assert found.m_coherence(names) == pytest.approx(expected.m_coherence(names), rel=1e-12)
        assert found.standard_error(names) == pytest.approx(expected.standard_error(names), rel=1e-9)
    assert found.m_coherence() != pytest.approx(found.m_coherence(["0.weight"]))


@pytest.mark.parametrize("given", [{"batch_size": 3}, {"batch_size": 0}, {"batch_size": 2, "repeats": 0}])
def test_too_few_batches(given: dict[str, int]) -> None:
    case = build("mlp")
    with pytest.raises(SpecError) as caught:
        minibatch_coherence(case.model, case.batch, case.loss, **given)
    assert caught.value.identifier == "minibatch-range"


def test_a_single_partition_has_no_standard_error() -> None:
    case = build("mlp")
    assert math.isnan(minibatch_coherence(case.model, case.batch, case.loss, batch_size=2, repeats=1).standard_error())
