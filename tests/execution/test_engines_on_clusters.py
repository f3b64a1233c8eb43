"""The engines on real clusters of this machine: same bits as local, whatever is killed meanwhile; nothing is left over.

Minutes long: `make cluster`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shattering.core.errors import StoreError
from shattering.core.record import results_digest
from shattering.core.spec import RunSpec
from shattering.execution.engines import choose_engine
from shattering.execution.plan import plan_study
from shattering.execution.study import run_plan
from tiny_runs import Driver, digits, fork_driver, register_study, tiny_spec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
needs_submitit = pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is not installed")

RUNS, LONG, SHORT = 10, 1500, 60
CANARY = "canary0123456789canary0123456789"
"""The clusters' token, which must stand in no file and no message of ours."""


@dataclass
class Sweep:
    """A study of short and long runs, and what they give on local processes."""

    folder: Path
    digest: str

    def fork(self, engine: str, out: str, **options: Any) -> Driver:
        """Carries the sweep out in a forked driver; it returns how many runs it computed, and the digest of all."""

        def task() -> list[Any]:
            with (self.folder / f"{out}.err").open("ab", buffering=0) as heard:
                os.dup2(heard.fileno(), 2)
                store = self.folder / out
                planned = plan_study("tiny-study")
                chosen = choose_engine(engine, planned, out=store, tell=say, **options)
                outcome = run_plan(planned, out=store, jobs=options.get("jobs"), quiet=True, engine=chosen)
                records = outcome.store.records(planned.plan.digests)
                return [outcome.computed, results_digest(records), outcome.interrupted_by]

        return fork_driver(task)

    def committed(self, out: str) -> int:
        """Runs that have a record."""
        folder = self.folder / out / "runs"
        return len([path for path in folder.iterdir() if len(path.name) == 32]) if folder.is_dir() else 0

    def heard(self, out: str) -> str:
        """What the drivers said."""
        return (self.folder / f"{out}.err").read_text(errors="replace")


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sweep:
    monkeypatch.setenv("SHATTERING_STEPPER", "plain")
    monkeypatch.setenv("SHATTERING_CHECKPOINT_SECONDS", "0.2")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", CANARY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.chdir(tmp_path)
    specs = [
        tiny_spec(seed=seed, training__max_steps=LONG if seed % 2 else SHORT, training__stop_when_fitted=False)
        for seed in range(RUNS)
    ]
    register_study(monkeypatch, lambda request: specs)
    return Sweep(tmp_path, _digest_of(plan_study("tiny-study").plan.specs))


def say(text: str) -> None:
    os.write(2, f"{text}\n".encode())


_known: list[str] = []


def _digest_of(specs: Sequence[RunSpec]) -> str:
    if not _known:
        from shattering.execution.run import execute

        _known.append(results_digest(execute(spec, digits())[0] for spec in specs))
    return _known[0]


def processes() -> dict[int, tuple[int, str]]:
    """Parent and title of every living process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found[int(entry.name)] = (int(parent), title)
    return found


def below(pid: int) -> dict[int, str]:
    """The living descendants of a process, with their titles."""
    alive = processes()
    family = {pid}
    while more := {child for child, (parent, _) in alive.items() if parent in family} - family:
        family |= more
    return {child: alive[child][1] for child in family - {pid} if child in alive}


def training(pid: int) -> list[int]:
    """The workers below a process that carry out a chunk."""
    return sorted(child for child, title in below(pid).items() if title.startswith("ray::shattering-chunk"))


def until(happens: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Waits for something, and returns it."""
    patience = time.monotonic() + seconds
    while not (found := happens()):
        assert time.monotonic() < patience, "it has not happened"
        time.sleep(0.05)
    return found


def gone(pids: Any, seconds: float = 10.0) -> None:
    """Waits until none of the processes is left."""
    until(lambda: not set(pids) & set(processes()), seconds)


def no_secret(folder: Path) -> None:
    """Neither the store nor what was said has the token."""
    for path in folder.rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path


@needs_ray
def test_ray_on_this_machine_survives_the_loss_of_a_worker(sweep: Sweep) -> None:
    """Two workers in processes of their own; one is killed in mid-sweep; nothing is lost, doubled, or left over."""
    driver = sweep.fork("ray", "store", jobs=2)
    workers = until(lambda: len(found := training(driver.pid)) == 2 and sweep.committed("store") and found)
    family = set(below(driver.pid))
    os.kill(workers[0], signal.SIGKILL)
    assert sweep.committed("store") < RUNS
    computed, digest, _ = driver.end(120)
    assert (computed, digest) == (RUNS, sweep.digest)
    assert sweep.committed("store") == RUNS
    assert "1 node, 2 processors" in sweep.heard("store") and "without token" not in sweep.heard("store")
    gone(family)
    no_secret(sweep.folder)


@needs_ray
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_ray_is_stopped_with_its_driver_and_resumed(sweep: Sweep, number: signal.Signals) -> None:
    """A request to stop ends in ten seconds with checkpoints saved; a killed driver leaves no process behind."""
    driver = sweep.fork("ray", "store", jobs=2)
    until(lambda: len(training(driver.pid)) == 2 and sweep.committed("store"))
    family = below(driver.pid)
    before = sweep.committed("store")
    os.kill(driver.pid, number)
    if number == signal.SIGKILL:
        until(lambda: not driver.alive())
        # Ray's own two agents take about a minute until they notice, and do nothing meanwhile.
        family = {pid: title for pid, title in family.items() if "Agent" not in title}
        [folder] = set(re.findall(r"/tmp/shattering-[0-9a-f]{12}", " ".join(family.values())))
        gone(family, 30)
        shutil.rmtree(folder, ignore_errors=True)
    else:
        began = time.monotonic()
        computed, _, interrupted_by = driver.end(20)
        assert time.monotonic() - began < 15
        assert interrupted_by == number and before <= computed < RUNS
    gone(family, 30)
    before = sweep.committed("store")
    computed, digest, _ = sweep.fork("local", "store", jobs=2).end(120)
    assert (computed, digest) == (RUNS - before, sweep.digest)


@pytest.fixture
def cluster(sweep: Sweep) -> Iterator[tuple[str, list[int]]]:
    """The address of a cluster of two nodes on loopback, and the process ids of their raylets."""
    script = (
        "import json, os, sys\n"
        "from ray.cluster_utils import Cluster\n"
        "os.makedirs('/tmp/ray', exist_ok=True)\n"  # where it notes the address, whatever its folder
        "node = dict(num_cpus=1, object_store_memory=100 << 20, include_dashboard=False)\n"
        "cluster = Cluster(initialize_head=True, head_node_args={**node, 'temp_dir': sys.argv[1]})\n"
        "nodes = [cluster.head_node, cluster.add_node(**node)]\n"
        "pids = [node.all_processes['raylet'][0].process.pid for node in nodes]\n"
        "print(json.dumps([cluster.address, pids]), flush=True)\n"
        "sys.stdin.read()\n"
        "cluster.shutdown()\n"
    )
    folder = Path("/tmp") / f"shattering-test-{os.urandom(4).hex()}"
    with (sweep.folder / "cluster.log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
        assert keeper.stdout is not None and keeper.stdin is not None
        line = keeper.stdout.readline()
        assert line, (sweep.folder / "cluster.log").read_text()
        family = set(below(keeper.pid))
        try:
            yield tuple(json.loads(line))
        finally:
            keeper.stdin.close()
            keeper.wait(30)
            keeper.stdout.close()
            gone(family, 20)
            shutil.rmtree(folder, ignore_errors=True)


@needs_ray
def test_ray_survives_the_loss_of_a_node(sweep: Sweep, cluster: tuple[str, list[int]]) -> None:
    """Two nodes share the sweep; a worker is killed, then a node with all that runs on it."""
    address, raylets = cluster
    driver = sweep.fork("ray", "store", address=address)
    first, second = until(lambda: all(found := [training(pid) for pid in raylets]) and found)
    os.kill(first[0], signal.SIGKILL)
    until(lambda: sweep.committed("store") >= 2 and training(raylets[1]))
    os.kill(raylets[1], signal.SIGKILL)
    assert sweep.committed("store") < RUNS
    computed, digest, _ = driver.end(150)
    assert (computed, digest) == (RUNS, sweep.digest)
    assert sweep.committed("store") == RUNS and second
    assert "2 nodes, 2 processors" in sweep.heard("store")
    no_secret(sweep.folder / "store")


@needs_ray
def test_a_cluster_that_is_not_there_is_told_in_one_sentence(sweep: Sweep) -> None:
    def task() -> list[str]:
        planned = plan_study("tiny-study")
        try:
            engine = choose_engine("ray", planned, address="127.0.0.1:9")
            run_plan(planned, out=sweep.folder / "store", quiet=True, engine=engine)
        except StoreError as error:
            return [error.identifier, error.message]
        return []

    identifier, message = fork_driver(task).end(90)
    assert identifier == "ray-unreachable" and "127.0.0.1:9" in message and "ray start --head" in message


@needs_submitit
def test_slurm_leaves_what_is_finished_to_the_next_driver(sweep: Sweep) -> None:
    """Through submitit's local executor: the driver is killed, its tasks go on, and the next takes their work."""
    options = {"jobs": 1, "slurm": ["cluster=local", "runs_per_task=5"]}
    driver = sweep.fork("slurm", "store", **options)
    spool = sweep.folder / "store" / "slurm" / "results" / "runs"
    until(lambda: sweep.committed("store"))
    tasks = set(below(driver.pid))
    os.kill(driver.pid, signal.SIGKILL)
    until(lambda: not driver.alive())
    before = sweep.committed("store")
    assert before < RUNS
    gone(tasks, 120)
    kept = {path.name for path in (sweep.folder / "store" / "runs").iterdir()}
    assert sweep.committed("store") == before and len(kept | {path.name for path in spool.iterdir()}) == RUNS
    began = time.monotonic()
    computed, digest, _ = sweep.fork("slurm", "store", **options).end(120)
    assert (computed, digest) == (RUNS - before, sweep.digest)
    assert time.monotonic() - began < 60 and list(spool.iterdir()) == []
    assert "Submitted" not in sweep.heard("store").split("Submitted", 2)[-1]
    no_secret(sweep.folder / "store" / "runs")


@needs_submitit
def test_slurm_is_stopped_and_resumed(sweep: Sweep) -> None:
    options = {"jobs": 1, "slurm": ["cluster=local", "runs_per_task=5"]}
    driver = sweep.fork("slurm", "store", **options)
    until(lambda: sweep.committed("store"))
    tasks = set(below(driver.pid))
    os.kill(driver.pid, signal.SIGINT)
    computed, _, interrupted_by = driver.end(20)
    assert interrupted_by == signal.SIGINT and computed < RUNS
    gone(tasks, 15)
    again, digest, _ = sweep.fork("slurm", "store", **options).end(120)
    assert (computed + again, digest) == (RUNS, sweep.digest)
    assert [path.name for path in (sweep.folder / "store" / "slurm").iterdir() if path.name != "results"] != []
