"""A plan carried out: leases, workers, commits, and what is left when somebody stops it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from shattering.core.errors import EXIT_RUNS_FAILED, DataError, SpecError
from shattering.core.plan import Plan
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.data.memory import available_bytes
from shattering.execution.estimate import Estimate, predict, shape_of
from shattering.execution.gallery import make_gallery
from shattering.execution.local import POLL_SECONDS, run_jobs
from shattering.execution.messages import Answered, Broke, Ended, Interrupted, Job, Message, Saw
from shattering.execution.plan import Planned, ask, error_of, learner_bytes, processors
from shattering.execution.progress import Display
from shattering.execution.signals import StopRequest, stop_on_signals
from shattering.store.leases import Lease
from shattering.store.store import Store


@dataclass(frozen=True, eq=False)
class Outcome:
    """A plan that has been carried out, or interrupted.

    Args:
        plan: what was planned.
        store: where its records are.
        seconds: wall-clock time of this call.
        computed: runs that ended during this call; the others were there before.
        interrupted_by: the signal that stopped it; none where it was not.
    """

    plan: Plan
    store: Store
    seconds: float
    computed: int
    interrupted_by: int | None


class Listener(Protocol):
    """Whom a run tells how it goes, and who knows whether the user asked to stop."""

    stop: StopRequest

    def hear(self, message: Message) -> None: ...
    def tick(self) -> None: ...


CarryOut = Callable[[Job, Listener], Message]
"""Does one run here and now, and returns what became of it."""


def run_plan(
    planned: Planned,
    *,
    out: Path = Path("runs"),
    jobs: int | None = None,
    keep_weights: bool = False,
    quiet: bool = False,
    carry_out: CarryOut | None = None,
) -> Outcome:
    """Runs whatever of a plan has no outcome yet, and commits each run as it ends.

    Several processes may carry out one plan in one store: each run is leased, so they share the work. Failed runs are
    tried again. An interrupt saves checkpoints; the same call continues from them.

    Args:
        planned: from `plan_study`.
        out: the store's folder.
        jobs: processes at most; none: one per core on the CPU, one on a GPU.
        keep_weights: whether to keep the final weights of the runs computed now.
        quiet: no progress on standard error.
        carry_out: does one run here and now, one after the other; none: processes of this machine do them.

    Raises:
        SpecError: the plan is for several processes that train together, and nobody has started them.
        StoreError: the store cannot be opened or written; what was committed before stays.
        DataError: the data are gone or have changed since they were planned with.
    """
    began = time.monotonic()
    plan = planned.plan
    if carry_out is None:
        _require_alone(planned)
    with stop_on_signals() as stop:
        store = Store.open(Path(out), write=True)
        store.save_plan(plan)
        if not store.gallery(plan):
            store.save_gallery(plan, make_gallery(planned))
        computed = run_missing(
            planned, store, stop, jobs=jobs, keep_weights=keep_weights, quiet=quiet, carry_out=carry_out
        )
    return Outcome(plan, store, time.monotonic() - began, computed, stop.by)


def run_missing(
    planned: Planned,
    store: Store,
    stop: StopRequest,
    *,
    jobs: int | None = None,
    keep_weights: bool = False,
    quiet: bool = False,
    more: Callable[[], Sequence[RunSpec]] | None = None,
    carry_out: CarryOut | None = None,
) -> int:
    """Runs what has no outcome yet in an open store, as `run_plan` does; returns how many runs ended now.

    ``more`` is asked for further runs whenever all have ended, until it has none; the same workers take them.
    """
    missing = store.missing(planned.plan.digests)
    with Display(planned.plan, missing, planned.expected_cost, quiet=quiet) as display:
        if not missing:
            return 0
        driver = _Driver(planned, store, missing, keep_weights, display, stop, more)
        if carry_out is not None:
            return driver.run_here(carry_out)
        workers = jobs or default_jobs(planned)
        return driver.run(min(workers, len(missing)) if more is None else workers)


def default_jobs(planned: Planned) -> int:
    """A process for every core that a run has a thread for, fewer where memory is short; one where a GPU works."""
    if planned.plan.request.device == "cuda":
        return 1
    threads = max((spec.compute.threads for spec in planned.plan.specs), default=1)
    cores = max(1, processors() // threads)
    available = available_bytes()
    fitting = cores if available is None else int(available * 0.8 / run_bytes(planned))
    return max(1, min(cores, fitting))


def run_bytes(planned: Planned) -> float:
    """Rough memory of one worker: the program, the raw data, and the examples of a run in float32 twice over."""
    request = planned.plan.request.data
    values = 0 if request.streamed else 1
    for size in request.input_shape:
        values *= size
    sizes = [spec.sizes(request.train_size, request.test_size) for spec in planned.plan.specs]
    largest = max(train for train, _ in sizes) + max(test for _, test in sizes)
    raw = planned.splits.train.inputs.nbytes + planned.splits.test.inputs.nbytes
    learning = max((learner_bytes(spec, request) for spec in planned.plan.specs), default=0.0)
    return 500e6 + raw + 8.0 * largest * values + learning


def estimate_cost(planned: Planned, specs: list[RunSpec], jobs: int | None = None) -> Estimate:
    """Predicts steps and time of ``specs`` by timing a few steps of each kind of network in a worker."""
    jobs = jobs or default_jobs(planned)
    kinds = {shape_of(spec): spec for spec in specs}
    speeds = ask(planned, "time", list(kinds.values()))
    facts = planned.plan.request.data
    cost = predict(specs, speeds, planned.study.expected_steps, (facts.train_size, facts.test_size), jobs)
    # A learner is timed on few examples, and what it takes of memory grows faster than they do.
    learning = max((learner_bytes(spec, facts) for spec in specs), default=0.0)
    return replace(cost, peak_bytes=max(cost.peak_bytes, int(learning * jobs)))


def concerns_all(broke: Broke) -> bool:
    """Whether what broke one run would break the others: the data, or the store's disk."""
    return broke.exit_code == DataError.exit_code or broke.identifier.startswith("store-")


def _require_alone(planned: Planned) -> None:
    processes = max((spec.compute.processes for spec in planned.plan.specs), default=1)
    if processes > 1:
        raise SpecError(
            "processes-not-launched",
            f"The plan is for compute.processes={processes}, which torchrun has to start: type `torchrun --standalone "
            f"--nproc-per-node {processes} -m shattering run {planned.plan.study} …`, or leave the field out.",
        )


class _Driver:
    """The one process that hands out runs and writes their records."""

    def __init__(
        self,
        planned: Planned,
        store: Store,
        missing: list[str],
        keep_weights: bool,
        display: Display,
        stop: StopRequest,
        more: Callable[[], Sequence[RunSpec]] | None = None,
    ) -> None:
        self.planned, self.store, self.keep_weights, self.display, self.stop = (
            planned,
            store,
            keep_weights,
            display,
            stop,
        )
        self.specs = {spec.digest: spec for spec in planned.plan.specs}
        # Longest first: the last run to end is then a short one, and no core idles for long.
        # Parents before all others.
        parents = {run.digest for spec in planned.plan.specs for run in spec.parents}
        costs = {key: (key in parents, planned.expected_cost(self.specs[key])) for key in missing}
        self.waiting = deque(sorted(missing, key=lambda key: costs[key], reverse=True))
        self.leases: dict[str, Lease] = {}
        self.failed: set[str] = set()
        self.computed = 0
        self.more = more

    def run(self, workers: int) -> int:
        with ExitStack() as stack:
            stack.callback(self._release_all)
            messages = run_jobs(self._take, self._unfinished, workers=workers, should_stop=lambda: bool(self.stop))
            stack.enter_context(closing(messages))  # left first: no worker outlives the lease of its run
            for message in messages:
                self.hear(message)
        return self.computed

    def run_here(self, carry_out: CarryOut) -> int:
        with ExitStack() as stack:
            stack.callback(self._release_all)
            while self._unfinished() and not self.stop:
                job = self._take()
                if job is None:  # somebody else computes all that is left
                    time.sleep(POLL_SECONDS)
                else:
                    self.hear(carry_out(job, self))
        return self.computed

    def hear(self, message: Message) -> None:
        """Acts on what became of a run."""
        match message:
            case Saw(key, row):
                self.display.saw(self.specs[key], row)
            case Ended(key, record, weights):
                self._commit(key, record, weights)
            case Broke() if concerns_all(message):
                raise error_of(message)
            case Broke():
                self._failed(message)
            case Interrupted(key):
                self._release(key)
            case Answered():
                pass

    def tick(self) -> None:
        """Time passes."""
        self.display.tick()

    def _take(self) -> Job | None:
        """The next run that nobody else computes; runs committed by others meanwhile are ticked off."""
        for _ in range(len(self.waiting)):
            digest = self.waiting.popleft()
            if self._waits_for_parent(digest):
                continue
            lease = self.store.lease(digest)
            if lease is None:
                self.waiting.append(digest)
                continue
            if not self.store.missing([digest]):
                lease.finished = True
                lease.release()
                self.display.ended_elsewhere(self.specs[digest])
                continue
            self.leases[digest] = lease
            spec = self.specs[digest]
            self.display.began(spec)
            parent = self.store.get(spec.selection.parent.digest, examples=True) if spec.selection is not None else None
            return self.planned.job("run", spec, store=self.store.root, keep_weights=self.keep_weights, parent=parent)
        return None

    def _waits_for_parent(self, digest: str) -> bool:
        """Puts a run back whose parent has not ended, and gives it up where its parent failed."""
        selection = self.specs[digest].selection
        if selection is None or not self.store.missing([selection.parent.digest]):
            return False
        parent = selection.parent.digest
        if parent in self.failed:
            told = f"The run {parent[:12]}, whose examples it selects from, failed; mend that one first."
            self._failed(Broke(digest, "run-parent-failed", told, EXIT_RUNS_FAILED))
        else:
            self.waiting.append(digest)
        return True

    def _unfinished(self) -> bool:
        if not self.waiting and self.more is not None:
            further = {spec.digest: spec for spec in self.more()}
            self.specs |= further
            self.waiting.extend(self.store.missing(further))
            self.display.planned_more([further[key] for key in self.waiting])
        self.display.tick()
        return bool(self.waiting)

    def _commit(self, key: str, record: Record, weights: bytes | None) -> None:
        lease = self.leases.pop(key)
        try:
            if self.store.put(record, lease, weights):
                self.computed += 1
            elif self.store.missing([key]):
                self.waiting.append(key)  # the lease was lost, and whoever took it has not committed yet
                return
        finally:
            lease.release()
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
