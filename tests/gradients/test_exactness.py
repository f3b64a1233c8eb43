"""The engine against one backward for each example, on every awkward network and on shapes drawn at random."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from awkward_networks import Awkward, build, cross_entropy, labels, zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from shattering.core.errors import ShatteringError
from shattering.gradients.batches import batch_size, rows_of
from shattering.gradients.coverage import Coverage
from shattering.gradients.engine import Engine
from shattering.gradients.looped import looped_sums
from shattering.gradients.sums import GradientSums

WITHOUT_RULE = {
    "centred_over_the_batch",
    "class_weighted_mean_loss",
    "control_flow_on_the_data",
    "custom_autograd_function",
    "einsum_with_a_parameter",
    "embedding_bag_max",
    "embedding_scaled_by_frequency",
    "features_before_examples",
    "forces_from_energy",
    "penalised_mean_loss",
    "penalised_sum_loss",
    "rows_sent_to_experts",
    "token_mean_with_padding",
}
"""Where some parameter may go through vmap or the loop; everywhere else that would be a rule that no longer applies."""

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def in_chunks(batch: Any, size: int) -> list[Any]:
    return [rows_of(batch, slice(start, start + size)) for start in range(0, batch_size(batch), size)]


def assert_same(found: GradientSums, expected: GradientSums, dtype: torch.dtype) -> None:
    """Equal up to ``TOLERANCE`` of a parameter's own scale, plus rounding on the scale of the whole network.

    The scale of Σgᵢ is √(m Σ‖gᵢ‖²), which it never exceeds: examples whose gradients cancel leave the rounding of the
    summands. The second term is for gradients that vanish by symmetry inside one example, as that of an attention's key
    bias does: what is left of them is rounding of terms as large as other gradients, in both computations.
    """
    assert found.examples == expected.examples
    assert list(found.total) == list(expected.total)
    m, tolerance, rounding = expected.examples, TOLERANCE[dtype], 16 * torch.finfo(dtype).eps
    largest = float(expected.squared_norms.max()) ** 0.5
    for name in expected.total:
        own = expected.squared[name] ** 0.5
        allowed = tolerance * own + rounding * largest
        assert found.total[name].dtype == torch.float64
        assert found.total[name].shape == expected.total[name].shape
        assert float((found.total[name] - expected.total[name]).norm()) <= m**0.5 * allowed, name
        assert abs(found.squared[name] ** 0.5 - own) <= allowed, name
    norms = expected.squared_norms.sqrt()
    assert float((found.squared_norms.sqrt() - norms).abs().max()) <= tolerance * float(norms.max())
    # One by one where there is anything to compare: an example's own norm, however small beside the others'.
    assert float(((found.squared_norms.sqrt() - norms).abs() - (tolerance * norms + rounding * largest)).max()) <= 0
    losses = expected.losses
    assert float((found.losses - losses).abs().max()) <= tolerance * max(1.0, float(losses.abs().max()))
    assert found.roundoff == expected.roundoff


def measured_or_refused(case: Awkward, batches: Any) -> tuple[GradientSums, Coverage] | None:
    """None only where examples influence each other, and only with an error that says so."""
    engine = Engine(case.model, case.loss)
    try:
        return engine.sums(batches), engine.coverage
    except ShatteringError as error:
        assert not case.apart, error
        return None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", zoo)
def test_every_awkward_network(name: str, dtype: torch.dtype) -> None:
    case = build(name, dtype)
    expected = looped_sums(case.model, case.batch, case.loss)
    trainable = [name for name, parameter in case.model.named_parameters() if parameter.requires_grad]
    assert list(expected.total) == trainable
    assert max(expected.squared.values()) > 0
    assert batch_size(case.batch) == expected.examples
    for batches in (case.batch, in_chunks(case.batch, 3), (row for row in in_chunks(case.batch, 1))):
        found = measured_or_refused(case, batches)
        if found is not None:
            sums, coverage = found
            assert_same(sums, expected, dtype)
            assert list(coverage.ways) == trainable
            assert coverage.share("closed form") == 1 or name in WITHOUT_RULE, str(coverage)


def check(layers: nn.Module, inputs: torch.Tensor) -> None:
    case = Awkward(layers.double(), (inputs, labels(len(inputs))), cross_entropy)
    assert_same(
        Engine(case.model, case.loss).sums(case.batch), looped_sums(case.model, case.batch, case.loss), torch.float64
    )


small = st.integers(1, 4)


@settings(max_examples=25)
@given(small, st.lists(small, max_size=2), small, st.integers(3, 5), st.booleans(), st.integers(0, 9))
def test_linear_of_any_shape(n: int, middle: list[int], inputs: int, outputs: int, bias: bool, seed: int) -> None:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Linear(inputs, inputs), nn.Tanh(), nn.Linear(inputs, outputs, bias=bias))
    check(layers, torch.randn(n, *middle, inputs, dtype=torch.float64))


@settings(max_examples=40)
@given(
    n=small,
    size=st.tuples(st.integers(3, 6), st.integers(3, 6)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.integers(1, 2),
    channels=st.tuples(st.integers(1, 2), st.integers(2, 3)),
    bias=st.booleans(),
    seed=st.integers(0, 9),
)
def test_convolution_of_any_shape(
    n: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    channels: tuple[int, int],
    bias: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(max(p, (r - s + 1) // 2) for p, r, s in zip(padding, reach, size, strict=True))  # type: ignore[assignment]
    conv = nn.Conv2d(
        groups * channels[0],
        groups * channels[1],
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
    )
    # A layer before it too, so that what flows back through the convolution counts.
    layers = nn.Sequential(nn.Conv2d(1, groups * channels[0], 1), nn.Tanh(), conv, nn.Flatten(), nn.LazyLinear(3))
    layers(torch.zeros(1, 1, *size))
    check(layers, torch.randn(n, 1, *size, dtype=torch.float64))


@settings(max_examples=25)
@given(
    st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=4),
    small,
    st.none() | st.integers(0, 4),
    st.integers(0, 9),
)
def test_embedding_of_any_tokens(tokens: list[list[int]], features: int, padding: int | None, seed: int) -> None:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Embedding(5, features, padding), nn.Tanh(), nn.Flatten(), nn.Linear(3 * features, 3))
    check(layers, torch.tensor(tokens))
