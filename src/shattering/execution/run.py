"""One run, the whole way: data → corruption → model → training ⇒ snapshots → measures → record."""

from __future__ import annotations

import time
from contextlib import nullcontext

import torch
from torch import nn

from shattering.core.record import Record
from shattering.core.spec import RunSpec
from shattering.core.streams import Stream
from shattering.corruptions.registry import corrupt
from shattering.data.dataset import Splits
from shattering.execution.arithmetic import arithmetic
from shattering.execution.control import Control
from shattering.execution.selection import choose_examples
from shattering.execution.start import take_over
from shattering.execution.training import Training
from shattering.models.build import build_model
from shattering.models.process_globals import restored_globals
from shattering.training.examples import cropped, prepare, torch_dtype


def corrupted(splits: Splits, spec: RunSpec, parent: Record | None = None) -> Splits:
    """Subsets, centre crop and corruption, in this order; with random crops the images stay whole."""
    chosen = choose_examples(splits, spec, parent)
    if spec.training.augmentation == "none":
        return corrupt(Splits(cropped(chosen.train, spec), cropped(chosen.test, spec)), spec)
    both = corrupt(chosen, spec)
    return Splits(both.train, cropped(both.test, spec))


def initial_model(spec: RunSpec, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """The untrained network: weights from the stream ``initialisation``, drawn on the CPU whatever the device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(Stream(spec.seed_of("initialisation"), "initialisation").integer())
        model = build_model(
            spec.model.name,
            spec.model.fields,
            input_shape,
            num_classes,
            batch=spec.model.batch,
            structured=spec.model.returns == "structure",
        )
    model = model.to(device=spec.compute.device, dtype=torch_dtype(spec))
    if spec.compute.channels_last and len(input_shape) == 3:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def execute(
    spec: RunSpec, splits: Splits, control: Control | None = None, parent: Record | None = None
) -> tuple[Record, nn.Module]:
    """Trains and measures one run, going on from its newest sound checkpoint if there is one.

    Args:
        spec: the resolved spec.
        splits: the data as loaded.
        control: how to be stopped and where to save.
        parent: the record of the run whose examples this one selects from; none where it selects none.

    Returns:
        The record (`DONE`, `NOT_FITTED` or `DIVERGED`) and the trained network.

    Raises:
        Stopped: the user asked to; a checkpoint has been saved.
        ShatteringError: the data, the spec or the user's model do not fit.
    """
    control = control or Control()
    began = time.monotonic()
    both = corrupted(splits, spec, parent)
    users = ":" in spec.model.name + spec.training.loss
    # What a user's code alters must not reach the next run of this process.
    with restored_globals([]) if users else nullcontext(), arithmetic(spec) as nondeterministic:
        training = begun(spec, both, control)
        ending = training.go_on()
        training.leave(ending)
        summary = training.summary(both.train)
    return training.record(ending, both.train, summary, time.monotonic() - began, nondeterministic), training.model


def begun(spec: RunSpec, both: Splits, control: Control) -> Training:
    """The training of a run on splits that are `corrupted` already, at its newest sound checkpoint or its beginning."""
    examples = prepare(both.train, spec, augmented=spec.training.augmentation != "none", team=control.team)
    test = prepare(both.test, spec, team=control.team)
    model = initial_model(spec, test.input_shape, examples.num_classes)
    if spec.start is not None:
        take_over(model, spec, control.start)
    training = Training(spec, model, examples.laid_out_for(model), test.laid_out_for(model), control)
    training.test_indices = both.test.source_indices
    if spec.data.tested_on != "test":
        rest = both.train.source_size - len(both.train)
        training.left_out = min(rest, spec.data.left_out_size or rest)
    training.resume()
    return training
