"""The ways of making updates: which there are, which of them a run can go, and the one that it goes."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from shattering.core.errors import SpecError, nearest
from shattering.core.spec import RunSpec
from shattering.training.stepping import Stepper

if TYPE_CHECKING:
    import torch
    from torch import nn

    from shattering.training.examples import Examples

PLAIN = "plain"
"""The way that every run can go."""

WAYS = {PLAIN: "PlainStepper", "compiled": "CompiledStepper", "by_hand": "ByHandStepper", "captured": "CapturedStepper"}
"""Each way is the module of its name in `shattering.training.steppers`, with this class and a function ``why_not``."""


def forced_way() -> str | None:
    """What ``SHATTERING_STEPPER`` asks for; none where it asks for nothing. Raises `SpecError` for an unknown way."""
    way = os.environ.get("SHATTERING_STEPPER") or None
    if way is not None and way not in WAYS:
        told = f"SHATTERING_STEPPER={way!r} is no way of making updates; {nearest(way, list(WAYS))}"
        raise SpecError("stepper-unknown", told)
    return way


def why_not(way: str, model: nn.Module, spec: RunSpec, examples: Examples) -> str | None:
    """Why a run cannot go this way, in a clause; none where it can."""
    module = importlib.import_module(f"shattering.training.steppers.{way}")
    reason: str | None = module.why_not(model, spec, examples)
    return reason


def build_stepper(
    way: str, model: nn.Module, optimizer: torch.optim.Optimizer, examples: Examples, spec: RunSpec
) -> tuple[Stepper, str, str | None]:
    """The stepper of a way, or the plain one where the run cannot go it.

    Args:
        way: one of `WAYS`.
        model: on the run's device, its weights as they are at this step.
        optimizer: over its parameters, its state restored where the training is resumed.
        examples: the training split.
        spec: the run.

    Returns:
        The stepper, the way that it goes, and why that is not the one asked for (none where it is).
    """
    reason = why_not(way, model, spec, examples)
    taken = PLAIN if reason is not None else way
    module = importlib.import_module(f"shattering.training.steppers.{taken}")
    stepper: Stepper = getattr(module, WAYS[taken])(model, optimizer, examples, spec)
    return stepper, taken, reason
