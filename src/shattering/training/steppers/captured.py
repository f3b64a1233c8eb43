"""The way of one training on a GPU: a whole update as a CUDA graph, replayed once per update.

The batch is gathered, augmented and whitened on the device; forward and backward pass and the fused optimizer follow in
the same recording. It reads its rows, random numbers and learning rates from tensors that hold many updates' worth, at
a place that it moves on itself; the host sends them in one go and waits for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from shattering.core.spec import RunSpec
from shattering.training.augmentation import draws_of_steps, margins, sent, trained_on
from shattering.training.examples import Examples, torch_dtype
from shattering.training.loop import draws_in_forward
from shattering.training.masking import MASKED, is_masked
from shattering.training.schedule import steps_per_epoch
from shattering.training.steppers.captured_graph import NotCaptured, replayable
from shattering.training.stepping import Advanced, Wanted
from shattering.training.update import update

MOST_UPDATES = 512
"""Updates that are sent for at once, at most; an epoch of 50,000 examples in batches of 128 is 391."""

MOST_ROWS = 2**22
"""Rows that are sent at once, at most: 32 MiB, and 128 MiB of random numbers where batches are augmented."""

COMPILE = "SHATTERING_COMPILE"
"""This environment variable, set to 1, compiles the forward and backward pass before they are recorded."""


def why_not(model: nn.Module, spec: RunSpec, examples: Examples) -> str | None:
    """Why updates of this run cannot be recorded, in a clause; none where they can."""
    if spec.compute.device != "cuda":
        return "it is for a GPU, and the run is on the CPU"
    if not torch.cuda.is_available():
        return "PyTorch finds no GPU"
    return unrecordable(model, spec, examples)


def unrecordable(model: nn.Module, spec: RunSpec, examples: Examples) -> str | None:
    """As `why_not`, wherever the run is."""
    if spec.compute.device == "cuda" and spec.compute.dtype == "float64":
        return "on a GPU the fused optimizers take a learning rate from the device in float32 only"
    return unrepeatable(model, spec, examples)


def unrepeatable(model: nn.Module, spec: RunSpec, examples: Examples) -> str | None:
    """Why an update of this run is not the same work as the one before, in a clause; none where it is."""
    if ":" in spec.model.name:
        return "a user's network may do in Python what a recording would not repeat"
    if is_masked(model):
        return MASKED
    if ":" in spec.training.loss:
        return "the loss is the user's own"
    if draws_in_forward(model, spec):
        return "the network draws random numbers, seeded anew at every update"
    if examples.team is not None:
        return "several processes share each batch"
    if not isinstance(examples.inputs, Tensor):
        return "the images stay on the disk"
    if spec.training.gradient != "mean":
        return f"training.gradient={spec.training.gradient} is no mean"
    return None


class CapturedStepper:
    """Updates recorded on a GPU, one recording for each size of batch; where that fails, made one by one, unwaited for.

    Args:
        model: on the run's device, its weights as they are at this step.
        optimizer: from `update.build_optimizer`; its state becomes complete here, and stays where it is.
        examples: the training split, in memory.
        spec: a run that `unrecordable` does not refuse.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, examples: Examples, spec: RunSpec) -> None:
        assert isinstance(examples.inputs, Tensor)
        self.model, self.optimizer, self.examples, self.spec = model, optimizer, examples, spec
        self.inputs = examples.inputs
        self.batch = min(spec.training.batch_size, len(examples))
        epoch = steps_per_epoch(len(examples), spec.training.batch_size)
        self.reach = max(1, min(MOST_UPDATES, epoch, MOST_ROWS // self.batch))
        self.facts: dict[str, str] = {}
        self.forward: nn.Module = _compiled(model) if os.environ.get(COMPILE) == "1" else model
        device, dtype = self.inputs.device, torch_dtype(spec)
        self.rows = torch.zeros(self.reach * self.batch, dtype=torch.int64, device=device)
        augmented = spec.training.augmentation != "none"
        self.drawn = torch.zeros(len(self.rows), 4, dtype=torch.int64, device=device) if augmented else None
        # On a GPU the fused optimizers read a float32; on a CPU they read any number.
        rates = torch.float32 if device.type == "cuda" else torch.float64
        self.rates = torch.zeros(self.reach, dtype=rates, device=device)
        self.rate = torch.zeros((), dtype=rates, device=device)
        self.losses = torch.zeros(self.reach, dtype=dtype, device=device)
        self.hits = torch.zeros(self.reach, dtype=torch.int64, device=device)
        self.place = torch.zeros(1, dtype=torch.int64, device=device)
        self.places = torch.arange(self.reach, device=device)
        self.within = torch.arange(self.batch, device=device)
        complete_state(optimizer)
        self.replays: dict[int, Callable[[], None]] = {}
        self.recorded_at: tuple[int, ...] = ()

    def advance(self, wanted: Wanted) -> Advanced:
        """All of the wanted updates, begun one after another."""
        made = len(wanted.sizes)
        self._send(wanted)
        addresses = tuple(tensor.data_ptr() for tensor in self._changed())
        if addresses != self.recorded_at:  # somebody has put other tensors in their place
            self.replays, self.recorded_at = {}, addresses
        with self._rate_on_device(wanted.rates[-1]):
            for size in wanted.sizes:
                if size not in self.replays:
                    self.replays[size] = self._recorded(size)
                self.replays[size]()
        return self.losses[:made].clone(), self.hits[:made].clone()

    def may_fit(self, needed: int) -> bool:
        """True: nothing is cheaper on a GPU than the evaluation itself."""
        return True

    def _send(self, wanted: Wanted) -> None:
        made = len(wanted.sizes)
        assert all(size == self.batch for size in wanted.sizes[:-1]), "only the last batch of an epoch is smaller"
        self.rows[: len(wanted.rows)].copy_(wanted.rows)
        if self.drawn is not None:
            words = draws_of_steps(self.spec, wanted.step, made, self.batch, margins(self.spec, self.inputs))
            self.drawn[: made * self.batch].copy_(sent(words.reshape(-1, 4), self.drawn.device))
        rates = torch.from_numpy(np.asarray(wanted.rates)).to(self.rates.dtype)
        self.rates[:made].copy_(rates.pin_memory() if self.rates.is_cuda else rates, non_blocking=True)
        self.place.zero_()

    def _update(self, size: int) -> None:
        """The update at the current place; the place moves on."""
        index = self.place * self.batch + self.within[:size]
        rows = self.rows[index]
        drawn = None if self.drawn is None else self.drawn[index]
        inputs = trained_on(self.inputs[rows], self.spec, drawn)
        self.rate.copy_(self.rates[self.place].reshape(()))
        loss, hits = update(self.forward, self.optimizer, self.examples, self.spec, rows, inputs)
        here = self.places == self.place
        self.losses.copy_(torch.where(here, loss.to(self.losses.dtype), self.losses))
        self.hits.copy_(torch.where(here, hits, self.hits))
        self.place += 1

    def _recorded(self, size: int) -> Callable[[], None]:
        def body() -> None:
            self._update(size)

        def recording(begins: bool) -> None:
            for group in self.optimizer.param_groups:
                if "capturable" in group:  # Adam insists, and warns where it is set and nothing is recorded
                    group["capturable"] = begins

        if self.inputs.device.type != "cuda":
            self.facts["captured"] = "no: made on the CPU, where there is nothing to record"
            return body
        try:
            replay = replayable(body, self._changed(), recording)
        except NotCaptured as refused:
            self.facts["captured"] = f"not batches of {size}: {refused}"
            return body
        self.facts.setdefault("captured", "yes")
        return replay

    def _changed(self) -> list[Tensor]:
        """All that an update changes."""
        own = [self.losses, self.hits, self.place, self.rate]
        return [*own, *self.model.parameters(), *self.model.buffers(), *state_tensors(self.optimizer)]

    @contextmanager
    def _rate_on_device(self, last: float) -> Iterator[None]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        try:
            yield
        finally:
            for group in self.optimizer.param_groups:
                group["lr"] = last


def complete_state(optimizer: torch.optim.Optimizer) -> None:
    """Gives every parameter the state that the optimizer would give it at its first update, all zeros.

    With it the first update is the same to the bit: a momentum of 0 and the gradient make the gradient.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            if isinstance(optimizer, torch.optim.SGD):
                names = ["momentum_buffer"] if group["momentum"] != 0 else []
            else:
                names = ["exp_avg", "exp_avg_sq"]
                if "step" not in state:
                    state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            for name in names:
                if state.get(name) is None:
                    state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format).detach()


def state_tensors(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Every tensor of the optimizer's state."""
    return [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]


def _compiled(model: nn.Module) -> nn.Module:
    # Dynamo knows no graphs of its own here: the recording is made around what it compiles.
    compiled: nn.Module = torch.compile(model, mode="max-autotune-no-cudagraphs", dynamic=False)  # type: ignore[assignment]
    return compiled
