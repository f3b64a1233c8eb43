"""The operations storage is made of, and what is told where the system refuses one.

Nothing but `shattering.core.io` calls them. A test puts a disk of its own in place, to fail, tear or die at any one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shattering.core.errors import StoreError


class Disk:
    """The operations storage is made of. Each call is one event."""

    def create(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def open_lock(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def write(self, descriptor: int, data: memoryview) -> int:
        return os.write(descriptor, data)

    def stamp(self, descriptor: int, data: bytes) -> None:
        os.pwrite(descriptor, data, 0)

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def sync_folder(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some network file systems have no sync for folders
                raise
        finally:
            os.close(descriptor)

    def make_folder(self, path: Path) -> None:
        path.mkdir()

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        path.rmdir()

    def read(self, path: Path) -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = [os.read(descriptor, os.fstat(descriptor).st_size + 1)]
            while parts[-1]:  # a file may be longer than the system reads at once
                parts.append(os.read(descriptor, 1 << 24))
        finally:
            os.close(descriptor)
        return b"".join(parts)

    def names(self, path: Path) -> list[str]:
        return [entry.name for entry in path.iterdir()]

    def inodes(self, path: Path) -> dict[str, int]:
        with os.scandir(path) as entries:
            return {entry.name: entry.inode() for entry in entries}


active = Disk()
"""The disk in use."""


def replace_disk(disk: Disk) -> Disk:
    """Puts ``disk`` in place of the present one, for tests; returns the present one."""
    global active
    previous, active = active, disk
    return previous


_REMEDIES = {
    errno.ENOSPC: ("store-disk-full", "free some space or choose another disk with --out"),
    errno.EDQUOT: ("store-disk-full", "free some of your quota or choose another disk with --out"),
    errno.EFBIG: ("store-file-limit", "raise the limit on file sizes (ulimit -f)"),
    errno.EROFS: ("store-read-only", "choose a writable folder with --out"),
    errno.EACCES: ("store-permission", "change the owner or the permissions, or choose another folder with --out"),
    errno.EPERM: ("store-permission", "change the owner or the permissions, or choose another folder with --out"),
    errno.EIO: ("store-io", "check the disk or choose another one with --out"),
    errno.ENOLCK: ("store-no-locks", "choose a file system with locks (flock) with --out"),
    errno.EOPNOTSUPP: ("store-no-locks", "choose a file system with locks (flock) with --out"),
}


@contextmanager
def told(path: Path, action: str = "Writing") -> Iterator[None]:
    """Turns an `OSError` inside the block into a `StoreError` that names ``path``, the cause and the remedy."""
    try:
        yield
    except OSError as error:
        fallback = ("store-io", "look at the folder or choose another one with --out")
        identifier, remedy = _REMEDIES.get(error.errno or 0, fallback)
        cause = (error.strerror or str(error)).lower()
        raise StoreError(
            identifier,
            f"{action} {path} failed: {cause}; {remedy}, then type the same command again (finished runs are kept).",
        ) from error
