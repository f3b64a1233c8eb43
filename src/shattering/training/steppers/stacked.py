"""Many trainings of one shape in lockstep, their parameters stacked; on a GPU the joint update is recorded once.

Every member keeps its own course (`training.loop.course`): it says which updates it wants, sees its own losses, and
yields its own snapshots. The fleet makes as many updates as the shortest wish allows for all members whose next batches
are of one size; the others stay as they are meanwhile. A fleet has a fixed number of slots, and a slot whose member has
ended goes on computing what nobody looks at: so the work, and with it every bit, is the same whoever else is alive.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from shattering.core.spec import RunSpec
from shattering.training.augmentation import draws_of_steps, margins, sent, trained_on
from shattering.training.examples import Examples, torch_dtype
from shattering.training.loop import Snapshot
from shattering.training.steppers.captured import MOST_ROWS, MOST_UPDATES, unrepeatable
from shattering.training.steppers.captured_graph import NotCaptured, replayable
from shattering.training.steppers.stacked_state import Stack
from shattering.training.steppers.stacked_update import Way, apply, better_way, gradients_of
from shattering.training.stepping import Advanced, Wanted

Course: TypeAlias = "Generator[Snapshot | Wanted, Advanced | None, None]"


@dataclass(frozen=True, eq=False)
class Member:
    """A training of a fleet.

    Args:
        model: its network, on the run's device.
        optimizer: over its parameters, its state restored where the training is resumed.
        examples: its training split, in memory.
        spec: its run.
        course: from `training.loop.course`, not yet begun, with a reach of as many updates as one likes.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    examples: Examples
    spec: RunSpec
    course: Course


def why_not(model: nn.Module, spec: RunSpec, examples: Examples) -> str | None:
    """Why a run cannot be a member of a fleet, in a clause; none where it can."""
    if spec.model.name == "inception_v3":
        return "the network has an auxiliary classifier"
    return unrepeatable(model, spec, examples)


def fleet_key(spec: RunSpec, examples: Examples) -> str:
    """What the members of a fleet share; seeds, examples, labels, learning rates and budgets are their own."""
    own = {"learning_rate", "schedule", "decay", "decay_steps", "max_steps", "fit_accuracy", "stop_when_fitted"}
    training = spec.training.model_dump_json(exclude=own)
    data = (spec.data.crop, spec.data.whiten, examples.input_shape, examples.num_classes)
    return f"{spec.model.model_dump_json()} {training} {spec.compute.model_dump_json()} {data}"


def train_stacked(members: Sequence[Member], fleet: Fleet) -> Iterator[tuple[int, Snapshot | Exception]]:
    """Trains all members to their ends.

    Args:
        members: at least one; of one `fleet_key`, none of which `why_not` refuses.
        fleet: of these members.

    Yields:
        The number of a member with its next snapshot, during which its network is as it was at that step; or with what
        its course raised (`core.errors.Stopped` too), which ends this member and no other. A member that has ended
        keeps its last state as its own. Who closes the course of a member at its snapshot ends it there.
    """
    waiting: dict[int, Wanted] = {}
    since: dict[int, int] = {}
    answers: dict[int, Advanced] = {}
    alive = list(range(len(members)))
    rounds = 0
    try:
        while alive:
            for number in list(alive):
                while number not in waiting:
                    try:
                        event = members[number].course.send(answers.pop(number, None))
                    except Exception as error:
                        alive.remove(number)
                        fleet.stack.release(number)
                        if not isinstance(error, StopIteration):
                            yield number, error
                        break
                    if isinstance(event, Wanted):
                        waiting[number], since[number] = event, rounds
                    else:
                        yield number, event
            if waiting:
                chosen, updates = agreed(waiting, since, fleet.reach)
                losses, hits = fleet.advance({number: waiting.pop(number) for number in chosen}, updates)
                answers = {number: (losses[number], hits[number]) for number in chosen}
                rounds += 1
    finally:
        for number in alive:
            members[number].course.close()
            fleet.stack.release(number)


def agreed(waiting: dict[int, Wanted], since: dict[int, int], reach: int) -> tuple[list[int], int]:
    """Which members are served next, and with how many updates.

    Those who want batches of the same size as the one who has waited longest (of several, the commonest size), and as
    many updates as the least of them wants of that size.
    """
    oldest = min(since[number] for number in waiting)
    sizes = [wanted.sizes[0] for number, wanted in waiting.items() if since[number] == oldest]
    size = max(sorted(set(sizes), reverse=True), key=sizes.count)
    chosen = [number for number, wanted in waiting.items() if wanted.sizes[0] == size]
    return chosen, min(reach, *(_leading(waiting[number].sizes) for number in chosen))


def _leading(sizes: tuple[int, ...]) -> int:
    """How many of the batches at the beginning are of the same size."""
    return next((place for place, size in enumerate(sizes) if size != sizes[0]), len(sizes))


class Fleet:
    """Stacked networks, their examples, and the joint update.

    Args:
        members: of one `fleet_key`; their parameters, buffers and optimizer state become views of the stack.
        slots: networks that there is room for; with the same number, the bits of a member do not depend on how many
            others there are. None: as many as members.
        way: how gradients are taken; none: as is better for the kind of network.
    """

    def __init__(self, members: Sequence[Member], slots: int | None = None, way: Way | None = None) -> None:
        first = members[0]
        assert len({fleet_key(member.spec, member.examples) for member in members}) == 1, "a fleet has one shape"
        slots = slots or len(members)
        self.members, self.slots, self.spec = members, slots, first.spec
        self.facts: dict[str, str] = {}
        self.way: Way = way or better_way(first.model)
        self.stack = Stack([member.model for member in members], [member.optimizer for member in members], slots)
        self.gradients = gradients_of(self.stack, self.spec, self.way)
        self.optimizer = first.optimizer
        self.pool, starts = pooled([_inputs(member) for member in members])
        self.labels = torch.cat([member.examples.labels for member in members])
        counts = [len(member.examples) for member in members]
        device, dtype = self.pool.device, torch_dtype(self.spec)
        unused = [0] * (slots - len(members))
        self.starts = torch.tensor(starts + unused, device=device)[:, None]
        self.label_starts = torch.tensor([sum(counts[:k]) for k in range(len(counts))] + unused, device=device)[:, None]
        self.batch = min(self.spec.training.batch_size, max(counts))
        self.reach = max(1, min(MOST_UPDATES, MOST_ROWS // (self.batch * slots)))
        room = self.reach * self.batch
        self.rows = torch.zeros(slots, room, dtype=torch.int64, device=device)
        augmented = self.spec.training.augmentation != "none"
        self.drawn = torch.zeros(slots, room, 4, dtype=torch.int64, device=device) if augmented else None
        self.rates = torch.zeros(slots, self.reach, dtype=dtype, device=device)
        self.active = torch.zeros(slots, 1, dtype=torch.bool, device=device)
        self.losses = torch.zeros(slots, self.reach, dtype=dtype, device=device)
        self.hits = torch.zeros(slots, self.reach, dtype=torch.int64, device=device)
        self.place = torch.zeros(1, dtype=torch.int64, device=device)
        self.places = torch.arange(self.reach, device=device)
        self.within = torch.arange(self.batch, device=device)
        self.replays: dict[int, Callable[[], None]] = {}

    def advance(self, wishes: dict[int, Wanted], updates: int) -> Advanced:
        """Makes so many updates of these members: losses and hits ``[slots, updates]``, on the CPU."""
        size = next(iter(wishes.values())).sizes[0]
        self._send(wishes, updates, size)
        if size not in self.replays:
            self.replays[size] = self._recorded(size)
        for _ in range(updates):
            self.replays[size]()
        # One copy for all, since every one of them is about to be read.
        return self.losses[:, :updates].cpu(), self.hits[:, :updates].cpu()

    def _send(self, wishes: dict[int, Wanted], updates: int, size: int) -> None:
        rates = np.zeros((self.slots, updates))
        active = np.zeros((self.slots, 1), dtype=bool)
        words = np.zeros((self.slots, updates * size, 4), dtype=np.int64) if self.drawn is not None else None
        for number, wanted in wishes.items():
            self.rows[number, : updates * size].copy_(wanted.rows[: updates * size])
            rates[number] = wanted.rates[:updates]
            active[number] = True
            if words is not None:
                spec, inputs = self.members[number].spec, self.pool
                found = draws_of_steps(spec, wanted.step, updates, size, margins(spec, inputs))
                words[number] = found.reshape(-1, 4)
        self.rates[:, :updates].copy_(torch.from_numpy(rates))
        self.active.copy_(torch.from_numpy(active))
        if self.drawn is not None and words is not None:
            self.drawn[:, : updates * size].copy_(sent(words, self.drawn.device))
        self.place.zero_()

    def _update(self, size: int) -> None:
        """The joint update at the current place; the place moves on."""
        index = self.place * size + self.within[:size]
        rows = self.rows[:, index]
        drawn = None if self.drawn is None else self.drawn[:, index].flatten(0, 1)
        inputs = trained_on(self.pool[(rows + self.starts).flatten()], self.spec, drawn)
        labels = self.labels[rows + self.label_starts]
        before = [buffer.clone() for buffer in self.stack.buffers.values()]
        losses, hits = self.gradients(inputs.reshape(self.slots, size, *inputs.shape[1:]), labels)
        apply(self.stack, self.optimizer, self.rates[:, self.place].squeeze(1), self.active)
        for buffer, old in zip(self.stack.buffers.values(), before, strict=True):
            buffer.copy_(torch.where(self.active.view(-1, *[1] * (buffer.ndim - 1)), buffer, old))
        here = self.places == self.place
        self.losses.copy_(torch.where(here, losses[:, None].to(self.losses.dtype), self.losses))
        self.hits.copy_(torch.where(here, hits[:, None], self.hits))
        self.place += 1

    def _recorded(self, size: int) -> Callable[[], None]:
        def body() -> None:
            self._update(size)

        if not self.pool.is_cuda:
            self.facts["captured"] = "no: made on the CPU, where there is nothing to record"
            return body
        try:
            replay = replayable(body, [self.losses, self.hits, self.place, *self.stack.changing()])
        except NotCaptured as refused:
            self.facts["captured"] = f"not batches of {size}: {refused}"
            return body
        self.facts.setdefault("captured", "yes")
        return replay


def pooled(inputs: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
    """All distinct examples one after another, and where those of each member begin; equal ones are kept once."""
    distinct: list[Tensor] = []
    which = []
    for tensor in inputs:
        same = (place for place, other in enumerate(distinct) if _same(tensor, other))
        place = next(same, len(distinct))
        if place == len(distinct):
            distinct.append(tensor)
        which.append(place)
    begins = [sum(map(len, distinct[:place])) for place in range(len(distinct))]
    whole = distinct[0] if len(distinct) == 1 else torch.cat(distinct)
    if whole.ndim == 4 and distinct[0].is_contiguous(memory_format=torch.channels_last):
        whole = whole.contiguous(memory_format=torch.channels_last)
    return whole, [begins[place] for place in which]


def _same(one: Tensor, other: Tensor) -> bool:
    return one is other or (one.shape == other.shape and torch.equal(one, other))


def _inputs(member: Member) -> Tensor:
    assert isinstance(member.examples.inputs, Tensor)
    return member.examples.inputs
