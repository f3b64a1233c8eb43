"""Where a learner works: it can be stopped, is seen to be alive, and leaves what it has finished so far."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from shattering.core.errors import Stopped

if TYPE_CHECKING:
    from numpy.typing import NDArray

BEAT_SECONDS = 5.0
"""Between two signs of life during a library's call."""


class Pieces(Protocol):
    """Where pieces of unfinished work are kept, by name; a damaged one is as good as none."""

    def keep(self, name: str, payload: bytes) -> None: ...
    def kept(self, name: str) -> bytes | None: ...


@dataclass(frozen=True)
class Desk:
    """What a learner is told, and tells, while it fits; by itself it does nothing.

    Args:
        stop: whether the user asked to stop.
        tell: called with how much is done, and of how much.
        pieces: where unfinished work survives the process; none: nowhere.
    """

    stop: Callable[[], bool] = lambda: False
    tell: Callable[[int, int], None] = lambda done, total: None
    pieces: Pieces | None = None

    def should_stop(self) -> None:
        """Raises `Stopped` where the user asked to stop; a sign of life as well."""
        if self.stop():
            raise Stopped

    def told(self, done: int, total: int) -> None:
        """So much of the fit is done; raises `Stopped` like `should_stop`."""
        self.should_stop()
        self.tell(done, total)

    def keep(self, name: str, array: NDArray[Any]) -> None:
        """Keeps a piece of unfinished work: whole, or not at all. Names are letters, digits and hyphens."""
        if self.pieces is not None:
            from safetensors.numpy import save

            self.pieces.keep(name, save({"piece": array}))

    def kept(self, name: str) -> NDArray[Any] | None:
        """The piece kept under ``name`` by this fit or by one that was killed; none where there is none."""
        payload = self.pieces.kept(name) if self.pieces is not None else None
        if payload is None:
            return None
        from safetensors.numpy import load

        return load(payload)["piece"]

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Gives signs of life during one long call of a library, which cannot be stopped half-way."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(BEAT_SECONDS):
                self.stop()

        self.should_stop()
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        self.should_stop()
