"""One thread, one cache that is not the user's, and the same examples in every run of the suite."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# Before torch is imported anywhere, here or in a child: two threads would change last bits, and crowd small machines.
os.environ["OMP_NUM_THREADS"] = "1"

settings.register_profile("reproducible", derandomize=True, deadline=None, database=None)
settings.load_profile("reproducible")


LONGEST = ("test_distributed.py", "test_install.py")
"""Begun first, so that no process is left alone with them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHATTERING_CACHE", str(tmp_path_factory.mktemp("session-cache")))
        # No calibration in tests that are not about it: the same way on every machine, and nothing to wait for.
        patch.setenv("SHATTERING_STEPPER", "plain")
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright; a test that asks for it is skipped where either is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as control:
        running = control.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()
