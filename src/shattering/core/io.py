"""The one place that writes to disk: whole files, whole folders, and locks the kernel holds.

Everything appears under its name by a rename, after its bytes have been synced, so it is there whole or not at all.
What is under construction has a name that begins with `SCRATCH` and is locked by its writer, so that whoever comes
later can tell a dead writer's remains from a living one's work without trusting process numbers or clocks.

All of it is built from the few operations of `shattering.core.disk.Disk`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from shattering.core import disk
from shattering.core.disk import told
from shattering.core.errors import StoreError

SCRATCH = ".tmp-"
"""Beginning of the names of files and folders under construction."""

_look = os.stat  # of a string: making a path of it takes longer than the call, and a resume makes 400,000 of them

Payload = bytes | bytearray | memoryview
Parts = tuple[Payload, ...]
"""The content of one file in pieces, so that large ones need not be joined in memory."""


def read_bytes(path: Path) -> bytes | None:
    """The bytes of a file; none where there is no such file. Raises `StoreError` where it cannot be read."""
    try:
        with told(path, "Reading"):
            return disk.active.read(path)
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError | IsADirectoryError):
            return None
        raise


def read_plain(root: Path, *parts: str, most: int = 64 << 20, whole: bool = True) -> bytes | None:
    """The bytes of ``root/part/part/…`` for somebody else: through no link, from nothing but a plain file.

    Args:
        root: a folder; it may be a link itself.
        parts: single names.
        most: bytes that are read.
        whole: whether a longer file counts as none; otherwise its beginning is read.

    Returns:
        None where there is no such file, or it may not be read.
    """
    if not parts or any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        return None
    always = os.O_RDONLY | os.O_CLOEXEC
    held: list[int] = []
    try:
        held.append(os.open(root, always | os.O_DIRECTORY))
        for part in parts[:-1]:
            held.append(os.open(part, always | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=held[-1]))
        # Not blocking: a pipe of that name would keep us waiting for a writer.
        held.append(os.open(parts[-1], always | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=held[-1]))
        found = os.fstat(held[-1])
        if not stat.S_ISREG(found.st_mode) or (whole and found.st_size > most):
            return None
        with os.fdopen(held.pop(), "rb") as file:
            return file.read(most)
    except OSError:
        return None
    finally:
        for descriptor in held:
            os.close(descriptor)


def size(path: Path) -> int | None:
    """Number of bytes of a file; none where there is no such file."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def names(folder: Path) -> list[str]:
    """The names in a folder, sorted, without those under construction; none where there is no such folder."""
    return [name for name in _all_names(folder) if not name.startswith(SCRATCH)]


def _all_names(folder: Path) -> list[str]:
    try:
        with told(folder, "Listing"):
            return sorted(disk.active.names(folder))
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return []
        raise


def inodes(folder: Path) -> dict[str, int]:
    """The names in a folder with their inodes, as the listing itself tells them; none where there is no such folder."""
    try:
        with told(folder, "Listing"):
            return disk.active.inodes(folder)
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return {}
        raise


def state_of(folder: str, files: Iterable[str]) -> int | None:
    """A number that is another one as soon as a file has been written to, replaced or moved; none where one is missing.

    It is a hash of inodes, sizes and times of change. The times tell a changed file from an unchanged one, whatever
    the clock says: they are never put in order.
    """
    facts: list[int] = []
    try:
        for name in files:
            found = _look(f"{folder}/{name}")
            facts += found.st_ino, found.st_size, found.st_ctime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        with told(Path(folder), "Looking into"):
            raise error from None
    return int.from_bytes(hashlib.blake2b(repr(facts).encode(), digest_size=8).digest(), "big", signed=True)


def make_folders(path: Path) -> None:
    """Makes the folder and those above it, unless they are there. Raises `StoreError`."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folders(path.parent)
    with told(path, "Making the folder"):
        try:
            disk.active.make_folder(path)
        except FileExistsError:
            if not path.is_dir():
                raise
        disk.active.sync_folder(path.parent)


def write_file(path: Path, data: Payload | Parts, scratch: Path | None = None) -> None:
    """Writes a whole file, or leaves what was there: temporary file, sync, rename, sync of the folder.

    Args:
        path: the file; the folders above it are made.
        data: its bytes, whole or in parts.
        scratch: folder on the same file system to build it in; none: the folder of ``path``.

    Raises `StoreError` naming path and number of bytes; the temporary file is then removed where possible.
    """
    parts = [memoryview(part).cast("B") for part in (data if isinstance(data, tuple) else (data,))]
    make_folders(path.parent)
    with told(path, f"Writing {sum(map(len, parts)):,} bytes to"):
        descriptor, temporary = _create_scratch(scratch or path.parent)
        try:
            for part in parts:
                _fill(descriptor, part)
            disk.active.rename(temporary, path)
        except BaseException:
            _discard(temporary)
            raise
        finally:
            os.close(descriptor)
        disk.active.sync_folder(path.parent)


def write_folder(
    path: Path,
    files: Mapping[str, Payload | Parts],
    scratch: Path | None = None,
    still: Callable[[], bool] = lambda: True,
) -> bool:
    """Builds a folder of files aside and renames it into place.

    Args:
        path: the folder; it must not be there yet.
        files: name to bytes, whole or in parts, written in this order.
        scratch: folder on the same file system to build it in; none: the parent of ``path``.
        still: asked right before the rename; the folder is discarded where it says no.

    Returns:
        Whether the folder is now in place; False where ``path`` was there already or ``still`` said no.

    Raises `StoreError` naming path and number of bytes.
    """
    content = {name: data if isinstance(data, tuple) else (data,) for name, data in files.items()}
    total = sum(memoryview(part).nbytes for parts in content.values() for part in parts)
    make_folders(path.parent)
    with told(path, f"Writing {total:,} bytes to"):
        descriptor, temporary = _make_scratch_folder(scratch or path.parent)
        try:
            for name, parts in content.items():
                inner = disk.active.create(temporary / name)
                try:
                    for part in parts:
                        _fill(inner, memoryview(part).cast("B"))
                finally:
                    os.close(inner)
            disk.active.sync_folder(temporary)
            if not still():
                _discard(temporary)
                return False
            try:
                disk.active.rename(temporary, path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                _discard(temporary)
                return False
        except BaseException:
            _discard(temporary)
            raise
        finally:
            os.close(descriptor)
        disk.active.sync_folder(path.parent)
        return True


def move(path: Path, target: Path) -> bool:
    """Renames a file or folder; False where ``path`` is not there (any more). Raises `StoreError`."""
    make_folders(target.parent)
    with told(target, "Moving to"):
        try:
            disk.active.rename(path, target)
        except FileNotFoundError:
            return False
        disk.active.sync_folder(target.parent)
        disk.active.sync_folder(path.parent)
    return True


def remove(path: Path) -> None:
    """Removes a file or a whole folder, links not followed; nothing happens where it is not there."""
    with told(path, "Removing"):
        _remove(path)


def _remove(path: Path) -> None:
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            disk.active.unlink(path)
            return
        for name in disk.active.names(path):
            _remove(path / name)
        disk.active.remove_folder(path)
    except FileNotFoundError:
        return


def check_writable(folder: Path) -> None:
    """Raises `StoreError` unless a file can be made in ``folder``."""
    with told(folder, "Writing to"):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        descriptor, temporary = _create_scratch(folder)
        try:
            disk.active.unlink(temporary)  # before the lock goes: another opener would take it for a dead writer's
        finally:
            os.close(descriptor)


def clean_scratch(folder: Path) -> None:
    """Removes what dead writers left under construction in ``folder``; a living writer's work stays."""
    for name in _all_names(folder):
        if not name.startswith(SCRATCH):
            continue
        path = folder / name
        # Remains are harmless: whatever stops us from removing them (no permission, no locks) is no reason to fail.
        with suppress(OSError):
            is_folder = stat.S_ISDIR(path.lstat().st_mode)
            descriptor = os.open(path, (os.O_RDONLY if is_folder else os.O_RDWR) | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(descriptor)


def _create_scratch(folder: Path) -> tuple[int, Path]:
    while True:
        path = folder / f"{SCRATCH}{os.urandom(8).hex()}"
        descriptor = disk.active.create(path)
        if _claim(descriptor):
            return descriptor, path
        os.close(descriptor)


def _make_scratch_folder(folder: Path) -> tuple[int, Path]:
    while True:
        path = folder / f"{SCRATCH}{os.urandom(8).hex()}"
        disk.active.make_folder(path)
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if _claim(descriptor):
                return descriptor, path
            os.close(descriptor)


def _claim(descriptor: int) -> bool:
    """Locks what was just made; False where a cleaner came first, between the making and the locking."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # no locks on this file system: then nobody cleans up either
    return os.fstat(descriptor).st_nlink > 0


def _fill(descriptor: int, data: memoryview) -> None:
    while len(data):
        data = data[disk.active.write(descriptor, data) :]
    disk.active.sync(descriptor)


def _discard(path: Path) -> None:
    with suppress(OSError):
        _remove(path)


def create_log(folder: Path) -> tuple[int, Path]:
    """Makes an empty log that nobody else has, locked as long as it is open; returns its descriptor and path."""
    while True:
        path = folder / f"log-{os.urandom(8).hex()}.jsonl"
        with told(path):
            descriptor = disk.active.create(path)
        if _claim(descriptor):
            return descriptor, path
        os.close(descriptor)


def append(descriptor: int, data: bytes, path: Path) -> None:
    """Adds to the end of an open log, without a sync: for what can be made again. Raises `StoreError`."""
    with told(path, f"Writing {len(data):,} bytes to"):
        view = memoryview(data)
        while len(view):
            view = view[disk.active.write(descriptor, view) :]


# Locks. `flock` belongs to the open file, and the kernel drops it when the last process that has it open is gone.


def open_lock(path: Path) -> int:
    """Opens a lock file, made if need be; returns its descriptor. Raises `StoreError`."""
    with told(path, "Opening the lock"):
        return disk.active.open_lock(path)


def try_lock(descriptor: int, path: Path) -> bool:
    """Takes the exclusive lock of an open file without waiting; False where somebody has it."""
    with told(path, "Locking"):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def inode(descriptor: int) -> tuple[int, int]:
    """Identity of an open file; no other file has it for as long as it is open."""
    facts = os.fstat(descriptor)
    return facts.st_dev, facts.st_ino


def inode_at(path: Path) -> tuple[int, int] | None:
    """Identity of the file that has the name ``path`` now; none where there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def read_stamp(descriptor: int, size: int) -> bytes:
    """The first ``size`` bytes of an open file."""
    return os.pread(descriptor, size, 0)


def stamp(descriptor: int, data: bytes, path: Path) -> None:
    """Overwrites the beginning of an open lock file. Raises `StoreError`."""
    with told(path, f"Writing {len(data):,} bytes to"):
        disk.active.stamp(descriptor, data)


def beat(descriptor: int, data: bytes) -> None:
    """Overwrites the beginning of an open lock file from a background thread; it may fail in silence."""
    with suppress(OSError):
        os.pwrite(descriptor, data, 0)


def replace_lock(path: Path, data: bytes, scratch: Path) -> int:
    """Puts a new lock file, locked by us from the start, in place of the one at ``path``; returns its descriptor."""
    with told(path, f"Writing {len(data):,} bytes to"):
        descriptor, temporary = _create_scratch(scratch)
        try:
            disk.active.stamp(descriptor, data)
            disk.active.rename(temporary, path)
        except BaseException:
            _discard(temporary)
            os.close(descriptor)
            raise
        return descriptor


def close(descriptor: int) -> None:
    """Closes a descriptor, and so drops its lock."""
    os.close(descriptor)


@contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Holds the lock at ``path`` during the block, without waiting; the value says whether it was to be had."""
    descriptor = open_lock(path)
    try:
        yield try_lock(descriptor, path)
    finally:
        os.close(descriptor)
