"""The running loss and accuracy of a training."""

from __future__ import annotations

import math

import torch

from shattering.training.state import Progress
from shattering.training.stepping import Advanced


class Tally:
    """Running loss and accuracy, read at once on a CPU and once in a while on a GPU, which must not be waited for.

    Args:
        device: where losses and outputs are.
    """

    def __init__(self, device: str) -> None:
        self.deferred = device != "cpu"
        self._pending: list[tuple[Advanced, tuple[int, ...], int]] = []

    @property
    def pending(self) -> bool:
        """Whether something has been noted that is not yet read."""
        return bool(self._pending)

    def add(self, answer: Advanced, sizes: tuple[int, ...], step: int) -> None:
        """Notes updates, of batches of these ``sizes``, the first of them made after ``step`` others.

        Nothing is copied from the device.
        """
        self._pending.append((answer, sizes, step))

    def read_into(self, progress: Progress) -> int | None:
        """Adds what was noted to ``progress``; returns the first step whose loss was not finite, if there is one."""
        answers = [answer for answer, _, _ in self._pending]
        losses = (answers[0][0] if len(answers) == 1 else torch.cat([loss for loss, _ in answers])).float().tolist()
        hits = (answers[0][1] if len(answers) == 1 else torch.cat([right for _, right in answers])).tolist()
        places = [(step + k, size) for _, sizes, step in self._pending for k, size in enumerate(sizes)]
        self._pending = []
        for loss, correct, (step, size) in zip(losses, hits, places, strict=True):
            if not math.isfinite(loss):
                return step
            progress.seen += size
            progress.loss_sum += loss * size
            progress.correct += correct
        return None
