"""Who makes the updates: between two looks, the training loop asks a stepper for as many as it wants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Wanted:
    """Updates that the training wants next: all within one epoch, with nothing to look at between them.

    Args:
        rows: int64 ``[sum(sizes)]`` on the device, the training examples of all these batches, one batch after another.
        sizes: examples of each batch, one update each.
        rates: learning rate of each update.
        seeds: seed for torch's generator before each update, where the forward pass draws; none where it does not.
        inputs: of each batch in turn, augmented and whitened, made when asked for; whoever does not take them from
            here gathers ``rows`` from the examples.
        step: number of the first of these updates, counted from 0, which its augmentation is drawn for.
    """

    rows: Tensor
    sizes: tuple[int, ...]
    rates: tuple[float, ...]
    seeds: tuple[int, ...] | None
    inputs: Iterator[Tensor]
    step: int = 0


Advanced: TypeAlias = "tuple[Tensor, Tensor]"
"""What a stepper answers: each batch's mean loss, and how many of its examples were right, before its update."""


class Stepper(Protocol):
    """Makes updates in place, on the model's own parameters and the optimizer's own state.

    So snapshots, measures and checkpoints see the training as it is, whichever stepper makes it. A stepper may have a
    faster ``permutation(seed, purpose, size, index)`` than that of `Stream`, of the same bits.
    """

    reach: int
    """Updates at most that are asked of it at once: about 50 ms of work, so that a stop is heard soon."""

    def advance(self, wanted: Wanted) -> Advanced:
        """Makes at least one of the wanted updates and at most all of them, in order.

        Returns:
            Losses ``[k]`` and hits ``[k]`` of the ``k`` updates made; on a GPU they need not have been waited for.
            After a loss that is not finite everything that follows is undefined: the run has diverged at that update.
        """
        ...

    def may_fit(self, needed: int) -> bool:
        """False only where it is certain that an evaluation would find fewer than ``needed`` training examples right.

        A cheap screen: it spares the exact evaluation, and never stands in for it.
        """
        ...
