"""A sweep of six tiny runs whose results follow from their specs, and the means to run it in processes that may die."""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from shattering.core import io
from shattering.core.disk import Disk, replace_disk
from shattering.core.plan import Plan
from shattering.core.record import Record, Status, results_digest
from shattering.core.spec import RunSpec
from shattering.core.study import DataFacts, Request
from shattering.store.store import Store

SPECS = tuple(RunSpec(seed=seed) for seed in range(6))
DIGESTS = [spec.digest for spec in SPECS]
PLAN = Plan("sweep", Request("smoke", DataFacts("tiny", 4, 4, (1,), 2, "f" * 64)), SPECS)
GALLERY = [{"corruption": "true_labels", "summary": "nothing", "test_set": "as it is", "examples": []}]


def result_of(spec: RunSpec) -> tuple[Record, bytes | None]:
    """The record and the weights that computing ``spec`` always gives."""
    numbers = struct.unpack("<4d", hashlib.sha256(spec.digest.encode()).digest())
    last = float("nan") if spec.seed == 3 else numbers[0]
    rows = ({"step": 0, "train_loss": numbers[1]}, {"step": 2, "train_loss": last, "test_loss": float("inf")})
    status = (Status.DONE, Status.NOT_FITTED, Status.DIVERGED)[spec.seed % 3]
    weights = None if spec.seed % 2 else hashlib.sha256(b"weights" + spec.digest.encode()).digest()
    hashed = hashlib.sha256(weights).hexdigest() if weights else None
    return Record(spec, status, rows, {"steps_to_fit": None, "steps": 2}, {"train_loss": "1"}, hashed), weights


UNDISTURBED = results_digest(result_of(spec)[0] for spec in SPECS)


def compute(store: Store, digest: str, committed: Callable[[str], None] = lambda digest: None) -> bool | None:
    """One run under its lease, with checkpoints and, for one run, a failure first; none where others have it."""
    lease = store.lease(digest)
    if lease is None:
        return None
    with lease:
        if digest not in store.missing([digest]):
            return False
        record, weights = result_of(SPECS[DIGESTS.index(digest)])
        checkpoints = store.checkpoints(digest)
        start = next((step for step, _ in checkpoints.newest()), 0)
        for step in range(start + 1, 4 if record.spec.seed == 0 else 2):
            checkpoints.save(step, f"{digest} {step}".encode())
        if record.spec.seed == 1 and store.failure(digest) is None:
            store.put_failure(Record(record.spec, Status.FAILED, error={"identifier": "test", "message": "once"}))
        done = store.put(record, lease, weights)
        if done:
            committed(digest)
        return done


def sweep(root: Path, committed: Callable[[str], None] = lambda digest: None) -> None:
    """Computes what is missing."""
    store = Store.open(root, write=True)
    store.save_plan(PLAN)
    store.save_gallery(PLAN, GALLERY)
    for digest in store.missing(DIGESTS):
        if compute(store, digest, committed) is None:
            raise AssertionError(f"somebody else has the lease of {digest}")


def in_child(task: Callable[[Callable[[str], None]], None], disk: Disk | None = None) -> tuple[int, list[str]]:
    """Runs ``task(tell)`` in a forked process, on ``disk``.

    Returns:
        The exit code (minus the signal's number where a signal killed it, 99 after an exception), and the lines told.
    """
    reading, writing = os.pipe()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from Python 3.12 on, forking warns where the test runner has threads
        child = os.fork()
    if child == 0:
        code = 99
        try:
            os.close(reading)
            if disk is not None:
                replace_disk(disk)
            task(lambda line: (os.write(writing, f"{line}\n".encode()), None)[1])
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as told:
        lines = told.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), lines


def marks(root: Path) -> dict[str, tuple[int, int]]:
    """Identity and time of change of each committed run: they differ if it is written again."""
    runs = root / "runs"
    paths = [run / "DONE" for run in runs.iterdir()] if runs.is_dir() else []
    return {path.parent.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def resume_and_compare(root: Path, replay: str) -> Store:
    """Continues an interrupted sweep, and demands what an undisturbed one gives. Returns the store, for reading."""
    before = marks(root)
    code, computed = in_child(lambda tell: sweep(root, tell), disk=UnsyncedDisk())
    assert code == 0, f"the sweep does not resume; replay: {replay}"
    store = Store.open(root, write=False)
    assert store.check() == [], f"replay: {replay}"
    records = store.records(DIGESTS)
    assert results_digest(records) == UNDISTURBED, f"replay: {replay}"
    assert sorted(store.all_digests()) == sorted(DIGESTS), f"replay: {replay}"
    after = marks(root)
    kept = [digest for digest in before if digest not in computed]
    assert {digest: before[digest] for digest in kept} == {digest: after[digest] for digest in kept}, replay
    assert len(computed) + len(kept) == len(DIGESTS), f"replay: {replay}"
    assert store.plans() == [PLAN] and store.gallery(PLAN) == GALLERY, f"replay: {replay}"
    remains = [str(path) for path in root.rglob("*") if path.name.startswith(io.SCRATCH)]
    remains += [str(path) for name in ("checkpoints", "failures", "tmp") for path in (root / name).iterdir()]
    assert remains == [], f"replay: {replay}"
    return store


class UnsyncedDisk(Disk):
    """The real disk without syncs, which only cost time where nobody pulls the plug."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_folder(self, path: Path) -> None:
        pass
