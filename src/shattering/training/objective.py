"""What a training minimises, and the class that an output stands for."""

from __future__ import annotations

import torch
from torch.nn import functional


def losses(outputs: torch.Tensor, labels: torch.Tensor, loss: str) -> torch.Tensor:
    """The loss of each example.

    ``cross_entropy``: -log softmax(ŷ)_y, nats. ``squared``: ½‖ŷ - onehot(y)‖²; with one output, ½(ŷ - (2y - 1))², so
    that the two classes stand at -1 and 1.

    Args:
        outputs: ``[n, k]``.
        labels: int64 ``[n]``.
        loss: ``cross_entropy`` or ``squared``.

    Returns:
        ``[n]``, at least 0.
    """
    if loss == "cross_entropy":
        return functional.cross_entropy(outputs, labels, reduction="none")
    return 0.5 * (outputs - _targets(outputs, labels)).square().sum(dim=1)


def mean_loss(outputs: torch.Tensor, labels: torch.Tensor, loss: str) -> torch.Tensor:
    """The mean of `losses`."""
    if loss == "cross_entropy":
        return functional.cross_entropy(outputs, labels)
    return losses(outputs, labels, loss).mean()


def predictions(outputs: torch.Tensor) -> torch.Tensor:
    """The class with the largest output; with one output, class 1 where it is above 0. int64 ``[n]``."""
    return (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(dim=1)


def _targets(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    if outputs.shape[1] == 1:
        return (2 * labels - 1).to(outputs.dtype)[:, None]
    return functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
