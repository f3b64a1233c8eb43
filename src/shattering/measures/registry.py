"""How a measure is registered, and what it may look at."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from shattering.core.errors import ShatteringError
from shattering.core.registry import Registry

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from shattering.gradients.sums import GradientSums

Units = Mapping[str, str]


def _no_ranks() -> tuple[torch.Tensor, torch.Tensor]:
    raise ShatteringError("probe-without-ranks", "This probe does not know the ranks of the labels; give it `ranks`.")


def _no_inputs(rows: torch.Tensor) -> torch.Tensor:
    raise ShatteringError("probe-without-inputs", "This probe does not know inputs of test examples; give them.")


def _no_outputs(split: str) -> torch.Tensor:
    raise ShatteringError("probe-without-outputs", f"This probe does not know outputs on the {split} set; give them.")


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
        gradient_rows: int64 ``[m]``: the training examples that gradients are measured on, in their order in the data;
            the same throughout the run.
        inputs_of: model-ready inputs of training rows.
        losses: the training's loss of each example, ``(outputs, labels) -> [n]``.
        sums_over: `GradientSums` over training rows, in evaluation mode, dropout off; one pass.
        seed_of: the seed of a stream.
        evaluate_train, evaluate_test: give losses (float64 ``[n]``) and predictions (int64 ``[n]``) over a split, in
            evaluation mode; called at most once a probe.
        test_inputs_of: model-ready inputs of test rows.
        outputs_on: outputs on the ``"train"`` or the ``"test"`` set, float32 ``[n, k]``, in evaluation mode.
        test_indices: int64 ``[n_test]``, where each test example stands in the split that it comes from.
        left_out: the first so many test examples are training examples that were left out of the training subset.
        parent_final: parameters and buffers of the run that this one started from, at its end; none where it did not.
        ranks: gives int64 ``[n]`` and ``[n_test]``: how many classes have a larger output than the label, on the
            training and on the test set, in evaluation mode.
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
    gradient_rows: torch.Tensor
    inputs_of: Callable[[torch.Tensor], torch.Tensor]
    losses: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    sums_over: Callable[[torch.Tensor], GradientSums]
    seed_of: Callable[[str], int]
    ranks: Callable[[], tuple[torch.Tensor, torch.Tensor]] = _no_ranks
    test_inputs_of: Callable[[torch.Tensor], torch.Tensor] = _no_inputs
    outputs_on: Callable[[Literal["train", "test"]], torch.Tensor] = _no_outputs
    test_indices: torch.Tensor | None = None
    left_out: int = 0
    parent_final: Mapping[str, torch.Tensor] | None = None

    @cached_property
    def train(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses and predictions on the training set."""
        return self.evaluate_train()

    @cached_property
    def test(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses and predictions on the test set."""
        return self.evaluate_test()

    @cached_property
    def train_outputs(self) -> torch.Tensor:
        """Outputs on the training set, float32 ``[n, k]``, in evaluation mode."""
        return self.outputs_on("train")

    @cached_property
    def test_outputs(self) -> torch.Tensor:
        """Outputs on the test set, float32 ``[n_test, k]``, in evaluation mode."""
        return self.outputs_on("test")

    @cached_property
    def sums(self) -> GroupedSums:
        """Gradients on the sample, the examples that kept their label and input (pristine) and the others apart."""
        changed = self.changed[self.gradient_rows]
        groups = [self.gradient_rows[~changed], self.gradient_rows[changed]]
        pristine, corrupt = (self.sums_over(rows) if len(rows) else None for rows in groups)
        return GroupedSums(pristine, corrupt)


@dataclass(frozen=True, eq=False)
class GroupedSums:
    """Sums over gradients of the pristine and of the corrupt examples of a sample.

    Args:
        pristine, corrupt: none where the sample has no such example.
    """

    pristine: GradientSums | None
    corrupt: GradientSums | None

    @cached_property
    def all(self) -> GradientSums:
        """Over the whole sample: pristine examples first, then corrupt ones, each in the order of their rows."""
        if self.pristine is not None and self.corrupt is not None:
            return self.pristine + self.corrupt
        only = self.pristine or self.corrupt
        assert only is not None
        return only


MeasureFunction = Callable[[Probe], dict[str, float]]
Columns = Mapping[str, "NDArray[Any]"]
FoldFunction = Callable[[Probe, Columns], dict[str, "NDArray[Any]"]]
TestedFunction = Callable[[Probe], dict[str, "NDArray[Any]"]]


@dataclass(frozen=True)
class MeasureEntry:
    """A registered measure.

    Args:
        name: as it stands in specs.
        summary: the first line of its docstring.
        units: every number it can return, with its unit (``"1"`` for a fraction or a plain number).
        paper: where it was defined; empty for common knowledge.
        function: the measure itself; one of per-example columns has no numbers of its own.
        fold: for per-example columns, what turns the columns so far and a probe into the columns now.
        tested: gives columns with one entry per test example, at the end of a run; none for other measures.
        tested_fold: for columns of test examples that follow the run, what turns those so far and a probe into those
            now.
        gradient_passes: how many passes of forward and backward over the gradient examples it costs; for estimates.
        at_end: whether it is taken at the last snapshot alone.
    """

    name: str
    summary: str
    units: Units
    paper: str
    function: MeasureFunction
    fold: FoldFunction | None = None
    tested: TestedFunction | None = None
    tested_fold: FoldFunction | None = None
    gradient_passes: float = 0.0
    at_end: bool = False


measures: Registry[MeasureEntry] = Registry("measure", "shattering.measures")


def measure(
    *, units: Units, paper: str = "", gradient_passes: float = 0.0, at_end: bool = False
) -> Callable[[MeasureFunction], MeasureFunction]:
    """Registers a measure under its function's name; a missing docstring or unit is refused.

    A unit's key that ends in ``*`` stands for every number whose name begins so: ``m_coherence/*``, one for each layer.
    One that is taken ``at_end`` alone has its numbers in the last row only.
    """

    def register(function: MeasureFunction) -> MeasureFunction:
        _add(function, units, paper, function, gradient_passes=gradient_passes, at_end=at_end)
        return function

    return register


def example_measure(*, units: Units, paper: str = "") -> Callable[[FoldFunction], FoldFunction]:
    """Registers a measure of single examples: a fold over the snapshots, whose last columns stand in the record.

    The function gets a probe and the columns so far (none at the first snapshot), and returns the columns now, each
    with one entry per training example.
    """

    def register(function: FoldFunction) -> FoldFunction:
        _add(function, units, paper, lambda probe: {}, fold=function)
        return function

    return register


def tested_measure(*, units: Units, paper: str = "") -> Callable[[TestedFunction], TestedFunction]:
    """Registers a measure of single test examples, taken once, at the end of a run.

    The function gets a probe and returns columns with one entry per test example.
    """

    def register(function: TestedFunction) -> TestedFunction:
        _add(function, units, paper, lambda probe: {}, tested=function)
        return function

    return register


def tested_fold(*, units: Units, paper: str = "") -> Callable[[FoldFunction], FoldFunction]:
    """Registers a measure of single test examples that follows the run: a fold over the snapshots, as `example_measure`
    is for training examples; the last columns stand in the record beside those of `tested_measure`.
    """

    def register(function: FoldFunction) -> FoldFunction:
        _add(function, units, paper, lambda probe: {}, tested_fold=function)
        return function

    return register


def _add(named: Callable[..., Any], units: Units, paper: str, function: MeasureFunction, **facts: Any) -> None:
    summary = (inspect.getdoc(named) or "").partition("\n")[0]
    if not summary or not units:
        raise ShatteringError(
            "registry-incomplete", f"The measure {named.__name__!r} needs a docstring and a unit per number."
        )
    measures.add(named.__name__, MeasureEntry(named.__name__, summary, dict(units), paper, function, **facts))
