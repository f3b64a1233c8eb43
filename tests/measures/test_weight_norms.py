"""Norms of weights beside slow twins: paths one by one, singular values by NumPy, convolutions as dense matrices."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from no_gradients import NO_GRADIENTS
from torch import nn

from shattering.core.errors import ModelError
from shattering.measures.registry import Probe
from shattering.measures.weight_norms import weight_norms
from shattering.models.batch_norm import ShiftBatchNorm
from shattering.models.build import build_model

EXAMPLES = 40


def measured(network: nn.Module, shape: tuple[int, ...], classes: int = 3, **initial: torch.Tensor) -> dict[str, float]:
    """The measure on Gaussian inputs; weights begin at zero unless said otherwise."""
    inputs = torch.randn(EXAMPLES, *shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    with torch.no_grad():
        outputs = network.double().eval()(inputs)
    labels = outputs.argmax(dim=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).long()
    labels[0] = (labels[0] + 1) % classes  # one mistake

    def never() -> Any:
        raise AssertionError("norms look at no evaluation")

    zeros = {name: torch.zeros_like(value) for name, value in network.named_parameters()}
    fields = NO_GRADIENTS | {"gradient_rows": torch.arange(EXAMPLES), "inputs_of": lambda rows: inputs[rows]}
    nothing = labels < 0
    return weight_norms(Probe(network, 0, labels, labels, nothing, labels, zeros | initial, never, never, **fields))


def perceptron(*widths: int, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(3)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double()


def test_path_norm_is_a_sum_over_single_paths() -> None:
    network = perceptron(4, 5, 3)
    first, second = network[0].requires_grad_(False), network[2].requires_grad_(False)

    paths = [
        float(first.weight[j, i] * second.weight[k, j]) ** 2
        for i, j, k in itertools.product(range(4), range(5), range(3))
    ]
    paths += [float(first.bias[j] * second.weight[k, j]) ** 2 for j, k in itertools.product(range(5), range(3))]
    paths += [float(second.bias[k]) ** 2 for k in range(3)]

    assert measured(network, (4,))["path_norm"] == pytest.approx(math.sqrt(math.fsum(paths)), rel=1e-12)


def test_products_and_spectral_complexity_follow_their_formulas() -> None:
    network = perceptron(4, 6, 6, 3)
    start = {f"{place}.weight": torch.randn_like(network[place].weight) for place in (0, 2, 4)}

    found = measured(network, (4,), **start)

    matrices = [network[place].weight.detach().numpy() for place in (0, 2, 4)]
    begun = [start[f"{place}.weight"].numpy() for place in (0, 2, 4)]
    largest = [np.linalg.svd(matrix, compute_uv=False)[0] for matrix in matrices]
    moved = [np.sqrt(((now - then) ** 2).sum(axis=1)).sum() for now, then in zip(matrices, begun, strict=True)]
    ratio = sum((distance / norm) ** (2 / 3) for distance, norm in zip(moved, largest, strict=True)) ** 1.5
    expected = {
        "frobenius_product": np.prod([np.sqrt((matrix**2).sum()) for matrix in matrices]),
        "spectral_product": np.prod(largest),
        "spectral_complexity": np.prod(largest) * ratio,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-10)


def test_margin_is_the_lower_decile_and_norms_are_divided_by_it() -> None:
    network = perceptron(4, 6, 3)
    found = measured(network, (4,))

    inputs = torch.randn(EXAMPLES, 4, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    outputs = network(inputs).detach().sort(dim=1).values
    margins = (outputs[:, 2] - outputs[:, 1]).numpy()
    # The one mistake is the second or third class; its margin is below zero, and below the decile either way.
    decile = np.quantile(np.concatenate([[-1.0], margins[1:]]), 0.1)
    assert found["training_margin"] == pytest.approx(decile, rel=1e-9)
    for name in ("frobenius_product", "spectral_product", "path_norm"):
        assert found[f"normalised_{name}"] == pytest.approx(found[name] / decile, rel=1e-9)
    scale = float(inputs.norm()) / (decile * EXAMPLES)
    assert found["normalised_spectral_complexity"] == pytest.approx(found["spectral_complexity"] * scale, rel=1e-9)


def test_what_rescaling_layers_leaves_alone() -> None:
    network = perceptron(4, 6, 3, bias=False)
    before = measured(network, (4,))
    with torch.no_grad():
        network[0].weight.mul_(8.0)
        network[2].weight.div_(8.0)
    after = measured(network, (4,))
    assert after == pytest.approx(before, rel=1e-9)  # the same function, products and paths

    with torch.no_grad():
        network[2].weight.mul_(5.0)
    larger = measured(network, (4,))
    for name, power in {"path_norm": 5, "training_margin": 5, "normalised_path_norm": 1}.items():
        assert larger[name] == pytest.approx(power * before[name], rel=1e-9)


def test_batch_norm_is_the_diagonal_layer_it_is_in_evaluation() -> None:
    torch.manual_seed(4)
    network = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).double()
    normed = network[1]
    for tensor in (normed.weight, normed.bias, normed.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(normed.running_var, 0.5, 2.0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    found = measured(network, (4,))

    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    factor = (normed.weight / torch.sqrt(normed.running_var + normed.eps)).detach()
    shift = (normed.bias - factor * normed.running_mean).detach()
    explicit = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    explicit[0].load_state_dict(network[0].state_dict())
    explicit[3].load_state_dict(network[3].state_dict())
    with torch.no_grad():
        explicit[1].weight.copy_(torch.diag(factor))
        explicit[1].bias.copy_(shift)
    expected = measured(explicit, (4,))
    names = ("frobenius_product", "spectral_product", "path_norm", "training_margin", "normalised_path_norm")
    assert {name: found[name] for name in names} == pytest.approx({name: expected[name] for name in names}, rel=1e-9)


def test_a_convolution_is_bounded_by_its_kernel_matrix() -> None:
    torch.manual_seed(5)
    kernel = nn.Conv2d(2, 3, 3, padding=1, bias=False).double()
    network = nn.Sequential(kernel, nn.Flatten(), nn.Linear(3 * 36, 3, bias=False)).double()
    with torch.no_grad():
        network[2].weight.copy_(torch.eye(3, 3 * 36))  # of norm 1

    found = measured(network, (2, 6, 6))["spectral_product"]

    units = torch.eye(72, dtype=torch.float64).reshape(72, 2, 6, 6)
    operator = float(torch.linalg.matrix_norm(kernel(units).flatten(1).detach(), 2))
    assert found <= operator * (1 + 1e-9)
    assert operator <= 3 * found


def test_path_norm_of_a_convolution_is_that_of_the_same_dense_layer() -> None:
    torch.manual_seed(6)
    kernel, output = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(2 * 16, 3)
    convolutional = nn.Sequential(kernel, nn.ReLU(), nn.Flatten(), output).double()
    units = torch.eye(16, dtype=torch.float64).reshape(16, 1, 4, 4)
    with torch.no_grad():
        constant = kernel(torch.zeros(1, 1, 4, 4, dtype=torch.float64)).flatten()
        matrix = (kernel(units).flatten(1) - constant).T
        dense = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), output).double()
        dense[1].weight.copy_(matrix)
        dense[1].bias.copy_(constant)

    norms = [measured(network, (1, 4, 4))["path_norm"] for network in (convolutional, dense)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-12)


def test_response_normalisation_has_no_path_norm_but_the_rest() -> None:
    torch.manual_seed(0)
    network = build_model("alexnet", {}, (1, 8, 8), 3)

    found = measured(network, (1, 8, 8))

    assert "path_norm" not in found
    assert found["spectral_product"] > 0


def test_of_zeros_everything_is_zero_and_nothing_is_normalised() -> None:
    network = build_model("linear", {"initialisation": "zeros", "outputs": "one"}, (4,), 2)

    assert measured(network, (4,), classes=2) == {
        "frobenius_product": 0.0,
        "spectral_product": 0.0,
        "spectral_complexity": 0.0,
        "path_norm": 0.0,
        "training_margin": 0.0,
    }


def test_batch_norm_that_only_shifts_is_a_layer_too() -> None:
    torch.manual_seed(7)
    kernel, normed = nn.Conv2d(1, 2, 3, padding=1, bias=False), ShiftBatchNorm(2)
    nn.init.uniform_(normed.running_var, 0.5, 2.0)
    network = nn.Sequential(kernel, normed, nn.ReLU(), nn.Flatten(), nn.Linear(32, 3, bias=False))
    factor = 1 / torch.sqrt(normed.running_var.double() + normed.eps)

    found = measured(network, (1, 4, 4))

    plain = nn.Sequential(kernel, nn.ReLU(), nn.Flatten(), network[4])
    alone = measured(plain, (1, 4, 4))
    assert found["spectral_product"] == pytest.approx(alone["spectral_product"] * float(factor.max()), rel=1e-9)
    with torch.no_grad():
        kernel.weight.mul_(factor.reshape(2, 1, 1, 1))  # folded into the kernel
    assert found["path_norm"] == pytest.approx(measured(plain, (1, 4, 4))["path_norm"], rel=1e-9)


def shared() -> nn.Sequential:
    """The same weights twice."""
    network = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False))
    network[2].weight = network[0].weight
    return network


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3)), r"layer '1' \(LayerNorm\)"),
        (nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.ConvTranspose2d(1, 1, 2), nn.Flatten()), r"\(ConvTranspose2d\)"),
        (shared(), r"layer '2' \(Linear\)"),
    ],
)
def test_a_layer_without_a_norm_is_refused(network: nn.Module, told: str) -> None:
    with pytest.raises(ModelError, match=told) as caught:
        measured(network, (4,))

    assert caught.value.identifier == "weight-norms-layer"
