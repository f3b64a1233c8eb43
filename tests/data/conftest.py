"""No test sees the user's data or cache."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SHATTERING_CACHE", str(folder))
    monkeypatch.delenv("SHATTERING_MEMORY_BYTES", raising=False)
    monkeypatch.delenv("SHATTERING_DATA", raising=False)
    return folder
