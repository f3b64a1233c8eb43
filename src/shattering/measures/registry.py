"""How a measure is registered, and what it may look at."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from shattering.core.errors import ShatteringError
from shattering.core.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import nn

Units = Mapping[str, str]


@dataclass(eq=False)
class Probe:
    """A trained-so-far model beside its data, for measures to look at and leave as they found it.

    Args:
        model: the network, in training mode.
        step: updates made.
        labels: int64 ``[n]``, the training labels, as trained on.
        original_labels: int64 ``[n]``, before the corruption.
        changed: bool ``[n]``, the examples that the corruption changed.
        test_labels: int64 ``[n_test]``, clean.
        initial: the parameters at initialisation, by name.
        evaluate_train, evaluate_test: give losses (float64 ``[n]``) and predictions (int64 ``[n]``) over a split, in
            evaluation mode; called at most once a probe.
    """

    model: nn.Module
    step: int
    labels: torch.Tensor
    original_labels: torch.Tensor
    changed: torch.Tensor
    test_labels: torch.Tensor
    initial: Mapping[str, torch.Tensor]
    evaluate_train: Callable[[], tuple[torch.Tensor, torch.Tensor]]
    evaluate_test: Callable[[], tuple[torch.Tensor, torch.Tensor]]

    @cached_property
    def train(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses and predictions on the training set."""
        return self.evaluate_train()

    @cached_property
    def test(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses and predictions on the test set."""
        return self.evaluate_test()


MeasureFunction = Callable[[Probe], dict[str, float]]


@dataclass(frozen=True)
class MeasureEntry:
    """A registered measure.

    Args:
        name: as it stands in specs.
        summary: the first line of its docstring.
        units: every number it can return, with its unit (``"1"`` for a fraction or a plain number).
        paper: where it was defined; empty for common knowledge.
        function: the measure itself.
    """

    name: str
    summary: str
    units: Units
    paper: str
    function: MeasureFunction


measures: Registry[MeasureEntry] = Registry("measure", "shattering.measures")


def measure(*, units: Units, paper: str = "") -> Callable[[MeasureFunction], MeasureFunction]:
    """Registers a measure under its function's name; a missing docstring or unit is refused."""

    def register(function: MeasureFunction) -> MeasureFunction:
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        if not summary or not units:
            raise ShatteringError(
                "registry-incomplete", f"The measure {function.__name__!r} needs a docstring and a unit per number."
            )
        measures.add(function.__name__, MeasureEntry(function.__name__, summary, dict(units), paper, function))
        return function

    return register
