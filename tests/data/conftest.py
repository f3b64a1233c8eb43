"""No test sees the user's data or cache, but for the slow ones that ask for the real data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REAL_DATA = os.environ.get("SHATTERING_DATA")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SHATTERING_CACHE", str(folder))
    monkeypatch.delenv("SHATTERING_MEMORY_BYTES", raising=False)
    monkeypatch.delenv("SHATTERING_DATA", raising=False)
    return folder


@pytest.fixture
def real_data() -> Path:
    if not REAL_DATA:
        pytest.skip("SHATTERING_DATA names no folder with the real data")
    return Path(REAL_DATA)
