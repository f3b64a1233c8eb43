"""What is recorded on a GPU, made step by step on the CPU, is the plain update to the bit; and, marked, on a GPU."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from shattering.core.spec import RunSpec
from shattering.data.arrays import from_arrays
from shattering.data.dataset import Splits
from shattering.execution.arithmetic import arithmetic
from shattering.execution.run import initial_model
from shattering.training.examples import Examples, prepare
from shattering.training.loop import Snapshot, train
from shattering.training.state import Progress, optimizer_tensors
from shattering.training.steppers.captured import CapturedStepper, complete_state, state_tensors, unrecordable, why_not
from shattering.training.steppers.captured_graph import Kept, replayable
from shattering.training.steppers.plain import PlainStepper
from shattering.training.update import build_optimizer
from tiny_runs import digits, tiny_spec

Trained = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], Progress, list[Snapshot], Any]


def images() -> Splits:
    """Small images in colour, 64 to train on."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, size=(80, 12, 10, 3)).astype(np.uint8)
    return from_arrays(pixels[:64], np.arange(64) % 4, pixels[64:], np.arange(16) % 4)


def trained(spec: RunSpec, splits: Splits, way: type, state: Trained | None = None) -> Trained:
    """A training the given way, to its end; from weights and optimizer of another where they are given."""
    with arithmetic(spec):
        examples = prepare(splits.train, spec, augmented=spec.training.augmentation != "none")
        model = network(spec, prepared_shape(spec, examples), examples.num_classes)
        optimizer = build_optimizer(model, spec)
        stepper = way(model, optimizer, examples, spec)
        progress = Progress()
        seen = list(train(model, optimizer, examples, spec, progress, stepper=stepper))
    return model.state_dict(), optimizer_tensors(optimizer), progress, seen, stepper


def network(spec: RunSpec, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The run's own; in place of a linear one, which is done in no time, a small one with batch statistics."""
    if spec.model.name != "linear":
        return initial_model(spec, shape, classes)
    torch.manual_seed(0)
    layers = [nn.Conv2d(shape[0], 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    net = nn.Sequential(*layers, nn.Linear(6 * (shape[1] // 2) * (shape[2] // 2), classes))
    return net.to(spec.compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def prepared_shape(spec: RunSpec, examples: Examples) -> tuple[int, ...]:
    channels, *sides = examples.input_shape
    return (channels, *((spec.data.crop or side) for side in sides))


CASES: dict[str, dict[str, Any]] = {
    "momentum": {},
    "no momentum, decay of weights": {"training__momentum": 0.0, "training__weight_decay": 0.01},
    "adam": {"training__optimizer": "adam", "training__learning_rate": 0.01},
    "adamw": {"training__optimizer": "adamw", "training__learning_rate": 0.01, "training__weight_decay": 0.1},
    "falling rate": {"training__schedule": "exponential", "training__decay": 0.5, "training__decay_steps": 2},
    "squared loss": {"training__loss": "squared", "training__learning_rate": 0.01},
    "float64": {"compute__dtype": "float64"},
}


def agree(one: Trained, other: Trained) -> None:
    """Weights, buffers, optimizer state, counters and snapshots are equal to the bit."""
    for first, second in zip(one[:2], other[:2], strict=True):
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert vars(one[2]) == vars(other[2])
    assert [(s.step, s.ending, s.fitted) for s in one[3]] == [(s.step, s.ending, s.fitted) for s in other[3]]


@pytest.mark.parametrize("case", CASES)
def test_updates_are_the_plain_ones_to_the_bit(case: str) -> None:
    spec = tiny_spec(measures__points_per_decade=1, data__train_size=None, data__test_size=None, **CASES[case])
    plain, ours = (trained(spec, few(), way) for way in (PlainStepper, CapturedStepper))
    agree(plain, ours)
    assert ours[2].step == 14


def few() -> Splits:
    return Splits(digits().train.take(np.arange(64)), digits().test.take(np.arange(32)))


@pytest.mark.parametrize("augmentation", ["none", "crop", "full"])
@pytest.mark.parametrize("whiten", [True, False])
def test_batches_are_augmented_as_the_plain_way_augments_them(augmentation: str, whiten: bool) -> None:
    """A network with batch normalisation, whose running statistics must move alike; a last batch that is smaller."""
    spec = tiny_spec(
        data__train_size=None,
        data__test_size=None,
        data__crop=8 if augmentation != "none" else None,
        data__whiten=whiten,
        training__augmentation=augmentation,
        training__max_steps=7,
        measures__points_per_decade=0,
    )
    spec = spec.model_copy(update={"model": type(spec.model)(name="linear")})
    agree(*(trained(spec, images(), way) for way in (PlainStepper, CapturedStepper)))


def test_a_training_that_diverges_ends_at_the_same_step() -> None:
    spec = tiny_spec(
        training__learning_rate=1e30, training__max_steps=12, measures__points_per_decade=0, measures__every_epochs=0
    )
    plain, ours = (trained(spec, few(), way) for way in (PlainStepper, CapturedStepper))
    assert plain[3][-1].ending == ours[3][-1].ending == "diverged"
    assert plain[3][-1].diverged_step == ours[3][-1].diverged_step


def test_what_is_asked_for_is_sent_in_parts_of_the_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tiny_spec(data__train_size=None, data__test_size=None, measures__points_per_decade=0)
    whole = trained(spec, few(), CapturedStepper)
    monkeypatch.setattr("shattering.training.steppers.captured.MOST_UPDATES", 2)
    parts = trained(spec, few(), CapturedStepper)
    assert (whole[4].reach, parts[4].reach) == (3, 2)
    agree(whole, parts)
    assert set(parts[4].replays) == {24, 16}
    assert "CPU" in parts[4].facts["captured"]  # nobody may think that it ran on a GPU


def test_the_first_update_from_a_complete_state_is_the_same_to_the_bit() -> None:
    spec = tiny_spec(training__weight_decay=0.01)
    examples = prepare(few().train, spec)
    model = initial_model(spec, examples.input_shape, 10)
    other = copy.deepcopy(model)
    plain, complete = build_optimizer(model, spec), build_optimizer(other, spec)
    complete_state(complete)
    assert all(not tensor.any() for tensor in state_tensors(complete)) and state_tensors(complete)
    for net, optimizer in ((model, plain), (other, complete)):
        net(examples.inputs).square().sum().backward()
        optimizer.step()
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))


def test_other_tensors_in_place_of_the_recorded_ones_are_noticed() -> None:
    spec = tiny_spec()
    examples = prepare(few().train, spec)
    model = initial_model(spec, examples.input_shape, 10)
    stepper = CapturedStepper(model, optimizer := build_optimizer(model, spec), examples, spec)
    before = stepper._changed()
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    after = stepper._changed()
    assert [t.data_ptr() for t in before] != [t.data_ptr() for t in after]


def test_what_cannot_be_recorded_is_said() -> None:
    spec = tiny_spec()
    examples = prepare(few().train, spec)
    model = initial_model(spec, examples.input_shape, 10)
    assert unrecordable(model, spec, examples) is None
    assert "on the CPU" in (why_not(model, spec, examples) or "")
    dropping = tiny_spec(model__fields__dropout=0.5)
    assert "draws" in (unrecordable(initial_model(dropping, (1, 8, 8), 10), dropping, examples) or "")
    users = tiny_spec(model__name="somewhere:net")
    assert "user" in (unrecordable(model, users, examples) or "")
    for rule in ("median_of_means", "rolling_median", "winsorized", "median"):
        assert rule in (unrecordable(model, tiny_spec(training__gradient=rule), examples) or "")
    exact = tiny_spec(compute__dtype="float64", compute__device="cuda")
    assert "float32" in (unrecordable(model, exact, examples) or "")


def test_a_replay_is_compared_beside_what_was_to_change() -> None:
    before = torch.tensor([1.0, 2.0, float("nan")])
    count = torch.tensor([5])
    kept = Kept([before, count])
    wanted = [torch.tensor([1.5, 2.0, float("nan")]), torch.tensor([6])]
    before.copy_(torch.tensor([1.501, 2.0, float("nan")]))
    count.fill_(6)
    assert kept.differing(wanted) == 0
    before[0] = 1.6
    assert kept.differing(wanted) == 1
    before[0] = float("inf")
    count.fill_(5)
    assert kept.differing(wanted) == 2
    kept.restore()
    assert before[0] == 1 and count == 5


def test_on_the_cpu_the_function_itself_is_called() -> None:
    calls: list[int] = []

    def body() -> None:
        calls.append(1)

    assert replayable(body, [torch.zeros(1)]) is body and not calls


@pytest.mark.gpu
@pytest.mark.parametrize("case", [name for name in CASES if name != "float64"])
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_recorded_updates_are_the_plain_ones_on_a_gpu(case: str) -> None:
    spec = tiny_spec(
        compute__device="cuda",
        measures__points_per_decade=1,
        data__train_size=None,
        data__test_size=None,
        **CASES[case],
    )
    plain, ours = (trained(spec, few(), way) for way in (PlainStepper, CapturedStepper))
    assert ours[4].facts == {"captured": "yes"}
    assert set(ours[4].replays) == {24, 16}
    assert ours[2].step == plain[2].step
    for name, value in plain[0].items():
        assert torch.allclose(ours[0][name], value, rtol=1e-4, atol=1e-6), name
    assert plain[1].keys() == ours[1].keys()


@pytest.mark.gpu
@pytest.mark.parametrize("augmentation", ["none", "crop", "full"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", ["linear", "inception", "alexnet"])
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_networks_are_recorded_on_a_gpu(model: str, dtype: str, augmentation: str) -> None:
    spec = tiny_spec(
        compute__device="cuda",
        compute__dtype=dtype,
        data__train_size=None,
        data__test_size=None,
        data__crop=8 if augmentation != "none" else None,
        model__name=model,
        training__augmentation=augmentation,
        training__learning_rate=0.01,
        training__max_steps=6,
        measures__points_per_decade=0,
    )
    spec = spec.model_copy(update={"model": spec.model.model_copy(update={"fields": {}})})
    plain, ours = (trained(spec, images(), way) for way in (PlainStepper, CapturedStepper))
    assert ours[4].facts == {"captured": "yes"}
    rough = 0.05 if dtype == "bfloat16" else 1e-3
    for name, value in plain[0].items():
        if value.is_floating_point():
            assert torch.allclose(ours[0][name], value, rtol=rough, atol=rough), name
        else:
            assert torch.equal(ours[0][name], value), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_what_cannot_be_recorded_on_a_gpu_goes_on_unrecorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward pass that waits for the device breaks the recording; the updates are made all the same."""
    from shattering.training import update

    whole = update.objective.mean_loss

    def waits(*arguments: Any) -> torch.Tensor:
        loss = whole(*arguments)
        float(loss)
        return loss

    monkeypatch.setattr(update.objective, "mean_loss", waits)
    spec = tiny_spec(compute__device="cuda", data__train_size=None, data__test_size=None)
    plain, ours = (trained(spec, few(), way) for way in (PlainStepper, CapturedStepper))
    assert ours[4].facts["captured"].startswith("not batches of 24")
    for name, value in plain[0].items():
        assert torch.allclose(ours[0][name], value, rtol=1e-4, atol=1e-6), name
