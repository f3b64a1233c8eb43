"""The one process that hands out runs and writes their records."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from typing import Protocol

from shattering.core.errors import EXIT_RUNS_FAILED, DataError, StoreError
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.execution.local import POLL_SECONDS, run_jobs
from shattering.execution.messages import Answered, Broke, Ended, Interrupted, Job, Message, Saw
from shattering.execution.plan import Planned, error_of
from shattering.execution.progress import Display
from shattering.execution.signals import StopRequest
from shattering.execution.start import owes, steps_left
from shattering.execution.ways import Ways
from shattering.store.leases import Lease
from shattering.store.store import Store

WRITERS = 8
"""Records written at the same time: a disk that is waited for by eight takes little longer than for one."""

UNWRITTEN = 32
"""Records that may wait for it at most, so that memory is bounded."""


class Listener(Protocol):
    """Whom a run tells how it goes, and who knows whether the user asked to stop."""

    stop: StopRequest

    def hear(self, message: Message) -> None: ...
    def tick(self) -> None: ...


CarryOut = Callable[[Job, Listener], Message]
"""Does one run here and now, and returns what became of it."""


class Engine(Protocol):
    """Where jobs are done: processes of this machine, or other machines; see `local.run_jobs`."""

    def __call__(
        self,
        take: Callable[[], Job | None],
        unfinished: Callable[[], bool],
        *,
        workers: int,
        should_stop: Callable[[], bool] = ...,
        tries: int = ...,
    ) -> Generator[Message, None, None]: ...


def concerns_all(broke: Broke) -> bool:
    """Whether what broke one run would break the others: the data, or the store's disk."""
    return broke.exit_code == DataError.exit_code or broke.identifier.startswith("store-")


class Driver:
    """Hands out the runs of a plan that are missing, and writes the records of those that end.

    Records are written by a few threads: each write waits for the disk several times, and the waits of several cost
    little more than those of one. A run is leased until its record is on the disk.

    Args:
        planned: the plan.
        store: open for writing.
        missing: the runs to be done, by name.
        keep_weights: whether to keep the final weights.
        display: who is told.
        stop: whether the user asked to stop.
        more: asked for further runs whenever all have ended, until it has none.
        measure: whether there are workers that can measure which way of making updates is the fastest.
    """

    def __init__(
        self,
        planned: Planned,
        store: Store,
        missing: list[str],
        keep_weights: bool,
        display: Display,
        stop: StopRequest,
        more: Callable[[], Sequence[RunSpec]] | None = None,
        measure: bool = True,
    ) -> None:
        self.planned, self.store, self.keep_weights = planned, store, keep_weights
        self.display, self.stop = display, stop
        self.specs = dict(zip(planned.plan.digests, planned.plan.specs, strict=True))
        # Longest first: the last run to end is then a short one, and no core idles for long.
        # Parents before all others.
        parents = {run.digest for spec in planned.plan.specs for run in spec.direct_parents}
        costs = {key: (key in parents, planned.expected_cost(self.specs[key])) for key in missing}
        self.waiting = deque(sorted(missing, key=lambda key: costs[key], reverse=True))
        self.leases: dict[str, Lease] = {}
        self.writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="shattering-writer")
        self.unwritten: dict[Future[bool], Record] = {}
        self.leaves = steps_left(planned.plan.specs)
        self.parents: dict[str, tuple[tuple[str, bool], ...]] = {}
        self.failed: set[str] = set()
        self.computed = 0
        self.more = more
        self.ways = Ways(planned, store, measure=measure)

    def run(self, workers: int, engine: Engine = run_jobs) -> int:
        """Has an engine do the runs, with so many workers; returns how many of them ended."""
        with ExitStack() as stack:
            stack.callback(self._release_all)
            stack.enter_context(self.writers)  # left before: every record is on the disk, or has failed to be written
            messages = engine(self._take, self._unfinished, workers=workers, should_stop=lambda: bool(self.stop))
            stack.enter_context(closing(messages))  # left first: no worker outlives the lease of its run
            for message in messages:
                self.hear(message)
            self._settle(len(self.unwritten))
        return self.computed

    def run_here(self, carry_out: CarryOut) -> int:
        """Does the runs here, one after the other; returns how many of them ended."""
        with ExitStack() as stack:
            stack.callback(self._release_all)
            stack.enter_context(self.writers)
            while self._unfinished() and not self.stop:
                job = self._take()
                if job is None:  # somebody else computes all that is left
                    time.sleep(POLL_SECONDS)
                else:
                    self.hear(carry_out(job, self))
            self._settle(len(self.unwritten))
        return self.computed

    def hear(self, message: Message) -> None:
        """Acts on what became of a run."""
        match message:
            case Saw(key, row):
                self.display.saw(self.specs[key], row)
            case Ended(key, record):
                self.unwritten[self.writers.submit(self._write, message, self.leases[key])] = record
                self._settle(len(self.unwritten) - UNWRITTEN)
            case Answered(key, speeds):
                self.ways.measured(key, speeds)
            case Broke() if concerns_all(message):
                raise error_of(message)
            case Broke(key) if key in self.ways.shapes:
                self.ways.gave_up(key)
            case Broke():
                self._failed(message)
            case Interrupted(key):
                self._release(key)

    def tick(self) -> None:
        """Time passes."""
        self.display.tick()

    def _take(self) -> Job | None:
        """The next run that nobody else computes; runs committed by others meanwhile are ticked off."""
        self._settle()
        measurement = self.ways.job()
        if measurement is not None:
            return measurement
        for _ in range(len(self.waiting)):
            digest = self.waiting.popleft()
            if self._waits_for_parent(digest):
                continue
            way = self.ways.of(self.specs[digest])
            if way is None:  # it is being measured
                self.waiting.append(digest)
                continue
            lease = self.store.lease(digest)
            if lease is None:
                self.waiting.append(digest)
                continue
            if not self.store.missing([digest]) and not self._owes(digest):
                lease.finished = True
                lease.release()
                self.display.ended_elsewhere(self.specs[digest])
                continue
            self.leases[digest] = lease
            spec = self.specs[digest]
            self.display.began(spec)
            parent = self.store.get(spec.selection.parent.digest, examples=True) if spec.selection is not None else None
            return self.planned.job(
                "run",
                spec,
                store=self.store.root,
                keep_weights=self.keep_weights,
                parent=parent,
                way=way,
                start=self._start_of(spec),
                leaves=self.leaves.get(digest),
            )
        return None

    def _start_of(self, spec: RunSpec) -> bytes | None:
        """What the run that ``spec`` starts from has left."""
        record = None if spec.start is None else self.store.get(spec.start.parent.digest)
        return None if record is None else self.store.estates.get(record.digest, record.weights_sha256)

    def _owes(self, digest: str) -> bool:
        """Whether a run that has ended lacks weights that another one starts from."""
        return digest in self.leaves and owes(self.store, digest, self.leaves[digest])

    def _write(self, ended: Ended, lease: Lease) -> bool:
        """Puts a run into the store, what it leaves to others before its record: whoever sees that sees both."""
        if ended.estate is None:
            return self.store.put(ended.record, lease, ended.weights)
        record, before = ended.record, self.store.get(ended.key)
        if before is not None and before.weights_sha256 != record.weights_sha256:
            raise StoreError(
                "store-other-weights",
                f"The run {ended.key[:12]}, repeated for its weights, ended with others than its record tells of (made "
                "on another machine or in another way); choose a new --out.",
            )
        assert record.weights_sha256 is not None
        self.store.estates.leave(ended.key, self.leaves[ended.key], record.weights_sha256, ended.estate)
        return self.store.put(record, lease, ended.weights)

    def _waits_for_parent(self, digest: str) -> bool:
        """Puts a run back whose parents have not ended, and gives it up where one of them failed."""
        for parent, starts in self._parents_of(digest):
            if not self.store.missing([parent]) and not (starts and self._owes(parent)):
                continue
            if parent in self.failed:
                what = "weights it starts from" if starts else "examples it selects from"
                told = f"The run {parent[:12]}, whose {what}, failed; mend that one first."
                self._failed(Broke(digest, "run-parent-failed", told, EXIT_RUNS_FAILED))
                return True
            if parent not in self.waiting and parent not in self.leases:  # whoever ended it kept no weights
                self.waiting.append(parent)
            self.waiting.append(digest)
            return True
        return False

    def _parents_of(self, digest: str) -> tuple[tuple[str, bool], ...]:
        """The names of a run's parents, and of each whether the run starts from its weights."""
        if digest not in self.parents:
            spec = self.specs[digest]
            named = ((part, part is spec.start) for part in (spec.selection, spec.start) if part is not None)
            self.parents[digest] = tuple((part.parent.digest, starts) for part, starts in named)
        return self.parents[digest]

    def _unfinished(self) -> bool:
        self._settle(0 if self.waiting else len(self.unwritten))
        if not self.waiting and self.more is not None:
            further = {spec.digest: spec for spec in self.more()}
            self.specs |= further
            self.waiting.extend(self.store.missing(further))
            self.display.planned_more([further[key] for key in self.waiting])
        self.display.tick()
        return bool(self.waiting)

    def _settle(self, at_least: int = 0) -> None:
        """Sees to the records that have been written, waiting until there are ``at_least`` so many of them."""
        while at_least > 0 and sum(future.done() for future in self.unwritten) < at_least:
            wait([future for future in self.unwritten if not future.done()], return_when=FIRST_COMPLETED)
        for future in [future for future in self.unwritten if future.done()]:
            record = self.unwritten.pop(future)
            key = record.digest
            try:
                if future.result():
                    self.computed += 1
                elif self.store.missing([key]):
                    self.waiting.append(key)  # the lease was lost, and whoever took it has not committed yet
                    continue
            finally:
                self._release(key)
            self.display.ended(self.specs[key], record.status)

    def _failed(self, broke: Broke) -> None:
        spec = self.specs[broke.key]
        error = {"identifier": broke.identifier, "message": broke.message}
        self.failed.add(broke.key)
        self.store.put_failure(Record(spec=spec, status=Status.FAILED, error=error))
        self._release(broke.key)
        self.display.ended(spec, Status.FAILED, broke.message)

    def _release(self, key: str) -> None:
        lease = self.leases.pop(key, None)
        if lease is not None:
            lease.release()

    def _release_all(self) -> None:
        for key in list(self.leases):
            self._release(key)
