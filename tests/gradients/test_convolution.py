"""Convolutions' weight gradients of single examples against autograd, one example at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from shattering.gradients import convolution
from shattering.gradients.convolution import accumulate, gram_is_cheaper, per_example_weight_gradients
from shattering.gradients.convolution_geometry import Geometry
from shattering.gradients.convolution_gram import gram_norms
from shattering.gradients.convolution_products import Products

PLAIN: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
# torch says so of an even kernel with padding='same'.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


@dataclass
class Case:
    """A convolution with inputs and gradients of its output, and gᵢ by autograd, one example at a time."""

    inputs: Tensor
    weight: Tensor
    call: dict[str, Any]
    transposed: bool = False
    delta: Tensor = field(init=False)
    gradients: Tensor = field(init=False)

    def __post_init__(self) -> None:
        weight = self.weight.detach().double().requires_grad_()
        outputs = self.convolve(self.inputs.double(), weight)
        self.delta = torch.randn(outputs.shape, dtype=torch.float64).to(self.inputs.dtype)
        each = zip(outputs, self.delta.double(), strict=True)
        self.gradients = torch.stack(
            [torch.autograd.grad(output, weight, delta, retain_graph=True)[0] for output, delta in each]
        )

    def convolve(self, inputs: Tensor, weight: Tensor) -> Tensor:
        return (TRANSPOSED if self.transposed else PLAIN)[weight.dim() - 2](inputs, weight, **self.call)

    @property
    def geometry(self) -> Geometry:
        call = {name: value for name, value in self.call.items() if name != "output_padding"}
        return Geometry.of_call(self.weight, **call, transposed=self.transposed)

    @property
    def maps(self) -> tuple[Tensor, Tensor]:
        return (self.inputs, self.delta) if self.transposed else (self.delta, self.inputs)

    @property
    def norms(self) -> Tensor:
        return self.gradients.flatten(1).square().sum(1)


def close(actual: Tensor, expected: Tensor, tolerance: float) -> bool:
    """Whether the relative error in Euclidean norm is at most ``tolerance``."""
    return bool(torch.linalg.vector_norm(actual.double() - expected) <= tolerance * torch.linalg.vector_norm(expected))


@st.composite
def cases(draw: st.DrawFn, dtype: torch.dtype) -> Case:
    """Convolutions of one to three dimensions with every setting that torch allows, on maps of a few entries."""
    dimensions = draw(st.integers(1, 3))
    sizes = st.integers(1, 3)

    def each(values: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(values) for _ in range(dimensions))

    transposed = draw(st.booleans())
    groups, kernel, stride, dilation = draw(sizes), each(sizes), each(sizes), each(sizes)
    call: dict[str, Any] = {"stride": stride, "dilation": dilation, "groups": groups}
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if not transposed and set(stride) == {1} and draw(st.booleans()):
        call["padding"] = draw(st.sampled_from(["same", "valid"]))
    else:
        call["padding"] = tuple(draw(st.integers(0, 2)) for _ in span)
    if transposed:
        call["output_padding"] = tuple(
            draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
        )
        # Large enough that something of the output is left after its padding is cut off.
        lowest = [5] * dimensions
    else:
        lowest = span
    size = [draw(st.integers(low, low + 3)) for low in lowest]
    inside, outside = draw(sizes), draw(sizes)
    shape = (inside * groups, outside) if transposed else (outside * groups, inside)
    torch.manual_seed(draw(st.integers(0, 2**16)))
    inputs = torch.randn(draw(st.integers(1, 5)), inside * groups, *size, dtype=dtype)
    if dimensions == 2 and draw(st.booleans()):
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return Case(inputs, torch.zeros(*shape, *kernel, dtype=dtype), call, transposed)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_accumulate_agrees_with_autograd_on_any_convolution(dtype: torch.dtype, data: st.DataObject) -> None:
    case = data.draw(cases(dtype))
    before = torch.randn(case.weight.shape).to(dtype)
    total, bias_total = before.clone(), torch.zeros(case.delta.shape[1], dtype=dtype)
    norms, bias_norms = accumulate(case.inputs, case.delta, case.geometry, total, bias_total)
    assert norms is not None and bias_norms is not None
    assert norms.dtype == bias_norms.dtype == torch.float64
    tolerance = TOLERANCE[dtype]
    scale = torch.linalg.vector_norm(case.gradients) + torch.linalg.vector_norm(before)
    assert torch.linalg.vector_norm(total - before - case.gradients.sum(0)) <= tolerance * scale
    assert close(norms, case.norms, tolerance)
    each = case.delta.double().flatten(2).sum(2)
    size = torch.linalg.vector_norm(case.delta.double())
    assert torch.linalg.vector_norm(bias_total - each.sum(0)) <= tolerance * size
    assert close(bias_norms, each.square().sum(1), 10 * tolerance)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(case=cases(torch.float64), chunk=st.integers(1, 4), inside=st.booleans(), data=st.data())
def test_products_agree_however_dimensions_are_treated(
    case: Case, chunk: int, inside: bool, data: st.DataObject
) -> None:
    geometry = case.geometry
    unfolded = tuple(data.draw(st.booleans()) for _ in geometry.kernel)
    gradients = torch.full_like(case.gradients, torch.nan)
    inside = inside and geometry.groups == 1
    products = Products(*case.maps, geometry, unfolded, inside, chunk)
    for number, tap, flat in products:
        gradients.split(chunk)[number][(..., *products.taps[tap])] = products.as_weights(flat)
    assert close(gradients, case.gradients, 1e-12)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(case=cases(torch.float32), chunk=st.integers(1, 4))
def test_gram_norms_agree_with_autograd(case: Case, chunk: int) -> None:
    norms = gram_norms(*case.maps, case.geometry, chunk)
    assert norms.sub(case.norms).abs().le(1e-5 * case.norms).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(case=cases(torch.float64))
def test_sum_beside_gram_norms_agrees_with_autograd(case: Case) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "gram_is_cheaper", lambda *_: True)
        total = torch.zeros_like(case.weight)
        norms, _ = accumulate(case.inputs, case.delta, case.geometry, total)
    assert norms is not None
    assert torch.linalg.vector_norm(total - case.gradients.sum(0)) <= 1e-12 * torch.linalg.vector_norm(case.gradients)
    assert close(norms, case.norms, 1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=cases(torch.float64), first=st.integers(0, 3), count=st.integers(0, 3))
def test_rows_of_per_example_weight_gradients(case: Case, first: int, count: int) -> None:
    rows = slice(first, first + count)
    gradients = per_example_weight_gradients(case.inputs, case.delta, case.geometry, rows)
    assert gradients.shape == case.gradients[rows].shape
    assert close(gradients, case.gradients[rows], 1e-12)


def network_layer(channels: int, size: int, outputs: int, kernel: int, stride: int = 1, **more: Any) -> Case:
    """A convolution as wide as those of real networks, on rectified inputs."""
    torch.manual_seed(0)
    inputs = torch.randn(6, channels, size, size).relu()
    inputs = inputs.contiguous(memory_format=more.pop("memory_format", torch.channels_last))
    groups = more.get("groups", 1)
    call = {"stride": stride, "padding": kernel // 2, **more}
    return Case(inputs, torch.zeros(outputs, channels // groups, kernel, kernel), call)


LAYERS: dict[str, Callable[[], Case]] = {
    "a first layer": lambda: network_layer(3, 28, 64, 5),
    "3x3 on a large map": lambda: network_layer(32, 28, 16, 3),
    "channels first": lambda: network_layer(32, 14, 48, 3, memory_format=torch.contiguous_format),
    "3x3 on a small map": lambda: network_layer(96, 7, 96, 3),
    "1x1": lambda: network_layer(48, 14, 32, 1),
    "halving": lambda: network_layer(32, 15, 48, 3, 2),
    "1x1 halving": lambda: network_layer(64, 14, 80, 1, 2),
    "depthwise": lambda: network_layer(32, 14, 32, 3, groups=32),
    "two groups": lambda: network_layer(64, 14, 64, 3, groups=2),
    "an even kernel": lambda: network_layer(64, 5, 64, 4, padding="same"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_real_networks_in_float32(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Chunks of two examples, so that several of them and an incomplete last one occur.
    monkeypatch.setattr(convolution, "CACHE_BYTES", 1 << 20)
    case = LAYERS[name]()
    total = torch.zeros_like(case.weight)
    norms, _ = accumulate(case.inputs, case.delta, case.geometry, total)
    assert norms is not None
    assert close(total, case.gradients.sum(0), 1e-5)
    assert norms.sub(case.norms).abs().le(1e-5 * case.norms).all()


def test_both_ways_occur_among_layers_of_real_networks() -> None:
    chosen = {name: gram_is_cheaper(*case.maps, case.geometry) for name, build in LAYERS.items() for case in [build()]}
    assert chosen["3x3 on a small map"] and chosen["an even kernel"]
    assert not chosen["3x3 on a large map"] and not chosen["1x1"]


@pytest.mark.parametrize("gram", [True, False])
def test_gradients_that_cancel_keep_their_norm(gram: bool) -> None:
    """Inputs nearly constant and δ of zero sum leave a gradient a thousand times smaller than its terms."""
    torch.manual_seed(0)
    case = network_layer(48, 7, 64, 1)
    inputs = 1 + 1e-3 * case.inputs
    delta = case.delta - case.delta.mean((2, 3), keepdim=True)
    exact = per_example_weight_gradients(inputs.double(), delta.double(), case.geometry).flatten(1).square().sum(1)
    total = torch.zeros_like(case.weight)
    norms = gram_norms(delta, inputs, case.geometry, 4) if gram else accumulate(inputs, delta, case.geometry, total)[0]
    assert norms is not None
    # Rounding δ to float32 already moves a gradient entry by 1e-7 of its terms, that is, 1e-4 of itself.
    assert norms.sub(exact).abs().le(1e-3 * exact).all()


def test_only_what_is_wanted_is_computed() -> None:
    case = network_layer(8, 7, 8, 3)
    bias_total = torch.zeros(8)
    assert accumulate(case.inputs, case.delta, case.geometry, None) == (None, None)
    norms, bias_norms = accumulate(case.inputs, case.delta, case.geometry, None, bias_total)
    assert norms is None and bias_norms is not None
    torch.testing.assert_close(bias_total, case.delta.sum((0, 2, 3)))


def test_no_examples_leave_totals_alone() -> None:
    case = network_layer(32, 14, 16, 3)
    total, bias_total = torch.ones_like(case.weight), torch.ones(16)
    norms, bias_norms = accumulate(case.inputs[:0], case.delta[:0], case.geometry, total, bias_total)
    assert norms is not None and bias_norms is not None and norms.shape == bias_norms.shape == (0,)
    assert total.eq(1).all() and bias_total.eq(1).all()


@pytest.mark.parametrize("build", [LAYERS["3x3 on a large map"], LAYERS["3x3 on a small map"]])
def test_deltas_that_share_memory(build: Callable[[], Case]) -> None:
    """The gradient of a mean over pixels is one number spread out by strides of zero."""
    case = build()
    case.delta = case.delta[:, :, :1, :1].expand_as(case.delta)
    expected = per_example_weight_gradients(case.inputs.double(), case.delta.double().clone(), case.geometry)
    total = torch.zeros_like(case.weight)
    norms, _ = accumulate(case.inputs, case.delta, case.geometry, total)
    assert norms is not None
    assert close(total, expected.sum(0), 1e-5)
    assert close(norms, expected.flatten(1).square().sum(1), 1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    case = network_layer(32, 14, 16, 3)
    inputs, delta = case.inputs.to(dtype), case.delta.to(dtype)
    expected = per_example_weight_gradients(inputs.double(), delta.double(), case.geometry)
    total = torch.zeros_like(case.weight)
    norms, _ = accumulate(inputs, delta, case.geometry, total)
    assert norms is not None
    assert close(total, expected.sum(0), 1e-5)
    assert close(norms, expected.flatten(1).square().sum(1), 1e-5)


def test_memory_is_bounded_however_many_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor of n weights is ever made."""
    monkeypatch.setattr(convolution, "CACHE_BYTES", 1 << 16)
    case = network_layer(16, 14, 16, 3)
    inputs, delta = case.inputs.repeat(20, 1, 1, 1), case.delta.repeat(20, 1, 1, 1)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            for value in itertools.chain([result], result if isinstance(result, tuple | list) else []):
                if isinstance(value, Tensor) and value.untyped_storage().data_ptr() not in known:
                    largest = max(largest, value.untyped_storage().nbytes())
            return result

    known = {tensor.untyped_storage().data_ptr() for tensor in (inputs, delta)}
    with Watch():
        accumulate(inputs, delta, case.geometry, torch.zeros_like(case.weight))
    assert largest < len(inputs) * case.weight.numel() * 4 / 5
