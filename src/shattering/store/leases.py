"""Who may compute a run: one process at a time, on any number of processes that share the store.

The right is an exclusive `flock` on ``locks/<digest>.lock``, so it ends with its owner however the owner ends. An owner
that is alive but stopped keeps the kernel's lock; to notice it, every owner counts a number up in the file about once a
second, and whoever has seen that number unmoved for ``stale_seconds`` of its own monotonic clock replaces the file by a
new one with the next fencing number. The old owner still has its lock, on a file that has no name any more, so what it
tries to commit later is refused. Wall-clock time is never read.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from pathlib import Path

from shattering.core import io

_STAMP_SIZE = 54


class Lease:
    """The right to compute one run and commit its record.

    Args:
        digest: the run.
        fence: number of this right; every later one of the same lock file has a higher number.
    """

    def __init__(self, digest: str, fence: int, path: Path, descriptor: int, heart: Heart) -> None:
        self.digest = digest
        self.fence = fence
        self.finished = False
        """Whether the run is committed, so that nobody needs the lock file any more."""
        self._path = path
        self._descriptor: int | None = descriptor
        self._heart = heart
        self._beats = 0

    def valid(self) -> bool:
        """Whether this is still the newest right to the run: false once released, taken over, or in a forked child."""
        with self._heart.still:
            if self._descriptor is None or io.inode_at(self._path) != io.inode(self._descriptor):
                return False
            return _read(self._descriptor)[0] == self.fence

    def release(self) -> None:
        """Gives the right back; harmless when repeated or when it was lost."""
        if self.finished and self.valid():
            io.remove(self._path)
        self._heart.forget(self)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _beat(self) -> None:
        if self._descriptor is not None:
            self._beats += 1
            io.beat(self._descriptor, _stamp(self.fence, self._beats))

    def _close(self) -> None:
        if self._descriptor is not None:
            io.close(self._descriptor)
            self._descriptor = None


class Heart:
    """One background thread that counts the heartbeats of all the leases this process has through one store."""

    def __init__(self, beat_seconds: float) -> None:
        self.still = threading.Lock()
        """Held while heartbeats are written, so that a descriptor is not closed, and reused, under the writer."""
        self._beat_seconds = beat_seconds
        self._leases: set[Lease] = set()
        self._thread: threading.Thread | None = None
        self._idle = threading.Event()
        _hearts.add(self)

    def keep(self, lease: Lease) -> None:
        with self.still:
            self._leases.add(lease)
            self._idle.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="shattering-heartbeat", daemon=True)
                self._thread.start()

    def forget(self, lease: Lease) -> None:
        with self.still:
            self._leases.discard(lease)
            lease._close()
            if not self._leases:
                self._idle.set()

    def _run(self) -> None:
        while True:
            with self.still:
                if not self._leases:
                    self._thread = None
                    return
                for lease in self._leases:
                    lease._beat()
            self._idle.wait(self._beat_seconds)

    def after_fork(self) -> None:
        """In a forked child: the leases are the parent's. Closing our copies keeps them from outliving the parent."""
        self.still = threading.Lock()
        self._idle = threading.Event()
        self._thread = None
        for lease in self._leases:
            lease._close()
        self._leases = set()


_hearts: weakref.WeakSet[Heart] = weakref.WeakSet()


def _after_fork() -> None:
    for heart in list(_hearts):
        heart.after_fork()


os.register_at_fork(after_in_child=_after_fork)


class Locks:
    """The lock files of a store.

    Args:
        folder: where they are.
        scratch: folder for files under construction, on the same file system.
        stale_seconds: how long a heartbeat must have stood still before its lease is taken over.
        beat_seconds: time between two heartbeats of ours.
    """

    def __init__(self, folder: Path, scratch: Path, stale_seconds: float, beat_seconds: float) -> None:
        self._folder = folder
        self._scratch = scratch
        self._stale_seconds = stale_seconds
        self._heart = Heart(beat_seconds)
        self._seen: dict[str, tuple[object, float]] = {}

    def acquire(self, digest: str) -> Lease | None:
        """The lease of a run; none where somebody alive has it. Never waits; remembers heartbeats between calls."""
        path = self._folder / f"{digest}.lock"
        while True:
            descriptor = io.open_lock(path)
            lease, seen = None, None
            try:
                if not io.try_lock(descriptor, path):
                    seen = (io.inode(descriptor), *_read(descriptor))
                # Between our opening and our locking, the file may have been replaced or removed.
                elif io.inode(descriptor) == io.inode_at(path):
                    fence = _read(descriptor)[0] + 1
                    io.stamp(descriptor, _stamp(fence, 0), path)
                    lease = self._lease(digest, fence, path, descriptor)
            finally:
                if lease is None:
                    io.close(descriptor)
            if lease is not None:
                return lease
            if seen is not None:
                return self._wait_or_take_over(digest, path, seen)

    def _wait_or_take_over(self, digest: str, path: Path, seen: tuple[object, int, int]) -> Lease | None:
        now = time.monotonic()
        before, since = self._seen.get(digest, (None, now))
        if before != seen:
            self._seen[digest] = (seen, now)
            return None
        if now - since < self._stale_seconds:
            return None
        # One at a time, and only what is still the very state that stood still: of many waiters, one takes over.
        with io.exclusive(self._folder / "takeover.lock") as ours:
            if not ours or self._look(path) != seen:
                return None
            fence = seen[1] + 1
            descriptor = io.replace_lock(path, _stamp(fence, 0), self._scratch)
            return self._lease(digest, fence, path, descriptor)

    def _look(self, path: Path) -> tuple[object, int, int]:
        descriptor = io.open_lock(path)
        try:
            return (io.inode(descriptor), *_read(descriptor))
        finally:
            io.close(descriptor)

    def _lease(self, digest: str, fence: int, path: Path, descriptor: int) -> Lease:
        self._seen.pop(digest, None)
        lease = Lease(digest, fence, path, descriptor, self._heart)
        self._heart.keep(lease)
        return lease


def _stamp(fence: int, beats: int) -> bytes:
    return f"fence {fence:020d}\nbeat  {beats:020d}\n".encode()


def _read(descriptor: int) -> tuple[int, int]:
    """Fencing number and heartbeat of a lock file; zero where its owner died before it wrote them."""
    words = io.read_stamp(descriptor, _STAMP_SIZE).split()
    try:
        return int(words[1]), int(words[3])
    except (IndexError, ValueError):
        return 0, 0
