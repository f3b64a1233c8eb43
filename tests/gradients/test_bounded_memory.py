"""Memory as the operating system sees it, in a process of its own: Python's tracer does not see torch's tensors.

The peak of the resident set counts everything, whoever allocated it, and never falls; so each scenario runs in a fork
that first does the same on a few examples, and only what the many add is counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import peak_memory
import pytest


@pytest.fixture(scope="module")
def growth() -> dict[str, int]:
    # The allocator of glibc keeps what it was given back, more or less of it by chance; so told, it returns it at once.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, str(Path(peak_memory.__file__))],
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )
    found: dict[str, int] = json.loads(done.stdout)
    assert min(found.values()) >= 0, f"a scenario died: {found} {done.stderr}"
    return found


@pytest.mark.parametrize("scenario", ["flat_over_a_loader", "flat_over_a_set"])
def test_peak_is_flat_from_a_thousand_examples_to_a_hundred_thousand(scenario: str, growth: dict[str, int]) -> None:
    """What remains per example is its loss and its norm: 16 bytes, 1.6 MB. Inputs would take 20 MB, gradients 1 GB."""
    assert growth[scenario] < 10 * 2**20


@pytest.mark.parametrize(
    "scenario",
    [
        "limited_activations",
        "limited_gradients",
        "limited_gradients_and_activations",
        "limited_gram",
        "limited_projections",
    ],
)
def test_memory_is_bounded(scenario: str, growth: dict[str, int]) -> None:
    """A quarter is left for what no tensor shows: code, workspace, the allocator's leftovers."""
    assert growth[scenario] < 1.25 * peak_memory.LIMIT


def test_the_measurement_sees_what_the_bound_prevents(growth: dict[str, int]) -> None:
    assert growth["unlimited_gradients"] > 4 * peak_memory.LIMIT
