"""Loss and predictions over a whole split."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from shattering.core.errors import Stopped
from shattering.core.spec import RunSpec
from shattering.training import objective
from shattering.training.examples import Examples


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model says of a split, in evaluation mode.

    Args:
        losses: float64 ``[n]``, of each example with its label.
        predictions: int64 ``[n]``, classes.
    """

    losses: torch.Tensor
    predictions: torch.Tensor

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
    """Runs the model over all examples in evaluation mode; the mode it was in is restored.

    Raises:
        Stopped: the user asked to stop.
    """
    training = model.training
    model.eval()
    losses, predictions = [], []
    try:
        for start in range(0, len(examples), batch_size):
            if should_stop():
                raise Stopped
            rows = slice(start, start + batch_size)
            with precision(spec):
                outputs = model(examples.finish(examples.inputs[rows]))
            outputs = outputs.double()
            losses.append(objective.losses(outputs, examples.labels[rows], spec.training.loss))
            predictions.append(objective.predictions(outputs))
    finally:
        model.train(training)
    return Evaluation(torch.cat(losses), torch.cat(predictions))
