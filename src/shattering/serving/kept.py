"""Answers that are kept for a while, so that looking costs the machine little however many look."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from shattering.core.errors import ShatteringError

T = TypeVar("T")

LEAST_SECONDS = 1.0
REST = 10.0
"""A computation rests for so many times the processor's time it took, so that looking takes a tenth of a core."""

LONGEST_REST = 60.0


class Kept(Generic[T]):
    """The newest result of a function that is computed again only when asked for, and seldom enough.

    Args:
        compute: the function.
        gate: held while it computes; functions that share one do not compute at the same time.
    """

    def __init__(self, compute: Callable[[], T], gate: threading.Lock) -> None:
        self._compute = compute
        self._gate = gate
        self._state = threading.Condition()
        self._value: T | None = None
        self._busy = False
        self._due = 0.0
        self._first = True
        self.problem = ""
        """What was wrong the last time, in a sentence."""

    def get(self, patience: float = 2.0) -> T | None:
        """The newest value; none while the first is being computed, or where it cannot be.

        Args:
            patience: seconds to wait for a newer one before the last is given.
        """
        with self._state:
            if not self._busy and time.monotonic() >= self._due:
                self._busy = True
                threading.Thread(target=self._run, name="shattering-serve", daemon=True).start()
            self._state.wait_for(lambda: not self._busy, timeout=patience)
            return self._value

    def _run(self) -> None:
        value, problem, taken = None, "", 0.0
        try:
            with self._gate:
                began = time.thread_time()
                value = self._compute()
                taken = time.thread_time() - began
        except ShatteringError as error:
            problem = error.message
        except Exception as error:  # the page must outlive what it cannot show
            problem = " ".join(f"This cannot be shown ({type(error).__name__}: {error}).".split())
        with self._state:
            self._value = self._value if problem else value
            self.problem, self._busy = problem, False
            # The first time, imports and what was there before are in it; it tells nothing of the next.
            rest = 0.0 if self._first else min(REST * taken, LONGEST_REST)
            self._due, self._first = time.monotonic() + max(LEAST_SECONDS, rest), False
            self._state.notify_all()
