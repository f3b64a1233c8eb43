"""Two processes started by torchrun: they stop and go on as one does, and what they cannot do is told in a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from image_folders import write_images
from shattering.core.errors import DataError, ShatteringError, SpecError, StoreError
from shattering.core.record import Status, results_digest
from shattering.core.spec import RunSpec
from shattering.execution import distributed
from shattering.execution.plan import plan_study
from shattering.execution.study import run_plan
from shattering.store.store import Store

FIELDS = ("training.max_steps=4", "data.train_size=24", "data.test_size=8", "training.batch_size=10")
"""Two batches of 10 and a rest of 4 in an epoch, and the first batch of the next."""


def start(folder: Path, out: Path, **environment: str) -> subprocess.Popen[str]:
    """``torchrun`` with two processes on this machine, which needs no network."""
    words = ["--standalone", "--nproc-per-node", "2", "-m", "shattering", "run", "zhang2017-imagenet"]
    words += ["--data", str(folder), "--scale", "smoke", "--out", str(out)]
    words += [word for field in FIELDS for word in ("--set", field)]
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *words],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    said, told = process.communicate(timeout=200)
    return process.returncode, said, told


def until(happened: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Waits for something in the store of a process that is under way."""
    patience = time.monotonic() + 200
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < patience
        time.sleep(0.005)


def checkpoints(out: Path) -> list[Path]:
    return list(out.rglob("step-*.safetensors"))


def records(out: Path) -> list[Any]:
    store = Store.open(out, write=False)
    (plan,) = store.plans()
    return store.records(plan.digests)


def committed(out: Path) -> int:
    return len(list(out.glob("runs/*/record.json"))) if (out / "runs").is_dir() else 0


def test_stopped_killed_and_resumed_two_processes_give_the_same_bits(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images")
    code, said, told = ended(start(folder, tmp_path / "whole"))
    assert code == 0, told
    assert said.count("report:") == 1  # the first process alone speaks

    out = tmp_path / "broken"
    stopped = start(folder, out, SHATTERING_CHECKPOINT_SECONDS="0")
    until(lambda: checkpoints(out), stopped)
    stopped.send_signal(signal.SIGTERM)
    code, _, told = ended(stopped)
    assert (
        code != 0 and "Stopped; finished runs are kept. To continue: torchrun --standalone --nproc-per-node 2" in told
    )
    (kept,) = {path.parent for path in checkpoints(out)}

    killed = start(folder, out, SHATTERING_CHECKPOINT_SECONDS="0")
    until(lambda: {path.parent for path in checkpoints(out)} - {kept}, killed)
    killed.kill()  # torchrun alone: its children must not outlive it
    ended(killed)
    assert any(path.parent != kept for path in checkpoints(out))
    code, _, told = ended(start(folder, out))
    assert code == 0, told

    whole, pieces = records(tmp_path / "whole"), records(out)
    assert len(whole) == 3 and {record.status for record in whole} <= {Status.DONE, Status.NOT_FITTED}
    assert {record.spec.compute.processes for record in whole} == {2}
    assert results_digest(whole) == results_digest(pieces)
    assert not checkpoints(out)


LEAVES = """
import os
from pathlib import Path
from shattering.execution.distributed import _team
with _team("cpu") as team:
    threads = lambda: {path.joinpath("comm").read_text().strip() for path in Path("/proc/self/task").iterdir()}
    import torch._dynamo  # as the first optimiser does
    team.agree(False)
    print(*(name for name in threads() if "gloo" in name))
print(*(name for name in threads() if "gloo" in name))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_thread_of_the_group_outlives_it() -> None:
    words = ["--standalone", "--nproc-per-node", "1", "--no-python", sys.executable, "-c", LEAVES]
    told = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words], capture_output=True, text=True, timeout=200
    )
    during, after = told.stdout.splitlines()
    assert "gloo" in during and not after, told.stderr


# Refusals, each one sentence


class Alone:
    """A team of two, seen from its first process, whose partner always agrees."""

    rank, size = 0, 2

    def told(self, value: Any) -> Any:
        return value


def planned(**fields: Any) -> Any:
    spec = RunSpec(compute={"processes": fields.pop("processes", 2)}, **fields)
    return SimpleNamespace(plan=SimpleNamespace(specs=(spec,), digests=[spec.digest], study="zhang2017-imagenet"))


@pytest.mark.parametrize(
    ("fields", "identifier"),
    [
        ({"training": {"batch_size": 3}}, "processes-exceed-batch"),
        ({"training": {"gradient": "median"}}, "processes-unshared"),
        ({"model": {"name": "majority_class"}}, "processes-unshared"),
        ({"processes": 3}, "processes-mismatch"),
    ],
)
def test_what_two_processes_cannot_share_is_refused(fields: dict[str, Any], identifier: str) -> None:
    with pytest.raises(SpecError) as caught:
        distributed._require_common(planned(**fields), Alone())
    assert caught.value.identifier == identifier


def test_processes_that_plan_other_runs_are_refused() -> None:
    partner = Alone()
    partner.told = lambda value: ["another"]  # type: ignore[method-assign]
    with pytest.raises(DataError) as caught:
        distributed._require_common(planned(), partner)
    assert caught.value.identifier == "plan-differs"


def test_a_plan_for_several_processes_wants_torchrun(tmp_path: Path) -> None:
    plan = plan_study("zhang2017-imagenet", data="digits", scale="smoke", overrides={"compute.processes": 2})
    with pytest.raises(SpecError, match=r"torchrun --standalone --nproc-per-node 2 -m shattering run") as caught:
        run_plan(plan, out=tmp_path / "runs", quiet=True)
    assert caught.value.identifier == "processes-not-launched"
    assert not (tmp_path / "runs").exists()


def launch(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    facts = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": 1}
    for name, value in {**facts, "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, str(value))


def test_an_absent_gpu_is_told_by_the_first_process_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("shattering.execution.worker.die_with", lambda driver: None)
    for rank in (0, 1):
        launch(monkeypatch, rank)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", sys.stdout)  # put back afterwards what the second process gives up
            patch.setattr(sys, "stderr", sys.stderr)
            with pytest.raises(StoreError, match="--nproc-per-node 1") as caught:
                distributed.run_together(lambda: pytest.fail("planned"), device="cuda")
            print("spoken", file=sys.stderr)
        assert isinstance(caught.value, ShatteringError) and caught.value.identifier == "device-absent"
        assert ("spoken" in capsys.readouterr().err) == (rank == 0)


def test_what_torchrun_says_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distributed.launched() == 1 and distributed.is_first()
    launch(monkeypatch, 1)
    assert distributed.launched() == 2 and not distributed.is_first()
    assert distributed.launch_command() == "torchrun --standalone --nproc-per-node 2 -m"
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert distributed.launch_command() == "torchrun --nnodes 4 --nproc-per-node 2 -m"
