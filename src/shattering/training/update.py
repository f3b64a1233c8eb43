"""One step of the training: a batch, the gradient that its examples' gradients become, the optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from shattering.core.errors import SpecError
from shattering.core.spec import RunSpec
from shattering.gradients.order_statistics import moved
from shattering.gradients.robust import (
    backward_median,
    backward_median_of_means,
    backward_winsorized,
    refuse_dependent_examples,
    rolling_median,
)
from shattering.training import objective
from shattering.training.evaluation import precision
from shattering.training.examples import Examples
from shattering.training.masking import keep_masked

RANKED = ("winsorized", "median")
"""Gradients that need the order of the examples' own."""


def refuse_ranks_in_half_precision(spec: RunSpec) -> None:
    """Raises `SpecError` where the gradients of single examples are ranked in bfloat16."""
    if spec.training.gradient in RANKED and spec.compute.dtype == "bfloat16":
        raise SpecError(
            "spec-bfloat16-robust",
            f"training.gradient={spec.training.gradient} ranks the gradients of single examples, of which many are "
            "equal in bfloat16; set compute.dtype=float32, or training.gradient=median_of_means.",
        )


def build_optimizer(model: nn.Module, spec: RunSpec) -> torch.optim.Optimizer:
    """The optimizer that ``spec`` names, over the parameters that want gradients; it takes the rolling median itself.

    Raises:
        SpecError: winsorized gradients or their median in bfloat16.
        ModelError: winsorized gradients or their median of a network with batch normalisation.
    """
    training = spec.training
    if training.gradient in RANKED:
        refuse_ranks_in_half_precision(spec)
        refuse_dependent_examples(model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rate, decay = training.learning_rate, training.weight_decay
    optimizer: torch.optim.Optimizer
    if training.optimizer == "sgd":
        optimizer = torch.optim.SGD(parameters, lr=rate, momentum=training.momentum, weight_decay=decay, fused=True)
    else:
        kind = torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW
        optimizer = kind(parameters, lr=rate, betas=(0.9, training.beta2), weight_decay=decay, fused=True)
    keep_masked(optimizer)  # before the rolling median, which remembers what it sees
    if training.gradient == "rolling_median":
        rolling_median(optimizer)
    return optimizer


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    examples: Examples,
    spec: RunSpec,
    rows: Tensor,
    inputs: Tensor,
) -> tuple[Tensor, Tensor]:
    """One optimizer step on the batch ``rows``.

    Args:
        model: in training mode.
        optimizer: from `build_optimizer`, its learning rate set.
        examples: the training split.
        spec: the run.
        rows: int64 ``[b]``, the batch.
        inputs: of the batch, from `examples.training_batches`; of a team's batch, this process's part.

    Returns:
        The batch's mean loss, and how many of its examples were classified right before the update.
    """
    team = examples.team
    if team is None:
        labels = examples.labels[rows]
        loss, outputs = _backward(model, inputs, labels, spec)
        hits = (objective.predictions(outputs) == labels).sum()
    else:
        labels = examples.labels[team.share(rows)]
        loss, outputs = _backward(model, inputs, labels, spec, team.weight(rows))
        loss, hits = team.sum_up(model, loss, (objective.predictions(outputs) == labels).sum(), rows)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss, hits


def _backward(
    model: nn.Module, inputs: Tensor, labels: Tensor, spec: RunSpec, weight: float | None = None
) -> tuple[Tensor, Tensor]:
    """Gradients into the parameters; returns the loss and the outputs. A ``weight`` scales the mean loss."""
    rule, percent = spec.training.gradient, spec.training.winsorize
    # The rolling median is the optimizer's; and a mean is taken the plain way, so that it is the same to the bit.
    if rule in ("mean", "rolling_median") or (rule == "winsorized" and moved(percent, len(labels)) == 0):
        with precision(spec):
            outputs = model(inputs)
            loss = objective.mean_loss(outputs, labels, spec.training.loss)
        if weight is not None:
            loss = loss * weight
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), objective.logits(outputs).detach()
    seen: list[Tensor] = []

    def losses(model: nn.Module, batch: dict[str, Any]) -> Tensor:
        with precision(spec):
            outputs = model(batch["inputs"])
            seen.append(objective.logits(outputs).detach())
            return objective.losses(outputs, batch["labels"], spec.training.loss)

    batch = {"inputs": inputs, "labels": labels}
    if rule == "winsorized":
        loss = backward_winsorized(model, losses, batch, percent)
    elif rule == "median":
        loss = backward_median(model, losses, batch)
    else:
        loss = backward_median_of_means(model, losses, batch)
    # Whole or in parts, the batch comes first; single examples may follow.
    return loss, torch.cat(seen)[: len(labels)]
