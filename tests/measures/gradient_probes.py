"""Probes of tiny networks as a run makes them, and the gradients of their examples, one by one."""

from __future__ import annotations

import torch
from torch import nn

from shattering.gradients.engine import Engine
from shattering.measures.registry import Probe
from shattering.training import objective

FEATURES, CLASSES = 5, 3


def network(seed: int = 0) -> nn.Module:
    """Float64, in training mode, with what differs between training and evaluation: batch norm and dropout."""
    torch.manual_seed(seed)
    made = nn.Sequential(
        nn.Linear(FEATURES, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.4), nn.Linear(6, CLASSES)
    ).double()
    with torch.no_grad():
        made[1].running_mean.normal_()
        made[1].running_var.uniform_(0.5, 2.0)
    return made.train()


def gradient_probe(
    model: nn.Module,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    changed: torch.Tensor,
    rows: torch.Tensor | None = None,
    loss: str = "cross_entropy",
    seed: int = 0,
) -> Probe:
    """A probe of gradients; it has no test set, and evaluates nothing."""

    def losses(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return objective.losses(outputs, targets, loss)

    def nothing() -> tuple[torch.Tensor, torch.Tensor]:
        raise AssertionError("only gradients are looked at")

    return Probe(
        model=model,
        step=7,
        labels=labels,
        original_labels=torch.where(changed, (labels + 1) % CLASSES, labels),
        changed=changed,
        test_labels=labels[:0],
        initial={},
        evaluate_train=nothing,
        evaluate_test=nothing,
        gradient_rows=torch.arange(len(labels)) if rows is None else rows,
        inputs_of=lambda wanted: inputs[wanted],
        losses=losses,
        sums_over=lambda wanted: Engine(model, losses).sums((inputs[wanted], labels[wanted])),
        seed_of=lambda purpose: seed,
    )


def examples(count: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs float64 ``[count, 5]`` and labels ``[count]``."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, FEATURES, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(CLASSES, (count,), generator=generator)


def single_gradients(probe: Probe, parameters: str = "") -> torch.Tensor:
    """The slow twin: gradients by autograd in evaluation mode, float64 ``[m, size]``; of parameters that begin so."""
    probe.model.eval()
    chosen = [value for name, value in probe.model.named_parameters() if name.startswith(parameters)]
    found = []
    for row in probe.gradient_rows.split(1):
        loss = probe.losses(probe.model(probe.inputs_of(row)), probe.labels[row]).sum()
        found.append(torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, chosen)]))
    probe.model.train()
    return torch.stack(found)
