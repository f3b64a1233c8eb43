"""Whole sweeps killed, interrupted, out of disk: the same command finishes them, to the bit."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shattering.core import io
from shattering.core.disk import Disk, replace_disk
from shattering.core.errors import ShatteringError, StoreError
from shattering.core.record import results_digest
from shattering.execution import local
from shattering.execution.plan import Planned, plan_study
from shattering.execution.run import execute
from shattering.execution.study import run_plan
from shattering.execution.training import Training
from shattering.store.store import Store
from tiny_runs import Driver, digits, fork_driver, fork_workers, register_study, tiny_spec

SEED = int(os.environ.get("SHATTERING_KILL_SEED", "20260101"))
KILLS = int(os.environ.get("SHATTERING_KILLS", "4"))
TESTS = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for orphans in /proc")


def sweep_specs(request):
    """Eight runs that are fitted, not fitted and divergent, of several optimizers, with dropout and augmentation."""
    longer = {"training__max_steps": 150, "training__fit_accuracy": 1.0}
    return [
        *(
            tiny_spec(seed=seed, model__fields__dropout=0.3, corruption__name="random_labels", **longer)
            for seed in (0, 1)
        ),
        tiny_spec(training__optimizer="adam", training__learning_rate=0.001, **longer),
        tiny_spec(training__augmentation="full", data__crop=6, **longer),
        tiny_spec(training__schedule="exponential", training__stop_when_fitted=False, **longer),
        tiny_spec(model__fields__width=64, training__max_steps=150),
        tiny_spec(training__learning_rate=1e30),
        tiny_spec(compute__dtype="float64", **longer),
    ]


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Planned:
    fork_workers(monkeypatch)
    monkeypatch.setenv("SHATTERING_CHECKPOINT_SECONDS", "0.02")
    register_study(monkeypatch, sweep_specs)
    return plan_study("tiny-study")


def undisturbed(planned: Planned) -> str:
    return results_digest(execute(spec, digits())[0] for spec in planned.plan.specs)


def sweep(planned: Planned, out: Path, trace: Path | None = None) -> dict[str, Any]:
    """Carries out the plan with two workers, as a driver process; notes where each run was taken up."""
    resume = Training.resume

    def noted(training: Training) -> None:
        resume(training)
        if trace is not None:
            with trace.open("a") as file:
                file.write(f"{training.spec.digest} {training.progress.step}\n")

    Training.resume = noted  # type: ignore[method-assign]
    try:
        outcome = run_plan(planned, out=out, jobs=2, quiet=True)
    except ShatteringError as error:
        return {"error": error.identifier, "exit_code": error.exit_code, "message": error.message}
    finally:
        Training.resume = resume  # type: ignore[method-assign]
    records = outcome.store.records(planned.plan.digests)
    return {
        "computed": outcome.computed,
        "interrupted_by": outcome.interrupted_by,
        "count": len(records),
        "digest": results_digest(records),
        "seconds": outcome.seconds,
    }


def finished(out: Path) -> dict[str, int]:
    """Committed runs with the time they were written: equal as long as they are not written again."""
    runs = out / "runs"
    return {run.name: (run / "DONE").stat().st_mtime_ns for run in runs.iterdir()} if runs.is_dir() else {}


def saved_steps(out: Path) -> dict[str, int]:
    """The newest checkpoint of each unfinished run."""
    found = {}
    for folder in (out / "checkpoints").iterdir():
        steps = [int(path.name.split("-")[1]) for path in folder.iterdir()]
        if steps:
            found[folder.name] = max(steps)
    return found


def resumes_to(wanted: str, planned: Planned, out: Path, replay: str) -> None:
    """The same call finishes the sweep: nothing lost, nothing computed twice, no debris, the undisturbed digest."""
    before = finished(out)
    if before:
        assert Store.open(out, write=False).check() == [], replay
    told = fork_driver(lambda: sweep(planned, out)).end()
    assert told is not None and told["count"] == 8, replay
    assert told["digest"] == wanted, replay
    assert told["computed"] == 8 - len(before), replay
    after = finished(out)
    assert {name: after[name] for name in before} == before, replay
    assert Store.open(out, write=False).check() == [], replay
    remains = [str(path) for path in out.rglob("*") if path.name.startswith(io.SCRATCH)]
    remains += [
        str(path) for name in ("checkpoints", "failures", "tmp", "quarantine") for path in (out / name).iterdir()
    ]
    assert remains == [], replay


def no_orphans(driver: Driver, replay: str, seconds: float = 30.0) -> None:
    patience = time.monotonic() + seconds
    while driver.group():
        assert time.monotonic() < patience, f"{driver.group()} outlive their driver; {replay}"
        time.sleep(0.02)


def kill_and_resume(planned: Planned, folder: Path, kills: int, seed: int) -> list[int]:
    """Kills as many sweeps at random moments, a third of them twice; returns how many runs each had finished."""
    wanted, chance, progress = undisturbed(planned), random.Random(seed), []
    undisturbed_run = fork_driver(lambda: sweep(planned, folder / "undisturbed")).end()
    assert undisturbed_run["digest"] == wanted and undisturbed_run["computed"] == 8
    for number in range(kills):
        out = folder / f"{number}"
        for again in range(1 if chance.random() < 2 / 3 else 2):
            # Kills that fall behind the end would show nothing; the first moments are those of the plan and the store.
            moment = chance.random() ** 1.5 * undisturbed_run["seconds"]
            whole_group = chance.random() < 0.5
            replay = (
                f"SHATTERING_KILL_SEED={seed} SHATTERING_KILLS={kills}: sweep {number}, kill {again}, "
                f"after {moment:.3f} s, {'driver and workers' if whole_group else 'driver alone'}"
            )
            driver = fork_driver(lambda out=out: sweep(planned, out))
            time.sleep(moment)
            if whole_group:
                os.killpg(driver.pid, signal.SIGKILL)
            else:
                os.kill(driver.pid, signal.SIGKILL)
            driver.end()
            no_orphans(driver, replay)
        progress.append(len(finished(out)))
        resumes_to(wanted, planned, out, replay)
    return progress


def test_killed_sweeps_resume_to_the_same_digest(planned: Planned, tmp_path: Path) -> None:
    kill_and_resume(planned, tmp_path, KILLS, SEED)


@pytest.mark.slow
def test_thirty_killed_sweeps(planned: Planned, tmp_path: Path) -> None:
    kills = max(30, KILLS)
    progress = kill_and_resume(planned, tmp_path, kills, SEED + 1)
    assert len(set(progress)) > 3, f"all kills fell into the same part of the sweep: {progress}"


def wait_for(what: Any, seconds: float = 60.0) -> None:
    patience = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < patience, "what was waited for has not come"
        time.sleep(0.01)


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("to_group", [True, False], ids=["to the group", "to the driver"])
def test_interrupted_sweep_continues_from_its_checkpoints(
    monkeypatch: pytest.MonkeyPatch, planned: Planned, tmp_path: Path, number: signal.Signals, to_group: bool
) -> None:
    """The periodic checkpoints are switched off: what is there, the interrupt has saved."""
    monkeypatch.setenv("SHATTERING_CHECKPOINT_SECONDS", "3600")
    out, trace = tmp_path / "store", tmp_path / "trace"
    driver = fork_driver(lambda: sweep(planned, out, trace))
    wait_for(lambda: trace.exists() and len(trace.read_text().splitlines()) == 2)
    time.sleep(0.05)
    (os.killpg if to_group else os.kill)(driver.pid, number)
    told = driver.end()
    assert told is not None and told["interrupted_by"] == number
    assert driver.group() == []
    assert told["count"] == told["computed"] < 8
    steps = saved_steps(out)
    assert 1 <= len(steps) <= 2
    trace.unlink()
    again = fork_driver(lambda: sweep(planned, out, trace)).end()
    taken_up = {digest: int(step) for digest, step in (line.split() for line in trace.read_text().splitlines())}
    assert {digest: taken_up[digest] for digest in steps} == steps and max(steps.values()) > 0
    assert again["digest"] == undisturbed(planned) and again["interrupted_by"] is None
    assert again["computed"] == 8 - told["computed"]


def hanging(monkeypatch: pytest.MonkeyPatch) -> Planned:
    fork_workers(monkeypatch)
    register_study(monkeypatch, lambda request: [tiny_spec(model__name=request.models[0], model__fields={})])
    return plan_study("tiny-study", models=("tiny_networks:hangs",))


def test_interrupt_does_not_wait_for_a_worker_that_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    planned, trace = hanging(monkeypatch), tmp_path / "trace"
    assert local.STOP_SECONDS < 10
    monkeypatch.setattr(local, "STOP_SECONDS", 1.0)
    driver = fork_driver(lambda: sweep(planned, tmp_path / "store", trace))
    wait_for(trace.exists)
    time.sleep(0.3)
    os.kill(driver.pid, signal.SIGINT)
    told = driver.end()
    assert told["interrupted_by"] == signal.SIGINT and told["count"] == 0
    assert driver.group() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_second_signal_stops_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: signal.Signals) -> None:
    planned, trace = hanging(monkeypatch), tmp_path / "trace"
    monkeypatch.setattr(local, "STOP_SECONDS", 3600.0)
    driver = fork_driver(lambda: sweep(planned, tmp_path / "store", trace))
    wait_for(trace.exists)
    time.sleep(0.3)  # until it hangs
    os.kill(driver.pid, signal.SIGINT)
    time.sleep(0.5)
    assert driver.alive()
    os.kill(driver.pid, number)
    driver.end()
    assert driver.code == -number
    no_orphans(driver, "after the second signal")


def test_command_line_stops_by_the_signal_it_got(tmp_path: Path) -> None:
    """The real command, with workers that are spawned: it says how to go on, and leaves no process behind."""
    endless = ["training.max_steps=1000000", "training.stop_when_fitted=false", "measures.every_epochs=0"]
    words = ["run", "zhang2017-random-labels", "--scale", "smoke", "--jobs", "1", "--out", str(tmp_path / "store")]
    words += [word for value in endless for word in ("--set", value)]
    program = "import sys; from shattering.cli.main import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "SHATTERING_CHECKPOINT_SECONDS": "0.2"},
    )  # fmt: skip
    driver = Driver(process.pid, -1)
    try:
        checkpoints = tmp_path / "store" / "checkpoints"
        wait_for(lambda: process.poll() is not None or any(checkpoints.rglob("step-*")), seconds=120)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        for pid in driver.group():
            os.kill(pid, signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGINT, err
    assert "To continue: shattering run zhang2017-random-labels" in err and out == ""
    no_orphans(driver, err)
    assert len(saved_steps(tmp_path / "store")) == 1


# Disk


class FullDisk(Disk):
    """Has room for so many bytes in each process."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, descriptor: int, data: memoryview) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(descriptor, data)


@pytest.mark.parametrize("room", [0, 10_000, 40_000, 80_000])
def test_full_disk_stops_the_sweep_and_keeps_what_is_there(planned: Planned, tmp_path: Path, room: int) -> None:
    """The plan, the pictures, a checkpoint or a record does not fit: exit code 5, later the same call goes on."""
    out = tmp_path / "store"

    def with_full_disk() -> dict[str, Any]:
        replace_disk(FullDisk(room))
        return sweep(planned, out)

    driver = fork_driver(with_full_disk)
    told = driver.end()
    assert told.get("error") == "store-disk-full", told
    assert told["exit_code"] == 5 and str(out) in told["message"]
    no_orphans(driver, f"room for {room} bytes")
    resumes_to(undisturbed(planned), planned, out, f"room for {room} bytes")


@pytest.mark.parametrize("limit", [4_000, 8_000])
def test_limit_on_file_sizes(planned: Planned, tmp_path: Path, limit: int) -> None:
    """The real refusal of a real kernel."""
    import resource

    out = tmp_path / "store"

    def limited() -> dict[str, Any]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return sweep(planned, out)

    driver = fork_driver(limited)
    told = driver.end()
    assert told.get("error") == "store-file-limit" and told["exit_code"] == 5, told
    no_orphans(driver, f"limit of {limit} bytes")
    resumes_to(undisturbed(planned), planned, out, f"limit of {limit} bytes")


class ReadOnlyDisk(Disk):
    """Can be read."""

    def create(self, path: Path) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def open_lock(self, path: Path) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def make_folder(self, path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize("existing", [True, False])
def test_read_only_store_refuses_before_computing(
    monkeypatch: pytest.MonkeyPatch, planned: Planned, tmp_path: Path, existing: bool
) -> None:
    out = tmp_path / "store"
    if existing:
        Store.open(out, write=True)
    monkeypatch.setattr("shattering.execution.study.run_jobs", lambda *args, **fields: pytest.fail("a job was begun"))
    previous = replace_disk(ReadOnlyDisk())
    try:
        with pytest.raises(StoreError) as error:
            run_plan(planned, out=out, quiet=True)
        assert error.value.identifier == "store-read-only" and str(out) in error.value.message
        if existing:
            assert Store.open(out, write=False).records(planned.plan.digests) == []
    finally:
        replace_disk(previous)
