"""What is damaged is moved aside with the reason, never deleted, and only what it held is computed again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shattering.core import io


class Quarantine:
    """The damaged files of a store.

    Args:
        root: the store's folder.
        write: whether files may be moved; otherwise they are only told.
    """

    def __init__(self, root: Path, write: bool) -> None:
        self._root = root
        self._write = write
        self.problems: list[str] = []
        """What was found, one sentence each."""

    def note(self, problem: str) -> None:
        """Remembers a problem, once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def take(self, path: Path, reason: str, still: Callable[[], bool]) -> bool:
        """Moves a damaged file or folder aside; says whether ``path`` is free now.

        Args:
            path: inside the store.
            reason: what is wrong with it, in a clause.
            still: asked again under a lock, because another process may have moved it, and a sound one may be there.
        """
        place = path.relative_to(self._root)
        if not self._write:
            self.note(f"{place} is damaged: {reason}; open the store for writing (`shattering run`) to repeat it.")
            return False
        folder = self._root / "quarantine"
        with io.exclusive(self._root / "locks" / "quarantine.lock") as ours:
            if not ours:
                return False
            if not still():
                return not path.exists()
            taken = set(io.names(folder))
            name = next(name for n in range(1, len(taken) + 2) if (name := f"{path.name}.{n}") not in taken)
            io.move(path, folder / name)
            self.note(f"{place} was damaged: {reason}; it was moved to quarantine/{name}, and is computed again.")
            io.write_file(folder / f"{name}.reason.txt", f"{place}: {reason}\n".encode(), self._root / "tmp")
        return True
