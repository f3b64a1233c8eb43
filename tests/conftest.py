"""One thread, one cache that is not the user's, and the same examples in every run of the suite."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Before torch is imported anywhere, here or in a child: two threads would change last bits, and crowd small machines.
os.environ["OMP_NUM_THREADS"] = "1"

settings.register_profile("reproducible", derandomize=True, deadline=None, database=None)
settings.load_profile("reproducible")


LONGEST = ("test_readme.py", "test_install.py", "test_distributed.py")
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
