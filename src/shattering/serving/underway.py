"""Which runs somebody computes now, and how far they are: what locks and checkpoints tell without being touched."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shattering.core import io

ALIVE_SECONDS = 6.0
"""A process counts its locks up once a second; one that stands still for so long is not counted as computing."""

MOST_LOCKS = 4096
MOST_HEADER = 16 << 20

_LOCK = re.compile(r"([0-9a-f]{32})\.lock")
_CHECKPOINT = re.compile(r"step-(\d+)-[0-9a-f]{16}\.safetensors")
_STAMP_SIZE = 54
_LENGTH = 8


class Beats:
    """The heartbeats of a store's locks, watched by reading.

    Taking a lock to see whether it is free would keep a worker from it for that moment; so the number that its owner
    counts up is looked at twice, by this process's own monotonic clock.

    Args:
        root: the store's folder.
        clock: seconds, never going back.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = root / "locks"
        self._clock = clock
        self._seen: dict[str, tuple[bytes, float | None]] = {}
        self._looked: float | None = None

    def alive(self) -> list[str]:
        """The runs whose locks have been counted up lately, sorted; none at the first look, or the first for long."""
        now = self._clock()
        fresh = self._looked is None or now - self._looked > ALIVE_SECONDS
        before, self._seen, self._looked = self._seen, {}, now
        for name in io.names(self._folder)[:MOST_LOCKS]:
            match = _LOCK.fullmatch(name)
            stamp = io.read_plain(self._folder, name, most=_STAMP_SIZE) if match else None
            if match is None or not stamp:
                continue
            old, moved = before.get(match[1], (b"", None))
            if fresh:
                moved = None
            elif stamp != old:
                moved = now
            self._seen[match[1]] = stamp, moved
        return sorted(run for run, (_, at) in self._seen.items() if at is not None and now - at <= ALIVE_SECONDS)


@dataclass(frozen=True)
class Halfway:
    """What the newest checkpoint of an unfinished run says.

    Args:
        step: updates made when it was written.
        rows: the snapshots so far.
    """

    step: int
    rows: tuple[dict[str, float], ...]


def halfway(root: Path, digest: str) -> Halfway | None:
    """The newest checkpoint of a run, its tensors unread; none where there is none, or it cannot be understood.

    Checkpoints get their names when they are whole, so the beginning of one can be trusted for a look; whoever
    continues the run verifies all of it.
    """
    folder = root / "checkpoints" / digest
    found = sorted((int(m[1]), m[0]) for name in io.names(folder) if (m := _CHECKPOINT.fullmatch(name)))
    if not found:
        return None
    step, name = found[-1]
    return Halfway(step, _rows(folder, name))


def _rows(folder: Path, name: str) -> tuple[dict[str, float], ...]:
    """The snapshots in a checkpoint's head: see `shattering.training.state`, which needs torch."""
    begin = io.read_plain(folder, name, most=_LENGTH, whole=False) or b""
    length = int.from_bytes(begin, "little")
    if length > MOST_HEADER:
        return ()
    try:
        head = json.loads((io.read_plain(folder, name, most=_LENGTH + length, whole=False) or b"")[_LENGTH:])
        rows = json.loads(head["__metadata__"]["shattering"])["rows"]
        return tuple({name: _number(value) for name, value in row.items()} for row in rows)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()


def _number(value: Any) -> float:
    return float.fromhex(value) if isinstance(value, str) else float(value)
