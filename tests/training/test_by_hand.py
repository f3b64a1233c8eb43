"""The way by hand against the plain one: weights, losses, hits, checkpoints, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from shattering.core.spec import RunSpec
from shattering.models.small_convnet import SmallConvnet
from shattering.training.examples import Examples, torch_dtype
from shattering.training.loop import train
from shattering.training.state import Checkpoint, Progress, optimizer_tensors, restore_optimizer
from shattering.training.steppers import by_hand_layers
from shattering.training.steppers.by_hand import ByHandStepper, why_not
from shattering.training.steppers.by_hand_layers import product
from shattering.training.steppers.by_hand_update import Updates
from shattering.training.steppers.plain import PlainStepper
from shattering.training.stepping import Stepper
from shattering.training.update import build_optimizer
from tiny_runs import tiny_spec

COUNT, CLASSES = 52, 4

Network = Callable[[], nn.Module]


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(75, 12), nn.ReLU(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, CLASSES, bias=False)
    )


def convnet() -> nn.Module:
    return SmallConvnet((3, 5, 5), CLASSES, 4, 8)


def mixed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2, stride=1),
        nn.Conv2d(4, 4, 2, groups=2),
        nn.Flatten(),
        nn.ReLU(),
        nn.Linear(4, CLASSES),
    )


def one_output() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(75, 1))


def wanted_spec(**changes: object) -> RunSpec:
    defaults = {
        "training__batch_size": 16,  # 52 examples: the last batch of an epoch has 4
        "training__max_steps": 50,
        "training__stop_when_fitted": False,
        "training__learning_rate": 0.02,
        "compute__dtype": "float64",
        "measures__points_per_decade": 1,
    }
    return tiny_spec(**{**defaults, **changes})


def examples_of(spec: RunSpec, classes: int = CLASSES, channels: int = 3) -> Examples:
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(COUNT, channels, 5, 5, generator=generator, dtype=torch.float64).to(torch_dtype(spec))
    labels = torch.randint(classes, (COUNT,), generator=generator)
    layout = torch.channels_last if spec.compute.channels_last else torch.contiguous_format
    return Examples(
        inputs.contiguous(memory_format=layout), labels, labels, torch.zeros(COUNT, dtype=torch.bool), classes
    )


def network_of(build: Network, spec: RunSpec) -> nn.Module:
    torch.manual_seed(3)
    model = build().to(torch_dtype(spec))
    if spec.compute.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


class Seen:
    """A stepper that keeps what another one answers."""

    def __init__(self, stepper: Stepper) -> None:
        self.stepper, self.reach, self.may_fit = stepper, stepper.reach, stepper.may_fit
        self.losses: list[float] = []
        self.hits: list[int] = []

    def advance(self, wanted):  # type: ignore[no-untyped-def]
        losses, hits = self.stepper.advance(wanted)
        self.losses += losses.tolist()
        self.hits += hits.tolist()
        return losses, hits


def trained(
    way: type[PlainStepper] | type[ByHandStepper],
    build: Network,
    spec: RunSpec,
    examples: Examples,
    checkpoint: Checkpoint | None = None,
) -> tuple[nn.Module, torch.optim.Optimizer, Progress, Seen]:
    model = network_of(build, spec)
    optimizer = build_optimizer(model, spec)
    progress = Progress()
    if checkpoint is not None:
        model.load_state_dict(
            {
                name.removeprefix("model/"): value
                for name, value in checkpoint.tensors.items()
                if name.startswith("model/")
            }
        )
        restore_optimizer(optimizer, checkpoint.tensors)
        progress = checkpoint.progress
    seen = Seen(way(model, optimizer, examples, spec))
    for _ in train(model, optimizer, examples, spec, progress, stepper=seen):
        pass
    return model, optimizer, progress, seen


def distance(model: nn.Module, other: nn.Module) -> float:
    """The largest relative difference of a parameter."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return max(float((own - theirs).detach().norm() / theirs.detach().norm()) for own, theirs in pairs)


OPTIMIZERS = [
    {"training__momentum": 0.9, "training__weight_decay": 0.01},
    {"training__momentum": 0.0},
    {"training__optimizer": "adam", "training__weight_decay": 0.01, "training__learning_rate": 0.003},
    {"training__optimizer": "adamw", "training__weight_decay": 0.01, "training__learning_rate": 0.003},
]


@pytest.mark.parametrize(
    "build, changes, loss",
    [
        (perceptron, OPTIMIZERS[0], "cross_entropy"),
        (perceptron, OPTIMIZERS[2], "squared"),
        (convnet, OPTIMIZERS[0], "squared"),
        (convnet, OPTIMIZERS[3], "cross_entropy"),
        (mixed, OPTIMIZERS[1], "cross_entropy"),
        (mixed, OPTIMIZERS[2], "cross_entropy"),
    ],
)
def test_fifty_steps_in_float64_are_those_of_autograd(build: Network, changes: dict[str, object], loss: str) -> None:
    spec = wanted_spec(training__loss=loss, **changes)
    examples = examples_of(spec)
    assert why_not(network_of(build, spec), spec, examples) is None
    plain, _, _, told = trained(PlainStepper, build, spec, examples)
    model, _, progress, seen = trained(ByHandStepper, build, spec, examples)
    assert progress.step == 50
    assert distance(model, plain) <= 1e-12
    assert distance(plain, network_of(build, spec)) > 1e-3
    assert seen.losses == pytest.approx(told.losses, rel=1e-11)
    assert seen.hits == told.hits


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("build", [perceptron, convnet, mixed])
def test_ten_steps_in_float32_in_either_layout(
    build: Network, channels_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_hand_layers, "LARGE", 1)
    spec = wanted_spec(compute__dtype="float32", compute__channels_last=channels_last, training__max_steps=10)
    examples = examples_of(spec)
    plain, *_ = trained(PlainStepper, build, spec, examples)
    model, *_ = trained(ByHandStepper, build, spec, examples)
    assert distance(model, plain) <= 1e-5


@pytest.mark.parametrize("changes", [{}, {"training__momentum": 0.0}, {"training__weight_decay": 0.01}])
@pytest.mark.parametrize("build", [perceptron, convnet, mixed])
def test_layer_by_layer_the_update_is_that_of_the_optimizer_to_the_bit(
    build: Network, changes: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = wanted_spec(compute__dtype="float32", **changes)
    model, optimizer, *_ = trained(ByHandStepper, build, spec, examples_of(spec))
    monkeypatch.setattr(Updates, "_descends", lambda updates: False)
    other, others, *_ = trained(ByHandStepper, build, spec, examples_of(spec))
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(own, wanted) for own, wanted in pairs)
    found, wanted = optimizer_tensors(optimizer), optimizer_tensors(others)
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in found)


@pytest.mark.parametrize("build", [perceptron, convnet])
def test_images_are_laid_out_for_the_network(build: Network) -> None:
    spec = wanted_spec()
    examples, model = examples_of(spec), network_of(build, spec)
    laid = examples.laid_out_for(model)
    assert isinstance(laid.inputs, torch.Tensor) and torch.equal(laid.inputs, examples.inputs)
    assert laid.inputs.is_contiguous() == (build is perceptron)
    for way in (PlainStepper, ByHandStepper):
        one, _, _, seen = trained(way, build, spec, examples)
        two, _, _, again = trained(way, build, spec, laid)
        assert seen.losses == again.losses
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_one_output() -> None:
    spec = wanted_spec(training__loss="squared")
    examples = examples_of(spec, classes=2)
    plain, _, _, told = trained(PlainStepper, one_output, spec, examples)
    model, _, _, seen = trained(ByHandStepper, one_output, spec, examples)
    assert distance(model, plain) <= 1e-12
    assert seen.hits == told.hits


def test_images_of_one_channel() -> None:
    spec = wanted_spec()
    examples = examples_of(spec, channels=1)

    def build() -> nn.Module:
        return SmallConvnet((1, 5, 5), CLASSES, 4, 8)

    plain, *_ = trained(PlainStepper, build, spec, examples)
    model, *_ = trained(ByHandStepper, build, spec, examples)
    assert distance(model, plain) <= 1e-12


def test_augmented_batches_come_from_the_training() -> None:
    spec = wanted_spec(training__augmentation="full", data__whiten=True, training__max_steps=20)
    examples = examples_of(spec)
    plain, *_ = trained(PlainStepper, convnet, spec, examples)
    model, *_ = trained(ByHandStepper, convnet, spec, examples)
    assert distance(model, plain) <= 1e-12


@pytest.mark.parametrize("first, second", [(PlainStepper, ByHandStepper), (ByHandStepper, PlainStepper)])
@pytest.mark.parametrize("changes", [OPTIMIZERS[0], OPTIMIZERS[3]])
def test_a_checkpoint_of_one_way_goes_on_in_the_other(
    first: type[PlainStepper] | type[ByHandStepper],
    second: type[PlainStepper] | type[ByHandStepper],
    changes: dict[str, object],
) -> None:
    spec = wanted_spec(**changes)
    examples = examples_of(spec)
    whole, whole_state, _, _ = trained(PlainStepper, convnet, spec, examples)
    half = wanted_spec(**changes, training__max_steps=21)  # in the middle of an epoch
    model, optimizer, progress, _ = trained(first, convnet, half, examples)
    progress.fitted = False
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()} | optimizer_tensors(optimizer)
    resumed = Checkpoint.from_bytes(Checkpoint(tensors, progress).to_bytes())
    model, optimizer, progress, _ = trained(second, convnet, spec, examples, resumed)
    assert progress.step == 50
    assert distance(model, whole) <= 1e-12
    found, expected = optimizer_tensors(optimizer), optimizer_tensors(whole_state)
    assert {name: value.shape for name, value in found.items()} == {n: value.shape for n, value in expected.items()}


def test_a_loss_that_is_not_finite_is_told() -> None:
    spec = wanted_spec(
        training__learning_rate=1e200, measures__points_per_decade=0, measures__every_epochs=0, training__max_steps=50
    )
    _, _, progress, seen = trained(ByHandStepper, convnet, spec, examples_of(spec))
    _, _, expected, _ = trained(PlainStepper, convnet, spec, examples_of(spec))
    assert progress.step == expected.step < 50
    assert any(not math.isfinite(loss) for loss in seen.losses)


def test_the_screen_says_no_only_where_a_fit_is_out_of_reach() -> None:
    spec = wanted_spec(training__max_steps=30)
    examples = examples_of(spec)
    model = network_of(convnet, spec)
    right = int((model(examples.inputs).argmax(dim=1) == examples.labels).sum())
    stepper = ByHandStepper(model, build_optimizer(model, spec), examples, spec)
    assert [stepper.may_fit(needed) for needed in (0, right, right + 2, COUNT)] == [True, True, False, False]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()  # all outputs equal: nothing is certain
    assert stepper.may_fit(COUNT)


def test_the_large_product_is_the_product() -> None:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(300, 260, generator=generator)
    right = torch.randn(120, 260, generator=generator).t()
    assert left.shape[0] * left.shape[1] * right.shape[1] > by_hand_layers.LARGE
    exact = left.double() @ right.double()
    for laid in (right, right.contiguous(), right[:, ::1]):
        assert float((product(left, laid).double() - exact).norm() / exact.norm()) < 1e-6


def frozen() -> nn.Module:
    model = perceptron()
    model[1].weight.requires_grad_(False)
    return model


def hooked() -> nn.Module:
    model = perceptron()
    model[2].register_forward_hook(lambda module, inputs, outputs: 2 * outputs)
    return model


def tied() -> nn.Module:
    layer = nn.Linear(5, 5)
    return nn.Sequential(nn.Flatten(), nn.Linear(75, 5), layer, nn.ReLU(), layer)


def dropping() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(75, 5), nn.Dropout(0.5), nn.Linear(5, CLASSES))


def normalised() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(75, 5), nn.BatchNorm1d(5), nn.Linear(5, CLASSES))


def imageless() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, CLASSES, 5))


class Doubled(nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(input)


def derived() -> nn.Module:
    return nn.Sequential(nn.Flatten(), Doubled(75, CLASSES))


@pytest.mark.parametrize(
    "build, reason",
    [
        (frozen, "frozen"),
        (hooked, "hooks"),
        (tied, "share"),
        (dropping, "Dropout"),
        (normalised, "buffers"),
        (imageless, "images"),
        (derived, "Doubled"),
    ],
)
def test_what_is_not_a_plain_row_of_layers_is_refused(build: Network, reason: str) -> None:
    spec = wanted_spec()
    assert reason in (why_not(network_of(build, spec), spec, examples_of(spec)) or "")


@pytest.mark.parametrize(
    "changes", [{"compute__device": "cuda"}, {"compute__dtype": "bfloat16"}, {"training__gradient": "median"}]
)
def test_runs_of_another_kind_are_refused(changes: dict[str, object]) -> None:
    examples = examples_of(wanted_spec())
    assert why_not(perceptron(), wanted_spec(**changes), examples) is not None
