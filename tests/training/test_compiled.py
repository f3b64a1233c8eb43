"""Compiled updates against torch's own, one batch at a time; and what must not depend on who makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from shattering.core.spec import RunSpec, parse_spec
from shattering.core.streams import Stream
from shattering.models.build import build_model
from shattering.training.evaluation import evaluate
from shattering.training.examples import Examples
from shattering.training.state import optimizer_tensors, restore_optimizer
from shattering.training.steppers.compiled import CompiledStepper, linear_layers, why_not
from shattering.training.steppers.plain import PlainStepper
from shattering.training.stepping import Wanted
from shattering.training.update import build_optimizer

pytest.importorskip("numba", reason="Numba, which compiles the updates, is not installed")

BATCH, EXAMPLES = 13, 57  # the fifth batch of an epoch has 5 examples
OPTIMIZERS = {
    "sgd": {"momentum": 0.0, "learning_rate": 0.1},
    "momentum and decay": {"momentum": 0.9, "weight_decay": 0.01, "learning_rate": 0.05},
    "adam": {"optimizer": "adam", "weight_decay": 0.01, "learning_rate": 0.01},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "learning_rate": 0.01},
}
WIDTHS = {1: (10, 7), 2: (7, 65, 10), 3: (65, 10, 7, 3)}


def spec_of(dtype: str = "float64", **training: Any) -> RunSpec:
    return parse_spec({"training": {"batch_size": BATCH, **training}, "compute": {"dtype": dtype}})


def perceptron(widths: tuple[int, ...], dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).to(dtype)


def random_examples(shape: tuple[int, ...], classes: int, dtype: torch.dtype) -> Examples:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(EXAMPLES, *shape, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.randint(0, max(classes, 2), (EXAMPLES,), generator=generator)
    return Examples(inputs, labels, labels, torch.zeros(EXAMPLES, dtype=torch.bool), classes)


class World:
    """A network, its optimizer and examples, stepped by either way."""

    def __init__(self, spec: RunSpec, widths: tuple[int, ...], shape: tuple[int, ...] | None = None) -> None:
        dtype = torch.float64 if spec.compute.dtype == "float64" else torch.float32
        self.spec, self.model = spec, perceptron(widths, dtype)
        self.examples = random_examples(shape or widths[:1], widths[-1], dtype)
        self.optimizer = build_optimizer(self.model, spec)

    def steps(self, way: type, first: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The updates from ``first`` to before ``end``, with a learning rate that falls."""
        assert why_not(self.model, self.spec, self.examples) is None
        stepper = way(self.model, self.optimizer, self.examples, self.spec)
        losses, hits = [], []
        left = list(range(first, end))
        while left:
            batches = [batch_of(step) for step in left]
            rates = tuple(self.spec.training.learning_rate * 0.98**step for step in left)
            loss, hit = stepper.advance(self.wanted(batches, rates))
            losses.append(loss)
            hits.append(hit)
            left = left[len(loss) :]
        return torch.cat(losses), torch.cat(hits)

    def wanted(self, batches: list[torch.Tensor], rates: tuple[float, ...]) -> Wanted:
        inputs: Iterator[torch.Tensor] = (self.examples.inputs[rows] for rows in batches)  # type: ignore[index]
        return Wanted(torch.cat(batches), tuple(len(rows) for rows in batches), rates, None, inputs)

    @property
    def weights(self) -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in self.model.parameters()]


def batch_of(step: int) -> torch.Tensor:
    epoch, place = divmod(step, -(-EXAMPLES // BATCH))
    return torch.from_numpy(Stream(0, "order").permutation(EXAMPLES, epoch))[place * BATCH : (place + 1) * BATCH]


def distance(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> float:
    pairs = zip(found, wanted, strict=True)
    return max(float((a.double() - b.double()).norm() / b.double().norm()) for a, b in pairs)


@pytest.mark.parametrize("depth", WIDTHS)
@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_updates_equal_those_of_torch(optimizer: str, loss: str, depth: int) -> None:
    for dtype, steps, tolerance in (("float64", 50, 1e-12), ("float32", 10, 1e-5)):
        spec = spec_of(dtype, loss=loss, **OPTIMIZERS[optimizer])
        plain, compiled = World(spec, WIDTHS[depth]), World(spec, WIDTHS[depth])
        losses, hits = plain.steps(PlainStepper, 0, steps)
        found_losses, found_hits = compiled.steps(CompiledStepper, 0, steps)
        assert distance(compiled.weights, plain.weights) <= tolerance
        assert torch.allclose(found_losses, losses, rtol=10 * tolerance, atol=0)
        assert found_losses.dtype == losses.dtype and torch.equal(found_hits, hits)
        for name, state in optimizer_tensors(plain.optimizer).items():
            found = optimizer_tensors(compiled.optimizer)[name]
            assert found.dtype == state.dtype and found.shape == state.shape
            assert torch.allclose(found, state, rtol=1e-4, atol=10 * tolerance)
        assert optimizer_tensors(compiled.optimizer).keys() == optimizer_tensors(plain.optimizer).keys()


def test_one_output_stands_for_two_classes() -> None:
    spec = spec_of(loss="squared", learning_rate=0.02)
    plain, compiled = World(spec, (7, 10, 1)), World(spec, (7, 10, 1))
    losses, hits = plain.steps(PlainStepper, 0, 50)
    found_losses, found_hits = compiled.steps(CompiledStepper, 0, 50)
    assert distance(compiled.weights, plain.weights) <= 1e-12
    assert torch.allclose(found_losses, losses, rtol=1e-11) and torch.equal(found_hits, hits)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_checkpoint_goes_from_way_to_way(optimizer: str) -> None:
    spec = spec_of(**OPTIMIZERS[optimizer])
    plain, mixed = World(spec, WIDTHS[2]), World(spec, WIDTHS[2])
    plain.steps(PlainStepper, 0, 30)
    for first, way in ((0, PlainStepper), (10, CompiledStepper), (20, PlainStepper)):
        mixed.steps(way, first, first + 10)
        kept = {name: tensor.clone() for name, tensor in optimizer_tensors(mixed.optimizer).items()}
        mixed.optimizer = build_optimizer(mixed.model, spec)
        restore_optimizer(mixed.optimizer, kept)
    assert distance(mixed.weights, plain.weights) <= 1e-12


def test_bits_depend_neither_on_how_updates_are_divided_nor_on_what_was_trained_before() -> None:
    spec = spec_of("float32", **OPTIMIZERS["momentum and decay"])
    whole, parts, neighbour = (World(spec, WIDTHS[2]) for _ in range(3))
    with torch.no_grad():
        neighbour.model[1].weight.fill_(1e30)  # type: ignore[union-attr]
    whole.steps(CompiledStepper, 0, 23)
    for first in range(23):
        neighbour.steps(CompiledStepper, first, first + 1)
        parts.steps(CompiledStepper, first, first + 1)
    assert not any(torch.isfinite(weight).all() for weight in neighbour.weights)
    assert all(torch.equal(a, b) for a, b in zip(parts.weights, whole.weights, strict=True))


@pytest.mark.parametrize("layout", ["contiguous", "channels-last", "every second example"])
def test_inputs_are_flattened_as_torch_flattens_them(layout: str) -> None:
    spec = spec_of(**OPTIMIZERS["sgd"])
    plain, compiled = World(spec, (60, 10, 3), (3, 4, 5)), World(spec, (60, 10, 3), (3, 4, 5))
    inputs = compiled.examples.inputs
    assert isinstance(inputs, torch.Tensor)
    if layout == "channels-last":
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    elif layout == "every second example":
        inputs = torch.stack([inputs, inputs + 1], dim=1).flatten(0, 1)[::2]
    compiled.examples = replace(compiled.examples, inputs=inputs)
    plain.steps(PlainStepper, 0, 10)
    compiled.steps(CompiledStepper, 0, 10)
    assert distance(compiled.weights, plain.weights) <= 1e-12


@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_training_that_diverges_says_so_at_the_same_update(loss: str, dtype: str) -> None:
    spec = spec_of(dtype, loss=loss, learning_rate=1e25 if dtype == "float32" else 1e200, momentum=0.0)
    firsts = []
    for way in (PlainStepper, CompiledStepper):
        losses, _ = World(spec, WIDTHS[2]).steps(way, 0, 12)
        firsts.append(int((~torch.isfinite(losses)).nonzero()[0]))
    assert firsts[0] == firsts[1]


def test_inputs_that_are_not_numbers_are_heard_of() -> None:
    world = World(spec_of("float32"), WIDTHS[2])
    assert isinstance(world.examples.inputs, torch.Tensor)
    world.examples.inputs[int(batch_of(3)[4]), 2] = torch.nan
    losses, _ = world.steps(CompiledStepper, 0, 4)
    assert torch.isfinite(losses[:3]).all() and torch.isnan(losses[3])


def test_the_screen_never_denies_what_an_evaluation_finds() -> None:
    for widths, loss in ((WIDTHS[2], "cross_entropy"), ((7, 10, 1), "squared")):
        spec = spec_of("float32", loss=loss, learning_rate=0.01, optimizer="adam")
        world = World(spec, widths)
        answers = []
        for first in range(0, 300, 20):
            world.steps(CompiledStepper, first, first + 20)
            right = round((evaluate(world.model, world.examples, spec).accuracy(world.examples.labels) or 0) * EXAMPLES)
            stepper = CompiledStepper(world.model, world.optimizer, world.examples, spec)
            assert all(stepper.may_fit(needed) for needed in range(right + 1))
            answers += [stepper.may_fit(needed) for needed in range(right + 3, EXAMPLES + 1)]
            assert not stepper.may_fit(EXAMPLES + 1)
        assert answers and not all(answers)  # it does say no


def test_equal_scores_are_not_surely_wrong() -> None:
    world = World(spec_of("float32"), WIDTHS[2])
    with torch.no_grad():
        for parameter in world.model.parameters():
            parameter.zero_()
    assert CompiledStepper(world.model, world.optimizer, world.examples, world.spec).may_fit(EXAMPLES)


@pytest.mark.parametrize("name", ["mlp_1x512", "mlp_3x512", "mlp", "linear"])
def test_the_projects_own_networks_are_of_that_structure(name: str) -> None:
    fields = {} if name == "linear" else {"width": 9}
    assert linear_layers(build_model(name, fields, (1, 3, 4), 5)) is not None


def nothing(model: nn.Sequential) -> None:
    """Leaves the network as it is."""


def hooked(model: nn.Sequential) -> None:
    model[1].register_forward_hook(lambda *arguments: None)


def frozen(model: nn.Sequential) -> None:
    model[1].weight.requires_grad_(False)  # type: ignore[union-attr, operator]


def very_wide(model: nn.Sequential) -> None:
    model[1], model[3] = nn.Linear(7, 300_000), nn.Linear(300_000, 10)


REFUSED: dict[str, tuple[str, dict[str, Any], Callable[[nn.Sequential], object]]] = {
    "threads": ("thread", {"compute": {"threads": 2}}, nothing),
    "bfloat16": ("float32 and float64", {"compute": {"dtype": "bfloat16"}}, nothing),
    "a robust gradient": ("plain mean", {"training": {"gradient": "median"}}, nothing),
    "augmentation": ("augmented", {"training": {"augmentation": "crop"}}, nothing),
    "dropout": ("nn.Flatten", {}, lambda model: model.insert(3, nn.Dropout())),
    "another activation": ("nn.Flatten", {}, lambda model: model.__setitem__(2, nn.Tanh())),
    "no bias": ("nn.Flatten", {}, lambda model: model.__setitem__(1, nn.Linear(7, 65, bias=False))),
    "a hook": ("nn.Flatten", {}, hooked),
    "a frozen parameter": ("frozen", {}, frozen),
    "another dtype": ("dtype", {}, lambda model: model.double()),
    "too large": ("parameters", {}, very_wide),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_cannot_train_it_refuses(case: str) -> None:
    reason, fields, change = REFUSED[case]
    world = World(spec_of("float32"), WIDTHS[2])
    change(world.model)
    told = why_not(world.model, parse_spec(fields), world.examples)
    assert told is not None and reason in told


def test_reach_shrinks_as_networks_grow() -> None:
    reaches = [World(spec_of(), widths) for widths in ((7, 10), (65, 650, 10))]
    small, large = (CompiledStepper(w.model, w.optimizer, w.examples, w.spec).reach for w in reaches)
    assert small > large >= 1


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 257, 1437])
def test_permutations_have_the_bits_of_the_stream(size: int) -> None:
    from shattering.training.steppers.compiled_order import permutation

    for seed in (0, 3, 2**40 + 9, 2**63 - 1):
        for index in (0, 1, 2**33 + 5):
            wanted = Stream(seed, "order").permutation(size, index)
            found = permutation(seed, "order", size, index)
            assert found.dtype == wanted.dtype and np.array_equal(found, wanted)
