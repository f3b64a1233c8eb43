"""Whether data will fit before they are decoded: a refusal with an estimate instead of a machine that swaps or dies."""

from __future__ import annotations

import os
import re
from pathlib import Path

from shattering.core.errors import DataError, SpecError

_CGROUP = Path("/sys/fs/cgroup")


def available_bytes() -> int | None:
    """Memory that can still be taken: the least of the system's and the control group's; none where unknown.

    The environment variable ``SHATTERING_MEMORY_BYTES`` overrides it.
    """
    override = os.environ.get("SHATTERING_MEMORY_BYTES")
    if override:
        if not override.isdigit():
            raise SpecError("memory-override", f"SHATTERING_MEMORY_BYTES={override!r} is no number of bytes; unset it.")
        return int(override)
    amounts = [amount for amount in (_system(), _control_group()) if amount is not None]
    return min(amounts, default=None)


def require(needed: int, what: str) -> None:
    """Raises `DataError` where ``needed`` bytes, the estimate for ``what``, exceed the available memory."""
    available = available_bytes()
    if available is not None and needed > available:
        raise DataError(
            "data-memory",
            f"{what} needs about {amount(needed)} of memory and {amount(available)} are available; "
            "use a smaller data set or a machine with more memory.",
        )


def _system() -> int | None:
    try:
        match = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        if match:
            return int(match[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _control_group() -> int | None:
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return max(0, int(limit) - used) if limit.isdigit() else None


def amount(count: float) -> str:
    """An amount of memory to read: ``9.5 GiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"
