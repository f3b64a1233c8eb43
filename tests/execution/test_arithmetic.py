"""As many threads as the spec says, of every library, however many cores there are: else bits would tell of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

MANY = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")} | {
    "OPENBLAS_NUM_THREADS": "4"
}
SIMULATED = """
from threadpoolctl import threadpool_info
from shattering.core.spec import DataSpec
from shattering.data.load import load_data
from shattering.execution.simulate import simulate
from shattering.simulations.registry import simulated, simulation

def most():
    return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

@simulation(summary="threads", paper="none", units={"inside": "1"}, seconds=lambda fields: 1.0)
def counted(bench):
    '''The threads that linear algebra takes within a run.'''
    before = most()
    import scipy.linalg  # has a BLAS of its own
    yield {"inside": float(max(before, most()))}

outside = most()
record = simulate(simulated("counted", 0, data=DataSpec(name="digits")), load_data("digits"))
print(outside, record.rows[0]["inside"], most())
"""
NETWORK = """
import json
from pathlib import Path
import torch
from torch import nn
from threadpoolctl import threadpool_info

def build(input_shape, num_classes):
    Path("seen.json").write_text(json.dumps([pool["num_threads"] for pool in threadpool_info()]))
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""


def test_linear_algebra_within_a_run_has_the_threads_of_its_spec(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIMULATED], cwd=tmp_path, env=MANY, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    outside, inside, after = (int(float(word)) for word in done.stdout.split())
    assert inside == 1 and after == outside  # on a machine of more than one core these are more than 1


def test_a_worker_has_one_thread_of_everything(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(NETWORK)
    command = [sys.executable, "-m", "shattering", "shatter", "theirs.py:build", "--dry-run", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, env=MANY, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert set(json.loads((tmp_path / "seen.json").read_text())) == {1}
