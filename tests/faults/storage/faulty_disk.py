"""Test doubles of the disk: one that fails, tears or dies at a chosen event, and one that loses power."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shattering.core.disk import Disk

CHANGING = ("create", "open_lock", "write", "stamp", "sync", "sync_folder", "make_folder", "rename", "unlink",
            "remove_folder")  # fmt: skip
READING = ("read", "names")


def kill() -> None:
    """Dies as by ``kill -9``: no clean-up, no flushing."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail(number: int) -> Callable[[], None]:
    """A fault that reports the system error ``number``."""

    def fault() -> None:
        raise OSError(number, os.strerror(number))

    return fault


class FaultyDisk(Disk):
    """Counts events, and at event ``at`` lets ``fault`` happen instead of the operation.

    Args:
        at: number of the event, from 0; none: only count.
        fault: what happens; it may raise or kill.
        torn: whether a write that meets its fault first writes half of its bytes.
        kinds: the operations that count.
        forever: whether the fault happens at all later events, too.
    """

    def __init__(
        self,
        at: int | None = None,
        fault: Callable[[], None] = kill,
        torn: bool = False,
        kinds: tuple[str, ...] = CHANGING,
        forever: bool = False,
    ) -> None:
        self.at, self.fault, self.torn, self.kinds, self.forever = at, fault, torn, kinds, forever
        self.events: list[str] = []

    def _event(self, kind: str, what: object) -> bool:
        if kind not in self.kinds:
            return False
        self.events.append(f"{kind} {what}")
        number = len(self.events) - 1
        return self.at is not None and (number == self.at or (self.forever and number > self.at))

    def write(self, descriptor: int, data: memoryview) -> int:
        if self._event("write", f"{len(data)} bytes"):
            if self.torn:
                super().write(descriptor, data[: len(data) // 2])
            self.fault()
        return super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        # SIGKILL keeps the page cache, so really syncing would only cost time; PowerLossDisk tests what syncs are for.
        if self._event("sync", descriptor):
            self.fault()

    def sync_folder(self, path: Path) -> None:
        if self._event("sync_folder", path):
            self.fault()


def _counted(kind: str) -> Any:
    operation = getattr(Disk, kind)

    def method(self: FaultyDisk, *arguments: Any) -> Any:
        if self._event(kind, arguments[0]):
            self.fault()
        return operation(self, *arguments)

    return method


for _kind in (*CHANGING, *READING):
    if _kind not in FaultyDisk.__dict__:
        setattr(FaultyDisk, _kind, _counted(_kind))


class PowerLossDisk(FaultyDisk):
    """Loses power at event ``at``: what was not synced is lost, as far as ``seed`` decides, then the process dies.

    Names survive up to a random point of the order in which they changed, as a journal would have it; the bytes of a
    file survive only where the file itself was synced. Nothing that was synced, folder or file, is touched.

    Args:
        at: number of the event, from 0.
        seed: of the random choices.
        vault: folder beside the store, on the same file system, for what must be put back.
    """

    def __init__(self, at: int, seed: int, vault: Path) -> None:
        super().__init__(at, self._lose_power)
        self._chance = random.Random(seed)
        self._vault = vault
        self._unsynced: dict[int, int] = {}  # inode -> bytes known to be safe
        self._pending: list[tuple[set[Path], Callable[[], None]]] = []  # folders to sync, how to undo
        self._moves: list[tuple[Path, Path]] = []

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        self._later({path.parent}, lambda: self._now(path).unlink(missing_ok=True))
        return descriptor

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self._later({path.parent}, lambda: shutil.rmtree(path, ignore_errors=True))

    def rename(self, source: Path, target: Path) -> None:
        kept = self._keep(target)
        super().rename(source, target)
        self._moves.append((source, target))

        def undo() -> None:
            target.rename(source)
            if kept is not None:
                kept.rename(target)

        self._later({target.parent}, undo)

    def unlink(self, path: Path) -> None:
        kept = self._keep(path)
        super().unlink(path)

        def undo() -> None:
            if kept is not None:
                kept.rename(path)

        self._later({path.parent}, undo)

    def remove_folder(self, path: Path) -> None:
        super().remove_folder(path)
        self._later({path.parent}, path.mkdir)

    def write(self, descriptor: int, data: memoryview) -> int:
        facts = os.fstat(descriptor)
        self._unsynced.setdefault(facts.st_ino, facts.st_size)
        return super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        self._unsynced.pop(os.fstat(descriptor).st_ino, None)

    def sync_folder(self, path: Path) -> None:
        super().sync_folder(path)
        for folders, _ in self._pending:
            folders.discard(path)
        self._pending = [entry for entry in self._pending if entry[0]]

    def _now(self, path: Path) -> Path:
        """Where a file is that was made at ``path``, after the folder around it may have been renamed for good."""
        for source, target in self._moves:
            if not path.exists() and path.is_relative_to(source):
                path = target / path.relative_to(source)
        return path

    def _later(self, folders: set[Path], undo: Callable[[], None]) -> None:
        self._pending.append((folders, undo))

    def _keep(self, path: Path) -> Path | None:
        if not path.is_file():
            return None
        kept = self._vault / f"{len(list(self._vault.iterdir()))}"
        os.link(path, kept)
        return kept

    def _lose_power(self) -> None:
        root = self._vault.parent
        for path in [path for path in root.rglob("*") if path.is_file()]:
            safe = self._unsynced.get(path.stat().st_ino)
            if safe is not None:
                os.truncate(path, self._chance.randint(safe, path.stat().st_size))
        survivors = self._chance.randint(0, len(self._pending))
        for _, undo in reversed(self._pending[survivors:]):
            try:
                undo()
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                    raise
        kill()
