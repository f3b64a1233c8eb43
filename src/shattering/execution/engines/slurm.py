"""Slurm, through submitit: chunks of a sweep as the tasks of job arrays, on a file system that all nodes share.

A task puts each record, the moment it is finished, into a small store of its own, ``slurm/results`` inside the sweep's;
the driver looks in, commits what it finds to the sweep's store, and takes it away. What is there when a driver dies is
committed by the next one, without training again.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shattering.core import io
from shattering.core.errors import SpecError, StoreError
from shattering.execution.engines.chunks import Ledger, in_flight_limit
from shattering.execution.engines.remote import Origin, absolute, do_jobs, marked, settle, threads_of
from shattering.execution.local import STOP_SECONDS, TRIES
from shattering.execution.messages import Answered, Broke, Ended, Interrupted, Job, Message
from shattering.store.store import Store

LOOK_SECONDS = 1.0
"""Between two looks of the driver into the shared folder, and of a task whether it is to stop."""

TASKS = 64
"""Tasks that a sweep is divided among where the number of --jobs is not given."""

DEFAULTS: dict[str, Any] = {"name": "shattering", "timeout_min": 60}
_SHARED = {
    "timeout_min": int,
    "mem_gb": float,
    "nodes": int,
    "cpus_per_task": int,
    "gpus_per_node": int,
    "name": str,
}
_OURS = {"cluster": str, "runs_per_task": int}
_INNOCENT = ("TIMEOUT", "PREEMPTED", "NODE_FAIL", "REQUEUED", "CANCELLED")


def require_submitit() -> None:
    """Raises `StoreError` where submitit is missing."""
    _submitit()


def _submitit() -> Any:
    try:
        return importlib.import_module("submitit")
    except ImportError:
        raise StoreError(
            "submitit-missing",
            "--engine slurm needs submitit, which is not installed; type `python -m pip install -c constraints.txt "
            "'shattering[slurm]'`.",
        ) from None


def settings_of(assignments: Sequence[str]) -> dict[str, Any]:
    """What ``--slurm KEY=VALUE`` says.

    Args:
        assignments: ``runs_per_task``; ``cluster=local`` for a trial without Slurm; submitit's own ``timeout_min``,
            ``mem_gb``, ``cpus_per_task``, ``gpus_per_node``, ``name``; or any of Slurm's, such as ``partition``.

    Raises:
        SpecError: an assignment has no ``=``, is given twice, or its value is no number where one is wanted.
    """
    settings: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise SpecError("slurm-malformed", f"--slurm {assignment!r} has no key or no '='; write --slurm KEY=VALUE.")
        if key in settings:
            raise SpecError("slurm-duplicate", f"--slurm {assignment} sets {key!r} a second time; keep one.")
        kind = {**_SHARED, **_OURS}.get(key, str)
        try:
            settings[key] = kind(value)
        except ValueError:
            raise SpecError("slurm-wrong-value", f"--slurm {assignment}: {key} wants a number; correct it.") from None
        if kind is int and settings[key] < 1:
            raise SpecError("slurm-wrong-value", f"--slurm {assignment}: {key} must be at least 1; correct it.")
    return settings


@dataclass(frozen=True, eq=False)
class SlurmEngine:
    """Carries out jobs as tasks of Slurm's job arrays.

    Args:
        settings: from `settings_of`.
        out: folder of the sweep's store.
        jobs: tasks that run at the same time; none: as Slurm sees fit.
        tell: hears about submissions.
    """

    settings: Mapping[str, Any]
    out: Path
    jobs: int | None = None
    tell: Callable[[str], None] = lambda text: None

    def __call__(
        self,
        take: Callable[[], Job | None],
        unfinished: Callable[[], bool],
        *,
        workers: int,
        should_stop: Callable[[], bool] = lambda: False,
        tries: int = TRIES,
    ) -> Generator[Message, None, None]:
        """As `shattering.execution.local.run_jobs`; ``workers`` is ignored.

        Raises:
            StoreError: nothing can be submitted, or a task could not begin.
        """
        with ExitStack() as stack:
            sweep = _Sweep(self, Ledger(tries), stack)
            yield from sweep.messages(take, unfinished, should_stop)


@dataclass(eq=False)
class _Chunk:
    jobs: dict[str, Job]
    size: int
    handle: Any


class _Sweep:
    """The driver's side of one sweep."""

    def __init__(self, engine: SlurmEngine, ledger: Ledger, stack: ExitStack) -> None:
        self.engine, self.ledger, self.stack = engine, ledger, stack
        self.submitit = _submitit()
        self.limit = in_flight_limit()
        self.chunks: list[_Chunk] = []
        root = engine.out.resolve()
        self.origin = Origin.here(stack.enter_context(marked(root)))
        self.root = root
        self.spool = Store.open(root / "slurm" / "results", write=True)
        # What an earlier driver committed, and had no time to remove, too.
        self.taken = set(io.names(self.spool.root / "runs")) & set(io.names(root / "runs"))
        self.folder = root / "slurm" / f"sweep-{os.urandom(6).hex()}"

    def messages(
        self, take: Callable[[], Job | None], unfinished: Callable[[], bool], should_stop: Callable[[], bool]
    ) -> Iterator[Message]:
        stop_by = math.inf
        clean = False
        try:
            while True:
                if should_stop() and math.isinf(stop_by):
                    stop_by = time.monotonic() + STOP_SECONDS
                    self._ask_to_stop()
                if math.isinf(stop_by):
                    yield from self._hand_out(take)
                if not self.chunks and (stop_by < math.inf or not (self.ledger.again or unfinished())):
                    yield from (Interrupted(job.key) for job in self.ledger.again)
                    clean = stop_by == math.inf
                    for key in sorted(self.taken):
                        self._forget(key)
                    return
                yield from self._look(stop_by < math.inf)
                if time.monotonic() > stop_by:
                    for chunk in self.chunks:
                        yield from (Interrupted(key) for key in chunk.jobs)
                    return
                time.sleep(LOOK_SECONDS / 2)
        finally:
            self._leave(clean)

    def _hand_out(self, take: Callable[[], Job | None]) -> Iterator[Message]:
        """Submits all there is as one array, once most of the last one has ended."""
        flying = sum(len(chunk.jobs) for chunk in self.chunks)
        if flying > self.limit // 2:
            return
        lone = list(self.ledger.again)
        self.ledger.again.clear()
        jobs: list[Job] = []
        while flying + len(lone) + len(jobs) < self.limit:
            job = take()
            if job is None:
                break
            left = self._left(job)
            if left is None:
                jobs.append(job)
            else:
                yield left
                self._forget(job.key)
        size = self.engine.settings.get("runs_per_task") or math.ceil(
            len(jobs) / (4 * (self.engine.jobs or TASKS // 4))
        )
        parts = [jobs[start : start + size] for start in range(0, len(jobs), max(1, size))]
        if lone or parts:
            self._submit([[job] for job in lone] + parts)

    def _submit(self, parts: list[list[Job]]) -> None:
        settings = dict(self.engine.settings)
        cluster = settings.pop("cluster", None)
        settings.pop("runs_per_task", None)
        threads, on_gpu = threads_of([job for part in parts for job in part])
        given = {**DEFAULTS, "cpus_per_task": threads, **({"gpus_per_node": 1} if on_gpu else {})}
        given |= {key if key in _SHARED else f"slurm_{key}": value for key, value in settings.items()}
        if self.engine.jobs is not None:
            given.setdefault("slurm_array_parallelism", self.engine.jobs)
        try:
            executor = self.submitit.AutoExecutor(self.folder / "submitit", cluster=cluster)
            executor.update_parameters(**given)
            sent = [[absolute(job) for job in part] for part in parts]
            work = _Work(self.origin, threads, str(self.spool.root), str(self.folder))
            handles = executor.map_array(work, sent)
        except (NameError, AssertionError) as error:
            told = str(error).strip().split("\n")[0].rstrip(".")
            raise SpecError("slurm-setting", f"A setting of --slurm was refused: {told}; correct it.") from error
        except Exception as error:
            told = str(error).strip().split("\n")[0].rstrip(".")[:300]
            raise StoreError(
                "slurm-not-submitted", f"Nothing could be submitted to Slurm ({told}); run this where sbatch works."
            ) from error
        self.chunks += [
            _Chunk({job.key: job for job in part}, len(part), handle)
            for part, handle in zip(parts, handles, strict=True)
        ]
        runs = sum(map(len, parts))
        self.engine.tell(f"Submitted {runs} runs in {len(parts)} tasks (first job {handles[0].job_id}).")

    def _look(self, stopping: bool) -> Iterator[Message]:
        """Takes what the tasks have left, then looks which of them have ended."""
        # Asked first: what an ended task had to say is then in the folder for certain.
        ended = [self._ended(chunk) for chunk in self.chunks]
        done, said = set(io.names(self.spool.root / "runs")), set(io.names(self.folder / "said"))
        for chunk, over in zip(list(self.chunks), ended, strict=True):
            yield from self._take_up(chunk, done, said)
            if not over:
                continue
            self.chunks.remove(chunk)
            if not chunk.jobs:
                continue
            if stopping:
                yield from (Interrupted(key) for key in chunk.jobs)
                continue
            state = str(chunk.handle.state).split(" ")[0]
            innocent = any(state.startswith(known) for known in _INNOCENT)
            advice = f"see {self.folder / 'submitit'}, or raise the time and memory with --slurm"
            yield from self.ledger.worker_lost(
                chunk.jobs.values(),
                f"ended in Slurm with the state {state}",
                advice,
                alone=chunk.size == 1 and not innocent,
                identifier="run-crashed",
            )

    def _take_up(self, chunk: _Chunk, done: set[str], said: set[str]) -> Iterator[Message]:
        for key, job in list(chunk.jobs.items()):
            message: Message | None = None
            if key in done:
                message = self._left(job)
            elif _file(key) in said:
                message = _read(self.folder / "said" / _file(key), key)
            if message is not None:
                del chunk.jobs[key]
                yield message
                self._forget(key)

    def _left(self, job: Job) -> Message | None:
        """The run's outcome, if it is in the shared folder."""
        if job.kind != "run":
            return None
        record = self.spool.get(job.key, examples=True)
        weights = self.spool.weights(job.key) if record is not None else None
        if record is None or (job.keep_weights and weights is None):
            return None
        estate = None if job.leaves is None else self.spool.estates.get(job.key, record.weights_sha256)
        if job.leaves is not None and estate is None and record.weights_sha256 is not None:
            return None
        return Ended(job.key, record, weights if job.keep_weights else None, estate)

    def _forget(self, key: str) -> None:
        """Removes what was taken up, but a record only when the driver has it on the disk, which may take a moment."""
        self.taken.add(key)
        with suppress(StoreError):
            for name in [name for name in self.taken if (self.root / "runs" / name).is_dir()]:
                io.remove(self.spool.root / "estates" / name)
                io.remove(self.spool.root / "runs" / name)
                self.taken.remove(name)
            io.remove(self.folder / "said" / _file(key))

    def _ended(self, chunk: _Chunk) -> bool:
        try:
            return bool(chunk.handle.done())
        except Exception:  # the scheduler does not answer; ask again
            return False

    def _ask_to_stop(self) -> None:
        io.write_file(self.folder / "stop", b"")
        for chunk in self.chunks:
            if str(chunk.handle.state).startswith("PENDING"):
                with suppress(Exception):
                    chunk.handle.cancel(check=False)

    def _leave(self, clean: bool) -> None:
        for chunk in self.chunks:
            with suppress(Exception):
                chunk.handle.cancel(check=False)
        if clean:
            with suppress(StoreError):
                io.remove(self.folder)


@dataclass(frozen=True)
class _Work:
    """What a task does; submitit carries it there."""

    origin: Origin
    threads: int
    spool: str
    folder: str

    def __call__(self, jobs: Sequence[Job]) -> int:
        folder = Path(self.folder)
        spool = Store.beside(Path(self.spool))
        looked, stop = -math.inf, False

        def stopped() -> bool:
            nonlocal looked, stop
            if time.monotonic() - looked > LOOK_SECONDS:
                looked, stop = time.monotonic(), (folder / "stop").exists()
            return stop

        def leave(message: Ended) -> None:
            if message.estate is not None and message.record.weights_sha256 is not None:
                steps = next(job.leaves for job in jobs if job.key == message.key)
                spool.estates.leave(message.key, steps or (), message.record.weights_sha256, message.estate)

        def tell(message: Message) -> None:
            if isinstance(message, Ended):
                with ExitStack() as stack:
                    lease = spool.lease(message.key)
                    if lease is not None:  # else another task is just writing the same
                        leave(message)
                        spool.put(message.record, stack.enter_context(lease), message.weights)
            elif isinstance(message, Answered | Broke | Interrupted):
                _write(folder / "said", message)

        unfit = settle(self.origin, self.threads)
        if unfit is not None:
            for job in jobs:
                tell(Broke(job.key, "slurm-worker-unfit", f"{unfit.capitalize()}.", StoreError.exit_code))
            return 0
        do_jobs(jobs, self.origin, None, alive=lambda: None, stopped=stopped, tell=tell)
        return len(jobs)


def _file(key: str) -> str:
    return f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _write(folder: Path, message: Answered | Broke | Interrupted) -> None:
    tree: dict[str, Any] = {"kind": type(message).__name__.lower()}
    if isinstance(message, Broke):
        tree |= {"identifier": message.identifier, "message": message.message, "exit_code": message.exit_code}
    elif isinstance(message, Answered):
        tree["facts"] = message.facts
    io.write_file(folder / _file(message.key), json.dumps(tree).encode())


def _read(path: Path, key: str) -> Message | None:
    data = io.read_bytes(path)
    if data is None:
        return None
    tree = json.loads(data)
    if tree["kind"] == "answered":
        return Answered(key, tree["facts"])
    if tree["kind"] == "interrupted":
        return Interrupted(key)
    if tree["identifier"] == "slurm-worker-unfit":
        raise StoreError(tree["identifier"], tree["message"])
    return Broke(key, tree["identifier"], tree["message"], tree["exit_code"])
