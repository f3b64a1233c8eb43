"""What a training minimises, and the class that an output stands for."""

from __future__ import annotations

import torch
from torch.nn import functional

from shattering.models.auxiliary import WithAuxiliary
from shattering.training.user_loss import losses_by

Outputs = torch.Tensor | WithAuxiliary
"""What a network returns: ``[n, k]``, and in training mode perhaps the same of an auxiliary classifier."""


def is_users(loss: str) -> bool:
    """Whether a loss is not one of ours, so that nothing but calling it is known of it."""
    return ":" in loss


def logits(outputs: Outputs) -> torch.Tensor:
    """The outputs that predictions come from."""
    return outputs.logits if isinstance(outputs, WithAuxiliary) else outputs


def losses(outputs: Outputs, labels: torch.Tensor, loss: str) -> torch.Tensor:
    """The loss of each example.

    ``cross_entropy``: -log softmax(ŷ)_y, nats. ``squared``: ½‖ŷ - onehot(y)‖²; with one output, ½(ŷ - (2y - 1))², so
    that the two classes stand at -1 and 1. An auxiliary classifier's loss is added with its weight.

    Args:
        outputs: ``[n, k]``.
        labels: int64 ``[n]``.
        loss: ``cross_entropy``, ``squared``, or a user's as ``MODULE:FUNCTION``.

    Returns:
        ``[n]``, at least 0 for our own.
    """
    if isinstance(outputs, WithAuxiliary):
        return losses(outputs.logits, labels, loss) + outputs.weight * losses(outputs.auxiliary, labels, loss)
    if loss == "cross_entropy":
        return functional.cross_entropy(outputs, labels, reduction="none")
    if is_users(loss):
        return losses_by(loss, outputs, labels)
    return 0.5 * (outputs - _targets(outputs, labels)).square().sum(dim=1)


def mean_loss(outputs: Outputs, labels: torch.Tensor, loss: str) -> torch.Tensor:
    """The mean of `losses`."""
    if loss == "cross_entropy" and not isinstance(outputs, WithAuxiliary):
        return functional.cross_entropy(outputs, labels)
    return losses(outputs, labels, loss).mean()


def predictions(outputs: Outputs) -> torch.Tensor:
    """The class with the largest output; with one output, class 1 where it is above 0. int64 ``[n]``."""
    outputs = logits(outputs)
    return (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(dim=1)


def ranks(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """How many classes have a larger output than the label: int64 ``[n]``, 0 where the label is the prediction.

    With one output, 1 where the other class is predicted. Of equal outputs the lower class comes first.
    """
    if outputs.shape[1] == 1:
        return (predictions(outputs) != labels).long()
    own = outputs.gather(1, labels[:, None])
    lower = torch.arange(outputs.shape[1], device=outputs.device) < labels[:, None]
    return ((outputs > own) | ((outputs == own) & lower)).sum(dim=1)


def _targets(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    if outputs.shape[1] == 1:
        return (2 * labels - 1).to(outputs.dtype)[:, None]
    return functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
