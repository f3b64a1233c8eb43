"""From one real number to classes: the network's output is the class's number, and what is nearest is predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def class_scores(outputs: torch.Tensor, num_classes: int) -> torch.Tensor:
    """``max(0, 1 - |f - c|)`` for each class c, with f cut to ``0 … num_classes-1``; float64 ``[n, num_classes]``.

    The greatest score is that of the class nearest to f. Rows sum to 1: where f is a class's number the row is one-hot,
    between two numbers both share it.
    """
    import torch

    numbers = torch.arange(num_classes, dtype=torch.float64, device=outputs.device)
    inside = outputs.to(torch.float64).clamp(0, num_classes - 1)
    return (1 - (inside[:, None] - numbers).abs()).clamp_(min=0)


def rounded(outputs: torch.Tensor, num_classes: int) -> torch.Tensor:
    """The class nearest to each output, int64 ``[n]``; half-way between two, the lower one."""
    return class_scores(outputs, num_classes).argmax(dim=1)
