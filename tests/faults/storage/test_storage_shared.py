"""Several processes on one store: every run is committed once, whoever is stopped or killed."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import sweep as tiny
from sweep import SPECS, in_child, result_of

from shattering.core import io
from shattering.core.disk import Disk, replace_disk
from shattering.core.record import results_digest
from shattering.core.spec import RunSpec
from shattering.store.store import Store

DIGEST = SPECS[0].digest
RECORD, WEIGHTS = result_of(SPECS[0])


def start(task):
    """Forks ``task(say, hear)``; returns the process, a function that hears its next line, and one that says one."""
    there, back = os.pipe(), os.pipe()

    def child(tell):
        os.close(there[1])
        os.close(back[0])
        say = lambda line: os.write(back[1], f"{line}\n".encode())  # noqa: E731
        task(say, lambda: os.read(there[0], 1))

    process = fork(child)
    os.close(back[1])
    os.close(there[0])

    def hear() -> str:
        line = b""
        while (byte := os.read(back[0], 1)) not in (b"", b"\n"):
            line += byte
        return line.decode()

    return process, hear, lambda: os.write(there[1], b".")


def fork(task) -> int:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        process = os.fork()
    if process:
        return process
    code = 99
    try:
        task(None)
        code = 0
    finally:
        os._exit(code)


def finish(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def open_store(root: Path, stale_seconds: float = 1e9) -> Store:
    return Store.open(root, write=True, stale_seconds=stale_seconds, beat_seconds=0.02)


def hold(root: Path):
    """A process that takes the lease, then, when told, says whether it is valid and what committing gives."""

    def task(say, hear):
        store = open_store(root)
        lease = store.lease(DIGEST)
        say(f"has {lease.fence}")
        hear()
        say(f"valid {lease.valid()}, committed {store.put(RECORD, lease, WEIGHTS)}")
        lease.release()

    return start(task)


def poll(store: Store, patience: float = 60.0):
    """Asks for the lease until it comes."""
    end = time.monotonic() + patience
    while (lease := store.lease(DIGEST)) is None:
        assert time.monotonic() < end, "nobody lets go of the lease"
        time.sleep(0.01)
    return lease


def test_four_processes_commit_each_run_once(tmp_path, monkeypatch):
    specs = tuple(RunSpec(seed=seed) for seed in range(24))
    monkeypatch.setattr(tiny, "SPECS", specs)
    monkeypatch.setattr(tiny, "DIGESTS", [spec.digest for spec in specs])
    root = tmp_path / "store"

    def worker(seed):
        def task(say, hear):
            chance = random.Random(seed)
            store = open_store(root)
            while missing := store.missing(tiny.DIGESTS):
                if tiny.compute(store, chance.choice(missing), say) is None:
                    time.sleep(0.001)
            say("finished")

        return start(task)

    workers = [worker(seed) for seed in range(4)]
    committed = []
    for process, hear, _ in workers:
        while (line := hear()) not in ("finished", ""):
            committed.append(line)
        assert finish(process) == 0
    assert sorted(committed) == sorted(tiny.DIGESTS)
    store = Store.open(root, write=False)
    assert store.check() == []
    assert results_digest(store.records(tiny.DIGESTS)) == results_digest(result_of(spec)[0] for spec in specs)


def test_many_processes_make_the_store_at_once(tmp_path):
    def opener(say, hear):
        hear()
        open_store(tmp_path / "store")
        say("open")

    for _ in range(5):
        openers = [start(opener) for _ in range(6)]
        for _, _, go in openers:
            go()
        for process, hear, _ in openers:
            assert hear() == "open"
            assert finish(process) == 0
        io.remove(tmp_path / "store")


def test_living_holder_keeps_the_lease(tmp_path):
    process, hear, go = hold(tmp_path)
    assert hear() == "has 1"
    store = open_store(tmp_path, stale_seconds=0.5)
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        assert store.lease(DIGEST) is None
        time.sleep(0.01)
    go()
    assert hear() == "valid True, committed True"
    assert finish(process) == 0


def test_killed_holder_is_followed_at_once(tmp_path):
    process, hear, _ = hold(tmp_path)
    assert hear() == "has 1"
    os.kill(process, signal.SIGKILL)
    finish(process)
    with open_store(tmp_path).lease(DIGEST) as lease:
        assert lease.fence == 2 and lease.valid()


def test_stopped_holder_is_replaced_by_one_and_cannot_commit(tmp_path):
    process, hear, go = hold(tmp_path)
    assert hear() == "has 1"
    os.kill(process, signal.SIGSTOP)

    def waiter(say, ready):
        store = open_store(tmp_path, stale_seconds=0.3)
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            lease = store.lease(DIGEST)
            if lease is not None:
                say(f"has {lease.fence}")
                ready()
                say(f"committed {store.put(RECORD, lease, WEIGHTS)}")
                lease.release()
                return
            time.sleep(0.005)
        say("waited")

    waiters = [start(waiter) for _ in range(4)]
    said = [hear_one() for _, hear_one, _ in waiters]
    assert sorted(said) == ["has 2", "waited", "waited", "waited"]
    os.kill(process, signal.SIGCONT)
    go()
    assert hear() == "valid False, committed False"
    assert finish(process) == 0
    assert not (tmp_path / "runs" / DIGEST).exists()

    for (child, hear_one, go_one), line in zip(waiters, said, strict=True):
        if line == "has 2":
            go_one()
            assert hear_one() == "committed True"
        assert finish(child) == 0
    store = Store.open(tmp_path, write=False)
    assert store.get(DIGEST).rows == RECORD.rows and store.check() == []


def test_holder_stopped_while_it_writes_cannot_commit(tmp_path):
    """Stopped after it asked for the first time whether its lease is valid, in the middle of its files."""

    class Stopping(Disk):
        def write(self, descriptor: int, data: memoryview) -> int:
            if b"weights.safetensors" in bytes(data):
                os.kill(os.getpid(), signal.SIGSTOP)
            return super().write(descriptor, data)

    def task(say, hear):
        store = open_store(tmp_path)
        lease = store.lease(DIGEST)
        replace_disk(Stopping())
        say(f"committed {store.put(RECORD, lease, WEIGHTS)}")
        lease.release()

    process, hear, _ = start(task)
    os.waitpid(process, os.WUNTRACED)
    store = open_store(tmp_path, stale_seconds=0.2)
    with poll(store) as lease:
        os.kill(process, signal.SIGCONT)
        assert hear() == "committed False"
        assert finish(process) == 0
        assert store.put(RECORD, lease, WEIGHTS)
    assert Store.open(tmp_path, write=False).check() == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_second_waiter_sees_that_the_first_took_over(tmp_path, monkeypatch):
    """Two waiters find the same heartbeat stale; the slower one is overtaken just before it gets its turn."""
    slow, quick = open_store(tmp_path, stale_seconds=0.0), open_store(tmp_path, stale_seconds=0.0)
    path = tmp_path / "locks" / f"{DIGEST}.lock"
    stopped = io.open_lock(path)
    assert io.try_lock(stopped, path)
    assert slow.lease(DIGEST) is None and quick.lease(DIGEST) is None
    taken, exclusive = [], io.exclusive

    def overtaken(place):
        monkeypatch.setattr(io, "exclusive", exclusive)
        taken.append(quick.lease(DIGEST))
        return exclusive(place)

    monkeypatch.setattr(io, "exclusive", overtaken)
    assert slow.lease(DIGEST) is None
    assert taken[0].valid() and taken[0].fence == 1
    taken[0].release()
    io.close(stopped)


def test_lock_file_removed_before_it_is_locked(tmp_path, monkeypatch):
    """The holder commits and removes the lock file after a waiter has opened it: a lock without a name is no lease."""
    store, try_lock = open_store(tmp_path), io.try_lock

    def too_late(descriptor, path):
        monkeypatch.setattr(io, "try_lock", try_lock)
        io.remove(path)
        return try_lock(descriptor, path)

    monkeypatch.setattr(io, "try_lock", too_late)
    with store.lease(DIGEST) as lease:
        assert lease.valid()
        assert open_store(tmp_path).lease(DIGEST) is None


def test_forked_child_neither_has_nor_keeps_the_lease(tmp_path):
    """A worker forked by the holder may outlive it; the lease must not."""

    def holder(say, hear):
        store = open_store(tmp_path)
        lease = store.lease(DIGEST)

        def worker(tell):
            say(f"worker {lease.valid()} {store.lease(DIGEST) is not None}")
            hear()

        fork(worker)
        time.sleep(60)

    process, hear, go = start(holder)
    assert hear() == "worker False False"
    os.kill(process, signal.SIGKILL)
    finish(process)
    with open_store(tmp_path).lease(DIGEST) as lease:
        assert lease.valid()
    go()


def test_clock_jumps_change_nothing(tmp_path, monkeypatch):
    """Ten years forward or back at every look at the clock: same results, and no lease of the living is taken."""
    years = 10 * 365 * 86400.0
    chance = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + chance.choice([-years, years]))
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * time.time()))
    code, computed = in_child(lambda tell: tiny.sweep(tmp_path / "store", tell))
    assert code == 0 and len(computed) == 6
    tiny.resume_and_compare(tmp_path / "store", "clock jumps, seed 0")
    store = open_store(tmp_path / "other", stale_seconds=5.0)
    with open_store(tmp_path / "other").lease(DIGEST):
        assert all(store.lease(DIGEST) is None for _ in range(20))


def test_order_of_checkpoints_does_not_follow_the_clock(tmp_path):
    checkpoints = open_store(tmp_path).checkpoints(DIGEST)
    for step in (9, 10):
        checkpoints.save(step, f"{step}".encode())
    for number, path in enumerate(sorted((tmp_path / "checkpoints" / DIGEST).iterdir(), reverse=True)):
        os.utime(path, (1e9 * number, 1e9 * number))
    assert list(checkpoints.newest()) == [(10, b"10"), (9, b"9")]


def test_one_openers_probe_is_not_taken_for_a_dead_writers_rest(tmp_path, monkeypatch):
    """Whoever cleans up while another tries whether the folder can be written to leaves the other's file alone."""
    unlink = io.disk.active.unlink

    def another_cleans_first(path):
        io.clean_scratch(tmp_path)
        unlink(path)

    monkeypatch.setattr(io.disk.active, "unlink", another_cleans_first)
    io.check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
