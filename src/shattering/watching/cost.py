"""What watching costs, and whether another look fits into what it may cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

END = 12
"""How many times as long as writing one look the end may take: it writes and syncs five files, two folders, a lock."""


class Cost:
    """Seconds of a training, and of those the ones that went into watching it.

    Args:
        bound: watching may take at most this share of the time that the training takes without it; none: any.
        clock: seconds from any beginning, never going back.
        settle: waits until the device has done what it was given, so that it is charged to who gave it.
    """

    def __init__(
        self,
        bound: float | None,
        clock: Callable[[], float] = time.perf_counter,
        settle: Callable[[], object] = lambda: None,
    ) -> None:
        self.bound, self._clock, self.settle = bound, clock, settle
        self._began = clock()
        self._longest = self._writing = 0.0
        self.watching = 0.0
        """Seconds that watching took."""

    @property
    def training(self) -> float:
        """Seconds that everything else took."""
        return self._clock() - self._began - self.watching

    @property
    def share(self) -> float:
        """What watching took, as a share of the training's time, at least 0."""
        return self.watching / max(self.training, 1e-9)

    def fits(self) -> bool:
        """Whether another look, as long as the longest, and the writing at the end keep the cost under the bound."""
        return self.bound is None or self.watching + self._longest + END * self._writing <= self.bound * self.training

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Notes how long the block writes, part of what is billed, so that as much is kept for the end."""
        start = self._clock()
        yield
        self._writing = max(self._writing, self._clock() - start)

    @contextmanager
    def billed(self) -> Iterator[None]:
        """Charges the block to watching."""
        self.settle()
        start = self._clock()
        try:
            yield
        finally:
            self.settle()
            took = self._clock() - start
            self._longest = max(self._longest, took)
            self.watching += took
