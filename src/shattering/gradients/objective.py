"""What the loss of a batch is, in terms of the losses of its examples alone."""

from __future__ import annotations

import copy
import functools
import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from shattering.gradients.batches import Batch, Loss, batch_size, is_pair, map_tensors, tensors_of

AGREEMENT = {torch.float32: 1e-4, torch.float64: 1e-9}
"""Largest relative difference between losses that passes for rounding, by the arithmetic of the network.

Not by the dtype of the losses: they may have been converted, by the user's loss or by us, after they were rounded.
"""


@dataclass(frozen=True)
class Objective:
    """How a batch's loss combines those of its examples.

    Args:
        kind: ``"each"``: one number per example; ``"mean"`` or ``"sum"``: of them; ``"alone"``: none of these, so that
            only batches of one have the loss that is asked for.
        loss: the user's, or its twin that returns one number per example.
        certain: false if it was only seen on a batch of one.
    """

    kind: str
    loss: Loss
    certain: bool = True

    def factor(self, examples: int) -> int:
        """What makes the gradient of the batch's loss that of the sum over its examples."""
        return examples if self.kind == "mean" else 1


def find_objective(
    model: nn.Module, loss: Loss, batch: Batch, alone: Tensor, arithmetic: torch.dtype, gradient_says: Any = None
) -> Objective:
    """Compares the loss of a batch with those of its examples alone.

    Args:
        model: in the state that it is measured in.
        loss: the user's.
        batch: a few examples.
        alone: ℓᵢ of each.
        arithmetic: of the network.
        gradient_says: called where mean and sum are both (nearly) zero, returns ``"mean"`` or ``"sum"``.
    """
    n = len(alone)
    with torch.no_grad():
        outputs = model(batch[0]) if is_pair(batch) else None
        value = loss(outputs, batch[1]) if is_pair(batch) else loss(model, batch)
        if not isinstance(value, Tensor):
            return Objective("alone", loss)
        if value.dim() > 0:
            fits = value.shape[0] == n and value.numel() == n
            return Objective("each" if fits and agree(value.reshape(n), alone, arithmetic) else "alone", loss, n > 1)
        both = (("mean", alone.mean()), ("sum", alone.sum()))
        kinds = [kind for kind, want in both if _near(value, want, alone, arithmetic)]
        if not kinds:
            return Objective("alone", loss)
        kind = kinds[0]
        if len(kinds) == 2 and n > 1 and gradient_says is not None:
            kind = gradient_says()
        if is_pair(batch) and (twin := unreduced(loss, kind)) is not None:
            try:
                found = twin(outputs, batch[1])
            except Exception:  # not a twin after all
                found = None
            if found is not None and found.shape == (n,) and agree(found, alone, arithmetic):
                return Objective("each", twin, n > 1)
        return Objective(kind, loss, n > 1)


def unreduced(loss: Loss, kind: str) -> Loss | None:
    """The same loss with one number per example, for torch's losses and what else has a ``reduction``."""
    twin: Loss
    if isinstance(loss, nn.Module):
        if getattr(loss, "reduction", None) != kind or type(loss).__module__ != "torch.nn.modules.loss":
            return None
        module = copy.copy(loss)
        module.__dict__["reduction"] = "none"
        twin = module
    else:
        try:
            takes = inspect.signature(loss).parameters
        except (TypeError, ValueError):
            return None
        if "reduction" not in takes or takes["reduction"].default != kind:
            return None
        twin = functools.partial(loss, reduction="none")

    def each(outputs: Any, targets: Any) -> Tensor:
        entries = twin(outputs, targets)
        n = batch_size(targets)
        rows = entries.reshape(n, -1)
        return rows.mean(1) if kind == "mean" else rows.sum(1)

    return each


def losses_of_outputs(loss: Loss, outputs: Any, targets: Any, n: int) -> Tensor:
    """ℓᵢ from what the network gave for the whole batch, at the cost of the loss alone."""
    outputs = map_tensors(outputs, lambda x: x.detach())
    nest = (outputs, targets)
    columns = tensors_of(nest)

    def of_row(*row: Tensor) -> Tensor:
        entries = iter(row)
        one_output, one_target = map_tensors(nest, lambda _: next(entries).unsqueeze(0))
        return loss(one_output, one_target).reshape(())

    with torch.no_grad():
        try:
            found: Tensor = torch.func.vmap(of_row)(*columns)
        except Exception:  # whatever vmap cannot do, a loop can
            found = torch.stack([of_row(*(x[i] for x in columns)) for i in range(n)])
    return found


def agree(found: Tensor, wanted: Tensor, arithmetic: torch.dtype) -> bool:
    """Whether losses are equal up to the rounding of ``arithmetic``."""
    tolerance = AGREEMENT[arithmetic]
    found, wanted = found.detach().double().cpu(), wanted.detach().double().cpu()
    return bool(((found - wanted).abs() <= tolerance * wanted.abs().max()).all())


def _near(value: Tensor, wanted: Tensor, scale: Tensor, arithmetic: torch.dtype) -> bool:
    tolerance = AGREEMENT[arithmetic]
    away = (value.double().cpu() - wanted.double().cpu()).abs()
    return bool(away <= tolerance * scale.double().abs().max().cpu())


def combination(kind: str, losses: Tensor) -> Tensor:
    """What the batch's loss must be if it is still of this kind."""
    return losses.mean() if kind == "mean" else losses.sum()


def consistent(kind: str, value: Tensor, losses: Tensor, arithmetic: torch.dtype) -> bool:
    """Whether the batch's loss is still the mean, or sum, of its examples'."""
    return _near(value.detach(), combination(kind, losses), losses, arithmetic)
