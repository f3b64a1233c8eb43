"""What runs leave to those that start from them: one file each, with the hash of its own bytes in its name."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from shattering.core import io
from shattering.store.format import sha256

_NAME = re.compile(r"steps-([0-9-]+)-([0-9a-f]{16})-([0-9a-f]{16})\.safetensors")


class Estates:
    """The weights kept of runs, beside their records.

    A file's name tells the run's steps, the hash of its final weights as its record has it, and that of the bytes: so
    what belongs to another outcome of the run (made on another machine, say) is never handed on.

    Args:
        folder: where they are, a folder for each run.
        scratch: folder for files under construction, on the same file system.
        quarantine: called with the path of a damaged one, the reason, and a function that says whether it still is.
    """

    def __init__(
        self, folder: Path, scratch: Path, quarantine: Callable[[Path, str, Callable[[], bool]], bool]
    ) -> None:
        self._folder, self._scratch, self._quarantine = folder, scratch, quarantine

    def leave(self, digest: str, steps: Iterable[int], weights_sha256: str, payload: bytes) -> None:
        """Writes what a run leaves, in place of what it left before. Raises `StoreError`.

        Args:
            digest: the run's name.
            steps: whose weights were asked for, whether or not they were reached.
            weights_sha256: of the run's record.
            payload: the bytes.
        """
        told = "-".join(map(str, sorted(steps)))
        name = f"steps-{told}-{weights_sha256[:16]}-{sha256(payload)[:16]}.safetensors"
        before = io.names(self._folder / digest)
        io.write_file(self._folder / digest / name, payload, self._scratch)
        for other in before:
            if other != name:
                io.remove(self._folder / digest / other)

    def steps(self, digest: str, weights_sha256: str | None) -> frozenset[int]:
        """The steps whose weights a run has left; nothing is read or verified. Empty where it has left none."""
        found = self._find(digest, weights_sha256)
        return frozenset() if found is None else frozenset(int(step) for step in found[1].split("-"))

    def get(self, digest: str, weights_sha256: str | None) -> bytes | None:
        """What a run has left, verified; none where there is nothing, or where it is damaged and now set aside."""
        found = self._find(digest, weights_sha256)
        if found is None:
            return None
        path, wanted = self._folder / digest / found[0], found[3]
        payload = io.read_bytes(path)
        if payload is None or sha256(payload)[:16] == wanted:
            return payload
        reason = f"its {len(payload):,} bytes do not match the hash in its name"
        self._quarantine(path, reason, functools.partial(_damaged, path, wanted))
        return None

    def verify(self, digest: str) -> None:
        """Reads all that a run has left; what is damaged is set aside."""
        for name in io.names(self._folder / digest):
            match = _NAME.fullmatch(name)
            if match is not None:
                self.get(digest, match[2])

    def _find(self, digest: str, weights_sha256: str | None) -> re.Match[str] | None:
        if weights_sha256 is None:
            return None
        matches = (_NAME.fullmatch(name) for name in io.names(self._folder / digest))
        return next((match for match in matches if match is not None and match[2] == weights_sha256[:16]), None)


def _damaged(path: Path, wanted: str) -> bool:
    payload = io.read_bytes(path)
    return payload is not None and sha256(payload)[:16] != wanted
