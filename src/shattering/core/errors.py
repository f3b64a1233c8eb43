"""Errors a user can act on: each says what is wrong, where, and how to mend it."""

from __future__ import annotations

from typing import ClassVar


class ShatteringError(Exception):
    """An expected failure, told in one sentence and mapped to an exit code.

    Args:
        identifier: stable name of the failure, such as ``data-idx-truncated``; tests and scripts rely on it.
        message: one sentence with the offending value, the place (file, key, offset) and the remedy.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, identifier: str, message: str) -> None:
        super().__init__(message)
        self.identifier = identifier
        self.message = message

    def __reduce__(self) -> tuple[type[ShatteringError], tuple[str, str]]:
        return type(self), (self.identifier, self.message)


class SpecError(ShatteringError):
    """The request is wrong: a command line, a configuration file, a field of a spec."""

    exit_code = 2


class DataError(ShatteringError):
    """The data are missing, damaged or unfit."""

    exit_code = 3


class ModelError(ShatteringError):
    """The user's own model cannot be built, called or trained."""

    exit_code = 4


class StoreError(ShatteringError):
    """The store or the machine refuses: disk full, no permission, a foreign directory, an absent device."""

    exit_code = 5


EXIT_RUNS_FAILED = 6


class Stopped(Exception):
    """The user asked to stop; no failure."""


def nearest(name: str, candidates: list[str] | tuple[str, ...]) -> str:
    """Ends an error about an unknown name: the closest known one, or the list of them all."""
    from difflib import get_close_matches

    close = get_close_matches(name, candidates, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"choose one of: {', '.join(sorted(candidates))}."
