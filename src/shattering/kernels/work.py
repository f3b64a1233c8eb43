"""What a long computation tells, and where it leaves what it has finished."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray


class Work(Protocol):
    """A learner's desk, as seen from here."""

    def told(self, done: int, total: int) -> None:
        """So much is done, of so much; may raise to stop."""

    def keep(self, name: str, array: NDArray[Any]) -> None:
        """Keeps a finished piece, whole or not at all."""

    def kept(self, name: str) -> NDArray[Any] | None:
        """A piece kept under this name before, or none."""


class Unattended:
    """Nobody watches, and nothing is kept."""

    def told(self, done: int, total: int) -> None:
        return None

    def keep(self, name: str, array: NDArray[Any]) -> None:
        return None

    def kept(self, name: str) -> NDArray[Any] | None:
        return None
