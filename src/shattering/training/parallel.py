"""Several processes that share every batch and every evaluation, and agree on all that is decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from shattering.core.errors import ShatteringError, StoreError

LEAST_SHARE = 2
"""Examples of a batch that a process must have: batch normalisation knows no spread of one."""

_GO_ON, _STOP, _TROUBLE = 0, 1, 2


class PeerLost(StoreError):
    """Another process of the team has ended, so that nothing can be agreed on any more."""


@contextmanager
def _exchange() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        raise PeerLost(
            "peer-lost",
            f"Another of the processes has ended or cannot be reached ({reason}); see what it said, and run the same "
            "command again to go on from the last checkpoint.",
        ) from None


class Team:
    """The processes of the default group of ``torch.distributed``; all call the same methods in the same order.

    After every step weights, buffers and counters are equal in all of them to the bit, so that one can save for all.
    """

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.trouble: ShatteringError | None = None
        """What went wrong in this process alone, until `agree` has told the others."""

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of a batch, in order; of a batch too small to be shared, all of it for everybody."""
        if len(rows) < LEAST_SHARE * self.size:
            return rows
        return torch.tensor_split(rows, self.size)[self.rank]

    def weight(self, rows: Tensor) -> float:
        """What the mean over this process's part counts in the mean over the batch; the weights sum to 1."""
        return 1 / self.size if len(rows) < LEAST_SHARE * self.size else len(self.share(rows)) / len(rows)

    def sum_up(self, model: nn.Module, loss: Tensor, hits: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Adds the processes' gradients, already weighted, and takes the mean of their buffers; all in one exchange.

        The running statistics of batch normalisation become the mean of the processes' own; a batch is normalised by
        each process with the statistics of its part.

        Args:
            model: with gradients.
            loss: weighted mean loss of this process's part.
            hits: how many of its part were classified right.
            rows: the whole batch.

        Returns:
            The mean loss, and the number of hits, of the whole batch.
        """
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        kind = gradients[0].dtype
        counted = hits / self.size if len(rows) < LEAST_SHARE * self.size else hits
        flat = torch.cat(
            [
                *(gradient.reshape(-1) for gradient in gradients),
                *(buffer.reshape(-1).to(kind) / self.size for buffer in buffers),
                loss.detach().reshape(1).to(kind),
                counted.reshape(1).to(kind),
            ]
        )
        with _exchange():
            dist.all_reduce(flat)
        start = 0
        with torch.no_grad():
            for tensor in (*gradients, *buffers):
                tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
                start += tensor.numel()
        return flat[-2], flat[-1].round().long()

    def span(self, count: int) -> tuple[int, int]:
        """The first and the last-but-one of ``count`` examples that this process evaluates."""
        return count * self.rank // self.size, count * (self.rank + 1) // self.size

    def largest_span(self, count: int) -> int:
        """The most examples that a process has of ``count``."""
        return max(count * (rank + 1) // self.size - count * rank // self.size for rank in range(self.size))

    def gather(self, part: Tensor, count: int) -> Tensor:
        """Puts the processes' parts ``[·, columns]`` together in the order of the examples: ``[count, columns]``."""
        room = torch.zeros(self.largest_span(count), part.shape[1], dtype=part.dtype, device=part.device)
        room[: len(part)] = part
        parts = [torch.empty_like(room) for _ in range(self.size)]
        with _exchange():
            dist.all_gather(parts, room)
        lengths = [count * (rank + 1) // self.size - count * rank // self.size for rank in range(self.size)]
        return torch.cat([each[:length] for each, length in zip(parts, lengths, strict=True)])

    def agree(self, stop: bool) -> bool:
        """Whether anybody wants to stop.

        Raises:
            ShatteringError: what went wrong in one of the processes, in all of them.
        """
        said = torch.tensor([_TROUBLE if self.trouble is not None else _STOP if stop else _GO_ON])
        with _exchange():
            dist.all_reduce(said, dist.ReduceOp.MAX)
        if int(said) == _TROUBLE:
            raise self._common_trouble()
        return int(said) == _STOP

    def settle(self, task: Callable[[], Any]) -> Any:
        """Does what every process does for itself, and raises what was raised in any of them in all."""
        value = None
        try:
            value = task()
        except ShatteringError as error:
            self.note(error)
        self.agree(False)
        return value

    def note(self, error: ShatteringError) -> None:
        """Keeps what went wrong here for the next `agree`."""
        self.trouble = self.trouble or error

    def told(self, value: Any) -> Any:
        """The first process's value, in all of them."""
        box = [value]
        with _exchange():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def _common_trouble(self) -> ShatteringError:
        found: list[ShatteringError | None] = [None] * self.size
        with _exchange():
            dist.all_gather_object(found, self.trouble)
        self.trouble = None
        return next(error for error in found if error is not None)
