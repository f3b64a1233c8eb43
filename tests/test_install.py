"""Installing under the constraints must never bring in a GPU build."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UNWANTED = ("nvidia-", "triton", "torchvision")


def unwanted(names: list[str]) -> list[str]:
    return [name for name in names if name.lower().replace("_", "-").startswith(UNWANTED)]


def test_the_check_sees_what_it_looks_for() -> None:
    assert unwanted(["torch", "nvidia_cublas", "Triton"]) == ["nvidia_cublas", "Triton"]


def test_nothing_installed_is_a_gpu_build() -> None:
    if any(name.startswith("nvidia-") for name in (d.name or "" for d in distributions())) and _has_gpu():
        pytest.skip("this machine has a GPU and its own packages")
    assert unwanted([distribution.name or "" for distribution in distributions()]) == []


def test_the_install_resolves_no_gpu_build(tmp_path: Path) -> None:
    """Asks the resolver, as `make` does, for everything that would be installed on an empty machine."""
    answer = tmp_path / "report.json"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    command += ["--disable-pip-version-check", "--report", str(answer), "-c", "constraints.txt", ".[test,dev,browser]"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    told = done.stderr.lower()
    if done.returncode != 0 and ("connection" in told or "could not find a version" in told):
        pytest.skip("no package registry can be reached from here")
    assert done.returncode == 0, done.stderr[-2000:]
    names = [item["metadata"]["name"] for item in json.loads(answer.read_text())["install"]]
    assert "torch" in names
    assert unwanted(names) == []


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
