from __future__ import annotations

from pathlib import Path

import pytest

import shattering.data.memory as memory
from shattering.core.errors import DataError


def test_the_override_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHATTERING_MEMORY_BYTES", "5000")
    memory.require(5000, "This")
    with pytest.raises(DataError, match=r"This needs about 4\.884 KiB of memory and 4\.883 KiB are available"):
        memory.require(5001, "This")


def test_the_system_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    plain = memory.available_bytes()
    assert plain is not None and plain > 1 << 20
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert memory.available_bytes() == 2000000
    (tmp_path / "memory.max").write_text("max\n")
    assert (memory.available_bytes() or 0) > 1 << 20
