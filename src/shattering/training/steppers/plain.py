"""The plain way: autograd and torch's optimizer, one update at a time; it takes any model, and the others follow it."""

from __future__ import annotations

import torch
from torch import nn

from shattering.core.spec import RunSpec
from shattering.training.examples import Examples
from shattering.training.stepping import Advanced, Wanted
from shattering.training.update import update


def why_not(model: nn.Module, spec: RunSpec, examples: Examples) -> str | None:
    """None: it can do every run."""
    return None


class PlainStepper:
    """One update at a time, each with its own forward and backward pass."""

    reach = 1

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, examples: Examples, spec: RunSpec) -> None:
        self.model, self.optimizer, self.examples, self.spec = model, optimizer, examples, spec

    def advance(self, wanted: Wanted) -> Advanced:
        """The first of the wanted updates."""
        for group in self.optimizer.param_groups:
            group["lr"] = wanted.rates[0]
        if wanted.seeds is not None:
            torch.manual_seed(wanted.seeds[0])
        rows = wanted.rows[: wanted.sizes[0]]
        loss, hits = update(self.model, self.optimizer, self.examples, self.spec, rows, next(wanted.inputs))
        return loss[None], hits[None]

    def may_fit(self, needed: int) -> bool:
        """True: it has nothing cheaper than the evaluation itself."""
        return True
