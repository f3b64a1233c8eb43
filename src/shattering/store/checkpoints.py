"""What is kept of an unfinished run: snapshots by step, or pieces by name, each with the hash of its own bytes."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from shattering.core import io
from shattering.store.format import sha256

KEPT = 2
"""How many checkpoints of a run are kept: the newest, and the one to fall back on."""

_NAME = re.compile(r"step-(\d+)-([0-9a-f]{16})\.safetensors")
_PIECE = re.compile(r"piece-([A-Za-z0-9-]+)-([0-9a-f]{16})\.safetensors")


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they are.
        scratch: folder for files under construction, on the same file system.
        quarantine: called with the path of a damaged one, the reason, and a function that says whether it still is.
    """

    def __init__(
        self, folder: Path, scratch: Path, quarantine: Callable[[Path, str, Callable[[], bool]], bool]
    ) -> None:
        self._folder = folder
        self._scratch = scratch
        self._quarantine = quarantine

    def save(self, step: int, payload: bytes) -> None:
        """Writes the checkpoint of ``step``, then removes all but the newest two. Raises `StoreError`."""
        name = f"step-{step:08d}-{sha256(payload)[:16]}.safetensors"
        io.write_file(self._folder / name, payload, self._scratch)
        for _, _, path in self._listed()[KEPT:]:
            io.remove(path)

    def newest(self) -> Iterator[tuple[int, bytes]]:
        """Steps and payloads that are sound, newest first."""
        for step, wanted, path in self._listed():
            payload = io.read_bytes(path)
            if payload is None:
                continue
            if sha256(payload)[:16] == wanted:
                yield step, payload
            else:
                reason = f"its {len(payload):,} bytes do not match the hash in its name"
                self._quarantine(path, reason, functools.partial(_damaged, path, wanted))

    def keep(self, name: str, payload: bytes) -> None:
        """Writes a piece of unfinished work in place of the one of that name. Raises `StoreError`."""
        before = self._pieces(name)
        file = self._folder / f"piece-{name}-{sha256(payload)[:16]}.safetensors"
        io.write_file(file, payload, self._scratch)
        for _, path in before:
            if path != file:
                io.remove(path)

    def kept(self, name: str) -> bytes | None:
        """The piece of that name, if there is a sound one."""
        for wanted, path in self._pieces(name):
            payload = io.read_bytes(path)
            if payload is None:
                continue
            if sha256(payload)[:16] == wanted:
                return payload
            reason = f"its {len(payload):,} bytes do not match the hash in its name"
            self._quarantine(path, reason, functools.partial(_damaged, path, wanted))
        return None

    def _pieces(self, name: str) -> list[tuple[str, Path]]:
        matches = [match for file in io.names(self._folder) if (match := _PIECE.fullmatch(file))]
        return [(match[2], self._folder / match[0]) for match in matches if match[1] == name]

    def clear(self) -> None:
        """Removes them all."""
        io.remove(self._folder)

    def _listed(self) -> list[tuple[int, str, Path]]:
        matches = [match for name in io.names(self._folder) if (match := _NAME.fullmatch(name))]
        return sorted(((int(m[1]), m[2], self._folder / m[0]) for m in matches), reverse=True)


def _damaged(path: Path, wanted: str) -> bool:
    payload = io.read_bytes(path)
    return payload is not None and sha256(payload)[:16] != wanted
