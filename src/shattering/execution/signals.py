"""Ctrl-C and SIGTERM: the first asks for a stop at the next step, the second stops at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether, and by which signal, the user asked to stop."""

    def __init__(self) -> None:
        self.by: int | None = None

    def __bool__(self) -> bool:
        return self.by is not None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Within the block a signal only sets the flag; a second one kills the process, and with it its workers.

    Outside the main thread no handler can be set, and signals act as they did.
    """
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        if request:
            die_by(number)
        request.by = number

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def die_by(number: int) -> None:
    """Ends this process by the signal itself, so that a shell or a scheduler sees what happened."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
