"""Loss and predictions over a whole split."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from shattering.core.errors import SpecError, Stopped
from shattering.core.spec import RunSpec
from shattering.training import objective
from shattering.training.examples import Examples, evaluation_batches, torch_dtype


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model says of a split, in evaluation mode.

    Args:
        losses: float64 ``[n]``, of each example with its label.
        predictions: int64 ``[n]``, classes.
        ranks: int64 ``[n]``, how many classes come before the label; 0 where it is the prediction.
    """

    losses: torch.Tensor
    predictions: torch.Tensor
    ranks: torch.Tensor

    def accuracy(self, labels: torch.Tensor, among: torch.Tensor | None = None) -> float | None:
        """Fraction of predictions equal to ``labels``, optionally among a mask; none where the mask is empty."""
        hits = self.predictions == labels
        if among is not None:
            hits = hits[among]
        return float(hits.double().mean()) if len(hits) else None

    @property
    def loss(self) -> float:
        """Mean loss."""
        return float(self.losses.mean())


def precision(spec: RunSpec) -> contextlib.AbstractContextManager[object]:
    """The context of a forward pass: autocast to bfloat16 where the run asks for it."""
    if spec.compute.dtype == "bfloat16":
        return torch.autocast(spec.compute.device, dtype=torch.bfloat16)
    return contextlib.nullcontext()


@torch.no_grad()
def evaluate(
    model: nn.Module,
    examples: Examples,
    spec: RunSpec,
    *,
    batch_size: int = 500,
    should_stop: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Runs the model over all examples in evaluation mode; the mode it was in is restored. A team shares the work.

    Raises:
        Stopped: the user asked to stop.
    """
    training, team = model.training, examples.team
    model.eval()
    if not isinstance(examples.inputs, torch.Tensor):
        batch_size = min(batch_size, spec.training.batch_size)  # images from the disk are large
    first, end = (0, len(examples)) if team is None else team.span(len(examples))
    rounds = -(-(end - first if team is None else team.largest_span(len(examples))) // batch_size)
    feed = evaluation_batches(examples, first, end, batch_size)
    columns = []
    try:
        for start in range(first, first + rounds * batch_size, batch_size):
            if should_stop():
                raise Stopped
            if start < end:
                columns.append(_judged(model, next(feed), examples.labels[start : min(start + batch_size, end)], spec))
    finally:
        model.train(training)
    if not columns:  # a process of a team may have nothing to do
        columns = [torch.zeros(0, 3, dtype=torch.float64, device=spec.compute.device)]
    seen = torch.cat(columns) if team is None else team.gather(torch.cat(columns), len(examples))
    return Evaluation(seen[:, 0].contiguous(), seen[:, 1].long(), seen[:, 2].long())


@torch.no_grad()
def outputs(
    model: nn.Module,
    examples: Examples,
    spec: RunSpec,
    *,
    batch_size: int = 500,
    should_stop: Callable[[], bool] = lambda: False,
) -> torch.Tensor:
    """What the model says of all examples in evaluation mode, float32 ``[n, k]``; the mode it was in is restored.

    Raises:
        Stopped: the user asked to stop.
        SpecError: ``outputs-shared``, where several processes share the split.
    """
    if examples.team is not None:
        raise SpecError("outputs-shared", "Outputs of single examples are not kept where processes share a batch.")
    training = model.training
    model.eval()
    found = []
    try:
        for inputs in evaluation_batches(examples, 0, len(examples), batch_size):
            if should_stop():
                raise Stopped
            with precision(spec):
                found.append(objective.logits(model(inputs)).float())
    finally:
        model.train(training)
    return torch.cat(found)


def _judged(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, spec: RunSpec) -> torch.Tensor:
    """Loss, prediction and rank of each example as columns, float64 ``[b, 3]``; classes are exact in it."""
    with precision(spec):
        outputs = model(inputs)
    # A user's loss may hold weights of its own, in the arithmetic of the training.
    given = outputs.to(torch_dtype(spec)) if objective.is_users(spec.training.loss) else outputs.double()
    outputs = outputs.double()
    found = (
        objective.losses(given, labels, spec.training.loss),
        objective.predictions(outputs),
        objective.ranks(outputs, labels),
    )
    return torch.stack([column.double() for column in found], dim=1)
