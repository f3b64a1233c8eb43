"""A sweep of compiled trainings, killed with SIGKILL on the way and begun again, ends as one that was left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shattering.core.record import Record, results_digest
from shattering.store.store import Store

SWEEP = """\
name: killed
base:
  model: {name: mlp_1x512, fields: {width: 32}}
  corruption.name: random_labels
  data.train_size: 400
  training: {learning_rate: 0.03, batch_size: 64, max_steps: 20000, fit_accuracy: 1}
  measures: {names: accuracy, points_per_decade: 0, every_epochs: 0}
grid:
  seed: {range: [0, 60]}
"""


@pytest.mark.slow
def test_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="the compiled way needs Numba")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    environment = {name: value for name, value in os.environ.items() if name != "SHATTERING_STEPPER"}
    _sweep(whole, environment).wait(timeout=200)
    for enough in (5, 25):
        child = _sweep(killed, environment)
        while len(_names(killed)) < enough:
            assert child.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    before = {name: (killed / "runs" / name / "DONE").stat().st_mtime_ns for name in _names(killed)}
    assert 25 <= len(before) < 60
    assert _sweep(killed, environment).wait(timeout=200) == 0
    after = {name: (killed / "runs" / name / "DONE").stat().st_mtime_ns for name in _names(killed)}
    assert before.items() <= after.items(), "what had ended was not computed again"
    expected, found = _records(whole), _records(killed)
    assert len(found) == 60 and results_digest(found) == results_digest(expected)
    assert {record.provenance["stepper"] for record in found} == {"compiled"}
    assert not Store.open(killed, write=False).check()


def _sweep(out: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "shattering",
        "sweep",
        str(out.parent / "sweep.yaml"),
        "--out",
        str(out),
        "--quiet",
    ]
    silent = subprocess.DEVNULL
    return subprocess.Popen(command, env=environment, start_new_session=True, stdout=silent, stderr=silent)


def _names(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "runs").iterdir()) if (out / "runs").is_dir() else []


def _records(out: Path) -> list[Record]:
    return Store.open(out, write=False).records(_names(out))
