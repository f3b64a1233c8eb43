"""A fleet in lockstep trains each of its members as if it were alone, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from shattering.core.spec import RunSpec
from shattering.execution.arithmetic import arithmetic
from shattering.execution.run import corrupted, initial_model
from shattering.training.examples import prepare
from shattering.training.loop import Snapshot, course, train
from shattering.training.state import Progress, optimizer_tensors
from shattering.training.steppers.stacked import Fleet, Member, agreed, fleet_key, pooled, train_stacked, why_not
from shattering.training.steppers.stacked_update import Way
from shattering.training.stepping import Wanted
from shattering.training.update import build_optimizer
from tiny_runs import digits, tiny_spec

WAYS: tuple[Way, ...] = ("vmapped", "interleaved")

Tensors = dict[str, torch.Tensor]


def one_spec(**changes: Any) -> RunSpec:
    """64 random labels of digits in float64, 24 + 24 + 16 a time, no look before the end."""
    base = {
        "corruption__name": "random_labels",
        "compute__dtype": "float64",
        "measures__points_per_decade": 0,
        "measures__every_epochs": 0,
        "training__max_steps": 50,
        "training__stop_when_fitted": False,
    }
    return tiny_spec(**(base | changes))


def convolutional(**changes: Any) -> RunSpec:
    return as_model(one_spec(**changes), "small_convnet", channels=4, hidden=8)


def as_model(spec: RunSpec, name: str, **fields: Any) -> RunSpec:
    return spec.model_copy(update={"model": type(spec.model)(name=name, fields=fields)})


@dataclass
class Parts:
    """A training before it begins, and what is seen of it."""

    spec: RunSpec
    member: Member
    progress: Progress
    seen: list[tuple[Snapshot, Tensors]] = field(default_factory=list)
    error: Exception | None = None

    @property
    def weights(self) -> Tensors:
        return self.member.model.state_dict()

    @property
    def state(self) -> Tensors:
        return optimizer_tensors(self.member.optimizer)


def parts(spec: RunSpec, network: Callable[[int], nn.Module] | None = None, reach: int = 1000, **told: Any) -> Parts:
    """Before the first update; of a registered network, or of one that is built from the seed."""
    both = corrupted(digits(), spec)
    examples = prepare(both.train, spec, augmented=spec.training.augmentation != "none")
    shape = prepare(both.test, spec).input_shape
    model = initial_model(spec, shape, examples.num_classes) if network is None else network(spec.seed)
    optimizer, progress = build_optimizer(model, spec), Progress()
    asked = course(model, examples, spec, progress, reach=reach, **told)
    return Parts(spec, Member(model, optimizer, examples, spec, asked), progress)


def copied(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def alone(spec: RunSpec, network: Callable[[int], nn.Module] | None = None) -> Parts:
    """Trained by the plain way."""
    made = parts(spec, network)
    member = made.member
    with arithmetic(spec):
        for snapshot in train(member.model, member.optimizer, member.examples, spec, made.progress):
            made.seen.append((snapshot, copied(made.weights)))
    return made


def together(
    specs: list[RunSpec], way: Way, slots: int | None = None, network: Callable[[int], nn.Module] | None = None
) -> list[Parts]:
    fleet = [parts(spec, network) for spec in specs]
    carry_out(fleet, way, slots)
    return fleet


def carry_out(fleet: list[Parts], way: Way, slots: int | None = None) -> None:
    with arithmetic(fleet[0].spec):
        members = [one.member for one in fleet]
        for number, event in train_stacked(members, Fleet(members, slots, way)):
            if isinstance(event, Exception):
                fleet[number].error = event
            else:
                fleet[number].seen.append((event, copied(fleet[number].weights)))


def furthest(one: Tensors, other: Tensors) -> float:
    """The largest difference beside the largest value of its tensor."""
    assert one.keys() == other.keys()
    if not one:
        return 0.0
    pairs = [(one[name].double(), other[name].double()) for name in one]
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-300)) for a, b in pairs if b.numel())


def agree(fleet: list[Parts], solo: list[Parts], tolerance: float) -> None:
    for one, other in zip(fleet, solo, strict=True):
        assert furthest(one.weights, other.weights) <= tolerance
        assert furthest(one.state, other.state) <= 10 * tolerance
        ours, theirs = vars(one.progress).copy(), vars(other.progress).copy()
        assert ours.pop("loss_sum") == pytest.approx(theirs.pop("loss_sum"), rel=1e-4)
        assert ours == theirs
        assert [(s.step, s.ending) for s, _ in one.seen] == [(s.step, s.ending) for s, _ in other.seen]
        for (_, found), (_, wanted) in zip(one.seen, other.seen, strict=True):
            assert furthest(found, wanted) <= tolerance  # at every snapshot the network is what it would be alone


def test_members_train_as_if_alone_in_float64() -> None:
    """50 updates, learning rates and seeds of their own, and one whose epochs have another length."""
    for make in (one_spec, convolutional):
        specs = [
            make(),
            make(seed=1, training__learning_rate=0.03, measures__points_per_decade=2),
            make(seed=2, data__train_size=48, training__schedule="exponential", training__decay=0.7),
        ]
        solo = [alone(spec) for spec in specs]
        for way in WAYS:
            agree(together(specs, way), solo, 1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_members_train_as_if_alone_in_float32(way: Way) -> None:
    for make in (one_spec, convolutional):
        specs = [make(seed=seed, compute__dtype="float32", training__max_steps=10) for seed in range(3)]
        agree(together(specs, way), [alone(spec) for spec in specs], 1e-5)


CASES: dict[str, dict[str, Any]] = {
    "adam": {"training__optimizer": "adam", "training__learning_rate": 0.01, "training__weight_decay": 0.01},
    "adamw": {"training__optimizer": "adamw", "training__learning_rate": 0.01, "training__weight_decay": 0.1},
    "no momentum": {"training__momentum": 0.0},
    "decay of weights": {"training__weight_decay": 0.01},
    "squared loss": {"training__loss": "squared", "training__learning_rate": 0.01},
    "crops": {"training__augmentation": "crop", "data__crop": 7},
    "all augmentation": {"training__augmentation": "full", "data__crop": 7, "data__whiten": False},
}


@pytest.mark.parametrize("case", CASES)
def test_every_optimizer_loss_and_augmentation(case: str) -> None:
    specs = [one_spec(seed=seed, training__max_steps=8, **CASES[case]) for seed in range(2)]
    solo = [alone(spec) for spec in specs]
    for way in WAYS:
        agree(together(specs, way), solo, 1e-11)


def normalised(seed: int) -> nn.Module:
    """A convolution with batch normalisation."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)]
    return nn.Sequential(*layers).double().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("way", WAYS)
def test_batch_statistics_are_each_members_own(way: Way) -> None:
    """Running means move with a member's updates alone, also while it waits for one whose batch is smaller."""
    specs = [one_spec(seed=seed, data__train_size=size, training__max_steps=9) for seed, size in ((0, 40), (1, 60))]
    fleet, solo = together(specs, way, network=normalised), [alone(spec, normalised) for spec in specs]
    agree(fleet, solo, 1e-11)
    assert [int(one.weights["1.num_batches_tracked"]) for one in fleet] == [9, 9]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [one_spec, convolutional])
def test_a_member_that_diverges_moves_no_bit_of_the_others(way: Way, make: Any) -> None:
    calm = [make(seed=seed, training__max_steps=12) for seed in range(3)]
    wild = [calm[0], make(seed=1, training__max_steps=12, training__learning_rate=1e300), calm[2]]
    undisturbed, fleet = together(calm, way), together(wild, way)
    assert fleet[1].seen[-1][0].ending == "diverged"
    assert fleet[1].seen[-1][0].diverged_step == alone(wild[1]).seen[-1][0].diverged_step
    for number in (0, 2):
        assert fleet[number].seen[-1][0].ending == "budget"
        equal(fleet[number], undisturbed[number])


def equal(one: Parts, other: Parts) -> None:
    assert one.weights.keys() == other.weights.keys() and one.state.keys() == other.state.keys()
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)
    assert vars(one.progress) == vars(other.progress)


@pytest.mark.parametrize("way", WAYS)
def test_bits_do_not_depend_on_who_else_is_there(way: Way) -> None:
    """With as many slots, a member alone, one whose neighbours end early, and one among others are the same."""
    spec = convolutional(training__max_steps=9)
    single = together([spec], way, slots=3)[0]
    early = [convolutional(seed=seed, training__max_steps=seed) for seed in (1, 4)]
    fleet = together([spec, *early], way)
    equal(single, fleet[0])
    assert [one.progress.step for one in fleet] == [9, 1, 4]
    agree(fleet[1:], [alone(one) for one in early], 1e-12)  # what has ended stays as it was


def test_what_breaks_one_member_ends_that_one_alone() -> None:
    specs = [one_spec(seed=seed, training__max_steps=8, training__batch_size=8) for seed in range(3)]
    undisturbed = together(specs, "vmapped")
    fleet = [parts(specs[0]), parts(specs[1], reach=1, on_step=stops_at(5)), parts(specs[2])]
    carry_out(fleet, "vmapped")
    assert isinstance(fleet[1].error, InterruptedError) and fleet[1].progress.step == 5
    for number in (0, 2):
        equal(fleet[number], undisturbed[number])


def stops_at(step: int) -> Any:
    calls = iter(range(step + 1))

    def on_step() -> None:
        if next(calls) == step:
            raise InterruptedError

    return on_step


def test_a_fleet_that_is_left_leaves_every_member_whole() -> None:
    """A member goes on alone from where the fleet was left, to the same end."""
    spec = one_spec(measures__points_per_decade=2, training__max_steps=20)
    one, other = parts(spec), parts(one_spec(seed=1, training__max_steps=20))
    members = [one.member, other.member]
    events: Iterator[Any] = train_stacked(members, Fleet(members))
    with arithmetic(spec):
        for _, event in events:
            if event.step == 10:
                break
        events.close()  # type: ignore[attr-defined]
        member = one.member
        for _ in train(member.model, member.optimizer, member.examples, spec, one.progress):
            pass
    assert one.progress.step == 20
    assert furthest(one.weights, alone(spec).weights) <= 1e-12


def test_a_training_taken_up_again_goes_on_in_a_fleet() -> None:
    whole = one_spec(training__optimizer="adam", training__learning_rate=0.01, training__max_steps=12)
    short = whole.model_copy(update={"training": whole.training.model_copy(update={"max_steps": 5})})
    begun, fresh = alone(short), parts(whole)
    member = fresh.member
    member.model.load_state_dict(copied(begun.weights))
    member.optimizer.load_state_dict(begun.member.optimizer.state_dict())
    vars(fresh.progress).update(vars(begun.progress))
    carry_out([fresh], "interleaved", 2)
    assert fresh.progress.step == 12
    assert furthest(fresh.weights, alone(whole).weights) <= 1e-12


def wish(*sizes: int) -> Wanted:
    return Wanted(torch.zeros(sum(sizes), dtype=torch.int64), sizes, (0.1,) * len(sizes), None, iter(()))


def test_who_waits_longest_is_served_with_all_who_want_the_same() -> None:
    waiting = {0: wish(24, 24, 16), 1: wish(16), 2: wish(24), 3: wish(16)}
    assert agreed(waiting, {0: 0, 1: 0, 2: 0, 3: 0}, 100) == ([0, 2], 1)  # of as many, the larger batches
    assert agreed(waiting, {0: 1, 1: 0, 2: 1, 3: 1}, 100) == ([1, 3], 1)
    assert agreed({0: wish(8, 8, 8)}, {0: 0}, 2) == ([0], 2)


def test_equal_examples_are_kept_once() -> None:
    one, other = torch.arange(6.0).reshape(3, 2), torch.ones(2, 2)
    pool, begins = pooled([one, other, one.clone()])
    assert begins == [0, 3, 0] and torch.equal(pool, torch.cat([one, other]))


def test_who_can_be_together() -> None:
    one = parts(one_spec()).member
    assert why_not(one.model, one.spec, one.examples) is None
    key = fleet_key(one.spec, one.examples)
    own = one_spec(seed=3, training__learning_rate=0.5, training__max_steps=7, corruption__name="true_labels")
    assert fleet_key(own, one.examples) == key
    for other in (one_spec(model__fields__width=9), one_spec(training__momentum=0.5), one_spec(data__whiten=False)):
        assert fleet_key(other, one.examples) != key
    dropping = one_spec(model__fields__dropout=0.5)
    assert "draws" in (why_not(initial_model(dropping, (1, 8, 8), 10), dropping, one.examples) or "")


@pytest.mark.gpu
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [one_spec, convolutional])
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_fleets_are_recorded_on_a_gpu(way: Way, make: Any) -> None:
    """Float32, ten updates, batches of two sizes; and a member that diverges moves no bit of its neighbours."""
    changes = {"compute__device": "cuda", "compute__dtype": "float32", "training__max_steps": 10}
    specs = [make(seed=seed, **changes) for seed in range(3)]
    fleet = together(specs, way, slots=4)
    agree(fleet, [alone(spec) for spec in specs], 1e-4)
    wild = [specs[0], make(seed=1, **(changes | {"training__learning_rate": 1e30})), specs[2]]
    others = together(wild, way, slots=4)
    assert others[1].seen[-1][0].ending == "diverged"
    for number in (0, 2):
        equal(others[number], fleet[number])
