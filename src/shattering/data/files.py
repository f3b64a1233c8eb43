"""Finding and opening source files; every way in which a file can be unfit before its format matters."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from shattering.core.errors import DataError

Alternatives = tuple[tuple[str, ...], ...]

_HTML = (b"<!doctype html", b"<html", b"<head", b"<?xml")
_POINTER = b"version https://git-lfs"


def show(path: Path | str) -> str:
    """``path`` for a message: characters that a terminal could obey or that are not text are escaped."""
    text = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def odd_name(name: str) -> bool:
    """Whether a file name has control characters, bytes that are not UTF-8, or blanks at its ends."""
    return show(name) != name or name != name.strip()


def file_size(path: Path) -> int:
    """Bytes of a regular file; raises `DataError` where it is missing, empty or not a file."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        raise DataError("data-missing", f"There is no file {show(path)}; check the path.") from None
    except OSError as error:
        raise unreadable(path, error) from None
    if not stat.S_ISREG(facts.st_mode):
        kind = "a folder" if stat.S_ISDIR(facts.st_mode) else "a device or pipe"
        raise DataError("data-unreadable", f"{show(path)} is {kind}, not a file; put the data file in its place.")
    if facts.st_size == 0:
        raise DataError("data-empty", f"{show(path)} is empty (0 bytes); copy or download it again.")
    return facts.st_size


def open_source(path: Path) -> BinaryIO:
    """Opens a data file, at its start.

    Raises:
        DataError: missing, empty, not a regular file, not readable, or a web page or large-file pointer in its place.
    """
    file_size(path)
    try:
        stream = path.open("rb")
        start = stream.read(512).lstrip().lower()
        stream.seek(0)
    except OSError as error:
        raise unreadable(path, error) from None
    if start.startswith(_HTML):
        stream.close()
        raise DataError(
            "data-html",
            f"{show(path)} is a web page, not data (a download answered with an error or log-in page); "
            "delete it and download the file again.",
        )
    if start.startswith(_POINTER):
        stream.close()
        raise DataError(
            "data-pointer",
            f"{show(path)} is only a pointer to a large file; fetch the file with `git lfs pull`.",
        )
    return stream


def read_source(path: Path) -> bytes:
    """All bytes of a data file; raises as `open_source` does."""
    with open_source(path) as stream:
        try:
            return stream.read()
        except OSError as error:
            raise unreadable(path, error) from None


def source_digest(path: Path) -> bytes:
    """SHA-256 of a data file, read piece by piece; raises as `open_source` does."""
    with open_source(path) as stream:
        try:
            return hashlib.file_digest(stream, "sha256").digest()  # type: ignore[arg-type]
        except OSError as error:
            raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file that the system does not let us read.

    Args:
        path: the file.
        error: what the system said.
    """
    return DataError(
        "data-unreadable", f"{show(path)} cannot be read ({error.strerror}); check its permissions and the disk."
    )


def locate(folder: Path, name: str) -> Path | None:
    """The file called ``name`` in ``folder``; IDX files may be gzipped and may have a dot before ``idx``."""
    names = [name]
    if name.endswith("-ubyte"):
        dotted = name.replace("-idx", ".idx")
        names = [name, f"{name}.gz", dotted, f"{dotted}.gz"]
    paths = (folder / each for each in names)
    return next((path for path in paths if os.path.lexists(path) and not path.is_dir()), None)


def choose(folder: Path, alternatives: Alternatives) -> dict[str, Path] | None:
    """The files of the first alternative that is complete in ``folder``, by name; none where there is none."""
    for names in alternatives:
        found = {name: path for name in names if (path := locate(folder, name)) is not None}
        if len(found) == len(names):
            return found
    return None


def absent(folder: Path, alternatives: Alternatives) -> list[str]:
    """What is missing from the alternative that is nearest to complete; empty where not one file is there."""
    gaps: list[list[str]] = []
    for names in alternatives:
        missing = [name for name in names if locate(folder, name) is None]
        if 0 < len(missing) < len(names):
            gaps.append(missing)
    return min(gaps, key=len, default=[])
