"""What every registered network promises, tested on arrival."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch.nn import functional as F

from shattering.core.errors import ModelError, ShatteringError, SpecError
from shattering.models.build import build_model
from shattering.models.registry import model, models

SHAPES = [(3, 28, 28), (1, 28, 28), (1, 8, 8)]
CONVOLUTIONAL = ["alexnet", "inception", "resnet18", "resnet50", "small_convnet"]
NARROW = {"resnet18": {"width": 4}, "resnet50": {"width": 4}, "inception_v3": {"width": 0.03, "auxiliary": False}}
LEAST_SIDE = {"inception_v3": 75}


def fitting(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape``, or the smallest images that the network takes."""
    return (shape[0], *(max(side, LEAST_SIDE.get(name, 1)) for side in shape[1:]))


def built(name: str, shape: tuple[int, ...], seed: int = 0, **fields: object) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_model(name, {**NARROW.get(name, {}), **fields}, fitting(name, shape), 10)


def batch(shape: tuple[int, ...], examples: int = 4) -> torch.Tensor:
    return torch.randn(examples, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", models.names())
def test_it_is_documented(name: str) -> None:
    entry = models.get(name)
    assert entry.paper and entry.summary and inspect.getdoc(entry.build)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", models.names())
def test_logits_have_the_right_shape_and_every_parameter_a_finite_gradient(name: str, shape: tuple[int, ...]) -> None:
    network = built(name, shape)
    assert network.training
    logits = network(batch(fitting(name, shape)))
    assert logits.shape == (4, 10)
    torch.autograd.backward(F.cross_entropy(logits, torch.arange(4)))
    for parameter in network.parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all())


@pytest.mark.parametrize("name", models.names())
def test_the_seed_decides_the_weights(name: str) -> None:
    first, again, other = (built(name, (1, 8, 8), seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    pairs = zip(first.parameters(), other.parameters(), strict=True)
    assert all(not torch.equal(a, b) for a, b in pairs if a.ndim > 1)


@pytest.mark.parametrize("name", models.names())
def test_evaluation_is_repeatable_and_leaves_buffers_alone(name: str) -> None:
    network = built(name, (1, 8, 8)).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    first, second = network(batch(fitting(name, (1, 8, 8)))), network(batch(fitting(name, (1, 8, 8))))
    assert torch.equal(first, second)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", models.names())
def test_memory_format_changes_no_value(name: str) -> None:
    network = built(name, (3, 28, 28)).double()
    inputs = batch(fitting(name, (3, 28, 28))).double()
    contiguous = network(inputs)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # float64: only the order of sums differs.
    torch.testing.assert_close(network(inputs.to(memory_format=torch.channels_last)), contiguous, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", models.names())
def test_an_example_in_evaluation_does_not_depend_on_the_rest_of_the_batch(name: str) -> None:
    network = built(name, (1, 8, 8)).double().eval()
    inputs = batch(fitting(name, (1, 8, 8))).double()
    torch.testing.assert_close(network(inputs)[:1], network(inputs[:1]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", models.names())
def test_state_survives_a_round_trip(name: str) -> None:
    network, other = built(name, (1, 8, 8), seed=0), built(name, (1, 8, 8), seed=1)
    other.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(batch(fitting(name, (1, 8, 8)))), other.eval()(batch(fitting(name, (1, 8, 8)))))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (3, 7, 10)])
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_odd_and_tiny_images_do(name: str, shape: tuple[int, ...]) -> None:
    assert built(name, shape)(batch(shape)).shape == (4, 10)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_networks_refuse_flat_features(name: str) -> None:
    with pytest.raises(ModelError, match=r"\(64,\)") as caught:
        built(name, (64,))
    assert caught.value.identifier == "model-needs-images"


def test_unknown_fields_and_values_out_of_range_are_refused() -> None:
    with pytest.raises(SpecError, match="width"):
        build_model("mlp_1x512", {"widht": 3}, (4,), 2)
    for fields in ({"width": 0}, {"dropout": 1.0}, {"dropout": -0.1}, {"width": True}):
        with pytest.raises(SpecError) as caught:
            build_model("mlp_1x512", fields, (4,), 2)
        assert caught.value.identifier == "spec-wrong-type"
    with pytest.raises(SpecError, match="mlp_1x512"):
        build_model("mlp_1x51", {}, (4,), 2)


def test_registration_refuses_a_wrong_signature_and_a_missing_docstring() -> None:
    def unfit(shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """A network."""
        return torch.nn.Linear(shape[0], num_classes)

    def undocumented(input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        return torch.nn.Linear(input_shape[0], num_classes)

    for build, identifier in ((unfit, "registry-signature"), (undocumented, "registry-undocumented")):
        with pytest.raises(ShatteringError) as caught:
            model(summary="s", paper="p")(build)
        assert caught.value.identifier == identifier
        assert build.__name__ not in models.names()


@pytest.mark.parametrize("name", models.names())
def test_backward_hooks_and_vectorised_gradients_work(name: str) -> None:
    """Per-example gradients by ``torch.func`` equal those one by one, and hooks on every layer see theirs."""
    network = built(name, (1, 8, 8)).double().eval()
    inputs, labels = batch(fitting(name, (1, 8, 8)), 3).double(), torch.arange(3)
    parameters = {key: value.detach() for key, value in network.named_parameters()}

    def loss(weights: dict[str, torch.Tensor], example: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(torch.func.functional_call(network, weights, (example[None],)), label[None])

    vectorised = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, inputs, labels)
    seen = 0

    def look(*_: object) -> None:
        nonlocal seen
        seen += 1

    layers = [layer for layer in network.modules() if not list(layer.children()) and list(layer.parameters())]
    handles = [layer.register_full_backward_hook(look) for layer in layers]
    single = F.cross_entropy(network(inputs[:1].requires_grad_()), labels[:1])
    torch.autograd.backward(single)
    for handle in handles:
        handle.remove()
    assert seen == len(layers)
    for key, parameter in network.named_parameters():
        torch.testing.assert_close(vectorised[key][0], parameter.grad, rtol=1e-9, atol=1e-12)
