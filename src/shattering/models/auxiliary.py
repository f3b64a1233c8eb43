"""What a network with an auxiliary classifier returns while it is trained."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class WithAuxiliary(NamedTuple):
    """Outputs of a network in training mode that has a second classifier half-way; in evaluation mode it has one.

    The training loss is that of ``logits`` plus ``weight`` times that of ``auxiliary``.

    Args:
        logits: ``[n, k]``, what the network says.
        auxiliary: ``[n, k]``, what its auxiliary classifier says.
        weight: of the auxiliary loss.
    """

    logits: Tensor
    auxiliary: Tensor
    weight: float
