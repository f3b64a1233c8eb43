"""What is special about each network: the paper's parameter counts, layers against a second definition of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shattering.models.batch_norm import ShiftBatchNorm
from shattering.models.build import build_model
from shattering.models.response_norm import LocalResponseNorm
from shattering.models.same_padding import HalvingConv, max_pool_halving


@pytest.mark.parametrize(
    ("name", "fields", "published"),
    [
        ("inception", {}, 1_649_402),
        ("inception", {"batch_norm": False}, 1_649_402),
        ("alexnet", {}, 1_387_786),
        ("mlp_3x512", {}, 1_735_178),
        ("mlp_1x512", {}, 1_209_866),
    ],
)
def test_parameter_counts_of_zhang_et_al(name: str, fields: dict[str, object], published: int) -> None:
    """Table 1 of Zhang et al. (2017): CIFAR-10 cropped to 28×28×3."""
    network = build_model(name, fields, (3, 28, 28), 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == published


def test_resnet18_of_width_k_has_stages_of_k_2k_4k_8k() -> None:
    network = build_model("resnet18", {"width": 3}, (3, 32, 32), 10)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert sorted({layer.out_channels for layer in convolutions}) == [3, 6, 12, 24]
    # Stem, two convolutions in each of eight blocks, a projection wherever the shape changes; with the last layer 18.
    assert sum(layer.kernel_size == (3, 3) for layer in convolutions) == 17
    assert sum(layer.kernel_size == (1, 1) for layer in convolutions) == 3


def test_resnet18_blocks_without_residual_pass_their_input_on() -> None:
    network = build_model("resnet18", {"width": 2}, (1, 8, 8), 3)
    block = network.get_submodule("blocks.1")
    nn.init.zeros_(block.get_parameter("conv2.weight"))
    inputs = torch.randn(2, 2, 8, 8)
    assert torch.equal(block(inputs), inputs)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 28])
def test_same_pooling_equals_explicit_padding(size: int) -> None:
    inputs = torch.randn(2, 3, size, size + 1)
    rows, columns = (max(0, (-(-side // 2) - 1) * 2 + 3 - side) for side in inputs.shape[2:])
    around = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    expected = F.max_pool2d(F.pad(inputs, around, value=-math.inf), 3, 2)
    assert torch.equal(max_pool_halving(inputs), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 28])
def test_same_striding_equals_every_second_value_of_a_dense_convolution(size: int) -> None:
    layer = HalvingConv(3, 4, bias=True).double()
    inputs = torch.randn(2, 3, size, size + 1, dtype=torch.float64)
    dense = F.conv2d(inputs, layer.weight, layer.bias, padding=1)
    # An even side starts at its second value: windows are flush with the top and left.
    first = [1 - side % 2 for side in inputs.shape[2:]]
    torch.testing.assert_close(layer(inputs), dense[:, :, first[0] :: 2, first[1] :: 2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("channels", "size", "alpha", "bias"), [(64, 9, 0.001, 1.0), (5, 3, 0.7, 2.0), (3, 9, 1.0, 0.5)]
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_response_norm_equals_torch(
    channels: int, size: int, alpha: float, bias: float, layout: torch.memory_format
) -> None:
    inputs = 5 * torch.randn(2, channels, 4, 3, dtype=torch.float64)
    ours = inputs.to(memory_format=layout).requires_grad_()
    theirs = inputs.clone().requires_grad_()
    outputs = LocalResponseNorm(channels, size, alpha, bias).double()(ours)
    expected = F.local_response_norm(theirs, size, alpha, 0.75, bias)
    torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(inputs)
    (slope,) = torch.autograd.grad(outputs, ours, direction)
    (expected_slope,) = torch.autograd.grad(expected, theirs, direction)
    torch.testing.assert_close(slope, expected_slope, rtol=1e-12, atol=1e-12)


def test_response_norm_has_second_derivatives() -> None:
    layer = LocalResponseNorm(4, 3, 0.9).double()
    assert torch.autograd.gradgradcheck(layer, torch.randn(2, 4, 1, 2, dtype=torch.float64, requires_grad=True))


def test_alexnet_rectifies_before_pooling_as_far_as_anyone_can_tell() -> None:
    network = build_model("alexnet", {}, (3, 9, 12), 10).double()
    part = network.get_submodule
    maps = inputs = torch.randn(2, 3, 9, 12, dtype=torch.float64)
    for index in "12":
        pooled = max_pool_halving(F.relu(part(f"conv{index}")(maps)))
        maps = F.local_response_norm(pooled, 9, 0.001, 0.75, 1.0)
    hidden = maps.permute(0, 2, 3, 1).reshape(2, -1)
    expected = part("output")(F.relu(part("linear2")(F.relu(part("linear1")(hidden)))))
    torch.testing.assert_close(network(inputs), expected, rtol=1e-12, atol=1e-12)


def test_shift_batch_norm_equals_batch_norm_without_scale() -> None:
    ours, theirs = ShiftBatchNorm(3).double(), nn.BatchNorm2d(3).double()
    assert [name for name, _ in ours.named_parameters()] == ["bias"]
    inputs = 2 + torch.randn(4, 3, 5, 5, dtype=torch.float64)
    for network in (ours, theirs):
        nn.init.constant_(network.bias, 0.3)
    for mode in (True, False):
        torch.testing.assert_close(ours.train(mode)(inputs), theirs.train(mode)(inputs), rtol=1e-12, atol=1e-12)


def test_he_normal_scales_by_fan_in() -> None:
    torch.manual_seed(0)
    network = build_model("mlp_3x512", {}, (1000,), 400)
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    wanted = [math.sqrt(2 / 1000), math.sqrt(2 / 512), math.sqrt(2 / 512), 1 / 512]
    for layer, deviation in zip(linear, wanted, strict=True):
        # The relative standard error of a deviation from m draws is 1/sqrt(2m): 0.0016 here at most.
        assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.01)
        assert not bool(layer.bias.any())


def test_dropout_drops_in_training_only() -> None:
    torch.manual_seed(0)
    network = build_model("mlp_1x512", {"dropout": 0.5}, (20,), 3)
    inputs = torch.randn(4, 20)
    assert not torch.equal(network(inputs), network(inputs))
    assert torch.equal(network.eval()(inputs), network(inputs))
    assert not any(isinstance(layer, nn.Dropout) for layer in build_model("mlp_1x512", {}, (20,), 3).modules())


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["alexnet", "inception"])
def test_networks_agree_on_a_gpu(name: str) -> None:
    torch.manual_seed(0)
    network = build_model(name, {}, (3, 28, 28), 10).double()
    inputs = torch.randn(4, 3, 28, 28, dtype=torch.float64)
    expected = network(inputs)
    network.to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
    outputs = network(inputs.to("cuda", memory_format=torch.channels_last))
    torch.testing.assert_close(outputs.cpu(), expected, rtol=1e-9, atol=1e-9)
